"""The same gradients in other ways, and a network around them: what the lecture notes derive."""
