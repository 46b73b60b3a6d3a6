"""Decide whether a project uses the shared daemon, find the daemon, and register projects with it."""
