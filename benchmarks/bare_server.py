"""The reference of HTTP figures: FastAPI on uvicorn with two routes that do nothing.

Usage: python -m benchmarks.bare_server [ANSWER.json]; prints its port once it listens.
"""

import json
import socket
import sys
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel


class QueryBody(BaseModel):
    """The body of a query."""

    query: str


def create_bare_app(answer: dict[str, Any]) -> FastAPI:
    """Return an application that answers every query with the same body."""
    app = FastAPI()

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "healthy"}

    @app.post("/query")
    async def query(body: QueryBody) -> dict[str, Any]:
        return answer

    return app


def main() -> None:
    """Serve on a free port."""
    answer = json.loads(Path(sys.argv[1]).read_text()) if len(sys.argv) > 1 else {}
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    config = uvicorn.Config(create_bare_app(answer), log_level="warning", access_log=False)
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
