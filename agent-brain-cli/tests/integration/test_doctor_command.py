"""`agent-brain doctor` on real projects: what is well, what is not, and the exit code."""

import json
import os
import signal
import sqlite3
from dataclasses import replace

from agent_brain_cli.commands.doctor import CHECKS
from agent_brain_server.storage_paths import resolve_state_dir


def examine(agent_brain):
    outcome = agent_brain("doctor", "--json")
    return outcome.code, {each["check"]: each for each in outcome.json["checks"]}


def test_a_new_project_is_well_and_nothing_is_made(agent_brain, project):
    outcome = agent_brain("doctor")
    assert outcome.code == 0, outcome.out + outcome.err
    lines = outcome.out.splitlines()
    assert len(lines) == len(CHECKS) + 1
    assert lines[-1].startswith("0 failed")
    assert "\x1b" not in outcome.out
    assert list((project / ".claude").iterdir()) == []


def test_doctor_reads_no_dot_env_of_the_project(agent_brain, project):
    (project / ".env").write_text("IS_PERSISTENT=maybe\n")  # Chroma cannot be imported beside it
    code, checks = examine(agent_brain)
    assert (code, checks["packages"]["status"]) == (0, "ok"), checks["packages"]


def test_an_indexed_project_is_well_while_its_server_runs_and_after_it_was_killed(agent_brain, project):
    assert agent_brain("index", "--wait").code == 0
    code, checks = examine(agent_brain)
    assert code == 0
    assert {name: each["status"] for name, each in checks.items() if each["status"] == "failed"} == {}
    assert checks["server"]["message"].startswith("the project's server answers")
    assert checks["file modes"]["status"] == "ok", checks["file modes"]
    chunks = agent_brain("status", "--json").json["index"]["total_chunks"]
    assert checks["index"]["message"].startswith(f"{chunks} chunks, {chunks} in the keyword index, {chunks} vectors")

    os.kill(agent_brain("status", "--json").json["pid"], signal.SIGKILL)
    code, checks = examine(agent_brain)
    assert code == 0
    assert checks["stale files"]["status"] == "warning"

    database = next((resolve_state_dir(project) / "data" / "llamaindex").glob("*.sqlite3"))
    with sqlite3.connect(database) as connection:
        connection.execute("PRAGMA user_version = 77")
    connection.close()
    assert examine(agent_brain)[1]["index"]["status"] == "warning"
    database.write_bytes(b"not a database, but long enough to be looked at" * 100)
    code, checks = examine(agent_brain)
    assert code == 1
    assert checks["index"]["status"] == "failed"
    assert "agent-brain reset" in checks["index"]["next_step"]


def test_faults_are_told_together_with_what_to_do(agent_brain, project, environment):
    state_dir = resolve_state_dir(project)
    state_dir.mkdir(mode=0o755)
    (state_dir / "config.json").write_text(json.dumps({"prot": 1}))
    command = replace(agent_brain, environment=environment | {"AGENT_BRAIN_EMBEDDING_MODEL": "nonsense"})
    outcome = command("doctor")
    assert outcome.code == 1
    assert "prot" in outcome.out
    assert "chmod 700" in outcome.out

    (state_dir / "config.json").unlink()
    code, checks = examine(command)
    assert code == 1
    assert "nonsense" in checks["model"]["message"]
    failed = [each for each in checks.values() if each["status"] == "failed"]
    assert {each["check"] for each in failed} == {"model", "state directory"}
    assert all(each["next_step"] for each in failed)
