"""Everything that is learned of a repository while its index is open; the rest is computed from it."""

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
from benchmarks.retrieval.scoring import existing_targets, score_ndcg, score_random_orders

RANDOM_ORDERS = 200
"""Orders of the files that the floor is averaged over: its standard error is then some thousandths for a question."""


@dataclass(frozen=True, slots=True)
class AskedQuery:
    """A question and what came of it.

    Attributes:
        targets: Those of its labels that exist in the tree.
        floor: NDCG@10 of the indexed files in random order.
        like_grep: Reading whole files, those with most of the question's words first.
    """

    query: LabelledQuery
    targets: tuple[Target, ...]
    answers: Mapping[SearchMode, Answer]
    candidates: Candidates
    floor: float
    like_grep: Reading

    def score(self, mode: SearchMode) -> float:
        """Return NDCG@10 as answered."""
        return score_ndcg(self.answers[mode].passages, self.targets)

    def score_ranked(self, setting: Setting) -> float:
        """Return NDCG@10 as ranked by a setting."""
        return score_ndcg(rank(self.candidates, setting), self.targets)

    def read(self, mode: SearchMode) -> Reading:
        """Return what is read of the answer up to the first right result."""
        answer = self.answers[mode]
        return read_in_order(answer.passages, answer.tokens, self.targets)


@dataclass(frozen=True, slots=True)
class AskedRepository:
    """A repository with all its questions asked."""

    repository: LabelledRepository
    files: int
    chunks: int
    queries: tuple[AskedQuery, ...]


def ask_repository(bundle: ProjectServices, repository: LabelledRepository, tree: Path) -> AskedRepository:
    """Ask every question of a repository.

    Raises:
        ValueError: The product answers otherwise than its candidates rank.
    """
    indexed = sorted(path for path, record in bundle.documents.file_records().items() if record.state == "indexed")
    in_tree = list_files(tree)
    texts = load_files(tree, indexed)
    asked = []
    for query in repository.queries:
        targets = existing_targets(query.targets, in_tree)
        answers = {mode: ask(bundle, query.text, mode) for mode in MODES}
        candidates = gather_candidates(bundle, query.text)
        require_agreement(candidates, answers)
        floor = score_random_orders(indexed, targets, orders=RANDOM_ORDERS, seed=query.text)
        asked.append(AskedQuery(query, targets, answers, candidates, floor, read_like_grep(query.text, texts, targets)))
    return AskedRepository(repository, len(indexed), bundle.documents.counts().chunks, tuple(asked))


def list_files(tree: Path) -> list[str]:
    """Return the files of a tree, indexed or not, without the product's own."""
    own = default_state_dir(tree.resolve())
    found = (path for path in tree.resolve().rglob("*") if path.is_file() and not path.is_relative_to(own))
    return sorted(path.relative_to(tree.resolve()).as_posix() for path in found)
