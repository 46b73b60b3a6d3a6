"""Other users of the machine can request `/health` only, and cannot read what the server writes."""

import json
import os
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from agent_brain_server.api.access import MAX_UNTRUSTED
from agent_brain_server.errors import ConfigError
from agent_brain_server.lifecycle.control import start_server, stop_server
from agent_brain_server.runtime import RuntimeState
from agent_brain_server.storage_paths import resolve_state_dir

LIMIT_S = 600.0
STRANGER = 65534

ROUTES = [
    ("GET", "/health/status"),
    ("POST", "/index"),
    ("DELETE", "/index"),
    ("GET", "/index/jobs"),
    ("GET", "/index/jobs/{job_id}"),
    ("DELETE", "/index/jobs/{job_id}"),
    ("GET", "/index/jobs/{job_id}/events"),
    ("POST", "/query"),
    ("GET", "/query/chunks/{chunk_id}"),
    ("GET", "/projects"),
    ("POST", "/projects"),
    ("DELETE", "/projects/{project_id}"),
    ("GET", "/projects/{project_id}/status"),
    ("GET", "/metrics"),
    ("GET", "/openapi.json"),
    ("GET", "/docs"),
]

BODIES = {
    "/index": {"folder_path": "."},
    "/query": {"query": "crocodile"},
    "/projects": {"project_root": "/"},
}

HEADERS = [
    *("Authorization: " + given for given in ("", "Bearer", "Bearer ", "Bearer x", "Bearer null", "Bearer None")),
    *("Authorization: Bearer " + given for given in ("A" * 32, "A" * 30_000, "{instance_id}", "{project_id}", "*")),
    *("Authorization: " + given for given in ("Basic cm9vdDo=", "Basic Og==", "Digest username=root", "Negotiate x")),
    "Authorization: Bearer a\r\nAuthorization: Bearer b",
    "Proxy-Authorization: Bearer x",
    "Cookie: token=x; session=root",
    *(f"{name}: 127.0.0.1" for name in ("X-Forwarded-For", "X-Real-IP", "Client-IP", "X-Client-IP", "True-Client-IP")),
    *(f"{name}: root" for name in ("X-Forwarded-User", "X-Remote-User", "Remote-User", "X-Auth-User", "From")),
    "Forwarded: for=127.0.0.1;host=localhost;proto=https",
    "X-Forwarded-Host: localhost",
    "X-Original-URL: /health",
    "X-Rewrite-URL: /health",
    "X-HTTP-Method-Override: GET",
    "Origin: {base_url}",
    "Origin: null",
    "Referer: {base_url}/docs",
    "Sec-Fetch-Site: same-origin",
    "Sec-Fetch-Site: none\r\nSec-Fetch-Mode: navigate",
    "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: x",
    "Upgrade: h2c",
    "Expect: 100-continue",
    "Host: 127.0.0.1",
]
"""Headers added to a valid request."""

HOSTS = ["localhost:{port}", "[::1]:{port}", "0.0.0.0:{port}", "127.0.0.2", "evil.example", "", "root@127.0.0.1:{port}"]

PATHS = [
    *(
        "{path}/",
        "/{path}",
        "/.{path}",
        "{path}?token=x",
        "{path}?access_token=x&path=/health",
        "{path}%2f",
        "{path}%00",
    ),
    *("/health/..{path}", "/health/%2e%2e{path}", "/%2e%2e{path}", "/health%2f..{path}", "{path};/health"),
    *("{base_url}{path}", "http://evil.example{path}", "{path}%20", "{path}#/health", "/health?{path}/../..{path}"),
]

METHODS = ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "PATCH", "DELETE", "POST", "PROPFIND", "QUERY"]

STRANGER_SCRIPT = f"""
import encodings.idna, json, os, socket, sys

job = json.load(sys.stdin)
os.setgroups([]), os.setgid({STRANGER}), os.setuid({STRANGER})

def ask(raw):
    with socket.create_connection(job["address"], timeout=20) as client:
        client.sendall(raw.encode("latin-1"))
        parts = []
        try:
            while part := client.recv(65536):
                parts.append(part)
        except ConnectionResetError:
            pass
    return b"".join(parts).decode("latin-1")

def hit_and_run(raw):
    with socket.create_connection(job["address"], timeout=20) as client:
        client.sendall(raw.encode("latin-1"))

def reach(path):
    for attempt in (lambda: os.listdir(path), lambda: open(path, "rb").read(), lambda: open(path, "ab")):
        try:
            attempt()
            return True
        except (PermissionError, IsADirectoryError, NotADirectoryError):
            pass
    return False

def hold(count):
    # the number of connections that the server has closed by the time it answers another one
    held = [socket.create_connection(job["address"], timeout=20) for _ in range(count)]
    ask("GET /health HTTP/1.1\\r\\nHost: 127.0.0.1\\r\\nConnection: close\\r\\n\\r\\n")
    closed = 0
    for one in held:
        one.setblocking(False)
        try:
            closed += one.recv(1) == b""
        except BlockingIOError:
            pass
        except ConnectionResetError:
            closed += 1
    return closed

answers = [ask(raw) for raw in job["requests"]]
for raw in job["hits"]:
    hit_and_run(raw)
closed = hold(job["held"])
reached = [path for path in job["paths"] if reach(path)]
print(json.dumps({{"answers": answers, "reached": reached, "closed": closed}}))
"""
"""Script that becomes the other user after its imports, which that user may not be able to read."""


@pytest.fixture(scope="module")
def root() -> Iterator[Path]:
    """Return a world-readable project outside pytest's private directory."""
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o755)
        yield make_project(Path(place).resolve() / "open project")


def make_project(root: Path) -> Path:
    root.mkdir(mode=0o755)
    (root / "zoo.py").write_text("def feed_crocodile():\n    return 'chicken'\n")
    (root / "zoo.py").chmod(0o644)
    root.chmod(0o755)
    return root


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home") / "brain"


@pytest.fixture(scope="module")
def server(root: Path, home: Path) -> Iterator[RuntimeState]:
    before = os.umask(0o022)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AGENT_BRAIN_HOME", str(home))
        patch.setenv("AGENT_BRAIN_LOG_LEVEL", "debug")
        state = start_server(root).state
        yield state
        stop_server(resolve_state_dir(root))
    os.umask(before)


@pytest.fixture(scope="module")
def owner(server: RuntimeState) -> Iterator[httpx.Client]:
    """Return a client of the server's owner, without a token."""
    with httpx.Client(base_url=server.base_url, timeout=LIMIT_S) as client:
        yield client


@pytest.fixture(scope="module")
def names(server: RuntimeState, owner: httpx.Client) -> dict[str, Any]:
    """Return the ids and the address that another user may have learned."""
    job_id = owner.post("/index", json={"folder_path": "."}).json()["job_id"]
    deadline = time.monotonic() + LIMIT_S
    while owner.get(f"/index/jobs/{job_id}").json()["state"] != "done":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    chunk_id = owner.post("/query", json={"query": "crocodile"}).json()["results"][0]["chunk_id"]
    return {
        "job_id": job_id,
        "chunk_id": chunk_id,
        "project_id": server.project_id,
        "instance_id": server.instance_id,
        "base_url": server.base_url,
        "port": server.port,
    }


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


def write_request(method: str, path: str, names: dict[str, Any], *, host: str = "", header: str = "") -> str:
    body = json.dumps(BODIES[path]) if method == "POST" and path in BODIES else ""
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host or '127.0.0.1:{port}'}", header, "Connection: close"]
    lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"] if body else []
    text = "\r\n".join(line for line in lines if line) + "\r\n\r\n"
    for name, value in names.items():
        text = text.replace("{" + name + "}", str(value))
    return text + body


def list_requests(method: str, path: str, names: dict[str, Any]) -> list[str]:
    """Return all requests that the other user sends to one route."""
    plain = write_request(method, path, names)
    return [
        plain,
        plain.replace("HTTP/1.1", "HTTP/1.0"),
        plain.replace("Host: ", "X: "),
        plain.replace("Host: ", "HOST: "),
        write_request("GET", "/health", names).replace("Connection: close\r\n", "") + plain,  # as a second request
        *(write_request(method, path, names, header=header) for header in HEADERS),
        *(write_request(method, path, names, host=host) for host in HOSTS),
        *(write_request(method, way.replace("{path}", path), names) for way in PATHS),
        *(write_request(other, path, names) for other in METHODS),
    ]


def act_as_stranger(
    server: RuntimeState, *, requests: list[str] = (), hits: list[str] = (), paths: list[Path] = (), held: int = 0
) -> dict[str, Any]:
    job = {
        "address": ["127.0.0.1", server.port],
        "requests": list(requests),
        "hits": list(hits),
        "paths": [str(path) for path in paths],
        "held": held,
    }
    done = subprocess.run(
        [sys.executable, "-c", STRANGER_SCRIPT], input=json.dumps(job).encode(), capture_output=True, timeout=LIMIT_S
    )
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout)  # type: ignore[no-any-return]


@needs_root
@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_routes_for_another_user_are_unauthorized(
    server: RuntimeState, names: dict[str, Any], root: Path, method: str, path: str
) -> None:
    requests = list_requests(method, path, names)
    assert len(requests) > 50
    answers = act_as_stranger(server, requests=requests)["answers"]
    for request, answer in zip(requests, answers, strict=True):
        statuses = [int(part[:3]) for part in answer.split("HTTP/1.1 ")[1:]]
        allowed = statuses[1:] if request.startswith("GET /health HTTP") else statuses
        assert allowed, request
        if " /health?" not in request:  # `/health` with any query string
            assert set(allowed) <= {100, 400, 401, 403, 431}, (request, answer[:300])
        assert str(root) not in answer
        assert "crocodile" not in answer
        assert "Traceback" not in answer


@needs_root
def test_health_for_another_user_tells_no_path(server: RuntimeState, names: dict[str, Any]) -> None:
    answer = act_as_stranger(server, requests=[write_request("GET", "/health", names)])["answers"][0]
    assert answer.startswith("HTTP/1.1 200 ")
    told = json.loads(answer.partition("\r\n\r\n")[2])
    assert set(told) == {"status", "message", "mode", "instance_id", "project_id", "active_projects", "version"}


@needs_root
def test_request_from_closed_foreign_socket_is_unauthorized(
    server: RuntimeState, owner: httpx.Client, names: dict[str, Any]
) -> None:
    jobs = len(owner.get("/index/jobs").json()["jobs"])
    hits = [write_request("DELETE", "/index", names), write_request("POST", "/index", names)] * 100
    act_as_stranger(server, hits=hits)
    status = owner.get("/health/status").json()
    assert status["total_documents"] == 1
    assert len(owner.get("/index/jobs").json()["jobs"]) == jobs


@needs_root
def test_connections_of_another_user_are_limited(server: RuntimeState, owner: httpx.Client) -> None:
    surplus = 40
    assert act_as_stranger(server, held=MAX_UNTRUSTED + surplus)["closed"] >= surplus
    assert owner.get("/health/status").status_code == 200


@needs_root
def test_server_files_are_unreadable_for_another_user(
    server: RuntimeState, names: dict[str, Any], root: Path, home: Path
) -> None:
    state_dir = resolve_state_dir(root)
    paths = [state_dir, *state_dir.rglob("*"), home, *home.rglob("*")]
    assert len(paths) > 15
    assert act_as_stranger(server, paths=[*paths, root / "zoo.py"])["reached"] == [str(root / "zoo.py")]


def test_written_files_are_private_to_the_owner(names: dict[str, Any], root: Path, home: Path) -> None:
    state_dir = resolve_state_dir(root)
    written = [state_dir, home, *state_dir.rglob("*"), *home.rglob("*")]
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in written if path.name != ".gitignore"}
    assert [path for path, mode in modes.items() if mode != (0o700 if path.is_dir() else 0o600)] == []


def test_token_is_stored_in_runtime_file_only(
    server: RuntimeState, owner: httpx.Client, root: Path, home: Path
) -> None:
    assert server.token is not None
    for given in (server.token, server.token[:-1], f"{server.token}x"):
        for path in ("/health/status", f"/query/chunks/{given}", f"/index/jobs/{given}", f"/nothing?token={given}"):
            owner.get(path, headers={"Authorization": f"Bearer {given}"})
        owner.post("/query", content=b"{", headers={"Authorization": f"Bearer {given}"})
    state_dir = resolve_state_dir(root)
    secret = server.token.encode()
    files = [path for path in (*state_dir.rglob("*"), *home.rglob("*")) if path.is_file()]
    holders = {path.name for path in files if secret in path.read_bytes()}
    assert any(path.name == "server.log" and b"/health/status" in path.read_bytes() for path in files)
    assert holders - {"server.log"} == {"runtime.json"}
    lines = (state_dir / "logs" / "server.log").read_bytes().splitlines()
    # the log has it only where the client sent it in a path
    assert [
        line for line in lines if secret in line and b"/query/chunks/" not in line and b"/index/jobs/" not in line
    ] == []
    for name in ("cmdline", "environ"):
        assert secret not in Path(f"/proc/{server.pid}/{name}").read_bytes()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org"])
def test_request_to_public_address_needs_token(tmp_path: Path, host: str) -> None:
    with pytest.raises(ConfigError, match="token"):
        start_server(tmp_path, overrides={"bind_host": host})


# Web pages in the owner's browser: the socket is the owner's, so only their headers tell them apart

PAGES = {
    "another origin": {"Origin": "http://evil.example"},
    "a file": {"Origin": "null"},
    "another port": {"Origin": "http://127.0.0.1:3000", "Sec-Fetch-Site": "same-site"},
    "the same name, secure": {"Origin": "https://127.0.0.1"},
    "an image": {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"},
    "a link": {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Referer": "http://evil.example/"},
    "a rebound name": {"Host": "rebound.example"},
    "a rebound name with its own origin": {"Host": "rebound.example:80", "Origin": "http://rebound.example:80"},
}


@pytest.mark.parametrize("marks", PAGES.values(), ids=PAGES.keys())
@pytest.mark.parametrize(("method", "path"), [*ROUTES, ("GET", "/health"), ("OPTIONS", "/query"), ("HEAD", "/health")])
def test_request_of_web_page_is_refused(
    owner: httpx.Client, names: dict[str, Any], method: str, path: str, marks: dict[str, str]
) -> None:
    preflight = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
    content = json.dumps(BODIES[path]).encode() if method == "POST" else None
    headers = {"Content-Type": "text/plain", **marks, **(preflight if method == "OPTIONS" else {})}
    answer = owner.request(method, path.format(**names), headers=headers, content=content)
    assert answer.status_code == 403
    assert not [name for name in answer.headers if name.startswith("access-control-")]


# Folders that an indexing job accepts


@pytest.mark.parametrize(
    "folder",
    [
        "..", "../", "./..", "zoo/../..", "../neighbour", "../open project/../neighbour", "/", "/etc",
        "/proc/self/root", "/proc/self/cwd", "/dev/fd", "/dev/stdin", "~", "~root", "file:///etc",
        "leaves", "leaves/", "leaves/in.py", "to-file", "inner/../leaves",
        "ZOO.PY", "zoo.py.", "zoo.py ", "zoo.py/../..", "...", "....//", "..\\..",
        "%2e%2e", "..%2f", "\x00", "zoo.py\x00", "zoo.py\n", "*", "$HOME", "${HOME}", "`id`", "$(id)", "\ud7ff",
    ],
)  # fmt: skip
def test_index_of_folder_outside_project_is_refused(
    owner: httpx.Client, names: dict[str, Any], root: Path, folder: str
) -> None:
    neighbour = root.parent / "neighbour"
    if not neighbour.exists():
        neighbour.mkdir()
        (neighbour / "in.py").write_text("neighbour = 1\n")
        (root / "leaves").symlink_to(neighbour)
        (root / "to-file").symlink_to(neighbour / "in.py")
    answer = owner.post("/index", json={"folder_path": folder})
    assert answer.status_code in (404, 422), answer.text
    assert answer.json()["code"] in ("path_not_found", "outside_project")
    told = answer.json()["detail"].replace(repr(str(root)), "")
    assert str(root.parent) not in told.replace(repr(folder), "")
