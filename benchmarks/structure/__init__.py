"""Measures of the extraction of definitions and references, against reference implementations."""
