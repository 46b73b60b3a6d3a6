"""Agent Brain's server: local search over one project's code and documents.

Importing this package costs nothing. The front door for other programs is `discovery`; `errors`, `daemon`, `runtime`,
`locking`, `registry`, `lifecycle`, `project_root`, `storage_paths` and `config.settings` stand behind it, as light.
"""

__version__ = "0.1.0"
