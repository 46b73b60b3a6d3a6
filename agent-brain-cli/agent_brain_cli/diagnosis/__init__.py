"""What `agent-brain doctor` checks: the machine, the places, the servers, the index."""
