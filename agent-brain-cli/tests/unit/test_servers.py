"""Which server is meant where none runs."""

import pytest

from agent_brain_cli.options import resolve_target
from agent_brain_cli.servers import attach_to_daemon, look_for_server
from agent_brain_server.config.settings import write_project_config
from agent_brain_server.errors import DaemonNotRunningError


@pytest.fixture
def target(project, tmp_path, monkeypatch):
    monkeypatch.setenv("AGENT_BRAIN_HOME", str(tmp_path / "home"))
    return resolve_target(project, None)


@pytest.mark.parametrize("mode", [None, "project", "shared"])
def test_settings_say_whose_server_is_missing(target, mode):
    if mode:
        write_project_config(target.state_dir, mode=mode, force=False)
    found = look_for_server(target)
    assert found.state is None
    assert found.is_shared is (mode == "shared")


def test_a_daemon_is_not_started_by_being_needed(target):
    with pytest.raises(DaemonNotRunningError):
        attach_to_daemon(target)
