"""Servers that are gone, silent, of another project or of another version, ports that are taken."""

import json
import os
import socket

import pytest

from agent_brain_cli.diagnosis import servers
from agent_brain_server.lifecycle import registry
from agent_brain_server.locking import acquire_lock, release_lock
from agent_brain_server.storage_paths import prepare_brain_home, prepare_state_dir, runtime_path


@pytest.fixture
def state_dir(look):
    """The project's state directory, made."""
    place = look().target.state_dir
    prepare_state_dir(place)
    return place


@pytest.fixture
def held(state_dir):
    """The lock, held by this process."""
    assert acquire_lock(state_dir)
    yield state_dir
    release_lock(state_dir)


def write_runtime(state_dir, **fields):
    document = {
        "schema_version": 1,
        "mode": "project",
        "project_root": "/p",
        "instance_id": "ds_000000",
        "base_url": "http://127.0.0.1:9",
        "bind_host": "127.0.0.1",
        "port": 9,
        "pid": os.getpid(),
        "started_at": "2026-01-01T00:00:00+00:00",
    }
    runtime_path(state_dir).write_text(json.dumps(document | fields))


@pytest.mark.parametrize(
    "check",
    [
        servers.check_server,
        servers.check_stale_files,
        servers.check_port,
        servers.check_registry,
        servers.check_versions,
    ],
)
def test_without_a_server_all_is_well(check, look, tmp_path):
    assert check(look()).status == "ok"
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["project"]


def test_what_a_killed_server_left_is_a_warning(look, state_dir):
    write_runtime(state_dir)
    finding = servers.check_stale_files(look())
    assert finding.status == "warning"
    assert str(runtime_path(state_dir)) in finding.message
    assert servers.check_server(look()).status == "ok"


def test_a_held_lock_without_a_runtime_file_names_the_holder(look, held):
    finding = servers.check_server(look())
    assert finding.status == "failed"
    assert str(os.getpid()) in finding.message
    assert "stop --force" in str(finding.next_step)
    assert servers.check_stale_files(look()).status == "ok"


def test_a_server_that_does_not_answer_is_told_with_its_address(look, held):
    write_runtime(held)
    finding = servers.check_server(look())
    assert finding.status == "failed"
    assert "http://127.0.0.1:9" in finding.message
    assert "agent-brain logs" in str(finding.next_step)


def test_a_server_of_another_version_is_to_be_started_again(look, held):
    write_runtime(held, version="0.0.1")
    finding = servers.check_versions(look())
    assert finding.status == "warning"
    assert finding.next_step == "agent-brain stop && agent-brain start"


def test_a_runtime_file_of_the_future_is_told_and_not_a_crash(look, held):
    write_runtime(held, schema_version=99)
    assert servers.check_versions(look()).status == "failed"


def test_a_port_that_is_taken_is_told(look, state_dir):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        (state_dir / "config.json").write_text(json.dumps({"port": port}))
        finding = servers.check_port(look())
        assert finding.status == "failed"
        assert str(port) in finding.message
    assert servers.check_port(look()).status == "ok"


def test_a_project_that_is_gone_is_counted(look, tmp_path):
    registry.register(tmp_path / "gone", tmp_path / "gone" / "state")
    registry.register(look().target.project_root, look().target.state_dir)
    finding = servers.check_registry(look())
    assert finding.status == "warning"
    assert finding.message.startswith("1 of 2")


def test_a_daemon_that_is_wanted_and_does_not_run_is_a_failure(look, state_dir):
    prepare_brain_home()
    (state_dir / "config.json").write_text('{"mode": "shared"}')
    patient = look()
    assert patient.is_shared
    finding = servers.check_server(patient)
    assert (finding.status, finding.next_step) == ("failed", "agent-brain start --mode shared")
