"""`--path` accepts globs from the root, and paths as results show them, from any directory."""

import os
from pathlib import Path

import click
import pytest

from agent_brain_cli.path_globs import resolve_globs
from agent_brain_cli.results import locate
from agent_brain_server.support.globs import compile_selection

FILES = [
    "a.py",
    "src/a.py",
    "src/lib/a.py",
    "src/src/a.py",
    "src/app/[id]/page.tsx",
    "src/app/i/page.tsx",
    "docs/odd *name?.md",
    "docs/trailing ",
    "docs/lines:12",
    "s[r]c/b.py",
]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path.resolve() / "project"
    for name in FILES:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def choose(root: Path, current: Path, *globs: str) -> set[str]:
    chosen = compile_selection(resolve_globs(globs, root, current), "file_paths")
    assert chosen is not None
    return {name for name in FILES if chosen.match_file(name)}


@pytest.mark.parametrize("current", ["", "src", "src/lib", "src/app/[id]", "s[r]c", "docs", ".."])
@pytest.mark.parametrize("suffix", ["", ":7", ":7-19"])
@pytest.mark.parametrize("name", FILES)
def test_path_of_a_result_matches_its_file(
    root: Path, monkeypatch: pytest.MonkeyPatch, current: str, suffix: str, name: str
) -> None:
    directory = (root / current).resolve()
    monkeypatch.chdir(directory)
    shown = locate(name, root)
    assert name in choose(root, directory, shown + suffix)
    if "/" in shown:
        others = choose(root, directory, shown + suffix) - {name}
        assert all(os.path.lexists(directory / shown) and (root / shown).exists() for _ in others)
    assert choose(root, directory, f"{root}/{name}{suffix}") == {name}
    if directory.is_relative_to(root):
        assert choose(root, directory, f"./{shown}{suffix}") == {name}


@pytest.mark.parametrize(
    ("current", "glob", "chosen"),
    [
        ("", "src/*.py", {"src/a.py"}),
        ("src", "src/*.py", {"src/a.py", "src/src/a.py"}),
        ("src", "lib/*.py", {"src/lib/a.py"}),
        ("src", "docs/**", {"docs/odd *name?.md", "docs/trailing ", "docs/lines:12"}),
        ("src", "./*.py", {"src/a.py"}),
        ("src", "../*.py", {"a.py"}),
        ("src", "../docs/l*", {"docs/lines:12"}),
        ("src/lib", "a.py", {"src/lib/a.py"}),
        ("docs", "a.py", {"a.py", "src/a.py", "src/lib/a.py", "src/src/a.py"}),
        ("", "a.py", {"a.py", "src/a.py", "src/lib/a.py", "src/src/a.py"}),
        ("docs", "**/page.tsx", {"src/app/[id]/page.tsx", "src/app/i/page.tsx"}),
        ("docs", "/src/*.py", {"src/a.py"}),
        ("src", ".", {"src/a.py", "src/lib/a.py", "src/src/a.py", "src/app/[id]/page.tsx", "src/app/i/page.tsx"}),
        ("src", "..", set(FILES)),
        ("s[r]c", "./*.py", {"s[r]c/b.py"}),
        ("src/app", "./[id]/", {"src/app/[id]/page.tsx"}),
    ],
)
def test_glob_starts_at_root_or_current_directory(root: Path, current: str, glob: str, chosen: set[str]) -> None:
    assert choose(root, root / current, glob) == chosen


def test_negated_path_is_excluded(root: Path) -> None:
    assert choose(root, root / "src", "./*.py", "!./a.py") == set()
    assert choose(root, root / "src", "!./lib/") == set(FILES) - {"src/lib/a.py"}


def test_absolute_path_through_a_link_is_resolved(root: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(root)
    assert choose(root, root, f"{link}/src/lib/*.py") == {"src/lib/a.py"}
    assert choose(root, root, f"{link}/src/a.py") == {"src/a.py"}


@pytest.mark.parametrize("glob", ["../../x.py", "../..", "{outside}/x.py"])
def test_path_outside_the_project_is_refused(root: Path, tmp_path: Path, glob: str) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other/x.py").touch()
    with pytest.raises(click.UsageError, match="is outside the project"):
        resolve_globs([glob.format(outside=tmp_path / "other")], root, root / "src")
