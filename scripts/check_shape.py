"""Fail where a module or a function is too long to be read at once, or where a function rebinds a global.

Usage: check_shape.py DIRECTORY...
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

MAX_MODULE_LINES = 300  # about five screens: more is two modules
MAX_FUNCTION_LINES = 60  # one screen
SAMPLES = "data"  # directories below tests whose files are read, not run
MAX_TEST_MODULE_LINES = 500  # a test module mirrors one source module, with several tests for each of its functions


def find_faults(path: Path) -> Iterator[str]:
    """Yield one `path:line: what` per fault of a Python file."""
    text = path.read_text(encoding="utf-8")
    limit = MAX_TEST_MODULE_LINES if "tests" in path.parts else MAX_MODULE_LINES
    if (lines := text.count("\n")) > limit:
        yield f"{path}:1: module of {lines} lines, over {limit}"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > MAX_FUNCTION_LINES:
                yield f"{path}:{node.lineno}: {node.name} has {length} lines, over {MAX_FUNCTION_LINES}"
        elif isinstance(node, ast.Global):
            yield f"{path}:{node.lineno}: global {', '.join(node.names)}"


def main(directories: list[str]) -> int:
    """Print every fault below the directories; return 1 where there is one."""
    found = (path for directory in directories for path in Path(directory).rglob("*.py"))
    paths = sorted(path for path in found if SAMPLES not in path.parts)
    faults = [fault for path in paths for fault in find_faults(path)]
    print("\n".join(faults) or f"{len(paths)} modules in shape")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
