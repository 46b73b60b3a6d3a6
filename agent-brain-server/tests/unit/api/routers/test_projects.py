"""Registering projects over HTTP."""

from fastapi.testclient import TestClient

from agent_brain_server.project_root import generate_project_id


def test_project_is_registered_listed_and_unregistered(daemon: TestClient, project, refusal) -> None:
    first = daemon.post("/projects", json={"project_root": str(project)})
    again = daemon.post("/projects", json={"project_root": f"{project}/src/.."})
    assert (first.status_code, again.status_code) == (201, 200)
    project_id = first.json()["project_id"]
    assert project_id == generate_project_id(project) == again.json()["project_id"]
    assert [each["project_root"] for each in daemon.get("/projects").json()["projects"]] == [str(project)]
    status = daemon.get(f"/projects/{project_id}/status").json()
    assert (status["project_root"], status["mode"], status["total_chunks"]) == (str(project), "shared", 0)
    assert daemon.delete(f"/projects/{project_id}?forget=true").json()["data_removed"] is True
    assert daemon.get("/projects").json()["projects"] == []
    assert refusal(daemon.delete(f"/projects/{project_id}")) == (404, "unknown_project")


def test_register_refuses_an_invalid_root(daemon: TestClient, tmp_path, refusal) -> None:
    for root, problem in {
        "relative/path": (422, "invalid_project_root"),
        "/nul\0byte": (422, "invalid_project_root"),
        str(tmp_path / "missing"): (404, "project_root_missing"),
        "/" + "x" * 5000: (422, "invalid_request"),
    }.items():
        assert refusal(daemon.post("/projects", json={"project_root": root})) == problem
    assert daemon.get("/projects").json()["projects"] == []


def test_project_server_refuses_registration(client: TestClient, project, refusal) -> None:
    own = generate_project_id(project)
    assert refusal(client.get("/projects")) == (409, "wrong_mode")
    assert refusal(client.post("/projects", json={"project_root": str(project)})) == (409, "wrong_mode")
    assert refusal(client.delete(f"/projects/{own}")) == (409, "wrong_mode")
    assert client.get(f"/projects/{own}/status").json()["project_root"] == str(project)
    assert refusal(client.get("/projects/p_01234567/status")) == (404, "unknown_project")
    assert refusal(client.get("/projects/other/status")) == (422, "invalid_project_id")
