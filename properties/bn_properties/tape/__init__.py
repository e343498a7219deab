"""The tape: all that the properties ask, compiled once, and judged in a few array operations.

A property is a function that asks for scenarios and yields comparisons. Compiling runs it once on
each of its cases, with observed values that are not there yet (`traced`): what it computes of them
is written down as a small program. Programs of one form are run together, on the values of all
their cases at once (`program`). A tape (`tape`) is all scenarios without repeats, all programs, and
what the oracle expects; `playback` holds what a subject showed against it.
"""
