"""Files that are not Chroma's: only whether they are as they were left, and how often nobody left them in order."""

from pathlib import Path

import pytest

from agent_brain_server.storage.chroma_guard import DATABASE_NAME, MAX_UNCLOSED, UNCLOSED_NAME, ChromaGuard

INDEX = "0f1e2d3c"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / DATABASE_NAME).write_bytes(b"rows" * 100)
    (tmp_path / INDEX).mkdir()
    for name in ("header.bin", "data_level0.bin"):
        (tmp_path / INDEX / name).write_bytes(b"graph" * 100)
    return tmp_path


def use(directory: Path, *, is_sound: bool = True) -> str | None:
    guard = ChromaGuard(directory)
    reason = guard.begin()
    guard.end(is_sound=is_sound)
    return reason


def test_files_that_were_left_in_order_are_opened_again(directory):
    assert [use(directory) for _ in range(5)] == [None] * 5
    (directory / "vectors.sqlite3").write_text("not Chroma's")
    assert use(directory) is None


@pytest.mark.parametrize("name", [DATABASE_NAME, f"{INDEX}/header.bin", f"{INDEX}/data_level0.bin"])
@pytest.mark.parametrize("damage", ["flip", "cut", "remove"])
def test_a_file_that_changed_while_it_lay_still_is_found(directory, name, damage):
    use(directory)
    path = directory / name
    data = bytearray(path.read_bytes())
    data[7] ^= 4
    path.unlink()
    if damage != "remove":
        path.write_bytes(data if damage == "flip" else data[:9])
    assert use(directory) == "they are not what was last written to them"
    assert use(directory) is None


def test_uses_that_nobody_ended_are_allowed_a_few_times(directory):
    reasons = [ChromaGuard(directory).begin() for _ in range(MAX_UNCLOSED + 2)]
    assert reasons == [None] * MAX_UNCLOSED + ["2 servers in a row have ended while they used them", None]


def test_an_orderly_end_begins_the_count_anew(directory):
    for _ in range(3):
        assert ChromaGuard(directory).begin() is None
        assert use(directory) is None


def test_a_use_in_which_chroma_failed_counts_as_not_ended(directory):
    for _ in range(MAX_UNCLOSED):
        assert use(directory, is_sound=False) is None
    assert use(directory) is not None


@pytest.mark.parametrize("text", [b"", b"\xff\xfe", b"-3", b"9" * 5_000])
def test_a_count_that_was_damaged_is_no_reason_to_fail(directory, text):
    (directory / UNCLOSED_NAME).write_bytes(text)
    use(directory)
    assert use(directory) is None
