"""The checked-in JSON schemas match the models and the files that the product writes."""

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator
from pydantic import BaseModel, ValidationError

from agent_brain_server.config.settings import ProjectConfig, write_project_config
from agent_brain_server.config.trust import SECRET_KEYS
from agent_brain_server.lifecycle import registry
from agent_brain_server.lifecycle.control import start_daemon, start_server, stop_daemon, stop_server
from agent_brain_server.project_root import generate_project_id
from agent_brain_server.runtime import RuntimeState, SharedConfig, SharedPointer, write_shared_config
from agent_brain_server.shared.daemon import register_project
from agent_brain_server.storage_paths import (
    brain_home,
    config_path,
    registry_path,
    resolve_state_dir,
    runtime_path,
    shared_config_path,
    shared_project_file,
)

REPOSITORY = Path(__file__).resolve().parents[3]
CONTRACTS = REPOSITORY / ".speckit/features/109-multi-instance-architecture/contracts"
NAMES = ["runtime", "pointer", "config", "shared_config", "registry", "project"]

BROKEN = {
    "runtime": [{"port": 0}, {"schema_version": 2}, {"base_url": "https://example.org/x"}, {"mode": "other"}],
    "pointer": [{"project_id": "../x"}, {"mode": "project"}, {"project_root": 3}],
    "config": [{"prot": 1}, {"port": "0"}, {"token": "x" * 20}, {"chunk_size": 1}],
    "shared_config": [{"port": 65536}, {"token": "x" * 20}, {"max_open_projects": 0}],
    "registry": [{"projects": [{"project_root": "relative", "state_dir": "/x"}]}, {"schema_version": "1"}],
    "project": [{"project_id": "p_XYZ"}, {"project_root": "relative"}, {"registered_at": None}],
}
"""Values that make a valid file invalid."""

TASK_LIST_SCHEMAS = {
    "health_response_v2": ("HealthResponse", {"mode", "instance_id", "project_id", "active_projects"}),
    "index_request_v2": ("IndexRequest", {"folder_path", "project_id"}),
    "query_request_v2": ("QueryRequest", {"query", "project_id"}),
    "project_status": ("ProjectStatus", {"project_id", "indexing_in_progress"}),
    "runtime_json_project": (
        "RuntimeState",
        {
            "schema_version",
            "mode",
            "project_root",
            "instance_id",
            "base_url",
            "bind_host",
            "port",
            "pid",
            "started_at",
        },
    ),
    "runtime_json_shared": ("SharedPointer", {"schema_version", "mode", "project_root", "project_id", "base_url"}),
    "config_json": ("ProjectConfig", {"mode", "bind_host", "port", "data_dir", "log_dir", "shared_server_url"}),
    "shared_config_json": (
        "SharedConfig",
        {"bind_host", "port", "embedding_model", "chunk_size", "chunk_overlap", "max_concurrent_indexing"},
    ),
    "registry_json": ("Registry", {"schema_version", "projects"}),
}
"""Names in the task list, each with its model's title and required fields."""

MODELS: dict[str, type[BaseModel]] = {"runtime": RuntimeState, "pointer": SharedPointer, "shared_config": SharedConfig}


def open_schema(name: str) -> Draft202012Validator:
    schema = json.loads((CONTRACTS / f"{name}.schema.json").read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory):
    """Return the files that a real server, the real daemon and `init` write, by the name of their schema."""
    place = tmp_path_factory.mktemp("Verträge ü")
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(("AGENT_BRAIN_", "DOC_SERVE_"))]:
            patch.delenv(name)
        patch.setenv("AGENT_BRAIN_HOME", str(place / "home"))
        own, shared = place / "own", place / "shared"
        own.mkdir()
        shared.mkdir()
        try:
            yield write_files(own, shared)
        finally:
            with contextlib.suppress(FileNotFoundError):
                stop_server(resolve_state_dir(own), force=True)
            stop_daemon(force=True)


def write_files(own: Path, shared: Path) -> dict[str, dict[str, object]]:
    """Write every file, for one project with its own server and one of the daemon, and return their contents."""
    write_project_config(resolve_state_dir(own))
    write_shared_config()
    registry.register(own, resolve_state_dir(own))
    start_server(own, started_by="user")
    daemon = start_daemon(overrides={"port": 0}, started_by="user").state
    register_project(daemon, shared, resolve_state_dir(shared))
    files = {
        "runtime": runtime_path(resolve_state_dir(own)),
        "pointer": runtime_path(resolve_state_dir(shared)),
        "config": config_path(resolve_state_dir(own)),
        "shared_config": shared_config_path(),
        "registry": registry_path(),
        "project": shared_project_file(generate_project_id(shared)),
    }
    daemon_file = runtime_path(brain_home())
    return {name: json.loads(path.read_text()) for name, path in {**files, "daemon": daemon_file}.items()}


def test_schemas_match_code() -> None:
    checked = subprocess.run([sys.executable, str(REPOSITORY / "scripts/write_schemas.py"), "--check"], check=False)
    assert checked.returncode == 0, "a file's model has changed: run scripts/write_schemas.py, look at the difference"
    assert sorted(path.name for path in CONTRACTS.glob("*.schema.json")) == sorted(f"{n}.schema.json" for n in NAMES)


def follow_reference(reference: str) -> dict[str, object]:
    """Resolve a reference of api-changes.yaml."""
    file, _, pointer = reference.partition("#")
    found = json.loads((CONTRACTS / file).read_text(encoding="utf-8"))
    for step in pointer.split("/")[1:]:
        found = found[step.replace("~1", "/")]
    return found


def test_api_changes_document_names_every_schema() -> None:
    document = yaml.safe_load((CONTRACTS / "api-changes.yaml").read_text(encoding="utf-8"))
    schemas = document["components"]["schemas"]
    assert schemas.keys() == TASK_LIST_SCHEMAS.keys()
    page = (CONTRACTS / "README.md").read_text(encoding="utf-8")
    for name, (title, fields) in TASK_LIST_SCHEMAS.items():
        schema = follow_reference(schemas[name]["$ref"])
        assert schema["title"] == title
        assert fields <= schema["properties"].keys(), name
        assert f"| `{name}` |" in page
    for path, call in document["paths"].items():
        assert call["$ref"].endswith(path.replace("/", "~1"))
        assert follow_reference(call["$ref"])


@pytest.mark.parametrize("name", ["runtime", "pointer", "registry", "project"])
def test_schema_without_version_is_refused(name: str, written: dict[str, dict[str, object]]) -> None:
    without = {key: value for key, value in written[name].items() if key != "schema_version"}
    assert not open_schema(name).is_valid(without)


@pytest.mark.parametrize("name", NAMES)
def test_written_files_fit_their_schemas(name: str, written: dict[str, dict[str, object]]) -> None:
    schema = open_schema(name)
    schema.validate(written[name])
    assert written[name].keys() <= schema.schema["properties"].keys()  # further keys are allowed, but none is secret


def test_daemon_runtime_file_fits_server_schema(written: dict[str, dict[str, object]]) -> None:
    open_schema("runtime").validate(written["daemon"])
    assert written["daemon"]["mode"] == "shared"
    assert not open_schema("pointer").is_valid(written["daemon"])
    assert not open_schema("runtime").is_valid(written["pointer"])


@pytest.mark.parametrize(("name", "change"), [(name, change) for name, changes in BROKEN.items() for change in changes])
def test_invalid_file_fails_schema(name: str, change: dict[str, object], written) -> None:
    broken = {**written[name], **change}
    assert not open_schema(name).is_valid(broken)
    if name in MODELS:
        with pytest.raises(ValidationError):
            MODELS[name].model_validate(broken)


@pytest.mark.parametrize("name", NAMES)
def test_files_document_names_every_field(name: str) -> None:
    page = (CONTRACTS / "README.md").read_text(encoding="utf-8")
    section = page.partition(f"({name}.schema.json)")[2].partition("\n## ")[0]
    assert section
    # the settings' page is tested against the models elsewhere
    if name not in ("config", "shared_config"):
        assert [field for field in open_schema(name).schema["properties"] if f"`{field}`" not in section] == []


def test_project_config_holds_no_secret() -> None:
    assert open_schema("config").schema["properties"].keys() == ProjectConfig.model_fields.keys() - set(SECRET_KEYS)
