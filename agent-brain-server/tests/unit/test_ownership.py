"""What belongs to the user who runs the process, and what does not."""

import os

import pytest

from agent_brain_server.ownership import is_own, is_own_path


def test_own_file_and_directory_are_own(tmp_path):
    (tmp_path / "file").touch()
    assert is_own((tmp_path / "file").stat())
    assert is_own_path(tmp_path)


def test_missing_and_impossible_paths_are_not_own(tmp_path):
    assert not is_own_path(tmp_path / "missing")
    assert not is_own_path(tmp_path / "a\0b")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_link_of_another_user_to_an_own_file_is_not_own(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path)
    assert is_own_path(tmp_path / "link")
    os.chown(tmp_path / "link", 65533, 65533, follow_symlinks=False)
    assert not is_own_path(tmp_path / "link")
