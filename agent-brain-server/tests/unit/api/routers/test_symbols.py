"""Reading files over HTTP."""

import pytest
from fastapi.testclient import TestClient


def test_read_returns_lines_of_an_indexed_file(client: TestClient, index_all, project) -> None:
    index_all()
    whole = client.get("/files/src/locks.py").json()
    assert whole["text"] + "\n" == (project / "src/locks.py").read_text()
    assert (whole["start_line"], whole["end_line"], whole["total_lines"]) == (1, 11, 11)
    assert (whole["language"], whole["source_type"], whole["next_line"]) == ("python", "code", None)
    part = client.get("/files/src/locks.py", params={"from": 4, "to": 5}).json()
    assert part["text"] == 'class FileLock:\n    """An exclusive lock on a file."""'
    assert client.get(f"/files/{project}/src/locks.py").json()["source"] == "src/locks.py"


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


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
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
    ],
)
def test_read_refuses_other_paths(client: TestClient, index_all, project, refusal, path, status, code) -> None:
    (project / ".env").write_text("KEY=secret\n")
    (project / ".gitignore").write_text("ignored.py\n")
    (project / "ignored.py").write_text("x = 1\n")
    (project.parent / "outside.py").write_text("x = 1\n")
    (project / "outside.py").symlink_to(project.parent / "outside.py")
    index_all()
    answer = client.get(f"/files/{path}")
    assert refusal(answer) == (status, code)
    assert "\x1b" not in answer.json()["detail"]


@pytest.mark.parametrize("lines", [{"from": 9, "to": 4}, {"from": 12}, {"from": 12, "to": 14}])
def test_read_refuses_invalid_ranges(client: TestClient, index_all, refusal, lines) -> None:
    index_all()
    assert refusal(client.get("/files/src/locks.py", params=lines)) == (422, "invalid_range")


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
