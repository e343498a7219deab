"""Somebody else's program in a process of its own, behind the protocol of the properties."""
