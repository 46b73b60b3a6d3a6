"""The shared daemon as seen from one project."""
