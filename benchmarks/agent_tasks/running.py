"""Run the ways on the tasks: real commands in the unpacked packages, with a server for each package in turn."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.agent_tasks.brain_way import search_with_query, search_with_structure
from benchmarks.agent_tasks.mcp_way import WAY as MCP
from benchmarks.agent_tasks.mcp_way import open_session, spell
from benchmarks.agent_tasks.question import TaskQuestion, parse_question
from benchmarks.agent_tasks.rg_way import Policy, search_with_rg
from benchmarks.agent_tasks.scoring import Encode, Progress, count_tokens, read_output
from benchmarks.agent_tasks.task_set import Task, locate

MAX_CALLS = 6
TIMEOUT = 600.0  # seconds for one command: a loaded machine indexes a package slowly
BIN = Path(sys.executable).parent
WAYS: Mapping[str, Callable[[TaskQuestion], Policy]] = {
    "rg": search_with_rg,
    "query": search_with_query,
    "query and structure": search_with_structure,
    MCP: search_with_structure,
}
REFERENCE = "rg"
PROMPT = "$ "
VERDICT = "solved: "

Shell = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Attempt:
    """The result of a way on a task.

    Attributes:
        way: Name of the way.
        is_solved: Whether every needed line was shown.
        calls: Commands until then, or until the way gave up.
        tokens: Of these commands and everything that they printed.
        missing: Needed lines that were not shown, as `path:line`.
    """

    way: str
    task: Task
    is_solved: bool
    calls: int
    tokens: int
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Workplace:
    """A package that commands run in.

    Attributes:
        root: Its unpacked sources.
        records: Directory that keeps what each way was shown.
        encode: Tokenizer.
        run: Runs a shell command in it and returns its output.
        paths: Every file.
        run_mcp: Runs a command of `agent-brain` through its MCP server.
    """

    root: Path
    records: Path
    encode: Encode
    run: Shell
    paths: Sequence[str]
    run_mcp: Shell = lambda _: ""


def attempt(way: str, task: Task, place: Workplace) -> Attempt:
    """Run a way until a task is solved or its calls are used up; write a record of its commands and their output."""
    policy = WAYS[way](parse_question(task.question, task.category))
    record: list[str] = [f"{task.category}: {task.question}"]

    def run_and_record() -> Iterator[tuple[str, str]]:
        for command, output in run_policy(policy, place.run_mcp if way == MCP else place.run):
            record.append(f"{PROMPT}{command}\n{output}")
            yield command, output

    result = judge(way, task, run_and_record(), place)
    solved, missing = result.is_solved, ", ".join(result.missing) or "nothing"
    record.append(f"{VERDICT}{solved}, calls: {result.calls}, tokens: {result.tokens}, missing: {missing}")
    path = record_path(place.records, way, task)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n\n".join(record) + "\n", encoding="utf-8")
    return result


def judge(way: str, task: Task, steps: Iterable[tuple[str, str]], place: Workplace) -> Attempt:
    """Count the calls and tokens of commands, each with its output, until they solve a task."""
    progress = Progress(locate(task, place.root), task.category)
    calls = tokens = 0
    for command, output in steps:
        calls, tokens = calls + 1, tokens + count_tokens(place.encode, spell(way, command), output)
        progress.add(read_output(command, output, place.paths))
        if progress.is_solved() or calls == MAX_CALLS:
            break
    missing = tuple(f"{goal.lines[0].path}:{goal.lines[0].number}" for goal in progress.missing())
    return Attempt(way, task, not missing, calls, tokens, missing)


def record_path(records: Path, way: str, task: Task) -> Path:
    """Return the file with the record of a way on a task."""
    return records / way.replace(" ", "-") / f"{task.name}.txt"


def read_record(path: Path) -> list[tuple[str, str]]:
    """Return the commands of a record, each with its output."""
    calls = path.read_text(encoding="utf-8").rpartition(f"\n\n{VERDICT}")[0].split(f"\n\n{PROMPT}")[1:]
    return [(command, output) for command, _, output in (call.partition("\n") for call in calls)]


def run_policy(policy: Policy, run: Shell) -> Iterator[tuple[str, str]]:
    """Yield each command of a policy with its output; a repeated command is not run again."""
    outputs: dict[str, str] = {}
    try:
        command = next(policy)
        while True:
            if command not in outputs:
                outputs[command] = run(command)
                yield command, outputs[command]
            command = policy.send(outputs[command])
    except StopIteration:
        return


def list_paths(root: Path) -> list[str]:
    """Return every file of a package, without hidden ones."""
    files = (path.relative_to(root) for path in sorted(root.rglob("*")) if path.is_file())
    return [str(path) for path in files if not any(part.startswith(".") for part in path.parts)]


@contextmanager
def open_package(
    root: Path, home: Path, *, needs_server: bool, with_vectors: bool = True
) -> Iterator[tuple[Shell, Shell]]:
    """Index a package, and yield a shell in it and its MCP server; stop its server at the end.

    Args:
        root: The unpacked package.
        home: Home directory of the commands.
        needs_server: Whether a way uses Agent Brain.
        with_vectors: Whether to wait for the vectors too.
    """
    environment = {
        "HOME": str(home),
        "AGENT_BRAIN_HOME": str(home / "Agent Brain"),
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "LANG": "C.UTF-8",
        "NO_COLOR": "1",
    }
    home.mkdir(parents=True, exist_ok=True)

    def run(command: str) -> str:
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=root,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=TIMEOUT,
            check=False,
        )
        return done.stdout.decode(errors="replace")

    if not needs_server:
        yield run, run
        return
    try:
        run(f"agent-brain index {'--wait ' if with_vectors else ''}.")
        with open_session(root, environment) as run_mcp:
            yield run, run_mcp
    finally:
        run("agent-brain stop")
