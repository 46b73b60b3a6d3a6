"""The parts of a query by themselves, each in a process of its own, without HTTP and without the other parts."""
