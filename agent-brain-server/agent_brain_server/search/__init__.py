"""The query path: retrievers, fusion, ranking. Does not import the ingest path."""
