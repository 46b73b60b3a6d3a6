"""Planted files in a state directory: links, FIFOs, hard links, files of other users."""

import os
import stat
from pathlib import Path

import pytest

from agent_brain_server.errors import UnsafePathError
from agent_brain_server.support.state_files import (
    create_file,
    make_private_dir,
    open_directory,
    open_file,
    open_log,
    read_file,
    remove_leftovers,
    remove_temporaries,
    remove_tree,
    replace_file,
    require_safe_tree,
)

OTHER_UID = 65534
PRECIOUS = "export PATH\n"

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")


@pytest.fixture
def precious(tmp_path: Path) -> Path:
    """Return a file of the user outside the state directory that no call may touch."""
    path = tmp_path / "bashrc"
    path.write_text(PRECIOUS)
    path.chmod(0o644)
    return path


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    """Return an empty state directory."""
    path = tmp_path / "state"
    path.mkdir(mode=0o700)
    return path


def is_untouched(path: Path) -> bool:
    return path.read_text() == PRECIOUS and stat.S_IMODE(path.stat().st_mode) == 0o644


@pytest.mark.parametrize("flags", [os.O_RDONLY, os.O_RDWR, os.O_WRONLY | os.O_TRUNC, os.O_RDWR | os.O_CREAT])
def test_open_file_link_is_refused(state_dir: Path, precious: Path, flags: int) -> None:
    (state_dir / "file").symlink_to(precious)
    with pytest.raises(UnsafePathError, match="symbolic link"):
        open_file(state_dir / "file", flags)
    assert is_untouched(precious)


def test_open_file_linked_directory_is_refused(state_dir: Path, precious: Path) -> None:
    (state_dir / "logs").symlink_to(precious.parent)
    for refused in (open_file, open_log, create_and_replace):
        with pytest.raises(UnsafePathError, match="symbolic link"):
            refused(state_dir / "logs" / precious.name)
    assert is_untouched(precious)


def create_and_replace(path: Path) -> None:
    replace_file(path, b"lost")


def test_open_file_fifo_does_not_hang(state_dir: Path) -> None:
    os.mkfifo(state_dir / "fifo")
    for flags in (os.O_RDONLY, os.O_WRONLY, os.O_RDWR):
        with pytest.raises(UnsafePathError, match="not a regular file"):
            open_file(state_dir / "fifo", flags)
    with pytest.raises(UnsafePathError, match="not a regular file"):
        open_log(state_dir / "fifo")


def test_open_file_hard_link_is_not_written(state_dir: Path, precious: Path) -> None:
    os.link(precious, state_dir / "file")
    with pytest.raises(UnsafePathError, match="hard-linked"):
        open_file(state_dir / "file", os.O_RDWR)
    assert read_file(state_dir / "file", 100) == PRECIOUS.encode()


@needs_root
def test_open_file_of_another_user_is_refused(state_dir: Path) -> None:
    (state_dir / "file").write_text("{}")
    os.chown(state_dir / "file", OTHER_UID, OTHER_UID)
    with pytest.raises(UnsafePathError, match=f"another user .uid {OTHER_UID}"):
        open_file(state_dir / "file")
    (state_dir / "file").unlink()
    os.chown(state_dir, OTHER_UID, OTHER_UID)
    for refused in (open_file, open_log, create_and_replace):
        with pytest.raises(UnsafePathError, match="another user"):
            refused(state_dir / "file")
    assert not list(state_dir.iterdir())


def test_open_log_link_is_refused(state_dir: Path, precious: Path) -> None:
    (state_dir / "server.log").symlink_to(precious)
    with pytest.raises(UnsafePathError, match="symbolic link"):
        open_log(state_dir / "server.log", max_bytes=1)
    assert is_untouched(precious)


def test_open_log_hard_link_is_replaced(state_dir: Path, precious: Path) -> None:
    log = state_dir / "server.log"
    os.link(precious, log)
    with open(open_log(log), "ab") as file:
        file.write(b"line\n")
    assert log.read_text() == "line\n"
    assert is_untouched(precious)


def test_open_log_appends_until_it_is_too_long(state_dir: Path) -> None:
    log = state_dir / "server.log"
    for line in (b"one\n", b"two\n"):
        with open(open_log(log, max_bytes=100), "ab") as file:
            file.write(line)
    assert log.read_bytes() == b"one\ntwo\n"
    os.close(open_log(log, max_bytes=5))
    assert log.read_bytes() == b""
    assert stat.S_IMODE(log.stat().st_mode) == 0o600


def test_replace_file_replaces_a_link(state_dir: Path, precious: Path) -> None:
    (state_dir / "pid").symlink_to(precious)
    replace_file(state_dir / "pid", b"1\n")
    assert (state_dir / "pid").read_bytes() == b"1\n"
    assert not (state_dir / "pid").is_symlink()
    assert is_untouched(precious)
    assert [path.name for path in state_dir.iterdir()] == ["pid"]


def test_create_file_existing_name_is_kept(state_dir: Path, tmp_path: Path) -> None:
    (state_dir / "dangling").symlink_to(tmp_path / "new")
    assert not create_file(state_dir / "dangling", b"text")
    assert not (tmp_path / "new").exists()
    assert create_file(state_dir / "file", b"text")
    assert not create_file(state_dir / "file", b"other")
    assert (state_dir / "file").read_bytes() == b"text"


def test_remove_temporaries_in_linked_directory_is_refused(state_dir: Path, tmp_path: Path) -> None:
    (tmp_path / ".bashrc.1.tmp").touch()
    (state_dir / "data").symlink_to(tmp_path)
    with pytest.raises(UnsafePathError):
        remove_temporaries(state_dir / "data" / "bashrc")
    assert (tmp_path / ".bashrc.1.tmp").exists()


def test_remove_tree_does_not_follow_links(state_dir: Path, precious: Path) -> None:
    (state_dir / "data" / "inner").mkdir(parents=True)
    (state_dir / "data" / "inner" / "link").symlink_to(precious.parent)
    (state_dir / "link").symlink_to(precious.parent)
    for name in ("data", "link"):
        remove_tree(state_dir / name)
    assert list(state_dir.iterdir()) == []
    assert is_untouched(precious)


def test_remove_leftovers_finishes_a_removal(state_dir: Path) -> None:
    (state_dir / "data.removed.00").mkdir()
    (state_dir / "data.removed.00" / "file").touch()
    (state_dir / "data").mkdir()
    assert remove_leftovers(state_dir / "data")
    assert not remove_leftovers(state_dir / "data")
    assert [path.name for path in state_dir.iterdir()] == ["data"]


def test_make_private_dir_ignores_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        make_private_dir(tmp_path / ".claude" / "Agent Brain" / "data")
    finally:
        os.umask(before)
    for name in (".claude", ".claude/Agent Brain", ".claude/Agent Brain/data"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o700


def test_open_directory_closes_its_descriptor(state_dir: Path) -> None:
    with open_directory(state_dir) as descriptor:
        assert os.listdir(descriptor) == []
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


@pytest.mark.parametrize("kind", ["link", "dangling", "fifo", "linked directory"])
def test_require_safe_tree_names_planted_files(state_dir: Path, precious: Path, kind: str) -> None:
    (state_dir / "data" / "llamaindex").mkdir(parents=True)
    require_safe_tree(state_dir)
    planted = state_dir / "data" / "llamaindex" / "documents.sqlite3"
    if kind == "fifo":
        os.mkfifo(planted)
    else:
        targets = {"link": precious, "dangling": precious / "missing", "linked directory": precious.parent}
        planted.symlink_to(targets[kind])
    with pytest.raises(UnsafePathError) as caught:
        require_safe_tree(state_dir)
    assert str(planted) in caught.value.message
    assert caught.value.exit_code == 5
    assert "rm -r" in caught.value.hint


@needs_root
def test_require_safe_tree_of_another_user_is_refused(state_dir: Path) -> None:
    (state_dir / "data").mkdir()
    (state_dir / "data" / "file").touch()
    os.chown(state_dir / "data" / "file", OTHER_UID, OTHER_UID)
    with pytest.raises(UnsafePathError, match="another user"):
        require_safe_tree(state_dir)


def test_require_safe_tree_allows_named_links(state_dir: Path, precious: Path) -> None:
    (state_dir / "config.json").symlink_to(precious)
    (state_dir / "projects").mkdir()
    (state_dir / "projects" / "link").symlink_to(precious)
    require_safe_tree(state_dir, skip=("projects",), links_allowed=("config.json",))
    with pytest.raises(UnsafePathError):
        require_safe_tree(state_dir, skip=("projects",))


@needs_root
def test_make_private_dir_root_leaves_other_users_alone(tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    os.chown(theirs, OTHER_UID, OTHER_UID)
    with pytest.raises(UnsafePathError, match=f"uid {OTHER_UID}") as caught:
        make_private_dir(theirs / ".claude" / "state")
    assert "sudo" in caught.value.hint
    assert list(theirs.iterdir()) == []
    (theirs / "roots").mkdir()
    make_private_dir(theirs / "roots" / "state")


@needs_root
def test_open_directory_of_root_names_its_owner(public_tmp_path: Path, state_dir: Path) -> None:
    (state_dir / "config.json").write_text("{}")
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(OTHER_UID)
            os.setuid(OTHER_UID)
            open_file(state_dir / "config.json")
        except UnsafePathError as exc:
            os.write(writer, exc.message.encode())
        finally:
            os._exit(0)
    os.close(writer)
    with open(reader, "rb") as pipe:
        said = pipe.read().decode()
    os.waitpid(child, 0)
    assert said == f"{state_dir} belongs to another user (uid 0)."
