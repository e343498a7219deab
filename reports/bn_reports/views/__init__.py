"""Records arranged for reading: what is shown, in which order, for the terminal and the pages."""
