"""Measure reads of the syntax facts in an index: `python -m benchmarks.measure_symbols DIRECTORY`.

DIRECTORY holds a document store that no server uses, `data/llamaindex` of an index. Times are of one thread, in CPU and
wall milliseconds, for names that are defined in the project, drawn with a fixed seed.
"""

import random
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from agent_brain_server.storage.document_store import DATABASE_NAME, DocumentStore
from benchmarks.figures import percentile

SAMPLE = 400  # names
SLOW_SAMPLE = 60  # names for calls that take tens of milliseconds
PAGE = 50  # definitions or sites
NEAREST = 5


def measure(label: str, call: Callable[[str], object], names: Iterable[str]) -> str:
    """Call a function with each name; return a row of the table."""
    wall: list[float] = []
    cpu: list[float] = []
    for name in names:
        started, cpu_before = time.perf_counter(), time.thread_time()
        call(name)
        cpu.append((time.thread_time() - cpu_before) * 1000)
        wall.append((time.perf_counter() - started) * 1000)
    figures = (percentile(wall, 0.5), percentile(wall, 0.95), percentile(cpu, 0.5), percentile(cpu, 0.95))
    return f"| {label} | " + " | ".join(f"{figure:.3g}" for figure in figures) + " |"


def misspell(name: str) -> str:
    """Return a name without the letter in its middle."""
    return name[: len(name) // 2] + name[len(name) // 2 + 1 :]


def draw_names(store: DocumentStore) -> list[str]:
    """Return names that the project defines."""
    with store.database.reading() as connection:
        rows = connection.execute("SELECT DISTINCT coalesce(name, folded) FROM definitions ORDER BY 1").fetchall()
    return random.Random(0).sample([str(name) for (name,) in rows], min(SAMPLE, len(rows)))


def main() -> None:
    """Print the figures of one index as a table."""
    directory = Path(sys.argv[1])
    store = DocumentStore(directory)
    symbols, counts, facts = store.symbols, store.counts(), store.symbols.counts()
    names = draw_names(store)
    few = names[:SLOW_SAMPLE]
    size = (directory / DATABASE_NAME).stat().st_size / 1e6
    print(f"{counts.files:,} files, {counts.chunks:,} chunks, {facts.definitions:,} definitions,", end=" ")
    print(f"{facts.references:,} references, {size:.3g} MB")
    print("| | wall p50, ms | p95 | CPU p50, ms | p95 |\n|---|---|---|---|---|")
    print(measure(f"references, {PAGE} sites", lambda name: symbols.references(name, limit=PAGE), names))
    print(measure("references, all", symbols.references, names))
    print(measure(f"definitions, {PAGE}", lambda name: symbols.definitions(name, limit=PAGE), names))
    print(measure("chunks that define a name", symbols.defining_keys, names))
    print(measure("nearest names, first call", lambda name: symbols.nearest_names(name, NEAREST), few[:1]))
    print(measure("nearest names", lambda name: symbols.nearest_names(misspell(name), NEAREST), few))
    part = "definitions by the first four letters"
    print(measure(part, lambda name: symbols.definitions(name[:4], match="part", limit=PAGE), few))
    store.close()


if __name__ == "__main__":
    main()
