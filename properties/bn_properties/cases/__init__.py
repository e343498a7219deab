"""What a subject is asked about: cases drawn by Hypothesis, transformed, and pinned."""
