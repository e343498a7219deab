"""The terminal's tables and reports."""
