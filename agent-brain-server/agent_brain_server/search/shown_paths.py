"""Write the paths of an answer as they open from a directory."""

import os
from collections.abc import Callable
from pathlib import Path


def make_path_writer(root: Path, paths_from: str) -> Callable[[str], str]:
    """Return a function that writes a path relative to a directory of the project, or absolute for `/`."""
    if paths_from == "/":
        return lambda source: str(root / source)
    if os.path.normpath(paths_from or ".") == ".":
        return lambda source: source
    return lambda source: os.path.relpath(f"/{source}", f"/{paths_from}")
