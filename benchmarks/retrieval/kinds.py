"""Measure queries of further kinds with the weight of the vectors that is chosen for each query, and with fixed ones.

The queries are made from public packages on disk: commits (`commits.py`), docstrings (`docstrings.py`), titles of
sections (`titles.py`) and sentences of long documents (`sentences.py`). Neither packages nor queries are stored here.
"""

import hashlib
import math
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from agent_brain_server.project.services import SharedServices
from benchmarks.report import format_table
from benchmarks.retrieval.ablation import ALPHAS
from benchmarks.retrieval.answering import Candidates, Setting, gather_candidates, rank
from benchmarks.retrieval.code_tables import show
from benchmarks.retrieval.indexes import open_index
from benchmarks.retrieval.query_set import Target
from benchmarks.retrieval.scoring import Passage, covers, first_rank, is_same_path

RECALL_DEPTH = 5

GOAL = 0.01
"""The chosen weight may be this much worse than the best fixed one."""


@dataclass(frozen=True, slots=True)
class KindQuery:
    """A query and what answers it.

    Attributes:
        targets: Lines; any of them is an answer.
        files: For a commit: all files that it changed.
    """

    text: str
    targets: tuple[Target, ...]
    files: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class KindSet:
    """Queries of one kind about one tree."""

    kind: str
    tree: Path
    queries: tuple[KindQuery, ...]


@dataclass(frozen=True, slots=True)
class KindFigure:
    """A figure of one kind of queries: with the chosen weight, and by fixed `alpha`."""

    kind: str
    queries: int
    figure: str
    chosen: float
    fixed: Mapping[float, float]

    @property
    def best(self) -> float:
        """Return the fixed `alpha` with the best figure, the lowest of several."""
        return max(self.fixed, key=lambda alpha: self.fixed[alpha])


def is_file_among(passages: Sequence[Passage], query: KindQuery, number: int) -> float:
    """Return 1 if one of the first files of an answer was changed, else 0."""
    files = list(dict.fromkeys(passage.path for passage in passages))[:number]
    return float(any(is_same_path(path, changed) for path in files for changed in query.files))


def is_among(passages: Sequence[Passage], query: KindQuery, number: int) -> float:
    """Return 1 if one of the first results shows a target, else 0."""
    return float(any(covers(passage, target) for passage in passages[:number] for target in query.targets))


def reciprocal_rank(passages: Sequence[Passage], query: KindQuery) -> float:
    """Return 1 divided by the rank of the first result that shows a target, 0 if there is none."""
    found = first_rank(passages, query.targets)
    return 1 / found if found else 0.0


Score = Callable[[Sequence[Passage], KindQuery], float]

CHANGES: Mapping[str, Score] = {
    "changed file first": lambda passages, query: is_file_among(passages, query, 1),
    "changed file among five files": lambda passages, query: is_file_among(passages, query, 5),
    "changed lines in ten results": lambda passages, query: is_among(passages, query, 10),
}
RECALL: Mapping[str, Score] = {"recall@5": lambda passages, query: is_among(passages, query, RECALL_DEPTH)}
RANK: Mapping[str, Score] = {"reciprocal rank": reciprocal_rank}

FIGURES: Mapping[str, Mapping[str, Score]] = {
    "report": CHANGES,
    "title of a commit": CHANGES,
    "docstring, a file for each function": RANK,
    "docstring, 40 functions in a file": RANK,
    "title of a section": RECALL,
    "sentence of a long document": RECALL,
}


def draw_order(text: str) -> int:
    """Return a number that orders candidates at random and alike in every run."""
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "replace")).digest()[:8], "big")


def make_tree(path: Path) -> Path:
    """Return an empty directory for a tree, so that nothing of an earlier run with other sources is left in it."""
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    return path


def measure_kinds(sets: Iterable[KindSet], work: Path, shared: SharedServices) -> list[KindFigure]:
    """Index the tree of each set and evaluate its queries.

    Args:
        sets: Queries; several sets of one kind are evaluated together.
        work: Keeps the indexes for the next run.
        shared: Parts shared by the run.
    """
    gathered: dict[str, list[tuple[KindQuery, Candidates]]] = {}
    for each in sets:
        with open_index(each.tree, work / "indexes" / each.tree.name, shared) as bundle:
            asked = [(query, gather_candidates(bundle, query.text)) for query in each.queries]
        gathered.setdefault(each.kind, []).extend(asked)
        print(f"evaluated: {each.kind}, {each.tree.name}", file=sys.stderr)
    return [figure for kind, asked in gathered.items() for figure in evaluate_kind(kind, asked)]


def evaluate_kind(kind: str, asked: Sequence[tuple[KindQuery, Candidates]]) -> list[KindFigure]:
    """Return the figures of a kind from the candidates of its queries."""
    if not asked:
        return []
    chosen = [(rank(candidates, Setting()), query) for query, candidates in asked]
    fixed = {
        alpha: [(rank(candidates, Setting(alpha=alpha)), query) for query, candidates in asked] for alpha in ALPHAS
    }
    return [
        KindFigure(
            kind,
            len(asked),
            name,
            fmean(score(*answer) for answer in chosen),
            {alpha: fmean(score(*answer) for answer in answers) for alpha, answers in fixed.items()},
        )
        for name, score in FIGURES[kind].items()
    ]


def describe_kinds(figures: Iterable[KindFigure]) -> list[dict[str, Any]]:
    """Return the figures for the results file."""
    return [asdict(figure) for figure in figures]


def format_kinds(figures: Sequence[KindFigure]) -> str:
    """Return the table: the chosen weight beside all fixed ones."""
    rows = [
        [
            each.kind,
            str(each.queries),
            each.figure,
            f"**{show(each.chosen)}**",
            f"{show(each.fixed[each.best])} ({each.best:g})",
            show(each.chosen - each.fixed[each.best]),
            *(show(each.fixed[alpha]) for alpha in ALPHAS if not math.fmod(round(alpha * 10), 2)),
        ]
        for each in figures
    ]
    alphas = [f"{alpha:g}" for alpha in ALPHAS if not math.fmod(round(alpha * 10), 2)]
    header = ["query", "number", "figure", "chosen weight", "best fixed `alpha`", "difference", *alphas]
    reached = sum(each.chosen >= each.fixed[each.best] - GOAL for each in figures)
    return "\n\n".join(
        [
            "Default request, hybrid mode. The weight of the vectors is chosen for each query, or fixed for all. The "
            f"chosen weight is at most {GOAL} below the best of {len(ALPHAS)} fixed ones for {reached} of "
            f"{len(figures)} figures.",
            format_table([header, *rows]),
        ]
    )
