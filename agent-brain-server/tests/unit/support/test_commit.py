"""The commit in answers follows the repository, and git is started only when it may have changed."""

import os
import subprocess
from pathlib import Path

import pytest

from agent_brain_server.support import commit as module
from agent_brain_server.support.commit import CommitReader


def git(directory: Path, *arguments: str) -> str:
    environment = os.environ | {
        "GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b",
        "GIT_CONFIG_GLOBAL": "/dev/null",
    }  # fmt: skip
    done = subprocess.run(
        ["git", *arguments], cwd=directory, env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    root = tmp_path.resolve() / "repository"
    root.mkdir()
    git(root, "init", "-q", "-b", "main")
    git(root, "commit", "-q", "--allow-empty", "-m", "first")
    return root


def test_commit_follows_commits_branches_and_packed_refs(repository):
    reader = CommitReader(repository)
    for command in (
        ("commit", "-q", "--allow-empty", "-m", "second"),
        ("checkout", "-q", "-b", "feature/one"),
        ("commit", "-q", "--allow-empty", "-m", "third"),
        ("pack-refs", "--all"),
        ("reset", "-q", "--soft", "HEAD~1"),
        ("checkout", "-q", "--detach", "main"),
        ("checkout", "-q", "feature/one"),
    ):
        git(repository, *command)
        assert reader.read() == git(repository, "rev-parse", "HEAD"), command


def test_commit_of_linked_worktree_is_its_own(repository):
    linked = repository.parent / "linked"
    git(repository, "worktree", "add", "-q", "-b", "other", str(linked))
    reader = CommitReader(linked)
    assert reader.read() == git(linked, "rev-parse", "HEAD")
    git(linked, "commit", "-q", "--allow-empty", "-m", "second")
    assert reader.read() == git(linked, "rev-parse", "HEAD") != git(repository, "rev-parse", "HEAD")


def test_commit_unchanged_starts_no_git(repository, monkeypatch):
    reader = CommitReader(repository)
    first = reader.read()
    monkeypatch.setattr(module, "read_commit", lambda _: pytest.fail("git was started"))
    assert reader.read() == first


def test_commit_without_repository_is_none(tmp_path):
    root = tmp_path.resolve() / "plain"
    root.mkdir()
    assert CommitReader(root).read() is None


@pytest.mark.parametrize("head", [b"", b"ref: refs/../../x", b"ref: refs/heads/\x00", b"\xff" * 9_000])
def test_commit_of_damaged_head_is_none(repository, head):
    (repository / ".git" / "HEAD").write_bytes(head)
    assert CommitReader(repository).read() is None
