"""Tools that know nothing of search: files, processes, git, logging, text."""
