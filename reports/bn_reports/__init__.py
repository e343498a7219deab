"""What people read of a grading run: HTML pages, the terminal and `results.json`."""
