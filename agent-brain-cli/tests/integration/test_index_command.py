"""`agent-brain index` with real servers: what it reports, waits for and refuses."""

import signal
import subprocess
import sys

import pytest

from agent_brain_server import project_root

LIMIT_S = 600.0


def test_index_reads_only_changes_unless_forced(agent_brain):
    first = agent_brain("index", "--json").json
    assert first["progress"]["keywords_ready"] is True
    assert first["progress"]["files_total"] == 3
    second = agent_brain("index", "--wait", "--json").json
    assert second["state"] == "done"
    assert second["progress"]["files_changed"] == 0
    forced = agent_brain("index", "--wait", "--force", "--json").json
    assert forced["progress"]["files_changed"] == 3
    assert forced["progress"]["vectors_done"] == forced["progress"]["vectors_total"] > 0
    assert "3 files" in agent_brain("index", "--wait").out

    status = agent_brain("status")
    assert "3 files" in status.out
    assert "100 %" in status.out

    chosen = agent_brain("index", "--include", "**/*.md", "--exclude", "src/**", "--wait", "--json")
    assert chosen.json["progress"]["files_total"] == 1


def test_index_without_waiting_returns_the_job(indexed):
    outcome = indexed("index", "--no-wait", "--json")
    assert outcome.code == 0
    assert outcome.json["job_id"]
    assert outcome.json["state"] in ("queued", "running", "done")


def test_index_path_is_relative_to_the_current_directory(indexed):
    outcome = indexed("index", ".", "--wait", "--json", cwd=indexed.project / "src")
    assert outcome.code == 0, outcome.err
    assert outcome.json["progress"]["files_total"] == 1


@pytest.mark.parametrize(
    ("arguments", "words"), [(["missing"], "missing"), (["--include", "[z-a]"], "[z-a]"), (["/etc"], "outside")]
)
def test_index_of_invalid_path_or_glob_exits_with_4(indexed, arguments, words):
    refused = indexed("index", *arguments)
    assert (refused.code, refused.out, len(refused.error_lines)) == (4, "", 2)
    assert words in refused.err


def test_index_of_large_project_suggests_exclude(indexed, monkeypatch):
    assert "to index" not in indexed("index").err
    monkeypatch.setattr(project_root, "LARGE_PROJECT_FILES", 1)
    done = indexed("index", "--json")
    assert done.code == 0
    assert done.json["progress"]["keywords_ready"]
    assert done.err.count("files to index") == 1
    assert "agent-brain index --exclude" in done.err


def test_index_on_a_terminal_draws_progress_bars(indexed):
    shown = indexed.run_on_terminal("index", "--force", "--wait")
    assert "3/3" in shown
    assert "Indexed 3 files" in shown


def test_index_that_stops_waiting_leaves_the_job_running(agent_brain, project):
    write_modules(project, 400)
    late = agent_brain("index", "--wait", "--timeout", "0.2")
    assert late.code == 6
    assert "continues" in late.err

    waiting = start_waiting(agent_brain)
    waiting.send_signal(signal.SIGINT)
    code, err = finish(waiting)
    assert code == 130
    assert "continues in the server" in err
    assert "Traceback" not in err
    index = agent_brain("status", "--json").json["index"]
    assert (index["current_job"] or index["last_job"])["state"] != "cancelled"

    waiting = start_waiting(agent_brain)
    agent_brain.kill(agent_brain("status", "--json").json["pid"])
    code, err = finish(waiting)
    assert code == 3
    assert "ended while it was indexing" in err


def write_modules(project, count: int) -> None:
    """Give the server work for some seconds."""
    for number in range(count):
        functions = (f"def function_{number}_{k}(value):\n    return value + {k}\n" for k in range(30))
        (project / "src" / f"module_{number}.py").write_text("\n\n".join(functions))


def start_waiting(command) -> subprocess.Popen[str]:
    """Start `index --force --wait` and return once it shows progress."""
    process = subprocess.Popen(
        [sys.executable, "-m", "agent_brain_cli", "index", "--force", "--wait"],
        cwd=command.project,
        env=command.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    assert process.stderr.readline()
    return process


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Return the exit code of a process, and the rest of what it wrote to stderr."""
    assert process.stderr is not None
    with process:
        err = process.stderr.read()
        return process.wait(LIMIT_S), err
