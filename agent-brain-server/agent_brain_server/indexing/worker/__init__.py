"""The indexing worker processes and the protocol they speak."""
