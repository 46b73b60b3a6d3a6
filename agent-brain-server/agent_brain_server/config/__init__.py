"""Settings: their sources, their precedence, and which ones a project's file may set."""
