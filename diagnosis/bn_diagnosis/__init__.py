"""Which mistake explains what was seen: formulas, named faults, and how they are matched."""
