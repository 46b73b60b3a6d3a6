"""The whole product on the source of a real package, `requests`, with the real command and server."""

import ast
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from agent_brain_server.discovery import discover, request_json
from agent_brain_server.runtime import RuntimeState

CACHE = Path(__file__).parents[3] / ".cache"
WHEEL = "requests-2.34.2-py3-none-any.whl"
SHA256 = "2a0d60c172f83ac6ab31e4554906c0f3b3588d37b5cb939b1c061f4907e278e0"
ENGINE_VARIABLE = "AGENT_BRAIN_VECTOR_ENGINE"
COMMAND_TIMEOUT = 120  # seconds, far more than any command takes, so that a hang fails

FOLLOW_LIMIT_S = 600.0  # usually below a second, longer on a busy machine


@pytest.fixture(scope="session")
def package() -> Path:
    """Return the unpacked wheel, downloaded if it is not cached."""
    wheel = CACHE / WHEEL
    if not wheel.exists():
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
        subprocess.run([*pip, "--dest", CACHE, "requests==2.34.2"], check=True)
    assert hashlib.sha256(wheel.read_bytes()).hexdigest() == SHA256
    unpacked = CACHE / "requests-2.34.2"
    if not unpacked.is_dir():
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(partial := CACHE / f"requests-{os.getpid()}.partial")
        partial.rename(unpacked)
    return unpacked


@dataclass(frozen=True)
class Project:
    """A copy of the package, and the command run in it."""

    root: Path
    environment: dict[str, str]

    def run(self, *arguments: str) -> dict[str, Any]:
        done = subprocess.run(
            [sys.executable, "-m", "agent_brain_cli", *arguments, "--json"],
            cwd=self.root,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def index(self) -> dict[str, int]:
        """Index until keyword search is complete."""
        return self.run("index")["progress"]

    def count_documents(self) -> tuple[int, int]:
        status = request_json(self.server(), "GET", "/health/status")
        return status["total_documents"], status["total_chunks"]

    def query(self, text: str, *arguments: str) -> list[dict[str, Any]]:
        return self.run("query", text, *arguments)["results"]

    def server(self) -> RuntimeState:
        server = discover(self.root)
        assert server is not None
        return server

    def ask(self, **body: Any) -> list[dict[str, Any]]:
        return request_json(self.server(), "POST", "/query", body)["results"]


@contextmanager
def serving_project(package: Path, directory: Path, engine: str = "exact") -> Iterator[Project]:
    root = directory / "Prüfung one"
    shutil.copytree(package, root)
    (root / "pyproject.toml").touch()  # marks the project's root
    project = Project(root, {**os.environ, "AGENT_BRAIN_HOME": str(directory / "home"), ENGINE_VARIABLE: engine})
    project.run("start")
    try:
        yield project
    finally:
        project.run("stop")


@pytest.fixture(scope="module", params=["exact", "chroma"])
def indexed(
    request: pytest.FixtureRequest, package: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Project]:
    """Return a completely indexed project, which the tests only query, with each engine."""
    with serving_project(package, tmp_path_factory.mktemp("end to end"), request.param) as project:
        project.run("index", "--wait")
        status = request_json(project.server(), "GET", "/health/status")
        assert (status["vector_engine"], status["vector_coverage"]) == (request.param, 1)
        yield project


@pytest.fixture
def project(package: Path, tmp_path: Path) -> Iterator[Project]:
    """Return a project for one test."""
    with serving_project(package, tmp_path) as project:
        yield project


def line_of(path: Path, text: str) -> int:
    return next(number for number, line in enumerate(path.read_text().splitlines(), 1) if text in line)


def defines(result: dict[str, Any], path: str, name: str, line: int) -> bool:
    return result["source"] == path and name in result["symbols"] and result["start_line"] <= line <= result["end_line"]


@pytest.mark.parametrize("mode", ["hybrid", "bm25"])
@pytest.mark.parametrize(
    ("question", "path", "definition", "name"),
    [
        ("rebuild_auth", "requests/sessions.py", "def rebuild_auth(", "rebuild_auth"),
        ("CaseInsensitiveDict", "requests/structures.py", "class CaseInsensitiveDict", "CaseInsensitiveDict"),
        ("HTTPDigestAuth build_digest_header", "requests/auth.py", "def build_digest_header", "build_digest_header"),
        ("parse header links", "requests/utils.py", "def parse_header_links", "parse_header_links"),
        ("guess the encoding of json from its null bytes", "requests/utils.py", "def guess_json_utf", "guess_json_utf"),
    ],
)
def test_query_for_definition_returns_path_lines_symbol(
    indexed: Project, question: str, path: str, definition: str, name: str, mode: str
) -> None:
    line = line_of(indexed.root / path, definition)
    results = indexed.query(question, "--mode", mode, "--top-k", "3")
    assert any(defines(result, path, name, line) for result in results), results


def test_query_in_other_words_finds_code_by_meaning(indexed: Project) -> None:
    results = indexed.ask(query="drop credentials when another site takes over", top_k=5)
    assert "requests/sessions.py" in [result["source"] for result in results]


def test_query_by_name_finds_every_public_definition(indexed: Project) -> None:
    missing = []
    for path in sorted((indexed.root / "requests").glob("*.py")):
        source = path.relative_to(indexed.root).as_posix()
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
                results = indexed.ask(query=node.name, top_k=5)
                if not any(defines(result, source, node.name, node.lineno) for result in results):
                    missing.append(f"{source}:{node.lineno} {node.name}")
    assert missing == []


def test_query_result_text_equals_file_lines(indexed: Project) -> None:
    for result in indexed.ask(query="send a prepared request", top_k=20, source_types=["code"]):
        lines = (indexed.root / result["source"]).read_text().splitlines()
        assert "\n".join(lines[result["start_line"] - 1 : result["end_line"]]).strip() == result["text"].strip()


def test_query_filters_limit_results(indexed: Project) -> None:
    results = indexed.ask(query="exception", file_paths=["requests/ex*.py"], top_k=5)
    assert {result["source"] for result in results} == {"requests/exceptions.py"}
    documents = indexed.ask(query="requests", source_types=["doc"], top_k=5)
    assert {result["source_type"] for result in documents} == {"doc"}


def test_index_follows_changes_and_survives_restart(project: Project) -> None:
    assert project.index()["files_changed"] > 10
    unchanged = project.index()
    assert (unchanged["files_changed"], unchanged["files_removed"]) == (0, 0)

    hooks = project.root / "requests" / "hooks.py"
    with hooks.open("a") as file:
        file.write('\n\ndef count_zeppelins():\n    """Count the airships."""\n')
    (project.root / "requests" / "structures.py").unlink()

    def is_current() -> bool:
        line = line_of(hooks, "def count_zeppelins")
        found = project.query("class CaseInsensitiveDict LookupDict", "--top-k", "50")
        return defines(
            project.query("count_zeppelins")[0], "requests/hooks.py", "count_zeppelins", line
        ) and "requests/structures.py" not in {result["source"] for result in found}

    deadline = time.monotonic() + FOLLOW_LIMIT_S
    while not is_current():
        assert time.monotonic() < deadline, "the index did not follow the files by itself"
    before = project.count_documents()
    project.run("stop")
    project.run("start")
    assert is_current()
    assert project.count_documents() == before
    assert project.index()["files_changed"] == 0


def test_query_in_new_project_starts_and_indexes(project: Project) -> None:
    project.run("stop")
    line = line_of(project.root / "requests" / "models.py", "def iter_content")
    results = project.query("iter_content", "--top-k", "3")
    assert any(defines(result, "requests/models.py", "iter_content", line) for result in results)
