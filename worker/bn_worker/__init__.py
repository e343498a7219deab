"""The only code in the untrusted process: it loads one submission and calls it as it is told.

It knows no expected value, no tolerance and no seed. It imports NumPy (or, for a torch course,
torch) and the standard library, and nothing of the other packages.
"""
