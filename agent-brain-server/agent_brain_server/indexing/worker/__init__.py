"""Indexing worker processes and their protocol."""
