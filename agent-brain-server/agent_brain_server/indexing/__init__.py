"""The ingest path: walk, load, chunk, and the keyword index."""
