"""Where a walk may start: at a file or directory inside the project."""

import stat
from pathlib import Path

from agent_brain_server.errors import InvalidRequestError, NotFoundError


def resolve_start(root: Path, start: Path) -> Path:
    """Follow the links of `start` and check that it is a file or directory inside `root`.

    Raises:
        NotFoundError: It does not exist.
        InvalidRequestError: It lies outside, or is a device, fifo or socket.
    """
    try:
        resolved = (root / start).resolve(strict=True)
        mode = resolved.stat().st_mode
    except (OSError, RuntimeError, ValueError) as error:
        raise NotFoundError(
            f"{str(start)!r} does not exist, or cannot be reached.",
            code="path_not_found",
            hint="Name a directory or file of the project.",
        ) from error
    if not resolved.is_relative_to(root):
        raise InvalidRequestError(
            f"{str(start)!r} lies outside the project {str(root)!r}.",
            code="outside_project",
            hint="Name a directory or file inside the project root.",
        )
    if not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):
        raise InvalidRequestError(
            f"{str(start)!r} is neither a directory nor a file.",
            code="not_a_file",
            hint="Name a directory or file of the project.",
        )
    return resolved
