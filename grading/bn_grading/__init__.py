"""Grading: whose work is under test, and where it runs."""
