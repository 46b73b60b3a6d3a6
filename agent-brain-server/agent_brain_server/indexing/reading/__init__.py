"""Read one file into text."""
