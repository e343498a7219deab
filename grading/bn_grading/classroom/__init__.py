"""A whole class: what is to be graded, several at a time, each record kept as it is ready."""
