"""Definitions, references and outlines, from the syntax trees of source files."""
