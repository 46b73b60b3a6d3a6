"""The server of a project in which none is running."""

import pytest

from agent_brain_cli.options import resolve_target
from agent_brain_cli.servers import attach_to_daemon, find_server
from agent_brain_server.config.settings import write_project_config
from agent_brain_server.errors import DaemonNotRunningError


@pytest.fixture
def target(project, tmp_path, monkeypatch):
    monkeypatch.setenv("AGENT_BRAIN_HOME", str(tmp_path / "home"))
    return resolve_target(project, None)


@pytest.mark.parametrize("mode", [None, "project", "shared"])
def test_find_server_reads_the_mode_from_settings(target, mode):
    if mode:
        write_project_config(target.state_dir, mode=mode, force=False)
    found = find_server(target)
    assert found.state is None
    assert found.mode == (mode or "project")


def test_attach_to_daemon_does_not_start_it(target):
    with pytest.raises(DaemonNotRunningError):
        attach_to_daemon(target)
