"""Precedence and errors of ignore files."""

from pathlib import Path

import pytest

from agent_brain_server.indexing.files.ignore_rules import MAX_IGNORE_FILE_BYTES, IgnoreRules


def test_ignores_nothing_without_ignore_files(tmp_path: Path) -> None:
    assert not IgnoreRules.of_root(tmp_path).ignores("a.py", is_directory=False)


def test_ignores_deeper_file_takes_precedence(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / ".gitignore").write_text("*.log\n/top.txt\nbuild/\n")
    (tmp_path / "sub" / ".gitignore").write_text("!keep.log\n/only_here\n")
    root = IgnoreRules.of_root(tmp_path)
    inner = root.enter(tmp_path / "sub", "sub/")
    assert root.ignores("keep.log", is_directory=False)
    assert not inner.ignores("sub/keep.log", is_directory=False)
    assert inner.ignores("sub/other.log", is_directory=False)
    assert inner.ignores("sub/only_here", is_directory=False)
    assert not inner.ignores("sub/deep/only_here", is_directory=False)
    assert not inner.ignores("sub/top.txt", is_directory=False)
    assert inner.ignores("sub/build", is_directory=True)
    assert not inner.ignores("sub/build", is_directory=False)
    assert not root.ignores("only_here", is_directory=False)


def test_ignores_content_but_not_directory() -> None:
    rules = IgnoreRules().add("", ["logs/**", "!logs/keep.txt"])
    assert not rules.ignores("logs", is_directory=True)
    assert rules.ignores("logs/a.txt", is_directory=False)
    assert not rules.ignores("logs/keep.txt", is_directory=False)


def test_ignores_info_exclude_has_lowest_precedence(tmp_path: Path) -> None:
    (tmp_path / ".git/info").mkdir(parents=True)
    (tmp_path / ".git/info/exclude").write_text("*.secret\n*.txt\n")
    (tmp_path / ".gitignore").write_text("!a.txt\n")
    rules = IgnoreRules.of_root(tmp_path)
    assert rules.ignores("x.secret", is_directory=False)
    assert not rules.ignores("a.txt", is_directory=False)


def test_enter_leaves_rules_unchanged() -> None:
    rules = IgnoreRules().add("", ["*.a"])
    rules.add("", ["!*.a"])
    assert rules.ignores("x.a", is_directory=False)


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbf*.log\r\n",
        b"\xff\xfe broken\n*.log\n",
        b"[z-a]\n[\n!\n*.log\n",
        b"# *.py\n\n   \n*.log   \n",
        b"*a*a*a*a*a*a*a*a*a*a*a*a*b\n*.log\n",
    ],
)
def test_ignores_skips_invalid_lines(tmp_path: Path, content: bytes) -> None:
    (tmp_path / ".gitignore").write_bytes(content)
    rules = IgnoreRules.of_root(tmp_path)
    assert rules.ignores("a" * 200 + ".log", is_directory=False)
    assert not rules.ignores("a" * 200 + ".py", is_directory=False)


def test_ignores_nothing_for_invalid_ignore_file(tmp_path: Path) -> None:
    (tmp_path / ".gitignore").mkdir()
    assert not IgnoreRules.of_root(tmp_path).ignores("a.py", is_directory=False)
    (tmp_path / ".gitignore").rmdir()
    (tmp_path / ".gitignore").write_text("*\n" * MAX_IGNORE_FILE_BYTES)
    assert not IgnoreRules.of_root(tmp_path).ignores("a.py", is_directory=False)
