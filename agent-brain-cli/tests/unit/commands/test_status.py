"""The text of `agent-brain status`, `start` and `stop`."""

from agent_brain_cli.commands.start import render_server
from agent_brain_cli.commands.status import (
    describe_last_indexing,
    describe_process,
    render_daemon_status,
    render_status,
)
from agent_brain_cli.commands.stop import render_stop
from agent_brain_cli.servers import runtime_document
from agent_brain_server.runtime import RuntimeState

SERVER = {"base_url": "http://127.0.0.1:1", "pid": 7, "mode": "project", "project_root": "/a", "uptime_seconds": 70}
DAEMON = {**SERVER, "mode": "shared", "active_projects": 2}
INDEX = {
    "state_dir": "/a/state",
    "total_documents": 1_000,
    "total_chunks": 20_000,
    "total_vectors": 10_000,
    "vector_coverage": 0.5,
    "embedding_model": "minilm",
    "last_indexed_at": None,
    "skipped": {},
    "current_job": None,
    "last_job": None,
}
JOB = {
    "job_id": "j9",
    "state": "failed",
    "error": "The disk is full.",
    "progress": {"phase": "scanning", "files_total": 3},
}


def test_runtime_document_hides_the_token():
    state = RuntimeState(
        mode="project", project_root="/a", instance_id="ds_1", base_url="http://127.0.0.1:1", bind_host="127.0.0.1",
        port=1, pid=7, started_at="2026-01-01T00:00:00+00:00", token="secret",
    )  # fmt: skip
    assert "token" not in runtime_document(state)
    assert runtime_document(state, with_token=True)["token"] == "secret"
    assert "version" not in runtime_document(state)


def test_render_server_and_daemon():
    assert render_server(SERVER) == "http://127.0.0.1:1 (pid 7) serves /a"
    assert render_server(DAEMON) == "http://127.0.0.1:1 (pid 7) (shared), serves /a, 2 active projects"
    assert describe_process(SERVER) == "http://127.0.0.1:1 (pid 7, up 1 min 10 s)"
    assert describe_process(DAEMON).endswith("(shared), 2 active projects")


def test_render_status_of_quiet_and_busy_server():
    quiet = render_status({**SERVER, "index": INDEX})
    assert "1,000 files, 20,000 chunks" in quiet
    assert "10,000 (50 %), minilm" in quiet
    assert "never; index it with: agent-brain index" in quiet
    assert not {"Skipped", "Job", "Failed"} & {line.split()[0] for line in quiet.splitlines()}
    busy = {**INDEX, "skipped": {"empty": 2}, "current_job": JOB, "last_job": JOB, "last_indexed_at": "today"}
    lines = dict(line.split(maxsplit=1) for line in render_status({**SERVER, "index": busy}).splitlines())
    assert lines["Skipped"] == "2 empty"
    assert lines["Job"] == "j9, scanning: 3 files"
    assert lines["Failed"] == "j9: The disk is full."
    assert lines["Indexed"] == "today"


def test_render_status_counts_symbols_if_known():
    facts = {"total_definitions": 1, "total_references": 1_200, "files_partial": 0}
    assert "Symbols" not in render_status({**SERVER, "index": INDEX})
    assert "1 definition, 1,200 references" in render_status({**SERVER, "index": {**INDEX, **facts}})
    shown = render_status({**SERVER, "index": {**INDEX, **facts, "files_partial": 2}})
    assert "1,200 references; 2 files parsed only in part" in shown


def test_render_daemon_status_lists_projects():
    document = {**DAEMON, "state_dir": "/home", "projects": [{"project_id": "p_1", "project_root": "/b\x1b"}]}
    *_, project = render_daemon_status(document).splitlines()
    assert project.split() == ["p_1", "/b\u241b"]


def test_render_status_names_the_chroma_server():
    chroma = {"vector_server": "http://127.0.0.1:8000", "vectors_behind": 1_200, "vector_fault": None}
    shown = render_status({**SERVER, "index": {**INDEX, **chroma}})
    assert "http://127.0.0.1:8000, 1,200 changes behind" in shown
    assert "Fault" not in shown
    fault = {**chroma, "vector_fault": "chroma_unreachable: It does not answer."}
    assert "chroma_unreachable: It does not answer." in render_status({**SERVER, "index": {**INDEX, **fault}})


def test_render_status_names_repairs():
    shown = render_status(
        {**SERVER, "index": {**INDEX, "repairs": ["the keyword index was lost and is being rebuilt"]}}
    )
    assert "At start" in shown
    assert "the keyword index was lost" in shown


def test_describe_last_indexing_before_the_first_index():
    assert "agent-brain index" in describe_last_indexing({"last_indexed_at": None, "current_job": None})
    assert "a job is running" in describe_last_indexing({"last_indexed_at": None, "current_job": {"job_id": "j"}})


def test_render_stop_reports_a_killed_server():
    assert render_stop({"forced": True, "pid": 7, "mode": "shared"}) == "Killed the shared daemon (pid 7)."
    assert render_stop({"forced": False, "pid": 7}) == "Stopped the server (pid 7)."
