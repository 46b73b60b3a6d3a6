"""The mark by which an installation recognizes the indexes that it made."""

import json
import threading
from pathlib import Path

import pytest

from agent_brain_server.errors import StateDirError
from agent_brain_server.storage.origin import ensure_key, has_content, make_origin, read_origin


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AGENT_BRAIN_HOME", str(tmp_path / "home"))
    (tmp_path / "data").mkdir(mode=0o700)
    return tmp_path / "data"


def test_origin_made_here_is_recognized(data: Path) -> None:
    key = ensure_key()
    assert read_origin(data, key) is None
    mark = make_origin(data, key)
    assert read_origin(data, ensure_key()) == mark
    assert (data / "origin.json").stat().st_mode & 0o777 == 0o600


def test_origin_of_another_installation_is_none(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_origin(data, ensure_key())
    monkeypatch.setenv("AGENT_BRAIN_HOME", str(tmp_path / "other"))
    assert read_origin(data, ensure_key()) is None


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"origin": 1}', '{"origin": "a", "code": "\\ud800"}', "[" * 900, "link", "directory"]
)
def test_origin_that_is_not_ours_is_none(data: Path, content: str) -> None:
    path = data / "origin.json"
    if content == "link":
        path.symlink_to(data)
    elif content == "directory":
        path.mkdir()
    else:
        path.write_text(content)
    assert read_origin(data, ensure_key()) is None


def test_origin_with_other_mark_is_none(data: Path) -> None:
    make_origin(data, ensure_key())
    document = json.loads((data / "origin.json").read_text())
    (data / "origin.json").write_text(json.dumps(document | {"origin": "0" * 32}))
    assert read_origin(data, ensure_key()) is None


def test_ensure_key_at_once_gives_one_key(data: Path, tmp_path: Path) -> None:
    keys: list[bytes] = []
    threads = [threading.Thread(target=lambda: keys.append(ensure_key())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(keys) == 8
    assert len(set(keys)) == 1
    assert (tmp_path / "home" / "origin.key").stat().st_mode & 0o777 == 0o600


def test_ensure_key_that_is_cut_is_replaced(data: Path, tmp_path: Path) -> None:
    ensure_key()
    (tmp_path / "home" / "origin.key").write_bytes(b"short")
    assert len(ensure_key()) == 32


def test_ensure_key_behind_a_link_is_refused(data: Path, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "origin.key").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StateDirError):
        ensure_key()


def test_has_content_ignores_empty_directories(data: Path) -> None:
    (data / "llamaindex").mkdir()
    assert not has_content(data)
    (data / "llamaindex" / "documents.sqlite3").touch()
    assert has_content(data)
