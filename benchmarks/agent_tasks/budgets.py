"""Compare budgets and ways to spend them: tokens of one answer, and whether it shows the lines that solve a task.

Each question is asked once, by keywords alone, and every way renders the same results. Run with:

    .venv/bin/python -m benchmarks.agent_tasks.budgets WORK_DIRECTORY
"""

import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from agent_brain_server.config.settings import ProjectConfig
from agent_brain_server.embedding.token_counter import TokenCounter
from agent_brain_server.models import TERMINAL_STATES
from agent_brain_server.models.index import IndexRequest
from agent_brain_server.models.query import QueryRequest, QueryResponse
from agent_brain_server.project.services import ProjectServices
from agent_brain_server.search.compact import CompactEntry, render_compact
from agent_brain_server.search.excerpting import LINES_BY_RANK, Passage, wanted_lines
from benchmarks.agent_tasks.packages import fetch_package, load_packages
from benchmarks.agent_tasks.scoring import Progress, read_output
from benchmarks.agent_tasks.task_set import Goal, Task, load_tasks, locate

TASKS = Path(__file__).with_name("tasks")
TYPES: dict[str, list[str]] = {"documentation": ["doc"], "changelog": ["doc"], "tests": ["test"]}
BUDGETS = (500, 750, 1000, 1500, 2000, 3000)
DEFAULT = 1500
CHOICES: tuple[tuple[int, ...], ...] = (
    (12,) * 10,
    (25, *[12] * 4, *[8] * 5),
    (80,) * 10,
    (*LINES_BY_RANK, *[6] * 5),
    (*LINES_BY_RANK[:3], *[0] * 7),
)
"""Lines of the ten results that are compared with the default."""

POLL_S = 0.2
COUNTER = TokenCounter()

Render = Callable[[Task, QueryResponse], str]


@dataclass(frozen=True, slots=True)
class Asked:
    """A task with the results of its question."""

    task: Task
    goals: Sequence[Goal]
    answer: QueryResponse


def main() -> None:
    """Print the tables."""
    work = Path(sys.argv[1]).resolve()
    packages = load_packages()
    tasks = load_tasks(TASKS)
    asked = [
        each
        for name in dict.fromkeys(task.package for task in tasks)
        for each in ask(fetch_package(packages[name], work), [task for task in tasks if task.package == name])
    ]
    print(f"{len(asked)} tasks\n\n| way | tokens, median | most | tasks solved by one answer |\n|---|---|---|---|")
    for name, render in list_ways():
        print(describe(name, render, asked), flush=True)


def ask(root: Path, tasks: Sequence[Task]) -> Iterator[Asked]:
    """Yield the tasks of a package with the results of their questions."""
    services = ProjectServices.open("project", root, root / ".claude" / "state", ProjectConfig(watch=False))
    try:
        job = services.indexing.submit(IndexRequest(folder_path="."))
        while not job.progress.keywords_ready and job.state not in TERMINAL_STATES:
            time.sleep(POLL_S)
            job = services.indexing.jobs.get(job.job_id)
        for task in tasks:
            fields = {"query": task.question, "mode": "bm25", "source_types": TYPES.get(task.category, [])}
            answer = services.queries.answer(QueryRequest.model_validate(fields))
            yield Asked(task, locate(task, root), answer)
    finally:
        services.close()


def list_ways() -> Iterator[tuple[str, Render]]:
    """Yield the ways by name."""
    yield "JSON, whole results (tokens only)", lambda _, answer: answer.model_dump_json()
    yield "every line of every result", lambda _, answer: write_whole(answer)
    for budget in BUDGETS:
        lines = [wanted_lines(rank, budget) for rank in range(10)]
        yield f"compact, budget {budget:,}", make_render(lines, budget)
    for choice in CHOICES:
        yield f"compact, {DEFAULT:,}, lines {', '.join(map(str, choice))}", make_render(choice, DEFAULT)


def make_render(lines: Sequence[int], budget: int) -> Render:
    """Return a way that gives each result a number of lines."""

    def render(task: Task, answer: QueryResponse) -> str:
        passages = [
            Passage(result, task.question, wanted) for result, wanted in zip(answer.results, lines, strict=False)
        ]
        entries = [CompactEntry(passage, passage.result.source, "") for passage in passages]
        return render_compact(entries, budget, COUNTER.count)

    return render


def write_whole(answer: QueryResponse) -> str:
    """Return every line of every result under its path."""
    return "\n".join(f"{each.source}:{each.start_line}-{each.end_line}\n{each.text}" for each in answer.results)


def describe(name: str, render: Render, asked: Sequence[Asked]) -> str:
    """Return the row of a way."""
    texts = [render(each.task, each.answer) for each in asked]
    tokens = [COUNTER.count(text) for text in texts]
    solved = sum(map(is_solved, asked, texts))
    return f"| {name} | {statistics.median(tokens):,.0f} | {max(tokens):,} | {solved} |"


def is_solved(asked: Asked, text: str) -> bool:
    """Return whether a text shows every line that a task needs."""
    paths = {line.path for goal in asked.goals for line in goal.lines} | {each.source for each in asked.answer.results}
    progress = Progress(asked.goals, asked.task.category)
    progress.add(read_output("agent-brain query", text, sorted(paths)))
    return progress.is_solved()


if __name__ == "__main__":
    main()
