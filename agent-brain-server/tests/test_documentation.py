"""The documents match the code."""

import ast
import importlib
import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
from packaging.requirements import Requirement
from pydantic import BaseModel

from agent_brain_server.api.errors import HTTP_PROBLEMS
from agent_brain_server.config.settings import ENVIRONMENT_PREFIX, ProjectConfig
from agent_brain_server.errors import AgentBrainError
from agent_brain_server.models.index import IndexRequest
from agent_brain_server.models.query import QueryRequest
from agent_brain_server.models.status import ProjectRegistration
from agent_brain_server.runtime import SharedConfig
from agent_brain_server.services.metrics import Metrics
from agent_brain_server.storage_paths import HOME_VARIABLE, STATE_DIR_VARIABLE
from agent_brain_server.types import SkipReason
from benchmarks.soak.__main__ import CASES

REPOSITORY = Path(__file__).parents[2]
DOCUMENTS = sorted(
    path
    for pattern in (
        "*.md",
        "docs/*.md",
        "agent-brain-*/*.md",
        "agent-brain-skill/**/*.md",
        ".speckit/**/*.md",
        ".claude/*.md",
    )
    for path in REPOSITORY.glob(pattern)
)
API = REPOSITORY / "docs" / "API.md"
OPENAPI = REPOSITORY / ".speckit/features/109-multi-instance-architecture/contracts/openapi.json"
SKILL = REPOSITORY / "agent-brain-skill" / "Agent Brain" / "SKILL.md"
PROGRAMS = REPOSITORY / "docs" / "PYTHON.md"


def test_settings_are_documented_with_default_and_limits() -> None:
    document = (REPOSITORY / "docs" / "CONFIGURATION.md").read_text()
    rows = re.findall(r"^\| `([a-z_]+)` \| `(.*?)` \| (.*) \|$", document, flags=re.MULTILINE)
    fields = [*ProjectConfig.model_fields.items(), *SharedConfig.model_fields.items()]
    assert rows == [(name, json.dumps(field.default), field.description) for name, field in fields]


@pytest.mark.parametrize("name", [ENVIRONMENT_PREFIX, HOME_VARIABLE, STATE_DIR_VARIABLE])
def test_environment_variables_are_documented(name: str) -> None:
    assert f"`{name}" in (REPOSITORY / "docs" / "CONFIGURATION.md").read_text()


def test_skip_reasons_are_documented() -> None:
    architecture = (REPOSITORY / "docs" / "ARCHITECTURE.md").read_text()
    table = architecture.partition("## What is left out")[2].partition("\n## ")[0]
    cells = re.findall(r"^\| (`.*?) \|", table, flags=re.MULTILINE)
    assert sorted(re.findall(r"`(\w+)`", " ".join(cells))) == sorted(get_args(SkipReason))


def test_routes_are_documented_with_parameters() -> None:
    rows = re.findall(r"^\| `([A-Z]+ /\S*)` \|(.*?)\| ", API.read_text(), flags=re.MULTILINE)
    documented = {call: set(re.findall(r"`([a-z_]+)`", parameters)) for call, parameters in rows}
    paths = json.loads(OPENAPI.read_text())["paths"]
    served = {
        f"{method.upper()} {path}": {each["name"] for each in operation.get("parameters", []) if each["in"] == "query"}
        for path, methods in paths.items()
        for method, operation in methods.items()
    }
    assert documented == served


@pytest.mark.parametrize(
    ("call", "model"),
    [("POST /query", QueryRequest), ("POST /index", IndexRequest), ("POST /projects", ProjectRegistration)],
)
def test_body_fields_are_documented_with_default(call: str, model: type[BaseModel]) -> None:
    section = API.read_text().partition(f"### `{call}`")[2].partition("\n#")[0]
    rows = re.findall(r"^\| `([a-z_]+)` \| (?:`(.*?)`)? ?\| ", section, flags=re.MULTILINE)
    expected = []
    for name, field in model.model_fields.items():
        default = "" if field.is_required() else json.dumps(field.get_default(call_default_factory=True))
        expected.append((name, default))
    assert rows == expected


def test_metrics_match_documents() -> None:
    documented = re.findall(
        r"^\| `((?:agent_brain|process)_[a-z_]+)` \| ([a-z]+) \|", API.read_text(), flags=re.MULTILINE
    )
    rendered = Metrics().render([], 0).decode()
    kept = re.findall(r"^# TYPE (\S+) (\S+)$", rendered, flags=re.MULTILINE)
    assert sorted(documented) == sorted((name, kind) for name, kind in kept if not name.endswith("_created"))


def test_error_codes_match_documents() -> None:
    section = API.read_text().partition("## Errors")[2].partition("\n## ")[0]
    documented = {
        code for row in re.findall(r"^\| (`.*?`) \|", section, re.MULTILINE) for code in row[1:-1].split("`, `")
    }
    raised = {code for code, _ in HTTP_PROBLEMS.values()} | {"http_error"}
    for package in ("agent-brain-server/agent_brain_server", "agent-brain-cli/agent_brain_cli"):
        for path in (REPOSITORY / package).rglob("*.py"):
            raised |= set(find_codes(ast.parse(path.read_text())))
    assert documented == raised


def find_codes(tree: ast.AST) -> Iterator[str]:
    """Return the error codes in the source: `code="…"`, `default_code = "…"`, `SOME_CODE = "…"`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg == "code":
            value: ast.expr | None = node.value
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            target = node.target if isinstance(node, ast.AnnAssign) else node.targets[0]
            is_code = isinstance(target, ast.Name) and (target.id == "default_code" or target.id.endswith("_CODE"))
            value = node.value if is_code else None
        else:
            continue
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            yield value.value


@pytest.mark.parametrize("package", ["agent-brain-server", "agent-brain-cli"])
def test_dependencies_have_reasons(package: str) -> None:
    architecture = (REPOSITORY / "docs" / "ARCHITECTURE.md").read_text()
    reasons = architecture.partition("## Dependencies")[2].partition("\n## ")[0]
    project = tomllib.loads((REPOSITORY / package / "pyproject.toml").read_text())["project"]
    names = {Requirement(line).name for line in project["dependencies"]} - {"agent-brain-server"}
    missing = {name for name in names if not name.startswith("tree-sitter-") and not re.search(rf"\b{name}\b", reasons)}
    assert missing == set()


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_document_links_resolve(path: Path) -> None:
    targets = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text())
    assert [target for target in targets if not (path.parent / target.replace("%20", " ")).exists()] == []


def test_skill_imports_resolve() -> None:
    imported = 0
    for block in re.findall(r"```python\n(.*?)```", SKILL.read_text() + PROGRAMS.read_text(), flags=re.DOTALL):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("agent_brain_server"):
                module = importlib.import_module(node.module)
                assert [alias.name for alias in node.names if not hasattr(module, alias.name)] == []
                imported += 1
    assert imported


def test_security_document_names_existing_tests() -> None:
    named = set(re.findall(r"`(test_\w+)`", (REPOSITORY / "docs" / "SECURITY.md").read_text()))
    modules = (Path(__file__).parent.rglob("test_*.py"), REPOSITORY.glob("agent-brain-cli/tests/**/test_*.py"))
    text = "\n".join(path.read_text() for found in modules for path in found)
    assert named
    assert [name for name in sorted(named) if f"def {name}(" not in text] == []


def test_variables_named_in_code_are_documented() -> None:
    named = {
        name
        for package in ("agent-brain-server/agent_brain_server", "agent-brain-cli/agent_brain_cli")
        for path in (REPOSITORY / package).rglob("*.py")
        for name in re.findall(r'^[A-Z_]+_VARIABLE = "(\w+)"', path.read_text(), flags=re.MULTILINE)
    }
    assert named >= {HOME_VARIABLE, STATE_DIR_VARIABLE}
    document = (REPOSITORY / "docs" / "CONFIGURATION.md").read_text()
    assert {name for name in named if f"`{name}`" not in document} == set()


def test_skill_has_name_and_description() -> None:
    opening = re.match(r"---\nname: ([a-z0-9-]{1,64})\ndescription: (.{1,1024})\n---\n", SKILL.read_text())
    assert opening is not None
    assert ": " not in opening[2]  # which YAML would take for a key


def test_skill_lists_exit_codes() -> None:
    sentence = SKILL.read_text().partition("Exit codes: ")[2].partition("every error")[0]
    told = {int(code) for code in re.findall(r"(?:^|,)\s*(\d+) [a-z]", sentence)}
    assert told == {0, *(error.exit_code for error in list_errors(AgentBrainError))}


def list_errors(base: type[AgentBrainError]) -> list[type[AgentBrainError]]:
    """Return an error class and its subclasses."""
    return [base, *(error for child in base.__subclasses__() for error in list_errors(child))]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_document_python_imports_resolve(path: Path) -> None:
    for block in re.findall(r"```python\n(.*?)```", path.read_text(), flags=re.DOTALL):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("agent_brain"):
                module = importlib.import_module(node.module)
                assert [alias.name for alias in node.names if not hasattr(module, alias.name)] == []


def test_reliability_document_names_existing_tests() -> None:
    text = (REPOSITORY / "docs" / "RELIABILITY.md").read_text()
    rows = re.findall(r"^\| \d+ \| .*? \| (.*?) \| (.*?) ?\|$", text.partition("### Lifecycle")[2], re.MULTILINE)
    tests = {path for cell, _ in rows for path in re.findall(r"`((?:unit|integration)/[\w/]+\.py)`", cell)}
    bases = (REPOSITORY / "agent-brain-server" / "tests", REPOSITORY / "agent-brain-cli" / "tests")
    assert tests
    assert [path for path in sorted(tests) if not any((base / path).is_file() for base in bases)] == []
    assert {loop for _, cell in rows for loop in re.findall(r"`([\w-]+)`", cell)} == set(CASES)


def test_architecture_names_existing_modules() -> None:
    named = set(re.findall(r"`([a-z_]+(?:/[a-z_]+)*\.py)`", (REPOSITORY / "docs" / "ARCHITECTURE.md").read_text()))
    assert len(named) > 20
    bases = (REPOSITORY / "agent-brain-server" / "agent_brain_server", REPOSITORY)
    assert [path for path in sorted(named) if not any((base / path).is_file() for base in bases)] == []
