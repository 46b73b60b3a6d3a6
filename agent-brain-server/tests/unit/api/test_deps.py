"""What a handler asks for is the application's own, and asked for without a thread."""

import inspect

from fastapi import FastAPI
from fastapi.testclient import TestClient

from agent_brain_server.api import deps


def test_each_dependency_is_read_from_the_application_that_answers() -> None:
    def make(name: str) -> FastAPI:
        app = FastAPI()
        app.state.context, app.state.projects, app.state.shutting_down = (f"{name} {part}" for part in "cps")

        async def show(context: deps.Context, projects: deps.Projects, stopping: deps.ShuttingDown) -> list[str]:
            return [context, projects, stopping]

        # typed as what they are; here only which of them comes where is of interest
        app.add_api_route("/", show, response_model=None)
        return app

    for name in ("first", "second"):
        assert TestClient(make(name)).get("/").json() == [f"{name} {part}" for part in "cps"]


def test_no_dependency_costs_a_thread() -> None:
    for reader in (deps.get_context, deps.get_projects, deps.get_shutting_down):
        assert inspect.iscoroutinefunction(reader)
