"""Files that are read during writes, by writers that are killed."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from agent_brain_server.support.atomic_file import (
    MAX_DOCUMENT_BYTES,
    UnreadableDocumentError,
    read_document,
    write_atomic,
)
from agent_brain_server.support.state_files import remove_temporaries

WRITE_FOREVER = """
import sys
from pathlib import Path
from agent_brain_server.support.atomic_file import write_atomic
number = 0
while True:
    number += 1
    write_atomic(Path(sys.argv[1]), {"number": number, "filling": str(number) * 20_000})
    if number == 1:
        print("writing", flush=True)
"""


def test_write_atomic_is_read_back_and_private(tmp_path: Path) -> None:
    path = tmp_path / "a file.json"
    assert read_document(path) is None
    for document in ({"a": 1}, {"b": ["ü", None, "\ud800"]}):
        write_atomic(path, document)
        assert read_document(path) == document
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.process
def test_write_atomic_killed_writers_leave_whole_documents(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    for _ in range(3):
        with subprocess.Popen([sys.executable, "-c", WRITE_FOREVER, str(path)], stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            assert writer.stdout.readline() == b"writing\n"
            deadline = time.monotonic() + 0.3
            while time.monotonic() < deadline:
                document = read_document(path)
                assert document is not None
                assert document["filling"] == str(document["number"]) * 20_000
            writer.send_signal(signal.SIGKILL)
        assert read_document(path)
    remove_temporaries(path)
    assert list(tmp_path.iterdir()) == [path]


def test_write_atomic_concurrent_writers_leave_one_document(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    documents = [{"writer": number, "filling": "x" * 5_000} for number in range(8)]
    threads = [threading.Thread(target=write_atomic, args=(path, document)) for document in documents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert read_document(path) in documents
    assert list(tmp_path.iterdir()) == [path]


def test_write_atomic_failure_keeps_old_content(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    write_atomic(path, {"old": True})
    with pytest.raises(TypeError):
        write_atomic(path, {"new": object()})
    with pytest.raises(OSError, match="missing"):
        write_atomic(tmp_path / "missing" / "state.json", {})
    (tmp_path / "directory.json").mkdir()
    with pytest.raises(IsADirectoryError):
        write_atomic(tmp_path / "directory.json", {})
    assert read_document(path) == {"old": True}
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["directory.json", "state.json"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "not valid JSON"),
        (b'{"a": 1', "not valid JSON"),
        (b"\xff\xfe{}", "not valid JSON"),
        (b"[1]", "JSON list"),
        (b"7", "JSON int"),
        (b"[" * 100_000, "not valid JSON"),
        (b'{"a": "' + b"x" * MAX_DOCUMENT_BYTES + b'"}', "more than"),
    ],
    ids=range(7),
)
def test_read_document_invalid_content_is_named(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "state.json"
    path.write_bytes(content)
    with pytest.raises(UnreadableDocumentError, match=said) as caught:
        read_document(path)
    assert str(path) in str(caught.value)


def test_read_document_special_file_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "dangling").symlink_to("nowhere")
    for name in ("fifo", "folder", "loop", "dangling"):
        with pytest.raises(UnreadableDocumentError):
            read_document(tmp_path / name)
    (tmp_path / "file").write_text(json.dumps({}))
    assert read_document(tmp_path / "file" / "below") is None


def test_remove_temporaries_keeps_those_of_other_files(tmp_path: Path) -> None:
    for name in (".state.json.abc.tmp", ".other.json.abc.tmp", "state.json", ".state.json.swp"):
        (tmp_path / name).touch()
    remove_temporaries(tmp_path / "state.json")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [
        ".other.json.abc.tmp",
        ".state.json.swp",
        "state.json",
    ]
