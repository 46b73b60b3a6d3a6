"""How index, queries, memory and disk grow with the number of chunks: what docs/SCALING.md shows."""
