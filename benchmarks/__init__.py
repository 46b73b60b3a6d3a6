"""Measures what docs/PERFORMANCE.md shows: `./task bench`."""
