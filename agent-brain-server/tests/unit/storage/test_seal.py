"""A seal finds every byte that changed while nobody had the files open."""

from pathlib import Path

import pytest

from agent_brain_server.storage.seal import SealState, break_seal, seal_files


def seal(directory: Path) -> Path:
    (directory / "below").mkdir()
    (directory / "a.bin").write_bytes(bytes(range(256)) * 100)
    (directory / "below/b.bin").write_bytes(b"b" * 1000)
    seal_files(directory / "seal", list_files(directory))
    return directory / "seal"


def list_files(directory: Path) -> list[Path]:
    return [directory / "a.bin", directory / "below/b.bin"]


def test_untouched_files_are_intact_once_and_the_seal_is_gone(tmp_path: Path) -> None:
    path = seal(tmp_path)
    assert break_seal(path, list_files(tmp_path)) is SealState.INTACT
    assert break_seal(path, list_files(tmp_path)) is SealState.MISSING


@pytest.mark.parametrize("name", ["a.bin", "below/b.bin", "seal"])
def test_one_changed_bit_is_found(tmp_path: Path, name: str) -> None:
    path = seal(tmp_path)
    data = bytearray((tmp_path / name).read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / name).write_bytes(data)
    assert break_seal(path, list_files(tmp_path)) is SealState.BROKEN


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"[]", b"{}"])
def test_a_seal_that_says_nothing_is_broken(tmp_path: Path, content: bytes) -> None:
    path = seal(tmp_path)
    path.write_bytes(content)
    assert break_seal(path, list_files(tmp_path)) is SealState.BROKEN


def test_a_lost_file_is_found(tmp_path: Path) -> None:
    path = seal(tmp_path)
    (tmp_path / "a.bin").unlink()
    assert break_seal(path, list_files(tmp_path)) is SealState.BROKEN


def test_a_file_that_is_not_there_is_not_sealed(tmp_path: Path) -> None:
    seal_files(tmp_path / "seal", [tmp_path / "missing"])
    assert break_seal(tmp_path / "seal", []) is SealState.MISSING
