"""Find or start a project's server: `python -m agent_brain_cli.find_server ROOT STATE_DIR`.

The relay of `agent-brain mcp` lives as long as its agent. What finding a server needs, 15 MB of modules, is loaded here
instead, and freed when the server is found. Writes one JSON object: the server, or why there is none.
"""

import json
import os
import sys
from pathlib import Path
from urllib.parse import urlencode, urlsplit

from agent_brain_server.discovery import RuntimeState, discover_or_start
from agent_brain_server.errors import AgentBrainError

HTTP_PORT = 80


def main(arguments: list[str]) -> int:
    """Print the running server of a project as JSON; start it if needed.

    Args:
        arguments: The root of the project and the state directory; an empty one is found from the current directory.

    Returns:
        0 if a server runs, 1 if not.
    """
    try:
        root, state_dir = (Path(argument).absolute() if argument else None for argument in arguments)
        state = discover_or_start(root or Path.cwd(), state_dir=state_dir, exact=root is not None)
    except (AgentBrainError, OSError) as error:
        message = error.message if isinstance(error, AgentBrainError) else str(error)
        print(json.dumps({"error": " ".join(filter(None, (message, getattr(error, "hint", ""))))}))
        return 1
    print(json.dumps(_describe(state)))
    return 0


def _describe(state: RuntimeState) -> dict[str, object]:
    """Return what the relay needs: host, port, authority and path of the URL, and the token."""
    address = urlsplit(state.base_url)
    is_shared = state.mode == "shared" and state.project_id
    return {
        "host": address.hostname or state.bind_host,
        "port": address.port or HTTP_PORT,
        "authority": address.netloc,
        "path": f"/mcp?{urlencode({'project_id': state.project_id})}" if is_shared else "/mcp",
        "token": state.token,
    }


if __name__ == "__main__":
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    sys.exit(main(sys.argv[1:]))
