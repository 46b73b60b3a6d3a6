"""Fail on functions over 60 lines and on rebound globals; warn about modules over 500 lines.

Usage: check_shape.py DIRECTORY...
"""

import ast
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

WARN_MODULE_LINES = 500  # only a warning: a module is cut where the idea changes, not at a line count
MAX_FUNCTION_LINES = 60  # one screen
SAMPLES = "data"  # directories below tests whose files are read, not run


def find_faults(path: Path) -> Iterator[str]:
    """Yield one `path:line: description` for each fault in a Python file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > MAX_FUNCTION_LINES:
                yield f"{path}:{node.lineno}: {node.name} has {length} lines, over {MAX_FUNCTION_LINES}"
        elif isinstance(node, ast.Global):
            yield f"{path}:{node.lineno}: global {', '.join(node.names)}"


def find_long_modules(paths: Iterable[Path]) -> Iterator[str]:
    """Yield one warning for each module that is longer than `WARN_MODULE_LINES`."""
    for path in paths:
        if (lines := path.read_text(encoding="utf-8").count("\n")) > WARN_MODULE_LINES:
            yield f"warning: {path} has {lines} lines, over {WARN_MODULE_LINES}"


def main(directories: list[str]) -> int:
    """Print every fault and warning below the directories; return 1 if there is a fault."""
    found = (path for directory in directories for path in Path(directory).rglob("*.py"))
    paths = sorted(path for path in found if SAMPLES not in path.parts)
    faults = [fault for path in paths for fault in find_faults(path)]
    for warning in find_long_modules(paths):
        print(warning)
    print("\n".join(faults) or f"{len(paths)} modules in shape")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
