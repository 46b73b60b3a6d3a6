"""Pydantic models of what crosses a wire: HTTP bodies and the files that other programs read."""
