"""Indexing: find files, read them, split them into chunks, and the keyword index."""
