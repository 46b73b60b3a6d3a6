"""A client of one server: JSON requests and the events of a job; every failure is an `AgentBrainError`.

Uses `http.client`, which discovery has imported already. A richer client takes more CPU time than a query.
"""

import http.client
import json
import time
from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import quote, urlencode, urlsplit

from agent_brain_cli.output import Json
from agent_brain_server.discovery import request_json
from agent_brain_server.errors import DeadlineError, ServerRefusedError, UnavailableError
from agent_brain_server.models import TERMINAL_STATES
from agent_brain_server.runtime import RuntimeState

JOB_EVENTS = frozenset({"progress", "end"})  # each carries the job's whole status

REQUEST_TIMEOUT_S = 30.0  # a query takes milliseconds; the first one after a start may wait for a store to open
RETRY_PAUSE_S = 0.2  # a store opens in about this time
EVENT_SILENCE_S = 5.0  # then the job is requested directly, which also shows whether the server hangs
RECONNECT_PAUSE_S = 0.2  # before a stream that ended early is opened again
MIN_TIMEOUT_S = 0.001  # a socket timeout of 0 means non-blocking


class Client:
    """Sends requests to one server.

    Args:
        state: The server's address and token; for the daemon also the project, which is sent with each request.
        timeout_s: The longest time for one request, including its retries while a store opens.
    """

    def __init__(self, state: RuntimeState, *, timeout_s: float = REQUEST_TIMEOUT_S) -> None:
        address = urlsplit(state.base_url)
        self._state = state
        self._host = address.hostname or state.bind_host
        self._port = address.port
        self._timeout_s = timeout_s
        self._project = {"project_id": state.project_id} if state.mode == "shared" and state.project_id else {}
        self._headers = {"Accept": "text/event-stream"}
        if state.token:
            self._headers["Authorization"] = f"Bearer {state.token}"

    @property
    def state(self) -> RuntimeState:
        """The server that receives the requests."""
        return self._state

    def get(self, path: str, parameters: Mapping[str, object] | None = None) -> Json:
        """Return the JSON answer of `GET path`.

        Args:
            path: Quoted for a URL.
            parameters: Of the query string; those that are `None` are left out, a list is repeated.
        """
        return self._call("GET", self._address(path, parameters))

    def post(self, path: str, body: Json) -> Json:
        """Return the JSON answer of `POST path`."""
        return self._call("POST", path, {**body, **self._project})

    def get_job(self, job_id: str) -> Json:
        """Return the current status of a job."""
        return self.get(_job_path(job_id))

    def follow_job(self, job_id: str, *, deadline: float | None = None) -> Iterator[Json]:
        """Yield the status of a job after every change, until it has ended.

        Args:
            job_id: The job.
            deadline: A time of the monotonic clock; `None` waits until the job has ended.

        Raises:
            DeadlineError: The job had not ended by the deadline.
            NotRunningError: The server ended.
        """
        while True:
            status = self.get_job(job_id)
            yield status
            if status["state"] in TERMINAL_STATES:
                return
            try:
                for status in self._job_events(job_id, deadline):
                    yield status
                    if status["state"] in TERMINAL_STATES:
                        return
            except (OSError, http.client.HTTPException):
                pass  # silence or a broken stream: the loop requests the job again
            if deadline is not None and time.monotonic() >= deadline:
                raise DeadlineError("The job did not end within the time limit; it continues in the server.")
            time.sleep(RECONNECT_PAUSE_S)

    def _job_events(self, job_id: str, deadline: float | None) -> Iterator[Json]:
        """Yield each status of one event stream, until it ends or the deadline has passed."""
        silence = EVENT_SILENCE_S if deadline is None else min(EVENT_SILENCE_S, deadline - time.monotonic())
        connection = http.client.HTTPConnection(self._host, self._port, timeout=max(MIN_TIMEOUT_S, silence))
        try:
            connection.request("GET", self._address(f"{_job_path(job_id)}/events"), headers=self._headers)
            response = connection.getresponse()
            if response.status != http.HTTPStatus.OK:
                return  # the next request is for the job, and raises the error
            for name, data in parse_events(_until(deadline, response)):
                if name in JOB_EVENTS:
                    yield json.loads(data)
        finally:
            connection.close()

    def _address(self, path: str, parameters: Mapping[str, object] | None = None) -> str:
        """Return the path with its parameters, and the project's id, which the daemon requires."""
        given = {name: value for name, value in (parameters or {}).items() if value is not None}
        given |= self._project
        return f"{path}?{urlencode(given, doseq=True)}" if given else path

    def _call(self, method: str, path: str, body: Json | None = None) -> Json:
        """Send a request, and repeat it while the server is unavailable for a moment."""
        deadline = time.monotonic() + self._timeout_s
        while True:
            try:
                answer = request_json(self._state, method, path, body, timeout=self._timeout_s)
            except ServerRefusedError as error:
                if error.code != UnavailableError.default_code or time.monotonic() + RETRY_PAUSE_S >= deadline:
                    raise
                time.sleep(RETRY_PAUSE_S)
            else:
                return _require_object(answer)


def parse_events(lines: Iterable[bytes]) -> Iterator[tuple[str, str]]:
    """Yield (event name, data) for each server-sent event, as in section 9.2 of the WHATWG HTML standard."""
    name, data = "", list[str]()
    for raw in lines:
        line = raw.decode("utf-8", "replace").rstrip("\r\n")
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not line:
            if data:
                yield name or "message", "\n".join(data)
            name, data = "", []
        elif field == "event":
            name = value
        elif field == "data":
            data.append(value)


def _until(deadline: float | None, lines: Iterable[bytes]) -> Iterator[bytes]:
    """Yield lines until the deadline has passed, which is checked at keep-alive lines too."""
    for line in lines:
        if deadline is not None and time.monotonic() >= deadline:
            return
        yield line


def _require_object(answer: object) -> Json:
    """Return the answer, or raise `ServerRefusedError` if it is not a JSON object."""
    if not isinstance(answer, dict):
        raise ServerRefusedError(
            "The server's answer is not a JSON object.", hint="See which server answers: agent-brain status"
        )
    return answer


def _job_path(job_id: str) -> str:
    """Return the path of a job."""
    return f"/index/jobs/{quote(job_id, safe='')}"
