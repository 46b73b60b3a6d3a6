"""Answer a request from an index that includes every change made before the request, as far as it may wait for it."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from fastapi import Response
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool

from agent_brain_server.api.deps import Projects
from agent_brain_server.services.freshness import Barrier

if TYPE_CHECKING:
    from agent_brain_server.project.services import ProjectServices

MILLISECONDS = 1000

Answer = Callable[["ProjectServices", Barrier], BaseModel | str]
"""Answers a request, with a model or with JSON; counts the changes before the barrier that the index lacks."""


async def answer_when_fresh(projects: Projects, project_id: str | None, wait_ms: int, answer: Answer) -> Response:
    """Return the answer as JSON, after the changes made before the request were indexed or the time is over.

    Args:
        projects: The projects of the server.
        project_id: The project in the request.
        wait_ms: The longest wait, in milliseconds.
        answer: Runs in a thread.
    """
    body = await run_in_threadpool(_answer_if_fresh, projects, project_id, wait_ms, answer)
    if isinstance(body, Barrier):
        # wait without a thread, so that waiting requests do not block others
        await _wait_for(body, wait_ms / MILLISECONDS)
        body = await run_in_threadpool(_answer, projects, project_id, answer, body)
    return Response(body, media_type="application/json")


def _answer_if_fresh(projects: Projects, project_id: str | None, wait_ms: int, answer: Answer) -> str | Barrier:
    """Answer, or return the barrier that the request has to wait for."""
    with projects.lease(project_id) as services:
        barrier = services.queries.changes.barrier(may_wait=wait_ms > 0)
        if wait_ms and not barrier.is_met():
            return barrier
        return _to_json(answer(services, barrier))


def _answer(projects: Projects, project_id: str | None, answer: Answer, barrier: Barrier) -> str:
    # serialized in the handler's thread: FastAPI would validate the answer again, on the event loop
    with projects.lease(project_id) as services:
        return _to_json(answer(services, barrier))


def _to_json(answer: BaseModel | str) -> str:
    return answer if isinstance(answer, str) else answer.model_dump_json()


async def _wait_for(barrier: Barrier, timeout_s: float) -> None:
    loop, met = asyncio.get_running_loop(), asyncio.Event()
    if barrier.on_met(lambda: loop.call_soon_threadsafe(met.set)):
        try:
            async with asyncio.timeout(timeout_s):
                await met.wait()
        except TimeoutError:
            pass  # the answer counts the missing changes
        finally:
            barrier.cancel()
