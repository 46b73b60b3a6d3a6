"""Benchmarks of speed and memory for docs/PERFORMANCE.md: `./task bench`."""
