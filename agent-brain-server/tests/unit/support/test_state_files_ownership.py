"""Files of the current user and of other users."""

import os
import subprocess
import sys

import pytest

from agent_brain_server.support.state_files import is_own, is_own_path


def test_is_own_path_of_own_file_and_directory(tmp_path):
    (tmp_path / "file").touch()
    assert is_own((tmp_path / "file").stat())
    assert is_own_path(tmp_path)


def test_is_own_path_missing_and_invalid_paths(tmp_path):
    assert not is_own_path(tmp_path / "missing")
    assert not is_own_path(tmp_path / "a\0b")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_is_own_path_link_of_another_user(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path)
    assert is_own_path(tmp_path / "link")
    os.chown(tmp_path / "link", 65533, 65533, follow_symlinks=False)
    assert not is_own_path(tmp_path / "link")


IN_A_NAMESPACE = """
import os, sys
from pathlib import Path
from agent_brain_server.support.state_files import is_own_path
file = Path(sys.argv[1])
os.unshare(0x10000000) if hasattr(os, "unshare") else __import__("ctypes").CDLL(None).unshare(0x10000000)
print(file.stat().st_uid == os.geteuid(), is_own_path(file))
"""


@pytest.mark.process
def test_is_own_overflow_uid_owns_nothing(tmp_path):
    (tmp_path / "file").touch()
    answer = subprocess.run(
        [sys.executable, "-c", IN_A_NAMESPACE, tmp_path / "file"], capture_output=True, text=True, check=True
    )
    if answer.stdout.startswith("False"):
        pytest.skip("this system allows no user namespaces")
    assert answer.stdout == "True False\n"


@pytest.mark.process
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_is_own_real_user_with_overflow_uid(tmp_path):
    (tmp_path / "file").touch()
    os.chown(tmp_path / "file", 65534, 65534)
    code = (
        "import encodings.ascii, os, sys; from pathlib import Path\n"
        "from agent_brain_server.support.state_files import is_own\n"
        "found = Path(sys.argv[1]).stat(); os.setuid(65534); print(is_own(found))"
    )
    answer = subprocess.run([sys.executable, "-c", code, tmp_path / "file"], capture_output=True, text=True, check=True)
    assert answer.stdout == "True\n"
