"""Find the references of definitions in a Python package with jedi: python jedi_sites.py DIRECTORY NAMES.

Runs in a virtual environment with jedi, and prints JSON. The definitions are a sample of the
classes, functions and variables of modules and classes that jedi itself finds.
"""

import ast
import json
import random
import sys
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import jedi  # type: ignore[import-not-found]  # in another environment

SEED = 7


def list_definitions(project: jedi.Project, root: Path) -> list[dict[str, Any]]:
    """Return definitions of distinct names, in random order.

    Each has the number of definitions of its name in the package, parameters and local variables included.
    """
    found = []
    times: Counter[str] = Counter()
    for path in sorted(root.rglob("*.py")):
        imported = import_lines(path)
        for name in jedi.Script(path=path, project=project).get_names(all_scopes=True, definitions=True):
            if name.line in imported:
                continue
            times[name.name] += 1
            parent = name.parent()
            is_variable = name.type == "statement" and (parent is None or parent.type != "function")
            if is_variable or name.type in {"class", "function"}:
                place = {"path": str(path.relative_to(root)), "line": name.line, "column": name.column}
                found.append({"name": name.name, "kind": name.type, **place})
    random.Random(SEED).shuffle(found)
    distinct = {entry["name"]: entry for entry in found}
    return [{**entry, "times_defined": times[entry["name"]]} for entry in distinct.values()]


@cache
def import_lines(path: Path) -> set[int]:
    """Return the lines on which names are imported."""
    tree = ast.parse(path.read_bytes())
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    return {alias.lineno for node in imports for alias in node.names}


def find_sites(project: jedi.Project, root: Path, entry: dict[str, Any]) -> dict[str, Any]:
    """Return a definition with the sites at which it is used, and those at which it is assigned or defined again."""
    script = jedi.Script(path=root / entry["path"], project=project)
    sites: set[tuple[str, int]] = set()
    definitions: set[tuple[str, int]] = set()
    for name in script.get_references(entry["line"], entry["column"], include_builtins=False):
        path = name.module_path
        if path is None or not path.is_relative_to(root):
            continue
        place = (str(path.relative_to(root)), name.line)
        is_definition = name.is_definition() and name.line not in import_lines(path)
        (definitions if is_definition else sites).add(place)
    return {**entry, "sites": sorted(sites), "definitions": sorted(definitions)}


def main() -> None:
    """Print the sample with its sites as JSON."""
    root, count = Path(sys.argv[1]).resolve(), int(sys.argv[2])
    project = jedi.Project(root.parent, added_sys_path=[str(root.parent)], smart_sys_path=False)
    entries = list_definitions(project, root)[:count]
    json.dump([find_sites(project, root, entry) for entry in entries], sys.stdout, indent=0)


if __name__ == "__main__":
    main()
