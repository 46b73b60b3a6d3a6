"""Write a JSON schema of each file that other programs read, to the contracts.

python scripts/write_schemas.py [--check]

The schemas of runtime.json, the pointer, config.json and shared_config.json are generated from the models that read
them. The registry and project.json are read field by field, without a model; their schemas are here, and tests compare
them with real files.
"""

import json
import sys
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from agent_brain_server.config.settings import ProjectConfig
from agent_brain_server.config.trust import SECRET_KEYS
from agent_brain_server.runtime import RuntimeState, SharedConfig, SharedPointer
from agent_brain_server.storage_paths import PROJECT_ID

CONTRACTS = Path(__file__).resolve().parent.parent / ".speckit/features/109-multi-instance-architecture/contracts"
DIALECT = "https://json-schema.org/draft/2020-12/schema"
SUFFIX = ".schema.json"

Schema = dict[str, Any]

VERSION_KEY = "schema_version"
VERSION: Schema = {"const": 1, "type": "integer"}
TEXT: Schema = {"type": "string"}
ABSOLUTE_PATH: Schema = {"type": "string", "pattern": "^/"}
ID: Schema = {"type": "string", "pattern": f"^{PROJECT_ID.pattern}$"}

REGISTRY: Schema = {
    "title": "Registry",
    "description": "`registry.json`: the projects for `list`, which verifies every entry.",
    "type": "object",
    "properties": {
        "schema_version": VERSION,
        "projects": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"project_root": ABSOLUTE_PATH, "state_dir": ABSOLUTE_PATH},
                "required": ["project_root", "state_dir"],
            },
        },
    },
    "required": ["projects", "schema_version"],
}

PROJECT: Schema = {
    "title": "RegisteredProject",
    "description": "`project.json`: the registration of a project with the shared daemon.",
    "type": "object",
    "properties": {
        "schema_version": VERSION,
        "project_id": ID,
        "project_root": ABSOLUTE_PATH,
        "registered_at": {**TEXT, "description": "ISO 8601 with zone."},
        "state_dir": {**ABSOLUTE_PATH, "description": "Only if it is not the project's default one."},
    },
    "required": ["project_id", "project_root", "registered_at", "schema_version"],
}


def describe(model: type[BaseModel], *, summary: str, without: tuple[str, ...] = ()) -> Schema:
    """Return the schema of what a model reads from a file.

    Args:
        model: Reads it.
        summary: One sentence of what the file is; a docstring speaks of the code.
        without: Fields that the file must not hold.
    """
    schema = {**model.model_json_schema(), "description": summary}
    schema["properties"] = {name: field for name, field in schema["properties"].items() if name not in without}
    if VERSION_KEY in schema["properties"]:  # the models have a default, but every file that is written names it
        schema["properties"][VERSION_KEY] = VERSION
        schema["required"] = sorted({*schema.get("required", ()), VERSION_KEY})
    return schema


def make_schemas() -> dict[str, Schema]:
    """Return the schema of each file, by the schema's name."""
    return {
        "runtime": describe(RuntimeState, summary="`runtime.json` of a server: there exactly while it answers."),
        "pointer": describe(
            SharedPointer, summary="`runtime.json` in the state directory of a project that the shared daemon serves."
        ),
        "config": describe(
            ProjectConfig, summary="`config.json` of a project; every setting may be left out.", without=SECRET_KEYS
        ),
        "shared_config": describe(
            SharedConfig, summary="`shared_config.json`: settings of the shared daemon; each may be left out."
        ),
        "registry": REGISTRY,
        "project": PROJECT,
    }


def main(arguments: list[str]) -> int:
    """Write the files, or with --check say whether they are as they should be."""
    matches = True
    for name, schema in make_schemas().items():
        path = CONTRACTS / f"{name}{SUFFIX}"
        rendered = json.dumps({"$schema": DIALECT, **schema}, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
        if "--check" in arguments:
            matches = matches and path.is_file() and path.read_text(encoding="utf-8") == rendered
        else:
            path.write_text(rendered, encoding="utf-8")
    return 0 if matches else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
