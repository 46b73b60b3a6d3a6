"""The runtime file is read back as written, and no other content breaks a reader."""

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

from agent_brain_server import __version__
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
    """An HTTP server that answers with the instance id `ds_012345`."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"instance_id": "ds_012345"}).encode())

        def log_message(self, *_):
            """Log nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_write_runtime_is_read_and_deleted(tmp_path):
    state = make_state(token="geheim")
    write_runtime(tmp_path, state)
    assert read_runtime(tmp_path) == state
    assert [path.name for path in tmp_path.iterdir()] == ["runtime.json"]
    delete_runtime(tmp_path)
    assert read_runtime(tmp_path) is None
    delete_runtime(tmp_path)


def test_runtime_file_is_private_with_documented_keys(tmp_path):
    write_runtime(tmp_path, make_state())
    path = runtime_path(tmp_path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    document = json.loads(path.read_text())
    assert document["schema_version"] == 1
    required = {"mode", "project_root", "instance_id", "base_url", "bind_host", "port", "pid", "started_at"}
    assert required <= set(document)


def test_runtime_state_repr_hides_the_token():
    assert "geheim" not in repr(make_state(token="geheim"))


def test_read_runtime_ignores_unknown_keys(tmp_path):
    document = make_state().model_dump() | {"colour": "blue"}
    runtime_path(tmp_path).write_text(json.dumps(document))
    assert read_runtime(tmp_path) == make_state()


@pytest.mark.parametrize("version", [0, 2, 99])
def test_read_runtime_unknown_schema_is_refused(tmp_path, version):
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
def test_read_runtime_invalid_value_counts_as_missing(tmp_path, caplog, changes):
    runtime_path(tmp_path).write_text(json.dumps(make_state().model_dump() | changes))
    assert read_runtime(tmp_path) is None
    assert next(iter(changes)) in caplog.text


@pytest.mark.parametrize("content", ["", "{", '{"schema_version": 1', "[]", "null", "17", "\x00\x00", "[" * 100_000])
def test_read_runtime_damaged_file_counts_as_missing(tmp_path, caplog, content):
    runtime_path(tmp_path).write_text(content)
    assert read_runtime(tmp_path) is None
    assert "runtime.json" in caplog.text


def test_read_runtime_special_file_counts_as_missing(tmp_path):
    path = runtime_path(tmp_path)
    os.mkfifo(path)
    assert read_runtime(tmp_path) is None
    path.unlink()
    path.mkdir()
    assert read_runtime(tmp_path) is None
    path.rmdir()
    path.symlink_to(path)
    assert read_runtime(tmp_path) is None


def test_read_runtime_huge_file_counts_as_missing(tmp_path):
    with runtime_path(tmp_path).open("wb") as file:
        file.truncate(2_000_000_000)
    assert read_runtime(tmp_path) is None


@pytest.mark.slow
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.binary(max_size=300) | st.dictionaries(st.sampled_from(list(RuntimeState.model_fields)), json_values))
def test_read_runtime_survives_any_content(tmp_path, data):
    content = data if isinstance(data, bytes) else json.dumps(data).encode()
    runtime_path(tmp_path).write_bytes(content)
    try:
        state = read_runtime(tmp_path)
    except UnknownSchemaError:
        return
    assert state is None or isinstance(state, RuntimeState)


def test_read_runtime_never_sees_a_partial_file(tmp_path):
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


def test_write_runtime_failure_keeps_old_file(tmp_path, monkeypatch):
    write_runtime(tmp_path, make_state())

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space"):
        write_runtime(tmp_path, make_state(port=1))
    assert read_runtime(tmp_path) == make_state()
    assert len(list(tmp_path.iterdir())) == 1


def test_validate_runtime_answering_server(answering_server):
    assert validate_runtime(make_state(base_url=answering_server))


def test_validate_runtime_other_instance(answering_server):
    assert not validate_runtime(make_state(base_url=answering_server, instance_id="ds_ffffff"))


def test_validate_runtime_reused_pid(answering_server):
    assert not validate_runtime(make_state(base_url=answering_server, pid_started_at="1"))


def test_is_process_alive_ended_and_zombie(answering_server):
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    state = make_state(base_url=answering_server, pid=child.pid, pid_started_at=read_start_time(child.pid))
    assert is_process_alive(state)
    assert child.stdin is not None
    child.stdin.close()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert not is_process_alive(state)
    assert not validate_runtime(state)
    child.wait()


def test_validate_runtime_process_without_the_lock(answering_server, tmp_path):
    state = make_state(base_url=answering_server)
    assert not validate_runtime(state, state_dir=tmp_path)
    lock_path(tmp_path).touch()
    assert not validate_runtime(state, state_dir=tmp_path)
    with StateLock(tmp_path):
        assert validate_runtime(state, state_dir=tmp_path)


def test_validate_runtime_closed_port():
    assert not validate_runtime(make_state(base_url="http://127.0.0.1:1"))


@pytest.mark.parametrize(
    ("bind_host", "expected"),
    [("127.0.0.1", "http://127.0.0.1:80"), ("0.0.0.0", "http://127.0.0.1:80"), ("::1", "http://[::1]:80")],
)
def test_format_base_url_is_connectable(bind_host, expected):
    assert format_base_url(bind_host, 80) == expected


# The shared daemon


POINTER = SharedPointer(project_root="/srv/große Projekte", project_id="p_1a2b3c4d", base_url="http://127.0.0.1:45123")


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("AGENT_BRAIN_HOME", str(tmp_path / "home"))
    return brain_home()


def test_runtime_state_shared_has_no_project(tmp_path):
    daemon = make_state(mode="shared", project_root=None)
    write_runtime(tmp_path, daemon)
    assert "project_root" not in json.loads(runtime_path(tmp_path).read_text())
    assert read_runtime(tmp_path) == daemon
    assert read_pointer(tmp_path) is None


def test_runtime_state_project_requires_root(tmp_path, caplog):
    document = make_state().model_dump(exclude={"project_root"})
    runtime_path(tmp_path).write_text(json.dumps(document))
    assert read_runtime(tmp_path) is None
    assert "project_root is missing" in caplog.text


def test_pointer_has_documented_keys(tmp_path, caplog):
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
def test_read_pointer_invalid_value_counts_as_missing(tmp_path, caplog, changes):
    runtime_path(tmp_path).write_text(json.dumps(POINTER.model_dump() | changes))
    assert read_pointer(tmp_path) is None
    assert next(iter(changes)) in caplog.text


def test_read_pointer_unknown_schema_is_refused(tmp_path):
    runtime_path(tmp_path).write_text(json.dumps(POINTER.model_dump() | {"schema_version": 2}))
    with pytest.raises(UnknownSchemaError, match="schema_version 2"):
        read_pointer(tmp_path)


def test_shared_config_documented_defaults():
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


def test_write_shared_config_creates_empty_file_once(home):
    assert write_shared_config()
    assert json.loads(shared_config_path().read_text()) == {}
    shared_config_path().write_text('{"port": 50000}')
    assert not write_shared_config()
    assert json.loads(shared_config_path().read_text()) == {"port": 50000}


def test_runtime_state_has_version_skew():
    assert make_state(version="99.0.0").has_version_skew
    assert not make_state(version=__version__).has_version_skew


def test_write_shared_config_unwritable_is_an_error(home, tmp_path):
    (tmp_path / "home").write_text("in the way")
    with pytest.raises(StateDirError, match="home"):
        write_shared_config()


def test_pointer_project_id_is_the_same_for_all_paths(tmp_path):
    root = tmp_path / "projekt ä"
    root.mkdir()
    (tmp_path / "link").symlink_to(root)
    project_id = generate_project_id(root)
    assert project_id == generate_project_id(tmp_path / "link") == generate_project_id(root / ".." / "projekt ä")
    assert project_id != generate_project_id(tmp_path)
    assert SharedPointer(project_root=str(root), project_id=project_id, base_url="http://127.0.0.1:1")


def test_measure_uptime_is_the_age_of_the_process():
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as server:
        state = make_state(pid=server.pid, pid_started_at=read_start_time(server.pid))
        assert state.started_at.startswith("2026-01")
        assert measure_uptime(state) < 60
        server.kill()


@pytest.mark.parametrize(
    ("begun", "least", "most"),
    [(timedelta(hours=-1), 3_599, 3_900), (timedelta(hours=1), 0, 0), ("soon", 0, 0), ("2026-01-01", 0, 0)],
)
def test_measure_uptime_without_process_uses_the_clock(begun, least, most):
    started_at = (datetime.now(UTC) + begun).isoformat() if isinstance(begun, timedelta) else begun
    assert least <= measure_uptime(make_state(pid_started_at="0", started_at=started_at)) <= most
