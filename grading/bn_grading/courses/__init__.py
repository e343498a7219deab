"""Courses: TOML files that map a course's names to the protocol, and what file belongs to which."""
