"""How far a correct implementation may be off: bounds on rounding, derived and never tuned."""
