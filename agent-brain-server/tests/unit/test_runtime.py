"""The runtime file: what is written is read, and nothing that may lie there breaks a reader."""

import http.server
import json
import os
import stat
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent_brain_server.errors import StateDirError, UnknownSchemaError
from agent_brain_server.locking import StateLock
from agent_brain_server.project_root import generate_project_id
from agent_brain_server.runtime import (
    RuntimeState,
    SharedConfig,
    SharedPointer,
    delete_runtime,
    format_base_url,
    is_process_alive,
    measure_uptime,
    read_pointer,
    read_runtime,
    validate_runtime,
    write_pointer,
    write_runtime,
    write_shared_config,
)
from agent_brain_server.storage_paths import brain_home, lock_path, runtime_path, shared_config_path
from agent_brain_server.support.processes import read_start_time

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)


def make_state(**changes):
    values = {
        "mode": "project",
        "project_root": "/srv/große Projekte",
        "instance_id": "ds_012345",
        "base_url": "http://127.0.0.1:4321",
        "bind_host": "127.0.0.1",
        "port": 4321,
        "pid": os.getpid(),
        "pid_started_at": read_start_time(os.getpid()),
        "started_at": "2026-01-02T03:04:05+00:00",
    }
    return RuntimeState(**(values | changes))


@pytest.fixture(scope="module")
def answering_server():
    """Another program's HTTP server that gives the instance id `ds_012345` of itself."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"instance_id": "ds_012345"}).encode())

        def log_message(self, *_):
            """Keep quiet."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_what_is_written_is_read_and_deleted(tmp_path):
    state = make_state(token="geheim")
    write_runtime(tmp_path, state)
    assert read_runtime(tmp_path) == state
    assert [path.name for path in tmp_path.iterdir()] == ["runtime.json"]
    delete_runtime(tmp_path)
    assert read_runtime(tmp_path) is None
    delete_runtime(tmp_path)


def test_the_file_is_private_and_has_the_documented_keys(tmp_path):
    write_runtime(tmp_path, make_state())
    path = runtime_path(tmp_path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    document = json.loads(path.read_text())
    assert document["schema_version"] == 1
    required = {"mode", "project_root", "instance_id", "base_url", "bind_host", "port", "pid", "started_at"}
    assert required <= set(document)


def test_the_token_does_not_show_in_messages():
    assert "geheim" not in repr(make_state(token="geheim"))


def test_unknown_keys_are_ignored(tmp_path):
    document = make_state().model_dump() | {"colour": "blue"}
    runtime_path(tmp_path).write_text(json.dumps(document))
    assert read_runtime(tmp_path) == make_state()


@pytest.mark.parametrize("version", [0, 2, 99])
def test_an_unknown_schema_version_is_refused_by_name(tmp_path, version):
    runtime_path(tmp_path).write_text(json.dumps({"schema_version": version}))
    with pytest.raises(UnknownSchemaError, match=f"schema_version {version}"):
        read_runtime(tmp_path)


@pytest.mark.parametrize(
    "changes",
    [
        {"port": 0},
        {"port": 65536},
        {"pid": 0},
        {"pid": -1},
        {"pid": 2**64},
        {"base_url": "ftp://x"},
        {"base_url": "http://127.0.0.1:1@evil.example"},
        {"instance_id": ""},
        {"mode": "both"},
    ],
)
def test_a_file_with_an_impossible_value_counts_as_absent_and_is_reported(tmp_path, caplog, changes):
    runtime_path(tmp_path).write_text(json.dumps(make_state().model_dump() | changes))
    assert read_runtime(tmp_path) is None
    assert next(iter(changes)) in caplog.text


@pytest.mark.parametrize("content", ["", "{", '{"schema_version": 1', "[]", "null", "17", "\x00\x00", "[" * 100_000])
def test_a_torn_or_foreign_file_counts_as_absent_and_is_reported(tmp_path, caplog, content):
    runtime_path(tmp_path).write_text(content)
    assert read_runtime(tmp_path) is None
    assert "runtime.json" in caplog.text


def test_things_that_are_no_files_count_as_absent(tmp_path):
    path = runtime_path(tmp_path)
    os.mkfifo(path)
    assert read_runtime(tmp_path) is None
    path.unlink()
    path.mkdir()
    assert read_runtime(tmp_path) is None
    path.rmdir()
    path.symlink_to(path)
    assert read_runtime(tmp_path) is None


def test_a_huge_file_counts_as_absent(tmp_path):
    with runtime_path(tmp_path).open("wb") as file:
        file.truncate(2_000_000_000)
    assert read_runtime(tmp_path) is None


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.binary(max_size=300) | st.dictionaries(st.sampled_from(list(RuntimeState.model_fields)), json_values))
def test_no_content_crashes_a_reader(tmp_path, data):
    content = data if isinstance(data, bytes) else json.dumps(data).encode()
    runtime_path(tmp_path).write_bytes(content)
    try:
        state = read_runtime(tmp_path)
    except UnknownSchemaError:
        return
    assert state is None or isinstance(state, RuntimeState)


def test_a_reader_never_sees_a_half_written_file(tmp_path):
    states = [make_state(token="x" * 50_000), make_state(token="y")]
    write_runtime(tmp_path, states[0])
    done = threading.Event()

    def write():
        for turn in range(100):
            write_runtime(tmp_path, states[turn % 2])
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    while not done.is_set():
        assert read_runtime(tmp_path) in states
    writer.join()


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    write_runtime(tmp_path, make_state())

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space"):
        write_runtime(tmp_path, make_state(port=1))
    assert read_runtime(tmp_path) == make_state()
    assert len(list(tmp_path.iterdir())) == 1


def test_the_server_that_answers_with_its_id_is_valid(answering_server):
    assert validate_runtime(make_state(base_url=answering_server))


def test_a_port_that_answers_for_another_instance_is_not_valid(answering_server):
    assert not validate_runtime(make_state(base_url=answering_server, instance_id="ds_ffffff"))


def test_a_reused_pid_is_not_valid(answering_server):
    assert not validate_runtime(make_state(base_url=answering_server, pid_started_at="1"))


def test_an_ended_process_is_not_alive_even_as_a_zombie(answering_server):
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    state = make_state(base_url=answering_server, pid=child.pid, pid_started_at=read_start_time(child.pid))
    assert is_process_alive(state)
    assert child.stdin is not None
    child.stdin.close()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert not is_process_alive(state)
    assert not validate_runtime(state)
    child.wait()


def test_server_that_does_not_have_the_lock_open_is_not_valid(answering_server, tmp_path):
    state = make_state(base_url=answering_server)
    assert not validate_runtime(state, state_dir=tmp_path)
    lock_path(tmp_path).touch()
    assert not validate_runtime(state, state_dir=tmp_path)
    with StateLock(tmp_path):
        assert validate_runtime(state, state_dir=tmp_path)


def test_a_port_without_a_listener_is_not_valid():
    assert not validate_runtime(make_state(base_url="http://127.0.0.1:1"))


@pytest.mark.parametrize(
    ("bind_host", "expected"),
    [("127.0.0.1", "http://127.0.0.1:80"), ("0.0.0.0", "http://127.0.0.1:80"), ("::1", "http://[::1]:80")],
)
def test_the_address_can_be_connected_to(bind_host, expected):
    assert format_base_url(bind_host, 80) == expected


# The shared daemon


POINTER = SharedPointer(project_root="/srv/große Projekte", project_id="p_1a2b3c4d", base_url="http://127.0.0.1:45123")


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("AGENT_BRAIN_HOME", str(tmp_path / "home"))
    return brain_home()


def test_the_daemons_own_file_names_no_project(tmp_path):
    daemon = make_state(mode="shared", project_root=None)
    write_runtime(tmp_path, daemon)
    assert "project_root" not in json.loads(runtime_path(tmp_path).read_text())
    assert read_runtime(tmp_path) == daemon
    assert read_pointer(tmp_path) is None


def test_a_project_server_names_its_project(tmp_path, caplog):
    document = make_state().model_dump(exclude={"project_root"})
    runtime_path(tmp_path).write_text(json.dumps(document))
    assert read_runtime(tmp_path) is None
    assert "project_root is missing" in caplog.text


def test_a_pointer_has_the_documented_keys_and_is_no_servers_file(tmp_path, caplog):
    write_pointer(tmp_path, POINTER)
    assert json.loads(runtime_path(tmp_path).read_text()) == {
        "schema_version": 1,
        "mode": "shared",
        "project_root": "/srv/große Projekte",
        "project_id": "p_1a2b3c4d",
        "base_url": "http://127.0.0.1:45123",
    }
    assert stat.S_IMODE(runtime_path(tmp_path).stat().st_mode) == 0o600
    assert read_pointer(tmp_path) == POINTER
    assert read_runtime(tmp_path) is None
    assert caplog.text == ""


@pytest.mark.parametrize("changes", [{"project_id": "../../etc"}, {"base_url": "http://a@b"}, {"project_root": None}])
def test_a_pointer_with_an_impossible_value_counts_as_absent_and_is_reported(tmp_path, caplog, changes):
    runtime_path(tmp_path).write_text(json.dumps(POINTER.model_dump() | changes))
    assert read_pointer(tmp_path) is None
    assert next(iter(changes)) in caplog.text


def test_a_pointer_of_an_unknown_version_is_refused_by_name(tmp_path):
    runtime_path(tmp_path).write_text(json.dumps(POINTER.model_dump() | {"schema_version": 2}))
    with pytest.raises(UnknownSchemaError, match="schema_version 2"):
        read_pointer(tmp_path)


def test_shared_config_defaults_are_the_documented_ones():
    assert SharedConfig().model_dump() == {
        "bind_host": "127.0.0.1",
        "port": 45123,
        "embedding_model": "all-MiniLM-L6-v2",
        "chunk_size": 512,
        "chunk_overlap": 50,
        "max_concurrent_indexing": 2,
        "max_open_projects": 8,
        "project_idle_seconds": 600,
    }


def test_shared_config_is_created_once_and_empty(home):
    assert write_shared_config()
    assert json.loads(shared_config_path().read_text()) == {}
    shared_config_path().write_text('{"port": 50000}')
    assert not write_shared_config()
    assert json.loads(shared_config_path().read_text()) == {"port": 50000}
    assert write_shared_config(force=True)
    assert SharedConfig.model_validate_json(shared_config_path().read_bytes()) == SharedConfig()


def test_shared_settings_that_cannot_be_written_are_reported(home, tmp_path):
    (tmp_path / "home").write_text("in the way")
    with pytest.raises(StateDirError, match="home"):
        write_shared_config()


def test_a_project_id_is_the_same_from_every_path_that_leads_there(tmp_path):
    root = tmp_path / "projekt ä"
    root.mkdir()
    (tmp_path / "link").symlink_to(root)
    project_id = generate_project_id(root)
    assert project_id == generate_project_id(tmp_path / "link") == generate_project_id(root / ".." / "projekt ä")
    assert project_id != generate_project_id(tmp_path)
    assert SharedPointer(project_root=str(root), project_id=project_id, base_url="http://127.0.0.1:1")


def test_the_uptime_is_the_age_of_the_process_whatever_the_file_and_the_clock_say():
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as server:
        state = make_state(pid=server.pid, pid_started_at=read_start_time(server.pid))
        assert state.started_at.startswith("2026-01")
        assert measure_uptime(state) < 60
        server.kill()


@pytest.mark.parametrize(
    ("begun", "least", "most"),
    [(timedelta(hours=-1), 3_599, 3_900), (timedelta(hours=1), 0, 0), ("soon", 0, 0), ("2026-01-01", 0, 0)],
)
def test_without_its_process_the_uptime_is_what_the_clock_says_and_never_negative(begun, least, most):
    started_at = (datetime.now(UTC) + begun).isoformat() if isinstance(begun, timedelta) else begun
    assert least <= measure_uptime(make_state(pid_started_at="0", started_at=started_at)) <= most
