"""The same chunks give the same answer, whatever the index held before."""

import hashlib
import json
import random
from pathlib import Path

import pytest
import tantivy
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_brain_server.indexing.bm25_index import BM25IndexManager, round_scores
from agent_brain_server.indexing.keyword_documents import (
    LENGTHS,
    MAX_TOKENS,
    MEAN_LENGTHS,
    build_schema,
    make_documents,
    plan_fillers,
    round_up,
)
from agent_brain_server.types import Chunk, StoredChunk

WORDS = [f"{first}{second}word" for first in "abcdefghijklm" for second in "aeiou"]
WEIGHTS = [1 / rank for rank in range(1, len(WORDS) + 1)]
QUERIES = [*WORDS[::7], f"{WORDS[0]} {WORDS[40]}", " ".join(WORDS[3:12]), "nothing like it", f"{WORDS[1]} absent"]


class Tree:
    """Files whose chunks depend on their path and version alone; keys depend on history."""

    def __init__(self) -> None:
        self.versions: dict[str, int] = {}
        self.ids: dict[int, str] = {}
        self._next_key = 1

    def read(self, path: str) -> list[StoredChunk]:
        chance = random.Random(f"{path} {self.versions[path]}")
        chunks = []
        for number in range(chance.randint(1, 12)):
            # a short text is in several files, so that scores are equal
            length = chance.choice((3, 3, 30, 150))
            words = WORDS[:3] if length == 3 else chance.choices(WORDS, WEIGHTS, k=length)
            text, symbol = " ".join(words), chance.choice(WORDS)
            chunk_id = hashlib.sha256(f"{path} {number} {text}".encode()).hexdigest()[:24]
            chunk = Chunk(chunk_id, path, text, number + 1, number + 1, "python", "code", (symbol,), None)
            chunks.append(StoredChunk(self._next_key, chunk))
            self.ids[self._next_key] = chunk_id
            self._next_key += 1
        return chunks

    def write(self, index: BM25IndexManager, versions: dict[str, int]) -> None:
        gone = self.versions.keys() - versions.keys()
        changed = [path for path, version in versions.items() if self.versions.get(path) != version]
        self.versions = dict(versions)
        index.delete_paths(sorted(gone))
        index.index_files([(path, self.read(path)) for path in changed])
        index.commit()

    def answers(self, index: BM25IndexManager, limit: int) -> list[list[tuple[str, float]]]:
        return [[(self.ids[hit.key], hit.score) for hit in index.search(query, limit)] for query in QUERIES]


def open_index(directory: Path) -> BM25IndexManager:
    index = BM25IndexManager(directory)
    index.bind_store("store")
    return index


def test_search_does_not_depend_on_history(tmp_path: Path) -> None:
    chance = random.Random(3)
    final = {f"pkg{number % 5}/deep/file{number}.py": 0 for number in range(50)}
    followed, fresh = Tree(), Tree()
    index, new = open_index(tmp_path / "followed"), open_index(tmp_path / "fresh")
    for _ in range(8):
        others = {path: chance.randint(0, 3) for path in final if chance.random() < 0.8}
        followed.write(index, {**others, f"only{chance.randint(0, 9)}.py": 1})
    followed.write(index, final)
    fresh.write(new, dict(reversed(final.items())))
    assert index.count() == new.count()
    for limit in (1, 10, 40, 400):
        assert followed.answers(index, limit) == fresh.answers(new, limit)
    index.close()
    new.close()


def test_mean_lengths_do_not_depend_on_history(tmp_path: Path) -> None:
    tree = Tree()
    index = open_index(tmp_path / "followed")
    for version in range(12):
        tree.write(index, {f"file{number}.py": (version * number) % 7 for number in range(1, 20)})
    schema = build_schema()
    opened = tantivy.Index(schema, path=str(tmp_path / "followed"))
    opened.register_tokenizer("words", tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.whitespace()).build())
    searcher = opened.searcher()
    for field, term in (("body", WORDS[0]), ("symbols", WORDS[0]), ("path", "file1")):
        query = tantivy.Query.term_query(schema, field, term, "freq")
        (_, address), *_ = searcher.search(query, 1).hits
        assert mean_length(query.explain(searcher, address).to_json()) == MEAN_LENGTHS[field]
    index.close()


def mean_length(explanation: str) -> float:
    """Return the mean length that tantivy used, from its explanation of a score."""
    found: list[float] = []

    def visit(part: dict[str, object]) -> None:
        if str(part["description"]).startswith("avgdl"):
            found.append(float(str(part["value"])))
        for inner in part.get("details") or ():  # type: ignore[attr-defined]
            visit(inner)

    visit(json.loads(explanation))
    return found[0]


@given(st.lists(st.tuples(*(st.integers(0, most) for most in MAX_TOKENS.values())), min_size=1, max_size=20))
@settings(max_examples=30, deadline=None)
def test_fillers_keep_mean_lengths(chunks: list[tuple[int, ...]]) -> None:
    totals = {field: sum(round_up(chunk[at]) for chunk in chunks) for at, field in enumerate(MEAN_LENGTHS)}
    fillers = plan_fillers(len(chunks), totals)
    for field, mean in MEAN_LENGTHS.items():
        lengths = [filler[field] for filler in fillers]
        assert totals[field] + sum(lengths) == mean * (len(chunks) + len(fillers))
        assert set(lengths) <= set(LENGTHS)


def test_make_documents_of_empty_file_is_empty() -> None:
    assert list(make_documents("a.py", [])) == []


@pytest.mark.parametrize(
    ("score", "rounded"), [(12.345678, 12.35), (0.00012345678, 0.0001235), (0.0, 0.0), (123456.0, 123500.0)]
)
def test_round_scores(score: float, rounded: float) -> None:
    assert round_scores([score]) == pytest.approx([rounded])
    assert round_scores([score * (1 + 1e-7)]) == round_scores([score])
