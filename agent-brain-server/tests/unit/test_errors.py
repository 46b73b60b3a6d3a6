"""Each error class is complete and listed in the tree of the module's docstring."""

import pytest

from agent_brain_server import errors
from agent_brain_server.errors import AgentBrainError

CLASSES = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, AgentBrainError)]


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_each_error_has_status_code_exit_code_and_hint(kind: type[AgentBrainError]) -> None:
    error = kind("The message.")
    assert 400 <= error.status < 600
    assert 0 < error.exit_code < 8
    assert error.code.isidentifier()
    assert error.code == error.code.lower()
    assert error.hint.endswith((".", ">")) or ":" in error.hint
    assert (kind("m", hint="h", code="c").hint, kind("m", code="c").code) == ("h", "c")


def test_docstring_tree_names_every_class() -> None:
    assert [kind.__name__ for kind in CLASSES if kind.__name__ not in (errors.__doc__ or "")] == []


def test_codes_are_unique() -> None:
    codes = [kind.default_code for kind in CLASSES]
    assert len(set(codes)) == len(codes)
