"""Start and stop servers, publish where they answer, and know which projects they serve."""
