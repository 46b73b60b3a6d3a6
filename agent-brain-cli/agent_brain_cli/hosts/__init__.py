"""Write Agent Brain into the configuration of coding agents' hosts, and remove it again."""
