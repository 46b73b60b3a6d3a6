"""What the server does: index, answer, queue jobs. Knows nothing of HTTP."""
