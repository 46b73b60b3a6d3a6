"""Fail on long functions, rebound globals, a full package root and a long import chain; warn about long modules.

Usage: check_shape.py DIRECTORY...
"""

import ast
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import grimp

WARN_MODULE_LINES = 500  # only a warning: a module is cut where the idea changes, not at a line count
MAX_FUNCTION_LINES = 60  # one screen
PACKAGE = "agent_brain_server"
MAX_ROOT_FILES = 9  # what the task list fixes there, and the vocabulary
MAX_IMPORT_CHAIN = 12  # modules between the entry point and the one that imports nothing
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


def find_package_faults(root: Path) -> Iterator[str]:
    """Yield one description for each fault in the layout of the package at `root`."""
    if (files := len(list(root.glob("*.py")))) > MAX_ROOT_FILES:
        yield f"{root}: {files} files in the package root, over {MAX_ROOT_FILES}"
    chain = find_longest_chain(root.name)
    if len(chain) > MAX_IMPORT_CHAIN:
        yield f"{root}: import chain of {len(chain)} modules, over {MAX_IMPORT_CHAIN}: {' > '.join(chain)}"


def find_longest_chain(package: str) -> tuple[str, ...]:
    """Return the longest chain of modules of an installed package in which each imports the next.

    Raises:
        ValueError: Modules import each other in a circle.
    """
    graph = grimp.build_graph(package, exclude_type_checking_imports=True)
    open_modules: set[str] = set()

    @cache
    def follow(module: str) -> tuple[str, ...]:
        if module in open_modules:
            raise ValueError(f"{module} imports itself through other modules")
        open_modules.add(module)
        chains = map(follow, sorted(graph.find_modules_directly_imported_by(module)))
        chain = (module.removeprefix(f"{package}."), *max(chains, key=len, default=()))
        open_modules.discard(module)
        return chain

    return max(map(follow, sorted(graph.modules)), key=len)


def main(directories: list[str]) -> int:
    """Print every fault and warning below the directories; return 1 if there is a fault."""
    found = (path for directory in directories for path in Path(directory).rglob("*.py"))
    paths = sorted(path for path in found if SAMPLES not in path.parts)
    faults = [fault for path in paths for fault in find_faults(path)]
    for directory in directories:
        if (root := Path(directory, PACKAGE)).is_dir():
            faults += find_package_faults(root)
    for warning in find_long_modules(paths):
        print(warning)
    print("\n".join(faults) or f"{len(paths)} modules in shape")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
