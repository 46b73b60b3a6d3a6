"""Services of a project: indexing pipeline, queries, freshness and jobs. They know nothing of HTTP."""
