"""Cut one file into chunks."""
