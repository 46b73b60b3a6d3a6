"""Query parsing, fusion and ranking as pure functions; imports nothing of indexing or storage."""
