"""Walks of a part of the tree agree with full walks, and directory scans with git."""

import os
import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent_brain_server.indexing.files.ignore_rules import scan_directories
from agent_brain_server.indexing.files.walker import WalkOptions, WalkTargets, is_below, is_excluded, walk_files

NAMES = ("a", "b", "lib", "build", "node_modules", "x.py", "y.log", ".hidden")
PATHS = st.lists(st.lists(st.sampled_from(NAMES), min_size=1, max_size=4).map("/".join), min_size=1, max_size=12)
RULES = st.lists(
    st.sampled_from(("*.log", "build/", "/a", "!a/b", "lib/*", "!lib/x.py", "**/b", ".hidden", "a/**/x.py", "!*.py")),
    max_size=4,
)


def make_tree(root: Path, paths: list[str], rules: list[str], *, use_git: bool) -> None:
    for path in paths:
        target = root / path
        if not target.exists() and all(not parent.is_file() for parent in target.parents if root in parent.parents):
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(f"content of {path}\n")
    (root / ".gitignore").write_text("\n".join([*rules, ""]))
    if use_git:
        subprocess.run(["git", "init", "-q"], cwd=root, check=True)


@pytest.mark.slow
@pytest.mark.parametrize("use_git", [True, False])
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(paths=PATHS, rules=RULES, wanted=PATHS, known=st.booleans())
def test_walk_targets_match_full_walk(
    use_git: bool, paths: list[str], rules: list[str], wanted: list[str], known: bool
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory).resolve()
        make_tree(root, paths, rules, use_git=use_git)
        whole = walk_files(root, root, WalkOptions())
        targets = frozenset(map(os.fsencode, wanted))
        admitted = frozenset(os.fsencode(file.path) for file in whole.files) & targets if known else frozenset()
        part = walk_files(root, root, WalkOptions(), WalkTargets(targets, admitted, whole.uses_git))
        assert whole.uses_git is use_git
        assert part.files == tuple(file for file in whole.files if is_below(os.fsencode(file.path), targets))


@pytest.mark.slow
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(paths=PATHS, rules=RULES)
def test_scan_directories_visits_all_listed_by_git(paths: list[str], rules: list[str]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory).resolve()
        make_tree(root, paths, rules, use_git=True)
        visited: set[bytes] = set()
        scan_directories(root, [b""], lambda _: False, lambda path: visited.add(path) is None)
        listed = walk_files(root, root, WalkOptions())
        names = [file.path for file in listed.files] + [skip.path for skip in listed.skipped]
        assert {os.path.dirname(os.fsencode(name)) for name in names} <= visited


@pytest.mark.slow
@pytest.mark.parametrize("use_git", [True, False])
@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(paths=PATHS, rules=RULES)
def test_is_excluded_matches_walk(use_git: bool, paths: list[str], rules: list[str]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory).resolve()
        make_tree(root, paths, rules, use_git=use_git)
        walk = walk_files(root, root, WalkOptions())
        listed = {file.path for file in walk.files} | {skip.path for skip in walk.skipped}
        for path in {path for path in paths if (root / path).is_file()}:
            assert is_excluded(root, path.encode(), WalkOptions(), uses_git=use_git) is (path not in listed)


def test_is_excluded_missing_file_is_not(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    assert not is_excluded(tmp_path, b"not/there/yet.py", WalkOptions(), uses_git=True)
    assert is_excluded(tmp_path, b"not/there/yet.py", WalkOptions(exclude_patterns=("not/",)), uses_git=True)
