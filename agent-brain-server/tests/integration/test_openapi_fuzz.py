"""Every call of the OpenAPI document, tried with what it allows and what it forbids, over real HTTP.

`FUZZ_REQUESTS` says about how many requests are made; `./task fuzz` makes over 20,000.
"""

import json
import os
import re
import sys
import time
from collections import Counter
from collections.abc import Iterator
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

from agent_brain_server.lifecycle import start_server, stop_server
from agent_brain_server.runtime import RuntimeState
from agent_brain_server.storage_paths import resolve_state_dir

REPOSITORY = Path(__file__).resolve().parents[3]
CONTRACT = REPOSITORY / ".speckit/features/109-multi-instance-architecture/contracts/openapi.json"
SCHEMA = openapi.from_dict(json.loads(CONTRACT.read_text(encoding="utf-8")))
OPERATIONS = sorted((path, method) for path, methods in SCHEMA.raw_schema["paths"].items() for method in methods)

REQUESTS = int(os.environ.get("FUZZ_REQUESTS", "600"))
"""As many as take some ten seconds; found enough that a hole in a model shows."""

EXAMPLES = -(-REQUESTS // (2 * len(OPERATIONS)))
"""For each call and each of the two modes, rounded up."""

REQUEST_LIMIT_S = 20
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    unsupported_method,
]
INNARDS = re.compile(r"Traceback|site-packages|File \\?\"|\.py\\?\", line|object at 0x")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("project")
    (root / "src").mkdir()
    for number in range(5):
        (root / f"src/part_{number}.py").write_text(f"def handle_part_{number}(value):\n    return value + {number}\n")
    (root / "README.md").write_text("# Parts\n\nEach part is handled in turn.\n")
    return root


@pytest.fixture(scope="module")
def server(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RuntimeState]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AGENT_BRAIN_HOME", str(tmp_path_factory.mktemp("home")))
        state = start_server(root).state
        yield state
        stop_server(resolve_state_dir(root))


@pytest.fixture(scope="module")
def session(server: RuntimeState) -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.headers["Authorization"] = f"Bearer {server.token}"
        session.trust_env = False
        session.post(f"{server.base_url}/index", json={"folder_path": "."}, timeout=REQUEST_LIMIT_S)
        yield session


@pytest.fixture(scope="module")
def statuses() -> Iterator[Counter[int]]:
    """Count the answers by status, and print them where somebody looks (`pytest -s`)."""
    counted: Counter[int] = Counter()
    yield counted
    print(f"\n{counted.total():,} requests: {dict(sorted(counted.items()))}")


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: str(mode.value))
@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_every_answer_is_one_that_the_document_allows(
    path: str,
    method: str,
    mode: GenerationMode,
    server: RuntimeState,
    session: requests.Session,
    root: Path,
    statuses: Counter[int],
) -> None:
    cases = SCHEMA[path][method].as_strategy(generation_mode=mode)

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=cases)
    def try_one(case: Case) -> None:
        began = time.monotonic()
        answer = case.call(base_url=server.base_url, session=session, timeout=REQUEST_LIMIT_S)
        assert time.monotonic() - began < REQUEST_LIMIT_S
        statuses[answer.status_code] += 1
        case.validate_response(answer, checks=CHECKS)
        assert_tells_no_innards(answer.status_code, answer.headers["content-type"][0], answer.content, root)

    try:
        try_one()
    except Unsatisfiable:
        assert mode is GenerationMode.NEGATIVE  # a call without parameters can't be asked wrongly


def assert_tells_no_innards(status: int, content_type: str, body: bytes, root: Path) -> None:
    text = body.decode()
    assert not INNARDS.search(text)
    if status >= 400:
        assert content_type == "application/problem+json"
        told = text.replace(str(root), "")
        assert not any(place in told for place in (sys.prefix, str(Path.home()) + "/", str(root.parent)))


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(body=st.binary(max_size=200) | st.text(max_size=200).map(lambda text: json.dumps(text).encode()))
def test_any_bytes_as_a_body_are_answered(
    body: bytes, server: RuntimeState, session: requests.Session, statuses: Counter[int], root: Path
) -> None:
    for path in ("/query", "/index", "/projects"):
        answer = session.post(
            server.base_url + path,
            data=body,
            headers={"Content-Type": "application/json"},
            timeout=REQUEST_LIMIT_S,
        )
        statuses[answer.status_code] += 1
        assert answer.status_code in (409, 422), (path, body)
        assert_tells_no_innards(answer.status_code, answer.headers["content-type"], answer.content, root)


def test_the_server_still_answers(server: RuntimeState, session: requests.Session) -> None:
    health = session.get(f"{server.base_url}/health", timeout=REQUEST_LIMIT_S).json()
    assert (health["status"], health["instance_id"]) == ("healthy", server.instance_id)
