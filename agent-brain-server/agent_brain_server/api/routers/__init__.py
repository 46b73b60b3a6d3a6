"""One module per group of calls; each handler parses, calls one service and returns a model."""
