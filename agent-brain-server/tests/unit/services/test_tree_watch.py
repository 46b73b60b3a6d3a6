"""Watch a real tree, and read the kernel's events."""

import contextlib
import multiprocessing
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agent_brain_server.services.tree_watch import TreeWatch, find_remote_mounts

OpenWatch = Callable[[], TreeWatch]
ANOTHER_USER = 65533


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "mein Projekt ä"
    (root / "src" / "inner").mkdir(parents=True)
    (root / "src" / "a.py").write_text("a = 1\n")
    return root


@pytest.fixture
def open_watch(root: Path) -> Iterator[OpenWatch]:
    opened: list[TreeWatch] = []

    def open_now() -> TreeWatch:
        opened.append(TreeWatch(root, lambda path: b".claude/Agent Brain" in path))
        opened[-1].rescan(())
        opened[-1].drain()
        return opened[-1]

    yield open_now
    for watch in opened:
        watch.close()


def git(root: Path, *arguments: str) -> None:
    subprocess.run(["git", "-c", "user.name=t", "-c", "user.email=t@t", *arguments], cwd=root, check=True)


def test_drain_without_changes_is_empty(open_watch: OpenWatch) -> None:
    watch = open_watch()
    assert not watch.drain()
    assert watch.count() == 3


def test_drain_returns_every_kind_of_file_change(root: Path, open_watch: OpenWatch) -> None:
    watch = open_watch()
    (root / "src/a.py").write_text("a = 2\n")
    (root / "src/b.py").write_text("")
    os.rename(root / "src/b.py", root / "src/inner/c.py")
    os.chmod(root / "src/inner/c.py", 0o600)
    events = watch.drain()
    assert events.paths == {b"src/a.py", b"src/b.py", b"src/inner/c.py"}
    assert not events.directories
    assert events.recheck is None


def test_drain_reports_writes_before_the_file_is_closed(root: Path, open_watch: OpenWatch) -> None:
    watch = open_watch()
    with (root / "src/a.py").open("a") as file:
        file.write("more\n")
        file.flush()
        assert watch.drain().paths == {b"src/a.py"}


def test_watch_below_watches_new_directories(root: Path, open_watch: OpenWatch) -> None:
    watch = open_watch()
    (root / "lib/deep").mkdir(parents=True)
    assert watch.drain().directories == {b"lib"}
    watch.watch_below([b"lib"])
    (root / "lib/deep/x.py").write_text("x\n")
    assert watch.drain().paths == {b"lib/deep/x.py"}


def test_replaced_directory_is_watched_by_new_inode(root: Path, open_watch: OpenWatch) -> None:
    watch = open_watch()
    shutil.copytree(root / "src", root / "src.new")
    watch.drain()
    watch.watch_below([b"src.new"])
    os.rename(root / "src", root / "src.old")
    os.rename(root / "src.new", root / "src")
    shutil.rmtree(root / "src.old")
    assert b"src" in watch.drain().directories
    watch.watch_below([b"src"])
    watch.drain()
    (root / "src/a.py").write_text("a = 3\n")
    (root / "src/inner/d.py").write_text("d\n")
    assert watch.drain().paths == {b"src/a.py", b"src/inner/d.py"}


def test_watch_below_ignores_vanished_directories(root: Path, open_watch: OpenWatch) -> None:
    watch = open_watch()
    shutil.rmtree(root / "src")
    watch.watch_below([b"src", b"src/inner", b"never/there"])
    assert watch.drain().directories >= {b"src"}
    assert watch.unwatched() == {}
    (root / "top.py").write_text("t\n")
    assert watch.drain().paths == {b"top.py"}


def test_watch_below_ignores_links(root: Path, tmp_path: Path, open_watch: OpenWatch) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (root / "link").symlink_to(outside)
    watch = open_watch()
    watch.watch_below([b"link"])
    (outside / "x.py").write_text("x\n")
    assert not watch.drain()


@pytest.mark.parametrize("name", [".gitignore", "src/.gitignore", "src/CACHEDIR.TAG"])
def test_changed_ignore_file_requests_recheck(root: Path, open_watch: OpenWatch, name: str) -> None:
    watch = open_watch()
    (root / name).write_text("*.log\n")
    events = watch.drain()
    assert events.recheck == f"{name} changed"
    assert (events.rescan, events.is_recrawl) == (True, False)


def test_changed_git_index_or_exclude_requests_recheck(root: Path, open_watch: OpenWatch) -> None:
    git(root, "init", "-q")
    watch = open_watch()
    git(root, "add", "src/a.py")
    assert watch.drain().recheck == "git's index or exclude file changed"
    (root / ".git/info/exclude").write_text("*.tmp\n")
    assert watch.drain().recheck == "git's index or exclude file changed"
    git(root, "commit", "-q", "-m", "x")
    watch.drain()
    git(root, "log", "-1", "--format=")
    assert watch.drain().recheck is None


def test_git_index_of_linked_worktree_is_watched(tmp_path: Path) -> None:
    main, linked = tmp_path / "main", tmp_path / "linked"
    main.mkdir()
    git(main, "init", "-q")
    git(main, "commit", "-q", "--allow-empty", "-m", "x")
    git(main, "worktree", "add", "-q", str(linked))
    watch = TreeWatch(linked, lambda _: False)
    try:
        watch.rescan(())
        watch.drain()
        (linked / "new.py").write_text("x\n")
        assert watch.drain().paths == {b"new.py"}
        git(linked, "add", "new.py")
        assert watch.drain().recheck is not None
    finally:
        watch.close()


def test_ignored_directories_are_not_watched(root: Path, open_watch: OpenWatch) -> None:
    for name in ("build/x", "node_modules/y", ".claude/Agent Brain/data", "cache"):
        (root / name).mkdir(parents=True)
    (root / "cache/CACHEDIR.TAG").write_text("Signature: 8a477f597d28d172789f06886806bc55\n")
    (root / "cache/inner").mkdir()
    (root / ".gitignore").write_text("build/\n")
    watch = open_watch()
    for name in ("build/x/1.py", "node_modules/y/1.js", ".claude/Agent Brain/data/1", "cache/inner/1.py"):
        (root / name).write_text("x\n")
    assert not watch.drain()


def test_ignore_rules_apply_only_below_the_root(tmp_path: Path) -> None:
    root = tmp_path / "node_modules" / ".venv" / "pkg"
    root.mkdir(parents=True)
    watch = TreeWatch(root, lambda _: False)
    try:
        watch.rescan(())
        (root / "index.js").write_text("x\n")
        assert watch.drain().paths == {b"index.js"}
    finally:
        watch.close()


def test_watch_with_parents_watches_ignored_directories(root: Path, open_watch: OpenWatch) -> None:
    (root / "node_modules/mine").mkdir(parents=True)
    watch = open_watch()
    assert watch.watch_with_parents([b"node_modules/mine"]) == {b"node_modules", b"node_modules/mine"}
    (root / "node_modules/mine/x.js").write_text("x\n")
    assert watch.drain().paths == {b"node_modules/mine/x.js"}


def test_directories_over_the_limit_are_unwatched(open_watch: OpenWatch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent_brain_server.services.tree_watch.MAX_WATCHES", 2)
    watch = open_watch()
    assert watch.count() == 2
    assert len(watch.unwatched()) == 1
    assert "max_user_watches" in next(iter(watch.unwatched().values()))
    assert watch.polled() == list(watch.unwatched())


def test_watch_with_parents_omits_what_cannot_be_watched(
    open_watch: OpenWatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent_brain_server.services.tree_watch.MAX_WATCHES", 0)
    assert open_watch().watch_with_parents([b"src"]) == set()  # otherwise each comparison would request the next


def test_queue_overflow_requests_recheck(root: Path, open_watch: OpenWatch) -> None:
    watch = open_watch()
    queue = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    for number in range(queue // 2 + 1):  # alternating names: the kernel merges equal events
        os.utime(root / "src/a.py")
        os.utime(root / "src" / "inner")
        if number % 2:
            (root / "src/b.py").touch()
    events = watch.drain()
    assert (events.rescan, events.is_recrawl) == (True, True)
    assert events.recheck == "the kernel's event queue overflowed"


def test_rescan_of_missing_root_raises(root: Path, open_watch: OpenWatch) -> None:
    watch = open_watch()
    shutil.rmtree(root)
    events = watch.drain()
    assert events.recheck == "the project root was moved or removed"
    with pytest.raises(FileNotFoundError):
        watch.rescan(())


def test_local_directory_has_no_remote_mounts(root: Path) -> None:
    assert find_remote_mounts(root) == {}


@pytest.mark.parametrize(
    ("mounts", "expected"),
    [
        (
            "1 0 0:1 / / rw - ext4 /dev/a rw\n2 1 0:2 / /net rw - nfs4 host:/ rw\n",
            {b"": "nfs4 does not report every change"},
        ),
        ("1 0 0:1 / / rw - nfs4 host:/ rw\n2 1 0:2 / /net/my\\040project rw - ext4 /dev/a rw\n", {}),
        (
            "1 0 0:1 / / rw - ext4 /dev/a rw\n2 1 0:2 / /net/my\\040project/share rw shared:1 - fuse.sshfs h: rw\n",
            {b"share": "fuse.sshfs does not report every change"},
        ),
    ],
)
def test_remote_mounts_are_found_at_above_and_below_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mounts: str, expected: dict[bytes, str]
) -> None:
    (tmp_path / "mountinfo").write_text(mounts)
    monkeypatch.setattr("agent_brain_server.services.tree_watch.MOUNTS", tmp_path / "mountinfo")
    assert find_remote_mounts(Path("/net/my project")) == expected


def watch_as(user: int, root: Path, results: "multiprocessing.SimpleQueue[object]") -> None:
    os.setuid(user)
    watch = TreeWatch(root, lambda _: False)
    watch.rescan(())
    watch.drain()
    (root / "open/x.py").write_text("x\n")
    results.put((watch.unwatched(), watch.polled(), watch.drain().paths))


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become a user to whom file modes apply")
def test_unreadable_directory_leaves_the_rest_watched() -> None:
    with contextlib.ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for name, mode in (("open", 0o755), ("closed", 0o000), ("passable", 0o711)):
            (root / name).mkdir()
            os.chmod(root / name, mode)
        for path in (root, root / "open"):
            os.chown(path, ANOTHER_USER, ANOTHER_USER)
        results: multiprocessing.SimpleQueue[object] = multiprocessing.get_context("fork").SimpleQueue()
        child = multiprocessing.get_context("fork").Process(target=watch_as, args=(ANOTHER_USER, root, results))
        child.start()
        child.join(60)
        assert child.exitcode == 0
        unwatched, polled, changed = results.get()  # type: ignore[misc]
        assert unwatched == {b"closed": "permission denied", b"passable": "permission denied"}
        assert (polled, changed) == ([b"passable"], {b"open/x.py"})
