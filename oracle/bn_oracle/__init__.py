"""What batch normalization is: its mathematics in float64 NumPy, and nothing else."""
