"""A typed Python client of a project's server, for programs: blocking, and for an event loop.

    from agent_brain_server.client import AgentBrain

    with AgentBrain("path/to/project") as brain:
        for result in brain.query("where is the lock released?", top_k=3).results:
            print(f"{result.source}:{result.start_line}")

The server is found, or started if none runs, and found again after it has ended. A project that was never indexed is
indexed with the first question.
"""

from agent_brain_server.client.blocking import AgentBrain
from agent_brain_server.client.concurrent import AsyncAgentBrain

__all__ = ["AgentBrain", "AsyncAgentBrain"]
