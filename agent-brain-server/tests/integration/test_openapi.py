"""The checked-in OpenAPI document is the one that the server serves."""

import json
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[3]
CONTRACT = REPOSITORY / ".speckit/features/109-multi-instance-architecture/contracts/openapi.json"

CALLS = {
    ("get", "/health"),
    ("get", "/health/status"),
    ("post", "/index"),
    ("delete", "/index"),
    ("get", "/index/jobs"),
    ("get", "/index/jobs/{job_id}"),
    ("delete", "/index/jobs/{job_id}"),
    ("get", "/index/jobs/{job_id}/events"),
    ("post", "/query"),
    ("get", "/query/chunks/{chunk_id}"),
    ("get", "/projects"),
    ("post", "/projects"),
    ("delete", "/projects/{project_id}"),
    ("get", "/projects/{project_id}/status"),
    ("get", "/symbols"),
    ("get", "/references"),
    ("get", "/outline"),
    ("get", "/related"),
    ("get", "/files/{path}"),
    ("get", "/metrics"),
}


def test_openapi_document_matches_code() -> None:
    script = REPOSITORY / "scripts/write_openapi.py"
    checked = subprocess.run([sys.executable, str(script), "--check"], check=False)
    assert checked.returncode == 0, "the API has changed: run scripts/write_openapi.py and look at the difference"


def test_openapi_lists_every_endpoint_with_its_errors() -> None:
    paths = json.loads(CONTRACT.read_text(encoding="utf-8"))["paths"]
    assert {(method, path) for path, methods in paths.items() for method in methods} == CALLS
    for methods in paths.values():
        for operation in methods.values():
            problem = operation["responses"]["default"]["content"]
            assert "Problem" in json.dumps(problem)
