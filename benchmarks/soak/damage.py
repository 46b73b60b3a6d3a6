"""Flips bytes in the files of an index, and takes its directories away; the server must mend itself and never lie."""

import contextlib
import random
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from urllib.parse import quote

from agent_brain_server.discovery import request_json
from agent_brain_server.errors import AgentBrainError, ServerRefusedError
from agent_brain_server.lifecycle.control import start_server, stop_server
from agent_brain_server.storage_paths import DATA_DIR, DOCUMENTS_DIR, KEYWORDS_DIR, VECTORS_DIR, resolve_state_dir
from benchmarks.soak.killing import MODES, SEED, IndexedProject, prepare
from benchmarks.soak.outcome import BrokenPromiseError, Outcome, require
from benchmarks.soak.servers import LIMIT_S, POLL_S, find_servers, has_ended, kill, project, wait_until
from benchmarks.soak.stores import find_faults, open_documents

MAX_FLIPS = 64
QUESTIONS = 12
MEND_LIMIT_S = 20.0  # from the first question that met damage until all are answered, on a busy machine
SETTLE_S = 2.5  # the server looks after its files once a second
LOST = (DOCUMENTS_DIR, KEYWORDS_DIR, VECTORS_DIR, ".")


def loop_flips(scratch: Path, rounds: int) -> Iterator[Outcome]:
    """Flip bytes in one file a round: in turn after a stop, after a kill, and while the server runs."""
    met: Counter[str] = Counter()
    told = refused = 0
    with project(scratch, "flipped") as root:
        work = _begin(root)
        for number in range(rounds):
            how = ("stopped", "killed", "running")[number % 3]
            if how == "stopped":
                stop_server(resolve_state_dir(root))
            elif how == "killed":
                _kill_server(work)
            file = _pick_file(work)
            flip_bytes(file, work.random)
            if how == "running":
                refused += len(ask_all(work))
                if not has_ended(work.state.pid):
                    stop_server(resolve_state_dir(root))
            work.state = start_server(root).state
            told += bool(settle(work)["repairs"])
            met[f"{_kind_of(file)} {how}"] += 1
            _require_sound(work, f"round {number}, bytes of {file.name} flipped, {how}")
    found = (
        f"each found sound again by itself, {told} told of repairs; {work.answers:,} results compared with the files"
    )
    found = f"{found}; {refused} questions refused with the reason while a server ran on a damaged file"
    yield Outcome(21, f"up to {MAX_FLIPS} bytes flipped in a store's file × {rounds}", f"0 wrong: {found}")


def loop_lost(scratch: Path, rounds: int) -> Iterator[Outcome]:
    """Delete the directory of a store, or all of them, in turn while the server is stopped and while it runs."""
    slowest = 0.0
    with project(scratch, "lost") as root:
        work = _begin(root)
        for number in range(rounds):
            lost, runs = LOST[number // 2 % len(LOST)], number % 2 == 0
            if not runs:
                stop_server(resolve_state_dir(root))
            shutil.rmtree(work.stores / DATA_DIR / lost)
            began = time.monotonic()
            if not runs:
                work.state = start_server(root).state
            else:
                time.sleep(SETTLE_S)
            if lost == ".":
                work.begin_job()  # what was indexed is lost with everything else
            status = settle(work)
            slowest = max(slowest, time.monotonic() - began)
            require(status["repairs"] or lost == ".", f"nothing is told of {lost}, {runs}: {status}")
            _require_sound(work, f"round {number}, {lost} deleted, {'running' if runs else 'stopped'}")
            require(find_servers(root) == [work.state.pid], "the server ended")
    found = f"made again by itself, and the status tells of it; at most {slowest:.1f} s"
    yield Outcome(22, f"a store's directory, or all of them, deleted × {rounds}", found)


def flip_bytes(file: Path, chance: random.Random) -> None:
    """Change some bytes at random places, in place."""
    size = file.stat().st_size
    if not size:
        return
    with file.open("r+b", buffering=0) as stream:
        for _ in range(chance.choice((1, 1, 4, MAX_FLIPS))):
            place = chance.randrange(size)
            stream.seek(place)
            old = stream.read(1)[0]
            stream.seek(place)
            stream.write(bytes([old ^ (1 << chance.randrange(8))]))


def settle(work: IndexedProject) -> dict[str, object]:
    """Wait until nothing is being mended or indexed; return the status.

    Raises:
        BrokenPromiseError: That does not come.
    """
    deadline = time.monotonic() + LIMIT_S
    while True:
        with contextlib.suppress(AgentBrainError):
            status = work.ask("GET", "/health/status")
            if not status["indexing_in_progress"]:
                return status
        require(time.monotonic() < deadline, "the index did not mend")
        time.sleep(POLL_S * 10)


def ask_all(work: IndexedProject) -> list[str]:
    """Ask in every mode; results must be true, and an error one that says what is wrong. Returns the refusals."""
    refused = []
    for number in range(QUESTIONS):
        path, marker = work.tree.pick_marker()
        body = {"query": f"{marker} {path} lock chunk", "mode": MODES[number % 3], "top_k": 50}
        try:
            work.check_results(request_json(work.state, "POST", "/query", body)["results"])
        except AgentBrainError as exc:
            require(exc.code != AgentBrainError.default_code, f"{exc.code}: {exc.message}")
            refused.append(exc.message)
    return refused


def _begin(root: Path) -> IndexedProject:
    return prepare(root, SEED, start_server(root).state, resolve_state_dir(root))


def _kill_server(work: IndexedProject) -> None:
    kill(work.state.pid)
    wait_until(partial(has_ended, work.state.pid), "the end of the killed server")


def _pick_file(work: IndexedProject) -> Path:
    data = work.stores / DATA_DIR
    files = [path for path in sorted(data.rglob("*")) if path.is_file() and not _is_aside(path, data)]
    kinds = sorted({_kind_of(path) for path in files})
    wanted = work.random.choice(kinds)
    return work.random.choice([path for path in files if _kind_of(path) == wanted])


def _is_aside(path: Path, data: Path) -> bool:
    return ".store_" in path.relative_to(data).parts[0] or path.suffix == ".lock"


def _kind_of(path: Path) -> str:
    """Return a file's name, without what tells it from others of its kind."""
    return path.suffix.lstrip(".") if path.suffix not in ("", ".json", ".sqlite3") else path.name


def _require_sound(work: IndexedProject, after: str) -> None:
    """Compare stores and tree."""
    deadline = time.monotonic() + MEND_LIMIT_S
    while refused := ask_all(work):  # without a seal, damage is met by the first question that comes upon it
        require(time.monotonic() < deadline, f"after {after} questions are refused: {refused[:1]}")
        settle(work)
    _fetch_every_chunk(work)
    faults = find_faults(work.stores, work.tree.present)
    if faults:
        status = work.ask("GET", "/health/status")
        told = {name: status[name] for name in ("indexing_in_progress", "last_job", "repairs")}
        found = f"{len(faults)} faults, {'; '.join(faults[:5])}"
        raise BrokenPromiseError(f"after {after}: {found}; the server says {told}")


def _fetch_every_chunk(work: IndexedProject) -> None:
    """Ask for each chunk by its id, which lets the server find what is damaged, until all of them are true."""
    while True:
        with open_documents(work.stores / DATA_DIR) as documents:
            chunk_ids = [chunk_id for (chunk_id,) in documents.execute("SELECT id FROM chunks")]
        missing = 0
        for chunk_id in chunk_ids:
            try:
                chunk = request_json(work.state, "GET", f"/query/chunks/{quote(chunk_id, safe='')}")
                work.check_results([chunk])
            except ServerRefusedError as exc:
                require(exc.code != AgentBrainError.default_code, f"{exc.code}: {exc.message}")
                missing += 1
        settle(work)
        if not missing:
            return
