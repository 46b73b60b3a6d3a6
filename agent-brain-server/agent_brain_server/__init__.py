"""Agent Brain's server: local search over the code and documents of a project.

Importing this package costs nothing. The client API for other programs is `discovery`. The modules that it uses are as
light: `errors`, `runtime`, `locking`, `storage_paths`, `project_root`, `config`, `lifecycle` and `shared`.
"""

__version__ = "0.1.0"
