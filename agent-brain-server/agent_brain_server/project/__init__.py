"""Composition: build, repair and pool the services of projects."""
