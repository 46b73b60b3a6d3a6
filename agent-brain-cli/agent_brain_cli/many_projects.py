"""Ask several projects of the shared daemon one question: `agent-brain query --all-projects`, `--project NAME`.

Each project answers a separate request with its id, so that no answer mixes two projects. Only projects that are
registered with this user's daemon can be named.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from agent_brain_cli.client import Client
from agent_brain_cli.output import Json, note, visible
from agent_brain_server.errors import AgentBrainError
from agent_brain_server.models import DEFAULT_BUDGET, MIN_BUDGET
from agent_brain_server.shared.daemon import list_projects, require_daemon
from agent_brain_server.shared.names import choose_projects


@dataclass(frozen=True, slots=True)
class ProjectAnswer:
    """The answer of one project.

    Attributes:
        root: Root of the project.
        answer: Of `POST /query`.
    """

    root: Path
    answer: Json


def ask_projects(names: Sequence[str], request: Json) -> list[ProjectAnswer]:
    """Send a query to projects of the daemon; a project that cannot answer is reported on stderr.

    Args:
        names: Names, roots or ids of the projects; empty: all.
        request: The body of `POST /query`; a budget is divided between the projects.

    Raises:
        DaemonNotRunningError: The daemon is not running.
        AgentBrainError: A name is not that of one project, or no project can answer.
    """
    daemon = require_daemon()
    roots = {str(each["project_id"]): str(each["project_root"]) for each in list_projects(daemon)}
    chosen = choose_projects(roots, names)
    if request.get("format") == "compact" or "max_tokens" in request:
        budget = request.get("max_tokens", DEFAULT_BUDGET)
        request = {**request, "max_tokens": max(MIN_BUDGET, budget // max(1, len(chosen)))}
    answers, failed = [], None
    for project_id in chosen:
        root = roots[project_id]
        state = daemon.model_copy(update={"project_root": root, "project_id": project_id})
        try:
            answers.append(ProjectAnswer(Path(root), Client(state).post("/query", request)))
        except AgentBrainError as error:
            failed = error
            note(f"{visible(root)} cannot answer: {error.message}")
    if failed is not None and not answers:
        raise failed
    return answers


def to_document(answers: Sequence[ProjectAnswer]) -> Json:
    """Return the answers as one JSON document, each with the root of its project."""
    return {"projects": [{"project_root": str(each.root), **each.answer} for each in answers]}


def list_remarks(answers: Sequence[ProjectAnswer]) -> Iterator[str]:
    """Yield which projects were never indexed."""
    for each in answers:
        if each.answer.get("index", {}).get("last_indexed_at", "") is None:
            yield f"{visible(str(each.root))} was never indexed: agent-brain index --project-root {each.root}"
