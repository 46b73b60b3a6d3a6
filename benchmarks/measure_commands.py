"""Measure the command line, the start of a server, and a server without an index."""

from benchmarks.client import Client
from benchmarks.figures import Measured, measured
from benchmarks.processes import Memory, tree_cpu, tree_memory
from benchmarks.project import Project
from benchmarks.references import bare_python, bare_server


def measure_help(project: Project, runs: int) -> list[Measured]:
    """Measure `agent-brain --help`."""
    pairs = [(project.run("--help").cpu, bare_python().cpu) for _ in range(runs)]
    return [measured("help_cpu", *zip(*pairs, strict=True))]


def measure_status(project: Project, runs: int) -> list[Measured]:
    """Measure `agent-brain status` with a server running."""
    with project.serving():
        pairs = [(project.run("status").cpu, bare_python().cpu) for _ in range(runs)]
    return [measured("status_cpu", *zip(*pairs, strict=True))]


def measure_start(project: Project, runs: int) -> list[Measured]:
    """Measure a start without a state directory, and the memory of the server."""
    usages: list[tuple[float, float]] = []
    memories: list[Memory] = []
    bare_usages: list[tuple[float, float]] = []
    bare_memories: list[Memory] = []
    for _ in range(runs):
        project.forget()
        started = project.run("start", "--json")
        state = project.start()
        try:
            # Since the command returned, the server has only answered one GET /health.
            usages.append((started.cpu + tree_cpu(state["pid"]), started.wall))
            with Client(state) as client:
                client.call("GET", "/health/status")
            memories.append(tree_memory(state["pid"]))
        finally:
            project.stop()
        with bare_server() as bare:
            bare_usages.append((bare.cpu, bare.wall))
            bare_memories.append(tree_memory(bare.pid))
    return [
        measured("start_cpu", (cpu for cpu, _ in usages), (cpu for cpu, _ in bare_usages)),
        measured("start_wall", (wall for _, wall in usages), (wall for _, wall in bare_usages)),
        measured("memory_empty", (memory.rss for memory in memories), (memory.rss for memory in bare_memories)),
        measured("memory_empty_pss", (memory.pss for memory in memories), (memory.pss for memory in bare_memories)),
    ]
