"""The truth (documents, SQLite) and the vector index that is derived from it."""
