"""`owner.json`: the project that a state directory belongs to."""

import shutil

import pytest

from agent_brain_server.errors import StateDirError
from agent_brain_server.lifecycle.registry import (
    claim_state_dir,
    find_other_owner,
    release_state_dir,
    require_own_state_dir,
)
from agent_brain_server.storage_paths import owner_path


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.delenv("DOC_SERVE_STATE_DIR", raising=False)
    monkeypatch.setenv("AGENT_BRAIN_HOME", str(tmp_path / "home"))


@pytest.fixture
def first(tmp_path):
    root = tmp_path / "first"
    root.mkdir()
    return root


@pytest.fixture
def second(tmp_path):
    root = tmp_path / "second"
    root.mkdir()
    return root


@pytest.fixture
def state_dir(tmp_path):
    directory = tmp_path / "state"
    directory.mkdir()
    return directory


def test_claimed_state_dir_is_refused_to_another(first, second, state_dir):
    require_own_state_dir(first, state_dir)
    claim_state_dir(first, state_dir)
    claim_state_dir(first, state_dir)
    for attempt in (require_own_state_dir, claim_state_dir):
        with pytest.raises(StateDirError, match=f"belongs to the project {first}") as caught:
            attempt(second, state_dir)
        assert caught.value.code == "state_dir_in_use"
    assert find_other_owner(first, state_dir) is None


def test_claim_ends_with_the_root_or_release(first, second, state_dir):
    claim_state_dir(first, state_dir)
    release_state_dir(state_dir)
    claim_state_dir(second, state_dir)
    second.rmdir()
    claim_state_dir(first, state_dir)
    assert find_other_owner(first, state_dir) is None


def test_default_state_dir_of_a_copy_is_its_own(first, second):
    state_dir = first / ".claude/Agent Brain"
    state_dir.mkdir(parents=True)
    claim_state_dir(first, state_dir)
    copy = second / ".claude/Agent Brain"
    shutil.copytree(state_dir, copy)
    claim_state_dir(second, copy)
    assert find_other_owner(second, state_dir) == first
    assert find_other_owner(first, copy) == second


def test_named_state_dir_inside_a_copy_is_its_own(first, second):
    claimed = first / "state"
    claimed.mkdir()
    claim_state_dir(first, claimed)
    shutil.copytree(claimed, second / "state")
    assert find_other_owner(second, second / "state") is None


def test_claim_of_nested_project_is_refused_to_outer(first):
    nested, state_dir = first / "nested", first / "state"
    nested.mkdir()
    state_dir.mkdir()
    claim_state_dir(nested, state_dir)
    assert find_other_owner(first, state_dir) == nested


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"project_root": 3}', '{"project_root": "x"}', "\0"])
def test_damaged_record_counts_as_absent(first, second, state_dir, content):
    owner_path(state_dir).write_text(content)
    assert find_other_owner(second, state_dir) is None
    claim_state_dir(first, state_dir)
    assert find_other_owner(second, state_dir) == first


def test_claim_that_cannot_be_written_is_an_error(first, state_dir):
    owner_path(state_dir).mkdir()
    with pytest.raises(StateDirError, match="cannot be written"):
        claim_state_dir(first, state_dir)
