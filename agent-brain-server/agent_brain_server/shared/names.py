"""Choose registered projects of the daemon by name."""

import os
from collections.abc import Iterable, Mapping, Sequence

from agent_brain_server.errors import InvalidRequestError, NotFoundError
from agent_brain_server.support.text import visible

MAX_LISTED = 20
MAX_SHOWN_NAME = 80


def choose_projects(roots: Mapping[str, str], names: Sequence[str]) -> list[str]:
    """Return the ids of projects, each once, ordered by root.

    Args:
        roots: Root of each project by its id.
        names: A directory's name, a root or an id for each wanted project; empty: all projects.

    Raises:
        NotFoundError: No project has this name.
        InvalidRequestError: Several projects have this name.
    """
    chosen = {_choose(roots, name) for name in names} if names else set(roots)
    return sorted(chosen, key=lambda project_id: roots[project_id])


def _choose(roots: Mapping[str, str], name: str) -> str:
    exact = [project_id for project_id, root in roots.items() if name in (project_id, root)]
    found = exact or [project_id for project_id, root in roots.items() if os.path.basename(root) == name]
    shown = visible(name[:MAX_SHOWN_NAME])
    if not found:
        raise NotFoundError(
            f"No project named {shown!r} is registered with the daemon.",
            code="unknown_project",
            hint=f"Registered are: {_list(roots.values())}.",
        )
    if len(found) > 1:
        raise InvalidRequestError(
            f"Several projects are named {shown!r}.",
            hint=f"Name the root instead: {_list(roots[project_id] for project_id in found)}.",
        )
    return found[0]


def _list(roots: Iterable[str]) -> str:
    ordered = sorted(map(visible, roots))
    more = f" and {len(ordered) - MAX_LISTED} more" if len(ordered) > MAX_LISTED else ""
    return (", ".join(ordered[:MAX_LISTED]) or "none") + more
