"""Split a file into chunks."""
