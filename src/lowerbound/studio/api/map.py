"""The map of the codes."""
