"""Evaluate the queries of a repository while its index is open; every figure is computed from the result."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from agent_brain_server.project.services import ProjectServices
from agent_brain_server.storage_paths import default_state_dir
from agent_brain_server.types import SearchMode
from benchmarks.retrieval.answering import (
    MODES,
    Answer,
    Candidates,
    Setting,
    ask,
    gather_candidates,
    rank,
    require_agreement,
)
from benchmarks.retrieval.query_set import LabelledQuery, LabelledRepository, Target
from benchmarks.retrieval.reading import Reading, load_files, read_in_order, read_like_grep
from benchmarks.retrieval.scoring import contains, existing_targets, score_ndcg, score_random_orders

RANDOM_ORDERS = 200
"""Random orders of the files; the standard error of the floor is then some thousandths for a query."""


@dataclass(frozen=True, slots=True)
class EvaluatedQuery:
    """A query with its answers and candidates.

    Attributes:
        targets: Its labels that exist in the tree.
        floor: NDCG@10 of the indexed files in random order.
        like_grep: Reading complete files, those with most of the query's words first.
    """

    query: LabelledQuery
    targets: tuple[Target, ...]
    answers: Mapping[SearchMode, Answer]
    candidates: Candidates
    floor: float
    like_grep: Reading

    def score(self, mode: SearchMode) -> float:
        """Return NDCG@10 of the answer."""
        return score_ndcg(self.answers[mode].passages, self.targets)

    @property
    def has_lines(self) -> bool:
        """Whether a label has lines."""
        return any(target.start_line is not None for target in self.targets)

    def shows_lines(self, mode: SearchMode) -> bool:
        """Return whether one result shows all lines of a label that has lines."""
        targets = [target for target in self.targets if target.start_line is not None]
        return any(contains(passage, target) for passage in self.answers[mode].passages for target in targets)

    def score_ranked(self, setting: Setting) -> float:
        """Return NDCG@10 of the candidates as ranked by a setting."""
        return score_ndcg(rank(self.candidates, setting), self.targets)

    def read(self, mode: SearchMode) -> Reading:
        """Return the tokens read until the first relevant result."""
        answer = self.answers[mode]
        return read_in_order(answer.passages, answer.tokens, self.targets)


@dataclass(frozen=True, slots=True)
class EvaluatedRepository:
    """A repository with all its evaluated queries."""

    repository: LabelledRepository
    files: int
    chunks: int
    queries: tuple[EvaluatedQuery, ...]


def evaluate_repository(bundle: ProjectServices, repository: LabelledRepository, tree: Path) -> EvaluatedRepository:
    """Evaluate every query of a repository.

    Raises:
        ValueError: An answer differs from its ranked candidates.
    """
    indexed = sorted(path for path, record in bundle.documents.file_records().items() if record.state == "indexed")
    in_tree = list_files(tree)
    texts = load_files(tree, indexed)
    evaluated = []
    for query in repository.queries:
        targets = existing_targets(query.targets, in_tree)
        answers = {mode: ask(bundle, query.text, mode) for mode in MODES}
        candidates = gather_candidates(bundle, query.text)
        require_agreement(candidates, answers)
        floor = score_random_orders(indexed, targets, orders=RANDOM_ORDERS, seed=query.text)
        evaluated.append(
            EvaluatedQuery(query, targets, answers, candidates, floor, read_like_grep(query.text, texts, targets))
        )
    return EvaluatedRepository(repository, len(indexed), bundle.documents.counts().chunks, tuple(evaluated))


def list_files(tree: Path) -> list[str]:
    """Return the files of a tree, indexed or not, except the state directory."""
    own = default_state_dir(tree.resolve())
    found = (path for path in tree.resolve().rglob("*") if path.is_file() and not path.is_relative_to(own))
    return sorted(path.relative_to(tree.resolve()).as_posix() for path in found)
