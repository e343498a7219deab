"""The tester tested: what it rejects, what it misses, and whom it accuses. Not in the wheel."""
