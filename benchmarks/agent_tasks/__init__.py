"""Tasks of a coding agent: how many each way of searching solves, with how many calls and tokens."""
