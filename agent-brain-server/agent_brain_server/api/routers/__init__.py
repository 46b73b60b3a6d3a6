"""One module for each group of endpoints. A handler calls one service and returns a model."""
