"""What belongs to the user who runs the process, and what does not."""

import os
import subprocess
import sys

import pytest

from agent_brain_server.support.state_files import is_own, is_own_path


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


IN_A_NAMESPACE = """
import os, sys
from pathlib import Path
from agent_brain_server.support.state_files import is_own_path
file = Path(sys.argv[1])
os.unshare(0x10000000) if hasattr(os, "unshare") else __import__("ctypes").CDLL(None).unshare(0x10000000)
print(file.stat().st_uid == os.geteuid(), is_own_path(file))
"""


@pytest.mark.process
def test_overflow_uid_of_a_user_namespace_owns_nothing(tmp_path):
    (tmp_path / "file").touch()
    answer = subprocess.run(
        [sys.executable, "-c", IN_A_NAMESPACE, tmp_path / "file"], capture_output=True, text=True, check=True
    )
    if answer.stdout.startswith("False"):
        pytest.skip("this system allows no user namespaces")
    assert answer.stdout == "True False\n"


@pytest.mark.process
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_user_with_the_number_of_the_overflow_uid_owns_its_files(tmp_path):
    (tmp_path / "file").touch()
    os.chown(tmp_path / "file", 65534, 65534)
    code = (
        "import encodings.ascii, os, sys; from pathlib import Path\n"
        "from agent_brain_server.support.state_files import is_own\n"
        "found = Path(sys.argv[1]).stat(); os.setuid(65534); print(is_own(found))"
    )
    answer = subprocess.run([sys.executable, "-c", code, tmp_path / "file"], capture_output=True, text=True, check=True)
    assert answer.stdout == "True\n"
