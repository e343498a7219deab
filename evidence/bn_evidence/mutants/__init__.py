"""Source mutants: right files with one edit each, to see whether the grader rejects what is wrong.

`edits` makes them, `truth` computes the right answers with mpmath, `compare` runs a mutant against
those, `trial` grades it. No property or oracle has a say in what counts as different.
"""
