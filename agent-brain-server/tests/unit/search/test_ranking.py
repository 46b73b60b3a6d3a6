import random
from dataclasses import fields, replace

import pytest

from agent_brain_server.search.qualified_name import NameMatch
from agent_brain_server.search.ranking import DEFAULT_WEIGHTS, DEFINITION_BONUS, NEUTRAL_WEIGHTS, rank_candidates
from agent_brain_server.types import ChunkMetadata, Hit


def metadata(key, path="a.py", *, line=None, source_type="code", names=(), heading=None):
    return ChunkMetadata(key, path, line or key, (line or key) + 5, "python", source_type, names, heading)


def rank(bm25=(), vector=(), known=(), *, query="some words asked for", **options):
    by_key = {fact.key: fact for fact in known}
    options = {"alpha": 0.4, "mode": "hybrid", **options}
    return rank_candidates(query, list(bm25), list(vector), by_key, **options)


def order(ranked):
    return [item.metadata.key for item in ranked]


FOUR = [metadata(key, f"{key}.py") for key in (1, 2, 3, 4)]
BM25 = [Hit(1, 9.0), Hit(2, 6.0), Hit(3, 1.0)]
VECTOR = [Hit(4, 0.8), Hit(3, 0.7), Hit(2, 0.1)]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"mode": "bm25"}, [1, 2, 3]),
        ({"mode": "vector"}, [4, 3, 2]),
        ({"alpha": 0.0}, [1, 2, 3, 4]),
        ({"alpha": 1.0}, [4, 3, 1, 2]),
    ],
)
def test_rank_uses_retrievers_of_mode(options, expected):
    assert order(rank(BM25, VECTOR, FOUR, weights=NEUTRAL_WEIGHTS, **options)) == expected


def test_rank_returns_scores_of_both_retrievers():
    ranked = {item.metadata.key: item for item in rank(BM25, VECTOR, FOUR)}
    assert (ranked[1].bm25_score, ranked[1].vector_score) == (9.0, None)
    assert (ranked[3].bm25_score, ranked[3].vector_score) == (1.0, 0.7)


def test_rank_hybrid_without_vectors_equals_bm25():
    assert [item.score for item in rank(BM25, (), FOUR)] == [item.score for item in rank(BM25, (), FOUR, mode="bm25")]


def test_rank_hybrid_without_keywords_equals_vector():
    assert [i.score for i in rank((), VECTOR, FOUR)] == [i.score for i in rank((), VECTOR, FOUR, mode="vector")]


def test_rank_drops_hit_without_metadata():
    assert order(rank([Hit(99, 50.0), *BM25], [], FOUR)) == [1, 2, 3]
    assert rank([Hit(99, 50.0)], [Hit(98, 1.0)], FOUR) == []


def test_rank_without_hits_is_empty():
    assert rank() == []


def test_rank_definition_before_mention():
    known = [metadata(1, "use.py"), metadata(2, "make.py", names=("parseheader",))]
    assert order(rank([Hit(1, 9.0), Hit(2, 7.0)], known=known, query="parseHeader")) == [2, 1]


def test_rank_contained_phrase_first_tests_after_code():
    known = [metadata(1, "1.py"), metadata(2, "2.py"), metadata(3, "test_3.py", source_type="test")]
    hits = [Hit(1, 9.0), Hit(2, 3.0), Hit(3, 8.0)]
    assert order(rank(hits, (), known)) == [1, 2, 3]
    assert order(rank(hits, (), known, phrases={2: 1.0, 3: 1.0})) == [2, 1, 3]


def test_rank_filename_match_first():
    known = [metadata(1, "middleware/logger.go"), metadata(2, "middleware/throttle.go")]
    assert order(rank([Hit(1, 9.0), Hit(2, 8.5)], known=known, query="request throttling")) == [2, 1]


def test_rank_bare_name_finds_definition():
    known = [metadata(1, "use.py"), metadata(2, "make.py", names=("parseheader",))]
    hits = [Hit(1, 9.0), Hit(2, 4.0)]
    assert order(rank(hits, known=known, query="parseHeader")) == [2, 1]
    assert order(rank(hits, known=known, query="where does parseHeader fail")) == [1, 2]


def test_rank_bare_name_prefers_keywords():
    known = [metadata(1, "use.py"), metadata(2, "make.py")]
    sides = [Hit(1, 9.0), Hit(2, 7.0)], [Hit(2, 0.9), Hit(1, 0.1)]
    assert order(rank(*sides, known, query="parseHeader")) == [1, 2]
    assert order(rank(*sides, known, query="parsing of headers")) == [2, 1]
    assert order(rank(*sides, known, query="parseHeader", alpha=1.0)) == [2, 1]


def test_rank_heading_match_first():
    known = [metadata(1, "a.md", source_type="doc"), metadata(2, "b.md", source_type="doc", heading="Read timeouts")]
    assert order(rank([Hit(1, 9.0), Hit(2, 8.5)], known=known, query="timeouts for reading")) == [2, 1]


def test_rank_peripheral_last():
    known = [metadata(1, "examples/a.py"), metadata(2, "lib/v1/b.py"), metadata(3, "lib/b.py")]
    hits = [Hit(1, 9.0), Hit(2, 8.8), Hit(3, 8.0)]
    assert order(rank(hits, known=known))[0] == 3
    assert order(rank(hits, known=known, query="examples with some words"))[0] == 1


def test_rank_file_evidence_outweighs_one_good_chunk():
    known = [metadata(1, "one.py"), *(metadata(key, "many.py") for key in range(2, 8))]
    hits = [Hit(1, 9.0), *(Hit(key, 8.0) for key in range(2, 8))]
    assert order(rank(hits, known=known))[0] == 2


def test_rank_tests_and_docs_last_unless_asked():
    known = [metadata(1, "test_a.py", source_type="test"), metadata(2, "a.md", source_type="doc"), metadata(3, "b.py")]
    hits = [Hit(1, 9.0), Hit(2, 8.5), Hit(3, 8.0)]
    assert order(rank(hits, known=known)) == [3, 2, 1]
    assert order(rank(hits, known=known, query="where are the tests"))[0] == 1
    assert order(rank(hits, known=known, query="the guide for users"))[0] == 2


@pytest.mark.parametrize("kind", ["test", "doc"])
def test_rank_kind_asked_for_alone_has_no_penalty(kind):
    known = [metadata(1, "a", source_type=kind), metadata(2, "b", source_type=kind)]
    hits = [Hit(1, 9.0), Hit(2, 8.0)]
    alone = rank(hits, known=known, source_types=[kind], explain=True)
    assert not {"is_test", "is_document"} & {signal.name for item in alone for signal in item.signals}
    assert alone[0].score > rank(hits, known=known)[0].score
    assert rank(hits, known=known, source_types=[kind, "code"]) == rank(hits, known=known)


def test_rank_does_not_depend_on_keys():
    rng = random.Random(5)
    scores = [rng.random() for _ in range(60)]
    orders = [list(range(60)), list(reversed(range(60)))]
    answers = []
    for order_of_keys in orders:
        known = [metadata(key, f"{at % 7}.py", line=at + 1) for at, key in enumerate(order_of_keys)]
        hits = sorted((Hit(key, scores[at]) for at, key in enumerate(order_of_keys)), key=lambda hit: hit.key)
        answers.append([(i.metadata.path, i.metadata.start_line, i.score) for i in rank(hits, known=known)])
    assert answers[0] == answers[1]


def test_definition_bonus_exceeds_other_signals():
    weights = [getattr(DEFAULT_WEIGHTS, field.name) for field in fields(DEFAULT_WEIGHTS)]
    factors = ("factor", "decay", "floor")
    summands = [w for w, f in zip(weights, fields(DEFAULT_WEIGHTS), strict=True) if not f.name.endswith(factors)]
    most, least = 1 + sum(w for w in summands if w > 0), sum(w for w in summands if w < 0)
    assert most - least < DEFINITION_BONUS


def test_rank_definitions_by_match():
    known = [
        metadata(1, "a.py"),
        metadata(2, "tests/test_a.py", source_type="test"),
        metadata(3, "examples/old/a.py"),
        metadata(4, "b.py"),
    ]
    defining = {2: NameMatch.COMPLETE, 3: NameMatch.NAME, 4: NameMatch.IGNORE_CASE, 99: NameMatch.COMPLETE}
    ranked = rank([Hit(1, 9.0), Hit(4, 8.0)], known=known, query="parse", defining=defining, explain=True)
    assert order(ranked) == [2, 3, 4, 1]
    assert [item.score for item in ranked] == sorted((item.score for item in ranked), reverse=True)
    for item in ranked:
        assert item.score == pytest.approx(sum(signal.contribution for signal in item.signals))


def test_rank_definition_leads_its_file():
    known = [metadata(1, "a.py"), metadata(2, "a.py"), metadata(3, "b.py")]
    ranked = rank([Hit(1, 9.0), Hit(3, 5.0)], known=known, query="parse", defining={2: NameMatch.COMPLETE})
    assert order(ranked) == [2, 3, 1]


def test_rank_further_chunks_decay():
    known = [metadata(1, "a.py"), metadata(2, "a.py"), metadata(3, "b.py")]
    hits = [Hit(1, 9.0), Hit(2, 8.9), Hit(3, 8.0)]
    assert order(rank(hits, known=known)) == [1, 3, 2]


def test_rank_further_chunks_keep_floor():
    known = [*(metadata(key, "a.py", line=key) for key in range(1, 6)), metadata(6, "b.py")]
    hits = [*(Hit(key, 9.0) for key in range(1, 6)), Hit(6, 2.0)]
    ranked = rank(hits, known=known, explain=True)
    assert order(ranked) == [1, 2, 3, 4, 5, 6]
    best = ranked[0].score
    assert [item.score / best for item in ranked[1:5]] == pytest.approx([0.5, 0.4, 0.4, 0.4])


def test_rank_ties_by_path_and_line():
    known = [metadata(1, "b.py", line=1), metadata(2, "a.py", line=9), metadata(3, "a.py", line=3)]
    hits = [Hit(1, 5.0), Hit(2, 5.0), Hit(3, 5.0)]
    assert order(rank(hits, known=known, weights=NEUTRAL_WEIGHTS)) == [3, 2, 1]


def test_rank_is_independent_of_hit_order():
    generator = random.Random(5)
    known = [metadata(key, f"dir{key % 7}/{key % 11}.py", line=key) for key in range(1, 100)]
    bm25 = [Hit(key, float(key % 13)) for key in range(1, 100)]
    vector = [Hit(key, key % 17 / 17) for key in range(1, 100, 2)]
    expected = rank(bm25, vector, known)
    for _ in range(5):
        generator.shuffle(bm25)
        generator.shuffle(vector)
        assert order(rank(bm25, vector, known)) == order(expected)


def test_rank_explain_adds_up_to_score():
    known = [
        metadata(1, "deep/er/throttle.py", names=("throttle",)),
        metadata(2, "deep/er/throttle.py"),
        metadata(3, "tests/test_it.py", source_type="test"),
        metadata(4, "README.md", source_type="doc", heading="How to throttle"),
        metadata(5, "examples/throttled.py"),
    ]
    hits = [Hit(key, 10.0 - key) for key in (1, 2, 3, 4, 5)]
    ranked = rank(hits, VECTOR, known, query="throttle", phrases={2: 0.6}, explain=True)
    for item in ranked:
        assert sum(signal.contribution for signal in item.signals) == pytest.approx(item.score)
    names = {signal.name for item in ranked for signal in item.signals}
    assert names == {
        "fused", "defines_name", "defines_bare_name", "filename_match", "contains_phrase", "heading_match",
        "path_depth", "file_evidence", "is_test", "is_document", "is_peripheral", "is_further_chunk",
    }  # fmt: skip


def test_rank_explain_changes_no_result():
    plain = rank(BM25, VECTOR, FOUR)
    assert all(not item.signals for item in plain)
    assert [(i.metadata, i.score) for i in rank(BM25, VECTOR, FOUR, explain=True)] == [
        (i.metadata, i.score) for i in plain
    ]


def test_rank_neutral_weight_disables_signal():
    known = [metadata(1, "test_a.py", source_type="test"), metadata(2, "b.py")]
    hits = [Hit(1, 9.0), Hit(2, 8.5)]
    assert order(rank(hits, known=known)) == [2, 1]
    assert order(rank(hits, known=known, weights=replace(DEFAULT_WEIGHTS, test_factor=1.0))) == [1, 2]
