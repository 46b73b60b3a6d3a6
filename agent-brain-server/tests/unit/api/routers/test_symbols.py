"""Reading files over HTTP."""

from fastapi.testclient import TestClient


def test_read_returns_lines_of_an_indexed_file(indexed_client: TestClient, shared_project) -> None:
    whole = indexed_client.get("/files/src/locks.py").json()
    assert whole["text"] + "\n" == (shared_project / "src/locks.py").read_text()
    assert (whole["start_line"], whole["end_line"], whole["total_lines"]) == (1, 11, 11)
    assert (whole["language"], whole["source_type"], whole["next_line"]) == ("python", "code", None)
    part = indexed_client.get("/files/src/locks.py", params={"from": 4, "to": 5}).json()
    assert part["text"] == 'class FileLock:\n    """An exclusive lock on a file."""'
    assert indexed_client.get(f"/files/{shared_project}/src/locks.py").json()["source"] == "src/locks.py"


def test_read_shows_the_file_as_it_is_now(client: TestClient, index_all, project) -> None:
    index_all()
    (project / "src/parser.py").write_text("changed = True\n")
    assert client.get("/files/src/parser.py").json()["text"] == "changed = True"


def test_read_limits_lines_and_their_length(client: TestClient, index_all, project) -> None:
    (project / "long.txt").write_text("".join(f"line {number}\n" for number in range(1, 3001)) + "x" * 3000)
    index_all()
    short = client.get("/files/long.txt").json()
    assert (short["end_line"], short["next_line"], short["total_lines"]) == (400, 401, 3001)
    most = client.get("/files/long.txt", params={"from": 100, "to": 9999}).json()
    assert (most["end_line"], most["next_line"]) == (2099, 2100)
    end = client.get("/files/long.txt", params={"from": 3001}).json()
    assert (len(end["text"]), end["cut_lines"], end["next_line"]) == (2000, 1, None)


REFUSED_PATHS = [
    ("src/missing.py", 404, "path_not_found"),
    (".env", 404, "not_indexed"),
    ("ignored.py", 404, "not_indexed"),
    ("outside.py", 422, "outside_project"),
    ("/etc/passwd", 422, "outside_project"),
    ("src/%2e%2e/%2e%2e/%2e%2e/etc/passwd", 422, "outside_project"),
    ("src", 422, "not_a_file"),
    ("", 422, "not_a_file"),
    ("src/%00", 422, "invalid_path"),
    ("src/%1b%5b31m", 404, "path_not_found"),
    ("a" * 5000, 422, "invalid_request"),
]


def test_read_refuses_other_paths(client: TestClient, index_all, project, refusal) -> None:
    (project / ".env").write_text("KEY=secret\n")
    (project / ".gitignore").write_text("ignored.py\n")
    (project / "ignored.py").write_text("x = 1\n")
    (project.parent / "outside.py").write_text("x = 1\n")
    (project / "outside.py").symlink_to(project.parent / "outside.py")
    index_all()
    for path, status, code in REFUSED_PATHS:
        answer = client.get(f"/files/{path}")
        assert refusal(answer) == (status, code), path
        assert "\x1b" not in answer.json()["detail"]


def test_read_refuses_invalid_ranges(indexed_client: TestClient, refusal) -> None:
    for lines in ({"from": 9, "to": 4}, {"from": 12}, {"from": 12, "to": 14}):
        assert refusal(indexed_client.get("/files/src/locks.py", params=lines)) == (422, "invalid_range"), lines


def test_read_refuses_a_file_that_became_secret(client: TestClient, index_all, project, refusal) -> None:
    index_all()
    key = f"-----BEGIN PRIVATE KEY-----\n{'A' * 64}\n-----END PRIVATE KEY-----\n"
    (project / "src/parser.py").write_text(key)
    assert refusal(client.get("/files/src/parser.py")) == (404, "not_indexed")


def test_read_refuses_a_directory_that_became_a_link(client: TestClient, index_all, project, refusal) -> None:
    index_all()
    elsewhere = project.parent / "elsewhere"
    (project / "src").rename(elsewhere)
    (project / "src").symlink_to(elsewhere)
    assert refusal(client.get("/files/src/parser.py")) == (422, "outside_project")


def test_read_returns_markup_of_a_page(client: TestClient, index_all, project) -> None:
    page = "<html><body><h1>Title</h1><p>Some words here.</p></body></html>"
    (project / "docs/page.html").write_text(page)
    index_all()
    assert client.get("/files/docs/page.html").json()["text"] == page


def test_symbol_endpoints_answer_with_freshness(indexed_client: TestClient) -> None:
    symbols = indexed_client.get("/symbols", params={"name": "FileLock.release", "wait_ms": 100}).json()
    assert [(each["source"], each["line"]) for each in symbols["symbols"]] == [("src/locks.py", 10)]
    references = indexed_client.get("/references", params={"name": "parse_http_header"}).json()
    assert references["files"][0]["references"][0]["enclosing"] == "test_header_is_parsed"
    outline = indexed_client.get("/outline", params={"path": "src/locks.py"}).json()
    assert [item["name"] for item in outline["files"][0]["items"]] == ["FileLock", "acquire", "release"]
    related = indexed_client.get("/related", params={"path": "src/parser.py", "line": 2}).json()
    assert (related["definition"]["name"], related["total_tests"]) == ("parse_http_header", 1)
    for answer in (symbols, references, outline, related):
        assert answer["index"]["files_pending"] == 0
    compact = indexed_client.get("/references", params={"name": "parse_http_header", "format": "compact"}).json()
    assert compact["text"].startswith("tests/test_parser.py:2 in test_header_is_parsed: assert parse_http_header(")
    assert compact["tokens"] > 0


REFUSED_CALLS = [
    ("/symbols", "invalid_request"),
    ("/symbols?name=", "invalid_request"),
    ("/symbols?name=%20", "invalid_name"),
    ("/symbols?name=" + "x" * 301, "invalid_name"),
    ("/symbols?name=" + "x" * 5000, "invalid_request"),
    ("/symbols?name=x&limit=501", "invalid_request"),
    ("/symbols?name=x&max_tokens=49", "invalid_request"),
    ("/symbols?name=x&unknown=1", "invalid_request"),
    ("/symbols?name=x&language=klingon", "invalid_request"),
    ("/references?name=x&path=%5B", "invalid_glob"),
    ("/references?name=x&kind=jump", "invalid_request"),
    ("/outline?path=../", "outside_project"),
    ("/outline?path=%00", "invalid_path"),
    ("/related?path=src/locks.py&line=0", "invalid_request"),
    ("/related?path=src/locks.py&line=99", "invalid_range"),
    ("/related?path=src&line=1", "not_a_file"),
]


def test_symbol_endpoints_refuse_bad_input(indexed_client: TestClient, refusal) -> None:
    for call, code in REFUSED_CALLS:
        assert refusal(indexed_client.get(call)) == (422, code), call


def test_shared_mode_answers_about_one_project_only(daemon: TestClient, tmp_path, starts_processes, refusal) -> None:
    ids = {}
    for name in ("first", "second"):
        root = tmp_path / name
        (root / "src").mkdir(parents=True)
        (root / f"src/{name}.py").write_text(f"def only_{name}():\n    return shared_name()\n")
        ids[name] = daemon.post("/projects", json={"project_root": str(root)}).json()["project_id"]
        job = daemon.post("/index", json={"folder_path": ".", "project_id": ids[name]}).json()["job_id"]
        daemon.get(f"/index/jobs/{job}/events", params={"project_id": ids[name]})
    here = {"project_id": ids["first"]}
    assert daemon.get("/symbols", params={"name": "only_first", **here}).json()["total"] == 1
    other = daemon.get("/symbols", params={"name": "only_second", **here}).json()
    assert (other["total"], other["nearest"]) == (0, ["only_first"])
    uses = daemon.get("/references", params={"name": "shared_name", **here}).json()
    assert [file["source"] for file in uses["files"]] == ["src/first.py"]
    assert daemon.get("/files/src/first.py", params=here).json()["total_lines"] == 2
    assert refusal(daemon.get("/files/src/second.py", params=here)) == (404, "path_not_found")
    elsewhere = tmp_path / "second/src/second.py"
    assert refusal(daemon.get(f"/files/{elsewhere}", params=here)) == (422, "outside_project")
    assert refusal(daemon.get("/symbols", params={"name": "x"})) == (422, "project_id_required")
