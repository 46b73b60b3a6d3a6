"""`agent-brain logs` tells of a server that was killed."""

import os
import signal

from agent_brain_server.storage_paths import resolve_state_dir


def test_logs_report_the_server_that_was_killed(agent_brain, project):
    killed = agent_brain("start", "--json").json
    os.kill(killed["pid"], signal.SIGKILL)
    while agent_brain("status").code != 3:  # which removes the files of the killed server
        pass
    assert not (resolve_state_dir(project) / "runtime.json").exists()
    assert agent_brain("start").code == 0
    warning = f"the previous server (pid {killed['pid']}, started {killed['started_at']}"
    assert warning in agent_brain("logs", "--level", "warning").out
    assert agent_brain("stop").code == 0
    assert agent_brain("start").code == 0
    lines = agent_brain("logs", "--json", "--lines", "1000").json["lines"]
    assert [warning in line["message"] for line in lines].count(True) == 1
