"""The agent-brain command."""
