"""Measurements of growth with the number of chunks, for docs/SCALING.md."""
