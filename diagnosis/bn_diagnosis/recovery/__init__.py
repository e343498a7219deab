"""Which formula a submission computes: recovered from numbers, an observable at a time."""
