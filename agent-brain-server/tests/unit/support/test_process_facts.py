"""Every source of facts about processes gives the same answers, as far as it knows them."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent_brain_server.support import process_facts, processes
from agent_brain_server.support.process_facts import UNKNOWN_START, ProcessFacts, ProcFacts, PsutilFacts, SignalFacts

SOURCES = [ProcFacts, PsutilFacts, SignalFacts]
INFORMED = [ProcFacts, PsutilFacts]


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", "import time; print(flush=True); time.sleep(600)"], stdout=-1)
    assert process.stdout is not None
    process.stdout.readline()
    yield process
    process.kill()
    process.communicate()


@pytest.fixture
def ended() -> int:
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


@pytest.mark.parametrize("source", SOURCES)
def test_start_time_is_constant_word(source: type[ProcessFacts], sleeper: subprocess.Popen[bytes]) -> None:
    started_at = source().start_time(sleeper.pid)
    assert started_at
    assert len(started_at.split()) == 1
    assert source().start_time(sleeper.pid) == started_at
    assert source().is_own(sleeper.pid)


@pytest.mark.parametrize("source", SOURCES)
def test_ended_process_has_no_facts(source: type[ProcessFacts], ended: int) -> None:
    facts = source()
    assert facts.start_time(ended) is None
    assert facts.age(ended) is None
    assert facts.resident_bytes(ended) == 0
    assert facts.cpu_seconds(ended) is None
    assert not facts.is_own(ended)
    with pytest.raises(FileNotFoundError):
        facts.has_open(ended, Path(__file__).stat())


@pytest.mark.parametrize("source", INFORMED)
def test_zombie_has_ended(source: type[ProcessFacts]) -> None:
    process = subprocess.Popen(["true"], stdout=subprocess.PIPE)
    try:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # it stays a zombie
        assert source().start_time(process.pid) is None
    finally:
        process.communicate()


@pytest.mark.parametrize("source", INFORMED)
def test_memory_and_age_are_known(source: type[ProcessFacts]) -> None:
    facts, own = source(), os.getpid()
    assert 5_000_000 < facts.resident_bytes(own) < 50_000_000_000
    assert (facts.cpu_seconds(own) or 0) > 0
    assert (facts.age(own) or 0) > 0


@pytest.mark.parametrize("source", INFORMED)
def test_open_file_is_found(source: type[ProcessFacts], tmp_path: Path) -> None:
    opened, other = tmp_path / "opened", tmp_path / "other"
    other.touch()
    with opened.open("w"):
        assert source().has_open(os.getpid(), opened.stat())
        assert not source().has_open(os.getpid(), other.stat())


def test_unknown_start_matches_any_known_one(monkeypatch: pytest.MonkeyPatch, ended: int) -> None:
    monkeypatch.setattr(processes, "process_facts", SignalFacts)
    own = os.getpid()
    assert processes.read_start_time(own) == UNKNOWN_START
    assert processes.is_same_process(own, "123456")
    assert not processes.is_same_process(ended, "123456")


def test_start_unknown_to_writer_matches(sleeper: subprocess.Popen[bytes]) -> None:
    assert processes.is_same_process(sleeper.pid, UNKNOWN_START)
    assert not processes.is_same_process(sleeper.pid, "1")


def test_source_without_proc_uses_signals(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    process_facts.process_facts.cache_clear()
    monkeypatch.setattr(process_facts, "PROC", tmp_path)
    try:
        assert isinstance(process_facts.process_facts(), SignalFacts)
        process_facts.process_facts.cache_clear()
        monkeypatch.setattr(sys, "platform", "darwin")
        assert isinstance(process_facts.process_facts(), PsutilFacts)
    finally:
        process_facts.process_facts.cache_clear()
