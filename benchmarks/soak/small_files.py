"""Flips bytes in the small files beside an index, and cuts them off: settings, runtime files, registrations, lock."""

import json
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent_brain_server.config.settings import write_project_config
from agent_brain_server.lifecycle import registry
from agent_brain_server.lifecycle.control import start_daemon, start_server, stop_daemon, stop_server
from agent_brain_server.runtime import write_shared_config
from agent_brain_server.shared.daemon import register_project
from agent_brain_server.storage_paths import (
    brain_home,
    config_path,
    global_config_path,
    lock_path,
    pid_path,
    registry_path,
    resolve_state_dir,
    runtime_path,
    shared_config_path,
    shared_project_file,
    shared_project_home,
)
from benchmarks.soak.damage import flip_bytes
from benchmarks.soak.killing import SEED, prepare
from benchmarks.soak.outcome import Outcome, require
from benchmarks.soak.servers import own_home, project

DAMAGE_PROMISE = 28
COMMAND_LIMIT_S = 25.0  # less than what a command waits for a server that never answers
MEND_LIMIT_S = 10.0
FLIPPED = 0.7  # of the rounds; in the others a file is cut off
OWN, SHARED = "own", "shared"
START = {OWN: ("start",), SHARED: ("start", "--mode", "shared")}
EXIT_UNEXPECTED = 1


@dataclass(frozen=True, slots=True)
class SmallFile:
    """A file that is damaged.

    Attributes:
        path: Where it lies.
        is_written_by_hand: A person writes it, or may: it is never rewritten, so that person has to correct it.
    """

    path: Path
    is_written_by_hand: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command answered."""

    code: int
    document: dict[str, Any]
    told: str


class TwoProjects:
    """A project with a server of its own and one that the daemon serves, both indexed, with their commands.

    Args:
        own: Has its own server.
        shared: Is the daemon's.
    """

    def __init__(self, own: Path, shared: Path) -> None:
        self.roots = {OWN: own, SHARED: shared}
        write_project_config(resolve_state_dir(own))
        write_project_config(resolve_state_dir(shared), mode="shared")
        write_shared_config()
        shared_config_path().write_text(shared_config_path().read_text().replace("45123", "0"))
        global_config_path().write_text('{\n  "log_level": "info",\n  "max_file_bytes": 1000000\n}\n')
        daemon = start_daemon().state
        state = register_project(daemon, shared, resolve_state_dir(shared))
        self.shared_home = shared_project_home(str(state.project_id))
        self.registration = shared_project_file(str(state.project_id))
        self.works = {
            OWN: prepare(own, SEED, start_server(own).state, resolve_state_dir(own)),
            SHARED: prepare(shared, SEED + 1, state, self.shared_home),
        }
        for root in self.roots.values():
            registry.register(root, resolve_state_dir(root))

    def files(self) -> list[SmallFile]:
        """Return what can be damaged, of what is there."""
        found = [SmallFile(registry_path()), SmallFile(self.registration)]
        found += [SmallFile(path, is_written_by_hand=True) for path in (shared_config_path(), global_config_path())]
        for state_dir in (brain_home(), *map(resolve_state_dir, self.roots.values())):
            found += [SmallFile(path(state_dir)) for path in (runtime_path, lock_path, pid_path)]
        found += [SmallFile(config_path(resolve_state_dir(root)), True) for root in self.roots.values()]
        return [file for file in found if file.path.is_file() and file.path.stat().st_size]

    def run(self, which: str, *words: str) -> Answer:
        """Run a command for one of the projects; it must end in time, with two clear lines where it refuses."""
        command = [sys.executable, "-m", "agent_brain_cli", *words, "--json", "--project-root", str(self.roots[which])]
        # one that hangs ends the round
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=COMMAND_LIMIT_S)
        told = f"{words[0]} for the {which} project, exit code {done.returncode}: {done.stderr.strip()}"
        require("Traceback" not in done.stderr and done.returncode != EXIT_UNEXPECTED, told)
        if done.returncode:
            lines = done.stderr.splitlines()
            require(len(lines) >= 2 and any(line.startswith("Error: ") for line in lines[:-1]), f"{told}: no next step")
        return Answer(done.returncode, json.loads(done.stdout) if done.stdout else {}, told)

    def ask(self, which: str) -> Answer:
        """Ask a question by the command; every line of the answer must be true."""
        work = self.works[which]
        path, marker = work.tree.pick_marker()
        answer = self.run(which, "query", f"{marker} {path}")
        work.check_results(answer.document.get("results", []))
        return answer

    def stop_all(self) -> None:
        """End both servers."""
        stop_server(resolve_state_dir(self.roots[OWN]), timeout_s=MEND_LIMIT_S)
        stop_daemon(timeout_s=MEND_LIMIT_S)


def loop_small_files(scratch: Path, rounds: int) -> Iterator[Outcome]:
    """Damage one small file a round, in turn while servers run and while they are stopped, and use both projects."""
    chance = random.Random(SEED)
    refused: Counter[str] = Counter()
    with own_home(scratch / "home"), project(scratch, "own") as own, project(scratch, "shared") as shared:
        try:
            brain_home().mkdir(mode=0o700)
            pair = TwoProjects(own, shared)
            for number in range(rounds):
                how = ("running", "stopped")[number % 2]
                if how == "stopped":
                    pair.stop_all()
                file = chance.choice(pair.files())
                before = file.path.read_bytes()
                damage(file.path, chance)
                place = file.path.relative_to(scratch)
                why = f"round {number}, {place} damaged, {how}: {file.path.read_bytes()!r}"
                _use(pair, refused)
                if file.is_written_by_hand:
                    file.path.write_bytes(before)
                    pair.stop_all()
                _require_whole(pair, why)
        finally:
            stop_daemon(force=True)
    told = ", ".join(f"{count} of {name}" for name, count in sorted(refused.items()) if count)
    answers = sum(work.answers for work in pair.works.values())
    found = (
        f"mended by itself, or told with the next step ({told}); 0 hung; {answers:,} results compared with the files"
    )
    yield Outcome(DAMAGE_PROMISE, f"settings, runtime files, registrations or lock damaged × {rounds}", found)


def damage(path: Path, chance: random.Random) -> None:
    """Flip bytes of a file, or cut it off somewhere."""
    if chance.random() < FLIPPED:
        flip_bytes(path, chance)
    else:
        data = path.read_bytes()
        path.write_bytes(data[: chance.randrange(len(data))])


def _use(pair: TwoProjects, refused: Counter[str]) -> None:
    """Use both projects in every way while the damage is there."""
    for which in (OWN, SHARED):
        for words in (("status",), ("list",), ("config",), ("logs",), START[which]):
            refused[words[0]] += bool(pair.run(which, *words).code)
        refused["query"] += bool(pair.ask(which).code)


def _require_whole(pair: TwoProjects, why: str) -> None:
    """Both projects answer in full, soon and by themselves; both are listed."""
    for which in (OWN, SHARED):
        deadline = time.monotonic() + MEND_LIMIT_S
        pair.run(which, *START[which])
        while not (answer := pair.ask(which)).document.get("results"):
            require(time.monotonic() < deadline, f"after {why}: {answer.told} {answer.document}")
        listed = [found["state"] for found in pair.run(which, "list").document["projects"]]
        require(listed == ["running"], f"after {why}: the list says {listed} of the {which} project")
