"""Texts to vectors."""

DEFAULT_MODEL = "all-MiniLM-L6-v2"
"""Ships inside the package; everything else is an integration that has to be installed."""
