"""The check of the index: its three stores, their versions, and whether they hold the same chunks."""

from agent_brain_cli.client import Client
from agent_brain_cli.diagnosis.finding import Finding, Patient
from agent_brain_cli.render import Json
from agent_brain_cli.servers import look_for_server
from agent_brain_server.errors import AgentBrainError
from agent_brain_server.support.text import count_noun

INDEX_AGAIN = "agent-brain index --force"
MENDED = "Nothing: the next start mends it (agent-brain start)."
STATUS_TIMEOUT_S = 5.0


def check_stores(patient: Patient) -> Finding:
    """Are the stores undamaged, of this version, and do they agree?"""
    found, error = patient.tried("stores")
    if error:
        return Finding("index", "failed", f"{patient.data}: {error}", f"agent-brain reset, then: {INDEX_AGAIN}")
    if found is None:
        return Finding("index", "ok", "nothing is indexed yet; the first question or agent-brain index does it")
    if found["damage"]:
        return Finding("index", "failed", f"the document store is damaged: {found['damage']}", "agent-brain reset")
    outdated = describe_versions(found)
    if outdated:
        return Finding("index", "warning", outdated, MENDED)
    return judge_counts(patient, found)


def describe_versions(found: Json) -> str | None:
    """Say which store is of another version than this one; None where none is."""
    for name, version in (("document store", "version"), ("keyword index", "keyword_version")):
        if found[version] != found[f"expected_{version}"]:
            return f"the {name} is of version {found[version]}, and {found[f'expected_{version}']} is needed"
    return None


def judge_counts(patient: Patient, found: Json) -> Finding:
    """Compare what the three stores hold; while a job runs they may differ."""
    chunks, vectors = count_noun(found["chunks"], "chunk"), count_noun(found["vectors"], "vector")
    counts = f"{chunks}, {found['keywords']:,} in the keyword index, {vectors}"
    agree = found["keywords"] == found["chunks"] and found["vectors"] == found["embedded"]
    if agree and not found["files_pending"]:
        follow = "" if found["embedded"] == found["chunks"] else "; the other vectors follow"
        return Finding("index", "ok", counts + follow)
    state = ask_whether_indexing(patient)
    if state == "indexing":
        return Finding("index", "ok", f"{counts}; a job is at work")
    if state == "stopped":
        pending = f", {count_noun(found['files_pending'], 'file')} half indexed" if found["files_pending"] else ""
        return Finding("index", "warning", counts + pending, MENDED)
    return Finding("index", "failed", f"the stores don't agree: {counts}", INDEX_AGAIN)


def ask_whether_indexing(patient: Patient) -> str:
    """Return `indexing`, `idle`, or `stopped` where no server can be asked."""
    try:
        state = look_for_server(patient.target).state
        if state is None:
            return "stopped"
        status = Client(state, timeout_s=STATUS_TIMEOUT_S).get("/health/status")
    except AgentBrainError:
        return "stopped"
    return "indexing" if status["indexing_in_progress"] else "idle"
