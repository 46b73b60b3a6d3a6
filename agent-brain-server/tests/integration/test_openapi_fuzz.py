"""Every endpoint of the OpenAPI document, with generated valid and invalid requests over real HTTP.

Of a project's own server and of a daemon with two projects, whose ids are right, wrong and none. `FUZZ_REQUESTS` says
about how many requests are made; `./task fuzz` makes over 20,000.
"""

import json
import os
import re
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import Case, GenerationMode, openapi
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from agent_brain_server.lifecycle.control import start_daemon, start_server, stop_daemon, stop_server
from agent_brain_server.project_root import generate_project_id
from agent_brain_server.runtime import RuntimeState
from agent_brain_server.shared.daemon import list_projects, register_project
from agent_brain_server.storage_paths import resolve_state_dir

REPOSITORY = Path(__file__).resolve().parents[3]
CONTRACT = REPOSITORY / ".speckit/features/109-multi-instance-architecture/contracts/openapi.json"
SCHEMA = openapi.from_dict(json.loads(CONTRACT.read_text(encoding="utf-8")))
OPERATIONS = sorted((path, method) for path, methods in SCHEMA.raw_schema["paths"].items() for method in methods)

REQUESTS = int(os.environ.get("FUZZ_REQUESTS", "900"))
"""Takes some ten seconds, and is enough to find a missing validation in a model."""

SERVERS = ("project", "shared")

EXAMPLES = -(-REQUESTS // (len(SERVERS) * len(GenerationMode) * len(OPERATIONS)))
"""Examples for each endpoint of each server with valid and with invalid values, rounded up."""

OTHER_IDS = ("p_00000000", "p_zzzzzzzz", "../p_00000000", "", "\u2028", None)
"""Unknown and malformed project ids."""

REQUEST_LIMIT_S = 600.0
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    unsupported_method,
]
INNARDS = re.compile(r"Traceback|site-packages|File \\?\"|\.py\\?\", line|object at 0x")


@dataclass(frozen=True)
class Served:
    """A server and its projects.

    Attributes:
        state: Where it answers.
        roots: Of each project, by the id that requests name; a server of one project ignores that.
    """

    state: RuntimeState
    roots: dict[str, Path]


@pytest.fixture(scope="module", params=SERVERS)
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    place = tmp_path_factory.mktemp(request.param)
    roots = [make_project(place / name) for name in ("one", "two")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AGENT_BRAIN_HOME", str(place / "home"))
        if request.param == "project":
            state = start_server(roots[0]).state
            yield Served(state, {generate_project_id(roots[0]): roots[0]})
            stop_server(resolve_state_dir(roots[0]))
        else:
            state = start_daemon(overrides={"port": 0}).state
            yield Served(state, {generate_project_id(root): root for root in roots})
            stop_daemon()


def make_project(root: Path) -> Path:
    (root / "src").mkdir(parents=True)
    for number in range(5):
        (root / f"src/part_{number}.py").write_text(f"def handle_part_{number}(value):\n    return value + {number}\n")
    (root / "README.md").write_text(f"# Parts of {root.name}\n\nEach part is handled in turn.\n")
    return root.resolve()


@pytest.fixture(scope="module")
def session(served: Served) -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.headers["Authorization"] = f"Bearer {served.state.token}"
        session.trust_env = False
        restore(served, session)
        yield session


def restore(served: Served, session: requests.Session) -> None:
    """Register and index every project."""
    for project_id, root in served.roots.items():
        if served.state.mode == "shared":
            register_project(served.state, root, resolve_state_dir(root))
        body = {"folder_path": ".", "project_id": project_id}
        answer = session.post(f"{served.state.base_url}/index", json=body, timeout=REQUEST_LIMIT_S)
        assert answer.status_code == 202, answer.text


@pytest.fixture(scope="module")
def statuses(served: Served) -> Iterator[Counter[int]]:
    """Count the answers by status, and print the counts (shown by `pytest -s`)."""
    counted: Counter[int] = Counter()
    yield counted
    print(f"\n{served.state.mode}: {counted.total():,} requests: {dict(sorted(counted.items()))}")


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: str(mode.value))
@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_generated_request_gets_documented_answer(
    path: str, method: str, mode: GenerationMode, served: Served, session: requests.Session, statuses: Counter[int]
) -> None:
    ids = st.sampled_from([*served.roots, *served.roots, *OTHER_IDS])

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=SCHEMA[path][method].as_strategy(generation_mode=mode), project_id=ids)
    def try_one(case: Case, project_id: str | None) -> None:
        name_project(case, project_id)
        keep_inside(case, served)
        began = time.monotonic()
        answer = case.call(base_url=served.state.base_url, session=session, timeout=REQUEST_LIMIT_S)
        assert time.monotonic() - began < REQUEST_LIMIT_S
        statuses[answer.status_code] += 1
        case.validate_response(answer, checks=CHECKS)
        assert_tells_no_innards(answer.status_code, answer.headers["content-type"][0], answer.content, served)
        if path != "/projects" and project_id in served.roots:
            others = [root for other, root in served.roots.items() if other != project_id]
            assert not any(str(root) in answer.text for root in others)
        if method == "delete" and answer.status_code == 200:
            restore(served, session)

    try:
        try_one()
    except Unsatisfiable:
        assert mode is GenerationMode.NEGATIVE  # no invalid request exists for an endpoint without parameters


def name_project(case: Case, project_id: str | None) -> None:
    """Set the project id of a request, unless it is None."""
    if project_id is None:
        return
    if "{project_id}" in case.path:
        case.path_parameters = {**(case.path_parameters or {}), "project_id": project_id or "-"}
    elif case.path in ("/index", "/query") and isinstance(case.body, dict):
        case.body["project_id"] = project_id
    elif case.method in ("GET", "DELETE"):
        case.query = {**(case.query or {}), "project_id": project_id}


def keep_inside(case: Case, served: Served) -> None:
    """Replace absolute paths, so that no request registers or creates a directory of this machine."""
    if case.path == "/projects" and isinstance(case.body, dict):
        root = next(iter(served.roots.values()))
        for name, own in (("project_root", root), ("state_dir", resolve_state_dir(root))):
            if str(case.body.get(name)).startswith(("/", "~")):
                case.body[name] = str(own)


def assert_tells_no_innards(status: int, content_type: str, body: bytes, served: Served) -> None:
    text = body.decode()
    assert not INNARDS.search(text)
    if status >= 400:
        assert content_type == "application/problem+json"
        places = {sys.prefix, str(Path.home()) + "/", *(str(root.parent) for root in served.roots.values())}
        for root in served.roots.values():
            text = text.replace(str(root), "")
        assert not any(place in text for place in places)


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(body=st.binary(max_size=200) | st.text(max_size=200).map(lambda text: json.dumps(text).encode()))
def test_random_bytes_as_body_are_refused(
    body: bytes, served: Served, session: requests.Session, statuses: Counter[int]
) -> None:
    for path in ("/query", "/index", "/projects"):
        answer = session.post(
            served.state.base_url + path,
            data=body,
            headers={"Content-Type": "application/json"},
            timeout=REQUEST_LIMIT_S,
        )
        statuses[answer.status_code] += 1
        assert answer.status_code in (409, 422), (path, body)
        assert_tells_no_innards(answer.status_code, answer.headers["content-type"], answer.content, served)


def test_server_after_fuzzing_is_healthy(served: Served, session: requests.Session) -> None:
    health = session.get(f"{served.state.base_url}/health", timeout=REQUEST_LIMIT_S).json()
    assert (health["status"], health["instance_id"]) == ("healthy", served.state.instance_id)
    if served.state.mode == "shared":
        listed = list_projects(served.state)
        assert {each["project_id"]: Path(each["project_root"]) for each in listed} == served.roots
