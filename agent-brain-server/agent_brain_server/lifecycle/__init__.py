"""Start and stop servers, and publish where they answer."""
