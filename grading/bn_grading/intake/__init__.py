"""From a path to submissions: what is graded, under which id, and what was skipped."""
