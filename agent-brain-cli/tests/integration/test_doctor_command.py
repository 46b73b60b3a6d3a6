"""`agent-brain doctor` on real projects: results, exit code and JSON."""

import json

from agent_brain_cli.checks import CHECKS
from agent_brain_server.storage_paths import resolve_state_dir


def run_doctor(agent_brain):
    outcome = agent_brain("doctor", "--json")
    return outcome.code, {each["check"]: each for each in outcome.json["checks"]}


def test_doctor_of_new_project_creates_nothing(agent_brain, project):
    outcome = agent_brain("doctor")
    assert outcome.code == 0, outcome.out + outcome.err
    lines = outcome.out.splitlines()
    assert len(lines) == len(CHECKS) + 1
    assert lines[-1].startswith("0 failed")
    assert "\x1b" not in outcome.out
    assert list((project / ".claude").iterdir()) == []


def test_doctor_reports_a_running_and_a_killed_server(agent_brain, project):
    assert agent_brain("index", "--wait").code == 0
    code, checks = run_doctor(agent_brain)
    assert code == 0
    assert [each for each in checks.values() if each["status"] == "failed"] == []
    assert checks["server"]["message"].startswith("the project's server answers")
    assert "directories are watched" in checks["watching"]["message"]
    index = agent_brain("status", "--json").json["index"]
    assert checks["index"]["message"] == f"3 files, {index['total_chunks']} chunks, {index['total_vectors']} vectors"

    agent_brain.kill(agent_brain("status", "--json").json["pid"])
    code, checks = run_doctor(agent_brain)
    assert code == 0
    assert "not running" in checks["server"]["message"]
    assert "not checked" in checks["index"]["message"]


def test_doctor_reports_every_fault_with_its_next_step(agent_brain, project):
    state_dir = resolve_state_dir(project)
    state_dir.mkdir(mode=0o755)
    (state_dir / "config.json").write_text(json.dumps({"prot": 1}))
    outcome = agent_brain("doctor")
    assert outcome.code == 1
    assert "prot" in outcome.out
    assert "chmod 700" in outcome.out
    code, checks = run_doctor(agent_brain)
    assert code == 1
    failed = {name: each for name, each in checks.items() if each["status"] == "failed"}
    assert failed.keys() == {"settings", "state directory"}
    assert all(each["next_step"] for each in failed.values())
