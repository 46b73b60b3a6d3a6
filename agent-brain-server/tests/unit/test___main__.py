"""The start of a server process, before the application is loaded."""

import os
import socket
from pathlib import Path

import pytest

from agent_brain_server import __version__
from agent_brain_server.__main__ import (
    bind_socket,
    collect_overrides,
    exit_quietly,
    find_root,
    main,
    parse_arguments,
    report_failure,
    report_held,
)
from agent_brain_server.errors import ConfigError, PortInUseError, StartError
from agent_brain_server.lifecycle.spawn import ReadyPipe
from agent_brain_server.locking import StateLock
from agent_brain_server.storage_paths import prepare_state_dir


def test_collect_overrides_prefers_flags() -> None:
    arguments = parse_arguments(["--set", "port=1", "--set", "log_level=debug", "--port", "2", "--host", "::1"])
    assert collect_overrides(arguments) == {"port": "2", "log_level": "debug", "bind_host": "::1"}
    assert collect_overrides(parse_arguments([])) == {}
    assert collect_overrides(parse_arguments(["--set", "token=a=b"])) == {"token": "a=b"}
    with pytest.raises(ConfigError, match="NAME=VALUE"):
        collect_overrides(parse_arguments(["--set", "port"]))


@pytest.mark.parametrize(
    "arguments",
    [["--mode", "shared", "--project-root", "."], ["--mode", "shared", "--state-dir", "."], ["--mode", "x"]],
)
def test_parse_arguments_refuses_conflicting_flags(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse_arguments(arguments)
    assert caught.value.code == 2
    assert "usage" in capsys.readouterr().err


def test_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse_arguments(["--version"])
    assert capsys.readouterr().out.strip() == __version__


def test_find_root_requires_a_directory(tmp_path: Path) -> None:
    assert find_root(tmp_path / "." / "..") == tmp_path.parent
    for missing in (tmp_path / "missing", Path(__file__)):
        with pytest.raises(ConfigError, match="not a directory"):
            find_root(missing)


def test_bind_socket_refuses_a_port_in_use() -> None:
    with bind_socket("127.0.0.1", 0) as first:
        first.listen()
        port = first.getsockname()[1]
        with pytest.raises(PortInUseError, match=str(port)):
            bind_socket("127.0.0.1", port)
    bind_socket("localhost", port).close()


def test_bind_socket_refuses_invalid_and_foreign_addresses() -> None:
    for name in ("a..b", "a\0b"):  # these are not looked up by DNS
        with pytest.raises(StartError) as unknown:
            bind_socket(name, 0)
        assert unknown.value.code == "bad_bind_host"
    with pytest.raises(StartError) as foreign:
        bind_socket("192.0.2.1", 0)
    assert foreign.value.code == "bind_failed"


def test_bind_socket_accepts_ipv6() -> None:
    if not socket.has_ipv6 or not Path("/proc/net/if_inet6").exists():
        pytest.skip("no IPv6 here")
    with bind_socket("::1", 0) as sock:
        assert sock.family == socket.AF_INET6


def test_report_held_fails_unless_a_starter_waits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(StartError, match=str(tmp_path)) as caught:
        report_held(tmp_path, ReadyPipe(None))
    assert caught.value.code == "already_running"
    reader, writer = os.pipe()
    assert report_held(tmp_path, ReadyPipe(writer)) == 0
    assert b'"held"' in os.read(reader, 1000)
    os.close(reader)
    assert capsys.readouterr().out == ""


def test_report_failure_goes_to_stderr_or_the_starter(capsys: pytest.CaptureFixture[str]) -> None:
    error = StartError("It failed.", hint="Do this.")
    report_failure(error, ReadyPipe(None))
    assert capsys.readouterr().err == "It failed.\nDo this.\n"
    reader, writer = os.pipe()
    report_failure(error, ReadyPipe(writer))
    assert b"It failed." in os.read(reader, 1000)
    os.close(reader)


def test_exit_quietly_exits_with_0() -> None:
    with pytest.raises(SystemExit) as caught:
        exit_quietly(15, None)
    assert caught.value.code == 0


@pytest.fixture
def keep_process(monkeypatch: pytest.MonkeyPatch):
    """Restore what a server process changes in its process."""
    from agent_brain_server import __main__ as module

    monkeypatch.setattr(module.signal, "signal", lambda *_: None)
    for name in module.SINGLE_THREADED:
        monkeypatch.setenv(name, "1")
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.mark.usefixtures("keep_process")
def test_second_server_of_a_state_dir_exits_with_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prepare_state_dir(tmp_path / "state")
    lock = StateLock(tmp_path / "state")
    assert lock.acquire()
    try:
        assert main(["--project-root", str(tmp_path), "--state-dir", str(tmp_path / "state")]) == 1
    finally:
        lock.release()
    assert f"by process {os.getpid()}" in capsys.readouterr().err


@pytest.mark.usefixtures("keep_process")
@pytest.mark.parametrize(
    ("extra", "code", "text"),
    [(["--set", "colour=red"], 2, "colour"), (["--port", "many"], 2, "port"), (["--set", "x"], 2, "NAME=VALUE")],
)
def test_invalid_settings_exit_with_2_and_free_the_lock(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], extra: list[str], code: int, text: str
) -> None:
    state_dir = tmp_path / "state"
    assert main(["--project-root", str(tmp_path), "--state-dir", str(state_dir), *extra]) == code
    assert text in capsys.readouterr().err
    lock = StateLock(state_dir)
    assert lock.acquire()  # it was released
    lock.release()


@pytest.mark.usefixtures("keep_process")
def test_unusable_state_dir_exits_with_5(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    assert main(["--project-root", str(tmp_path), "--state-dir", str(tmp_path / "file" / "state")]) == 5
    assert str(tmp_path / "file") in capsys.readouterr().err
