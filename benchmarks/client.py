"""A keep-alive HTTP client on the standard library, so that the client adds little to the figures."""

import http.client
import json
import time
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

TIMEOUT = 120  # seconds: longer than anything that is measured


class RefusedError(Exception):
    """The server answered with an error."""


class Client:
    """One connection to a server.

    Args:
        state: The runtime state: `base_url`, and `token` where requests carry one.
    """

    def __init__(self, state: Mapping[str, Any]) -> None:
        address = urlsplit(state["base_url"])
        self._connection = http.client.HTTPConnection(address.hostname or "127.0.0.1", address.port, timeout=TIMEOUT)
        self._headers = {"Content-Type": "application/json"}
        if token := state.get("token"):
            self._headers["Authorization"] = f"Bearer {token}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Send a request and return the JSON of the answer.

        Raises:
            RefusedError: The status is not a success.
        """
        response = self._send(method, path, body)
        data = response.read()
        if response.status >= 300:
            raise RefusedError(f"{method} {path}: {response.status} {data[:500]!r}")
        answer: dict[str, Any] = json.loads(data)
        return answer

    def time_call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> float:
        """Send a request and return the milliseconds until its answer is parsed."""
        started = time.perf_counter()
        self.call(method, path, body)
        return (time.perf_counter() - started) * 1000

    def time_query(self, question: str, options: Mapping[str, Any] | None = None) -> float:
        """Send a query with the defaults and the given options; return its milliseconds."""
        return self.time_call("POST", "/query", {"query": question, **(options or {})})

    def start_index(self, folder: str) -> str:
        """Start to index a folder and return the job's id."""
        return str(self.call("POST", "/index", {"folder_path": folder})["job_id"])

    def follow_job(self, job_id: str) -> Iterator[dict[str, Any]]:
        """Yield the job's status with every server-sent event; the connection is busy until the end."""
        response = self._send("GET", f"/index/jobs/{job_id}/events")
        if response.status != http.client.OK:
            raise RefusedError(f"events of {job_id}: {response.status} {response.read()[:500]!r}")
        while line := response.readline():
            if line.startswith(b"data:"):
                yield json.loads(line[len(b"data:") :])

    def _send(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> http.client.HTTPResponse:
        data = None if body is None else json.dumps(body).encode()
        self._connection.request(method, path, data, self._headers)
        return self._connection.getresponse()
