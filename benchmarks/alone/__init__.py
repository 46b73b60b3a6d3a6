"""The parts of a query alone, each in a separate process, without HTTP and the other parts."""
