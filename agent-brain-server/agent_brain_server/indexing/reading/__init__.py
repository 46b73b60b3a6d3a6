"""Read a file into text."""
