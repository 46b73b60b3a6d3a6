"""What the pool notes about a project, and what is told of one that can't be opened."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from agent_brain_server.errors import AgentBrainError, ConfigError, StoreError
from agent_brain_server.lifecycle.registry import RegisteredProject
from agent_brain_server.project.pool import PoolEntry, describe_failure, is_busy, is_unused

PROJECT = RegisteredProject("p_12345678", Path("/srv/secret place"), "2026-01-02T03:04:05+00:00")


@dataclass
class Index:
    busy: bool = False
    fault: Exception | None = None

    def is_busy(self) -> bool:
        if self.fault is not None:
            raise self.fault
        return self.busy

    def retire(self) -> None:
        """Nothing streams."""

    def close(self) -> None:
        """Nothing is open."""


@pytest.mark.parametrize(
    ("leases", "is_closing", "unused"), [(0, False, True), (1, False, False), (0, True, False), (2, True, False)]
)
def test_it_is_unused_while_nobody_has_it_and_nobody_closes_it(leases: int, is_closing: bool, unused: bool) -> None:
    entry: PoolEntry[Index] = PoolEntry(Index(), leases=leases, is_closing=is_closing)
    assert is_unused(entry) is unused


def test_an_index_is_busy_where_it_says_so_and_not_where_its_store_is_broken() -> None:
    assert is_busy(Index(busy=True))
    assert not is_busy(Index())
    assert not is_busy(Index(fault=StoreError("damaged")))
    with pytest.raises(ZeroDivisionError):  # a fault of ours is not hidden
        is_busy(Index(fault=ZeroDivisionError()))


def test_two_entries_are_never_the_same() -> None:
    entry: PoolEntry[Index] = PoolEntry(last_used=1.0)
    assert entry != PoolEntry(last_used=1.0)


def test_a_failure_names_the_project_by_its_id_with_the_reason_and_what_to_do() -> None:
    told = describe_failure(PROJECT, ConfigError("chunk_size 3 is not allowed.", hint="Correct chunk_size."))
    assert (told.status, told.code, told.hint) == (503, "project_unavailable", "Correct chunk_size.")
    assert told.message == "The index of project p_12345678 can't be opened: chunk_size 3 is not allowed."
    unforeseen = describe_failure(PROJECT, ValueError("x"))
    assert unforeseen.message.endswith("ValueError: x.")
    assert unforeseen.hint == AgentBrainError.default_hint
