"""Dependencies come from the application that answers, without a thread."""

import inspect

from fastapi import FastAPI
from fastapi.testclient import TestClient

from agent_brain_server.api import deps
from agent_brain_server.api.deps import AppState
from agent_brain_server.project.context import ServerContext


def test_dependencies_belong_to_the_answering_application(context: ServerContext) -> None:
    def make_app(state: AppState) -> FastAPI:
        app = FastAPI()
        deps.set_state(app, state)

        async def show(found: deps.ContextDep, activity: deps.ActivityDep, shutdown: deps.ShutdownDep) -> list[bool]:
            return [found is state.context, activity is state.activity, shutdown is state.shutting_down]

        app.add_api_route("/", show)
        return app

    for state in (AppState(context), AppState(context)):
        assert TestClient(make_app(state)).get("/").json() == [True, True, True]


def test_dependencies_are_coroutines() -> None:
    for read in (deps.get_context, deps.get_projects, deps.get_activity, deps.get_shutdown):
        assert inspect.iscoroutinefunction(read)
