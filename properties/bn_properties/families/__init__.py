"""The invariants, one module a family."""
