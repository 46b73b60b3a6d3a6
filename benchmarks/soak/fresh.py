"""Change a tree as people and tools do in a working day, and check that the next answer includes each change."""

import itertools
import json
import random
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from agent_brain_server.lifecycle.control import start_server
from benchmarks.client import Client
from benchmarks.soak.fresh_scenarios import SCENARIOS, Expectation, Tree
from benchmarks.soak.outcome import Outcome, require
from benchmarks.soak.servers import project, wait_until

SEED = 20_261_126
CLI_WAIT_MS = 500  # the default of `agent-brain query`
TARGET_SHARE = 0.99
LEAST_FOR_SHARE = 1_000  # a shorter run on a busy machine is judged by its stale answers alone


@dataclass(slots=True)
class Tally:
    """Counts of the answers.

    Attributes:
        queries: Number of queries.
        stale: Answers that lack a change and report nothing pending, or that show a deleted file.
        waited: Number of queries with the `wait_ms` of the command.
        included: How many of these had the change.
        missed: Number of changes that such an answer lacked, by scenario.
        slowest_ms: Longest answer.
    """

    queries: int = 0
    stale: list[str] = field(default_factory=list)
    waited: int = 0
    included: int = 0
    missed: Counter[str] = field(default_factory=Counter)
    slowest_ms: float = 0.0


def loop_fresh(scratch: Path, queries: int) -> Iterator[Outcome]:
    """Repeat every scenario; query right after each change, with and without `wait_ms`."""
    with project(scratch, "fresh mit Umlaut ä") as root:
        tree = Tree(root, random.Random(SEED))
        state = start_server(root).state
        require(state, "the server did not start")
        runtime = {"base_url": state.base_url, "token": state.token}
        with Client(runtime) as client:
            job = client.start_index(".")
            wait_until(
                lambda: client.call("GET", f"/index/jobs/{job}")["progress"]["keywords_ready"], "the first index"
            )
            tally = run_scenarios(client, tree, queries)
            status = client.call("GET", "/health/status")["watch"]
    share = tally.included / max(tally.waited, 1)
    done = f"{tally.queries:,} queries right after changes, {len(SCENARIOS)} scenarios with real git and files"
    missed = ", ".join(f"{name} {count}" for name, count in tally.missed.most_common(3))
    found = (
        f"{len(tally.stale)} stale answers; {share:.2%} of {tally.waited:,} answers with wait_ms {CLI_WAIT_MS} had it"
        f"{f' (not: {missed})' if missed else ''}; {status['recrawls']} recrawls; slowest {tally.slowest_ms:.0f} ms"
        f"{'; first: ' + tally.stale[0] if tally.stale else ''}"
    )
    is_share_kept = share >= TARGET_SHARE or tally.queries < LEAST_FOR_SHARE
    yield Outcome(31, done, found, kept=not tally.stale and is_share_kept)


def run_scenarios(client: Client, tree: Tree, queries: int) -> Tally:
    """Run complete scenarios until enough queries were sent."""
    tally = Tally()
    for number, (name, scenario) in enumerate(itertools.cycle(SCENARIOS.items())):
        if tally.queries >= queries:
            return tally
        for step, expectations in enumerate(scenario(tree)):
            waits = number // len(SCENARIOS) + step
            for expectation in expectations:
                check(client, tree, tally, name, expectation, CLI_WAIT_MS if waits % 2 else 0)
                check(client, tree, tally, name, expectation, 0 if waits % 2 else CLI_WAIT_MS)
    raise AssertionError("unreachable: the cycle does not end")


def check(client: Client, tree: Tree, tally: Tally, name: str, expectation: Expectation, wait_ms: int) -> None:
    """Send one query and judge its answer."""
    began = time.perf_counter()
    body = {"query": expectation.word, "mode": "bm25", "top_k": 20, "wait_ms": wait_ms}
    answer = client.call("POST", "/query", body)
    tally.slowest_ms = max(tally.slowest_ms, (time.perf_counter() - began) * 1000)
    tally.queries += 1
    sources = {result["source"] for result in answer["results"] if expectation.word in result["text"]}
    is_met = sources == ({expectation.path} if expectation.path else set())
    ghosts = [source for source in sources if not (tree.root / source).exists()]
    index = answer["index"]
    is_admitted = index["files_pending"] > 0 or index["watch"] != "on"
    if ghosts or not (is_met or is_admitted):
        tally.stale.append(
            json.dumps({"scenario": name, "expected": str(expectation), "got": sorted(sources), **index})
        )
    if wait_ms:
        tally.waited += 1
        tally.included += is_met
        if not is_met:
            tally.missed[name] += 1
