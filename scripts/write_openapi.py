"""Write the OpenAPI document of the server, generated from the models, to the contracts.

python scripts/write_openapi.py [--check]
"""

import json
import sys
from functools import partial
from pathlib import Path

from agent_brain_server.api.deps import AppState
from agent_brain_server.api.main import create_app
from agent_brain_server.config.settings import ProjectConfig
from agent_brain_server.project.context import ServerContext
from agent_brain_server.project.projects import open_projects

CONTRACT = (
    Path(__file__).resolve().parent.parent / ".speckit/features/109-multi-instance-architecture/contracts/openapi.json"
)


def render_openapi() -> str:
    """Return the document as text, without opening a project."""
    nowhere = Path("/nonexistent")
    context = ServerContext(nowhere, nowhere, ProjectConfig(), instance_id="ds_000000", token=None)
    state = AppState(context)
    app = create_app(state, partial(open_projects, context, state.metrics))
    return json.dumps(app.openapi(), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def main() -> int:
    """Write the file, or with --check say whether it is as it should be."""
    rendered = render_openapi()
    if "--check" in sys.argv[1:]:
        return 0 if CONTRACT.read_text(encoding="utf-8") == rendered else 1
    CONTRACT.parent.mkdir(parents=True, exist_ok=True)
    CONTRACT.write_text(rendered, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
