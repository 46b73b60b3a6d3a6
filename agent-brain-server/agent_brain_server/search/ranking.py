"""Rank the hits of both retrievers: fuse scores, add signals, and penalize further chunks of the same file.

All functions are pure: the same index and query give the same answer.
"""

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import NamedTuple

from agent_brain_server.search import signals
from agent_brain_server.search.fusion import fuse_scores, normalize_bm25, normalize_cosines
from agent_brain_server.search.parsed_query import ParsedQuery, parse_query
from agent_brain_server.search.qualified_name import NameMatch
from agent_brain_server.types import ChunkMetadata, Hit, RankedChunk, SearchMode, Signal, SourceType


@dataclass(frozen=True, slots=True)
class RankingWeights:
    """Weights of the signals, relative to a fused score of 1 for the best hit.

    A chunk's score is the fused score, plus each signal times its weight, times the multipliers. docs/QUALITY.md has
    the effect of each weight on labelled queries.

    Attributes:
        defines_name: Weight: the chunk defines a name in the query.
        defines_bare_name: Further weight if the query is that name and nothing else.
        filename_match: Weight: the file name consists of words of the query.
        contains_phrase: Weight: share of a phrase, such as an error message, that the chunk contains word for word.
        heading_match: Weight: share of the query's terms in the headings of a document's section.
        path_depth: Weight: depth of the file; negative, because details are in deeper directories.
        file_evidence: Weight: sum of the fused scores of the file's candidates, relative to the best file.
        test_factor: Score multiplier for test files, unless the query mentions tests.
        doc_factor: Score multiplier for documents, unless the query asks for documentation.
        peripheral_factor: Score multiplier for peripheral files: examples, foreign and superseded code, changelogs.
        name_vector_factor: Multiplier of the vector weight if the query is one identifier, which a model trained on
            prose represents poorly.
        decay: Score multiplier for a file's second chunk, squared for its third, and so on.
        decay_floor: Lower bound of that multiplier, so that the right file is not limited to two or three results.
    """

    defines_name: float = 0.3
    defines_bare_name: float = 0.5
    filename_match: float = 0.1
    contains_phrase: float = 1.0
    heading_match: float = 0.2
    path_depth: float = -0.4
    file_evidence: float = 0.3
    test_factor: float = 0.3
    doc_factor: float = 0.85
    peripheral_factor: float = 0.5
    name_vector_factor: float = 0.2
    decay: float = 0.5
    decay_floor: float = 0.4


DEFAULT_WEIGHTS = RankingWeights()

NEUTRAL_WEIGHTS = RankingWeights(
    defines_name=0,
    defines_bare_name=0,
    filename_match=0,
    contains_phrase=0,
    heading_match=0,
    path_depth=0,
    file_evidence=0,
    test_factor=1,
    doc_factor=1,
    peripheral_factor=1,
    name_vector_factor=1,
    decay=1,
    decay_floor=0,
)
"""Weights that leave the fused scores unchanged, as the baseline of benchmarks."""

DEFINITION_BONUS = 4.0
"""Added for each degree of `NameMatch`: more than all other signals together, so that definitions come first."""

_Weighted = tuple[str, float, float]
"""Name, value and weight of a signal."""

_SortKey = tuple[float, str, int, int, int]
"""Negated score, then path, line and key to break ties, then the chunk's rank within its file (0 is best)."""

NO_DEFINITIONS: Mapping[int, NameMatch] = MappingProxyType({})
NO_PHRASES: Mapping[int, float] = MappingProxyType({})


class _FileScore(NamedTuple):
    """The signals that the chunks of one file share, their weighted sum, and the file's score multiplier."""

    signals: tuple[_Weighted, ...]
    total: float
    factor: float


def rank_candidates(
    query: str,
    bm25_hits: Sequence[Hit],
    vector_hits: Sequence[Hit],
    metadata: Mapping[int, ChunkMetadata],
    *,
    alpha: float,
    mode: SearchMode,
    source_types: Collection[SourceType] = (),
    defining: Mapping[int, NameMatch] = NO_DEFINITIONS,
    phrases: Mapping[int, float] = NO_PHRASES,
    weights: RankingWeights = DEFAULT_WEIGHTS,
    explain: bool = False,
    limit: int | None = None,
) -> list[RankedChunk]:
    """Return the candidates, best first; ties are broken by path and line.

    Args:
        query: Text of the query.
        bm25_hits: Hits of the keyword index, with BM25 scores.
        vector_hits: Hits of the vector index, with cosines.
        metadata: Metadata by chunk key; hits without metadata are dropped.
        alpha: Weight of the vector scores in hybrid mode, in [0, 1]; ignored if there are no vector hits.
        mode: "bm25" and "vector" use one retriever alone.
        source_types: The kinds of files that the request is restricted to. A single kind is not penalized.
        defining: The chunks that define the name which the query consists of, by key. They come first, and need not
            be among the hits.
        phrases: The share of the query's phrase that a chunk contains word for word, by key.
        weights: Weights of the signals.
        explain: Include a score breakdown for each result.
        limit: Maximum number of results; `None` returns all.
    """
    bm25 = _scores_by_key(bm25_hits, metadata) if mode != "vector" else {}
    vector = _scores_by_key(vector_hits, metadata) if mode != "bm25" else {}
    parsed = parse_query(query)
    if parsed.is_symbol:
        alpha = _scale_share(alpha, weights.name_vector_factor)
    fused = _fuse(bm25, vector, alpha if mode == "hybrid" else float(mode == "vector"))
    fused.update({key: 0.0 for key in defining if key in metadata and key not in fused})
    scorer = _Scorer(parsed, fused, metadata, defining, phrases, _lift_penalty(weights, source_types))
    return [
        RankedChunk(
            metadata=metadata[key],
            score=-negated,
            vector_score=vector.get(key),
            bm25_score=bm25.get(key),
            signals=tuple(scorer.explain(key, rank)) if explain else (),
        )
        for negated, _, _, key, rank in sorted(scorer.score_all())[:limit]
    ]


class _Scorer:
    """Score the candidates of one query.

    Args:
        query: The parsed query.
        fused: Fused score by chunk key.
        metadata: Metadata of each of these chunks.
        defining: The chunks that define the name which the query consists of.
        phrases: The share of the query's phrase in each chunk.
        weights: Weights of the signals.
    """

    def __init__(
        self,
        query: ParsedQuery,
        fused: Mapping[int, float],
        metadata: Mapping[int, ChunkMetadata],
        defining: Mapping[int, NameMatch],
        phrases: Mapping[int, float],
        weights: RankingWeights,
    ) -> None:
        self._query = query
        self._fused = fused
        self._metadata = metadata
        self._defining = defining
        self._phrases = phrases
        self._weights = weights
        self._files, evidence = _group_by_file(fused, metadata)
        self._file_scores = _score_files(query, self._files, evidence, weights)
        self._type_factors: dict[SourceType, tuple[str, float]] = {
            "code": ("is_code", 1.0),
            "test": ("is_test", 1.0 if query.asks_tests else weights.test_factor),
            "doc": ("is_document", 1.0 if query.asks_docs else weights.doc_factor),
        }

    def score_all(self) -> Iterator[_SortKey]:
        """Yield the sort key of each candidate; `explain` breaks the same score down.

        The chunks of a file after its best one are penalized, so that an answer covers several files.
        """
        fused, defining = self._fused, self._defining
        has_chunk_signals = bool(self._query.names or self._phrases)
        for path, chunks in self._files.items():
            file_score = self._file_scores[path]
            source_type = chunks[0].source_type  # the same for all chunks of a file
            factor = self._type_factors[source_type][1] * file_score.factor
            scored = []
            for chunk in chunks:  # inlined, because it runs hundreds of times for each query
                score = fused[chunk.key] + file_score.total
                if has_chunk_signals or source_type == "doc":
                    for _, value, weight in self._chunk_signals(chunk):
                        score += weight * value
                match = -defining.get(chunk.key, 0)  # negated, as all scores here
                scored.append((match, -score * factor if score > 0 else -score, chunk.start_line, chunk.key))
            scored.sort()
            for rank, (match, negated, start_line, key) in enumerate(scored):
                decayed = negated * self._decay(rank) if negated < 0 else negated
                yield (decayed + DEFINITION_BONUS * match, path, start_line, key, rank)

    def _decay(self, rank: int) -> float:
        """Return the score multiplier of a chunk by its rank within its file, 0 for the best."""
        return 1.0 if not rank else max(self._weights.decay_floor, self._weights.decay**rank)

    def explain(self, key: int, rank: int) -> Iterator[Signal]:
        """Yield the non-zero terms that add up to a chunk's score.

        Args:
            key: Key of the chunk.
            rank: Its rank within its file, 0 for the best.
        """
        chunk, score = self._metadata[key], self._fused[key]
        file_score = self._file_scores[chunk.path]
        yield Signal("fused", score, score)
        for name, value, weight in (*self._chunk_signals(chunk), *file_score.signals):
            if value and weight:
                yield Signal(name, value, weight * value)
                score += weight * value
        further = ("is_further_chunk", self._decay(rank))
        for name, factor in (self._type_factors[chunk.source_type], ("is_peripheral", file_score.factor), further):
            scaled = _scale(score, factor)
            if scaled != score:
                yield Signal(name, 1.0, scaled - score)
            score = scaled
        if match := self._defining.get(key):
            yield Signal("is_definition", float(match), DEFINITION_BONUS * match)

    def _chunk_signals(self, chunk: ChunkMetadata) -> tuple[_Weighted, ...]:
        """Return the signals of one chunk: of its text, of its heading in a document, of its definitions in code."""
        phrase = self._phrases.get(chunk.key, 0.0)
        found = (("contains_phrase", phrase, self._weights.contains_phrase),) if phrase else ()
        if chunk.source_type == "doc":
            value = signals.heading_match(self._query, chunk.heading)
            return (*found, ("heading_match", value, self._weights.heading_match))
        value = signals.defines_name(self._query, chunk)
        if not value:
            return found
        defines = ("defines_name", value, self._weights.defines_name)
        bare = ("defines_bare_name", value * self._query.is_symbol, self._weights.defines_bare_name)
        return (*found, defines, bare)


def _scores_by_key(hits: Iterable[Hit], metadata: Mapping[int, ChunkMetadata]) -> dict[int, float]:
    """Return the scores of the hits that have metadata."""
    scores = dict(hits)
    return scores if scores.keys() <= metadata.keys() else {key: scores[key] for key in scores if key in metadata}


def _lift_penalty(weights: RankingWeights, source_types: Collection[SourceType]) -> RankingWeights:
    """Return the weights without the penalty of the only kind of files that a request is restricted to."""
    only = set(source_types)
    if only == {"test"}:
        return replace(weights, test_factor=1.0)
    return replace(weights, doc_factor=1.0) if only == {"doc"} else weights


def _scale_share(share: float, factor: float) -> float:
    """Multiply one of two complementary weights, and normalize both; weights of 0 and 1 are unchanged."""
    return factor * share / (factor * share + 1 - share) if share < 1 else share


def _fuse(bm25: Mapping[int, float], vector: Mapping[int, float], alpha: float) -> dict[int, float]:
    share = 0.0 if not vector else 1.0 if not bm25 else alpha
    return fuse_scores(normalize_bm25(bm25), normalize_cosines(vector), share)


def _group_by_file(
    fused: Mapping[int, float], metadata: Mapping[int, ChunkMetadata]
) -> tuple[dict[str, list[ChunkMetadata]], dict[str, float]]:
    """Return the candidates of each file, and the sum of their scores relative to the best file's."""
    files: dict[str, list[ChunkMetadata]] = defaultdict(list)
    for key in fused:
        chunk = metadata[key]
        files[chunk.path].append(chunk)
    # fsum, because its result does not depend on the order of the keys, which are other ones in each index
    total = {path: math.fsum(fused[chunk.key] for chunk in chunks) for path, chunks in files.items()}
    most = max(total.values(), default=0.0)
    return files, {path: score / most if most > 0 else 0.0 for path, score in total.items()}


def _score_files(
    query: ParsedQuery,
    files: Mapping[str, Sequence[ChunkMetadata]],
    evidence: Mapping[str, float],
    weights: RankingWeights,
) -> dict[str, _FileScore]:
    """Return the signals that the chunks of each file share."""
    min_depth = min(map(signals.count_directories, files), default=0)
    versions = signals.Versions(files)
    scores: dict[str, _FileScore] = {}
    for path, chunks in files.items():
        weighted = (
            ("filename_match", signals.filename_match(query, path), weights.filename_match),
            ("path_depth", signals.path_depth(path, min_depth), weights.path_depth),
            ("file_evidence", evidence[path], weights.file_evidence),
        )
        is_document = chunks[0].source_type == "doc"  # the same for all chunks of a file
        peripheral = signals.is_peripheral(query, path, is_document=is_document, versions=versions)
        total = 0.0
        for _, value, weight in weighted:
            total += weight * value
        scores[path] = _FileScore(weighted, total, weights.peripheral_factor if peripheral else 1.0)
    return scores


def _scale(score: float, factor: float) -> float:
    """Multiply a score, unless signals have made it negative."""
    return score * factor if score > 0 else score
