"""What the pool decides by, and what it tells those who waited in vain."""

from agent_brain_server.errors import AgentBrainError, StoreError
from agent_brain_server.services.pool_entry import PoolEntry, describe_failure, is_busy, is_unused
from agent_brain_server.services.project_directory import describe_project


class Index:
    def __init__(self, answer: bool | Exception) -> None:
        self.answer = answer

    def is_busy(self) -> bool:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def retire(self) -> None: ...

    def close(self) -> None: ...


def test_an_entry_is_unused_while_nobody_has_it_and_it_stays() -> None:
    assert is_unused(PoolEntry[Index]())
    assert not is_unused(PoolEntry[Index](leases=1))
    assert not is_unused(PoolEntry[Index](is_closing=True))


def test_an_index_whose_store_is_broken_is_not_busy() -> None:
    assert is_busy(Index(True))
    assert not is_busy(Index(False))
    assert not is_busy(Index(StoreError("broken")))


def test_a_failure_names_the_project_and_the_reason(tmp_path) -> None:
    project = describe_project(tmp_path)
    own = describe_failure(project, StoreError("The disk is full.", hint="Make room."))
    assert (own.status, own.code, own.hint) == (503, "project_unavailable", "Make room.")
    assert project.project_id in own.message
    assert "The disk is full." in own.message
    foreign = describe_failure(project, ValueError("odd"))
    assert "ValueError: odd" in foreign.message
    assert foreign.hint == AgentBrainError.default_hint
