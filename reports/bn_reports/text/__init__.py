"""Words, numbers, equations and other people's strings, as they are read."""
