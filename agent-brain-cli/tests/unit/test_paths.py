"""Convert typed paths to locations in the project."""

import os
from pathlib import Path

import click
import pytest

from agent_brain_cli.paths import Location, locate_path, parse_location


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path.resolve() / "project"
    (root / "src").mkdir(parents=True)
    for name in ("src/a.py", "src/b:7", "top.py"):
        (root / name).write_text("x = 1\n")
    return root


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("src/a.py", Location("src/a.py")),
        ("src/a.py:10", Location("src/a.py", 10)),
        ("src/a.py:10-20", Location("src/a.py", 10, 20, is_range=True)),
        ("src/a.py:10-", Location("src/a.py", 10, None, is_range=True)),
        ("src/a.py:-20", Location("src/a.py", None, 20, is_range=True)),
        ("src/a.py:10:5", Location("src/a.py", 10)),
        ("src/b:7", Location("src/b:7")),
        (".", Location("")),
        ("missing.py:3", Location("missing.py", 3)),
        ("src/a.py:99999999999999999999", Location("src/a.py", 10_000_000)),
    ],
)
def test_location_has_path_and_lines(root: Path, text: str, expected: Location) -> None:
    assert parse_location(text, root, root) == expected


def test_location_in_subdirectory_or_from_root(root: Path) -> None:
    assert locate_path("a.py", root, root / "src") == "src/a.py"
    assert locate_path("src/a.py", root, root / "src") == "src/a.py"
    assert locate_path("../top.py", root, root / "src") == "top.py"
    assert locate_path("new.py", root, root / "src") == "src/new.py"
    assert locate_path("src/a.py", root, root.parent) == "src/a.py"
    assert locate_path(str(root / "src/a.py"), root, Path("/")) == "src/a.py"


@pytest.mark.parametrize("text", ["../elsewhere.py", "/etc/passwd", "link", os.fsdecode(b"\xff.py"), "src/a.py:20-10"])
def test_location_outside_or_reversed_is_refused(root: Path, text: str) -> None:
    (root / "link").symlink_to("/etc/passwd")
    with pytest.raises(click.UsageError):
        parse_location(text, root, root)
