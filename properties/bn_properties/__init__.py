"""Properties that hold of every correct batch normalization."""
