"""Find the files to index."""
