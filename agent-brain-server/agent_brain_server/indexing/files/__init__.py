"""Find the files of a project that belong in its index."""
