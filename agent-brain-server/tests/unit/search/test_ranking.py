import random
from dataclasses import replace

import pytest

from agent_brain_server.search.ranking import DEFAULT_WEIGHTS, NEUTRAL_WEIGHTS, rank_candidates
from agent_brain_server.types import ChunkMetadata, Hit


def facts(key, path="a.py", *, line=None, source_type="code", names=(), heading=None):
    return ChunkMetadata(key, path, line or key, (line or key) + 5, "python", source_type, names, heading)


def rank(bm25=(), vector=(), known=(), *, query="some words asked for", **options):
    by_key = {fact.key: fact for fact in known}
    options = {"alpha": 0.4, "mode": "hybrid", **options}
    return rank_candidates(query, list(bm25), list(vector), by_key, **options)


def order(ranked):
    return [item.metadata.key for item in ranked]


FOUR = [facts(key, f"{key}.py") for key in (1, 2, 3, 4)]
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
def test_each_side_counts_as_asked(options, expected):
    assert order(rank(BM25, VECTOR, FOUR, weights=NEUTRAL_WEIGHTS, **options)) == expected


def test_both_sides_scores_are_told():
    ranked = {item.metadata.key: item for item in rank(BM25, VECTOR, FOUR)}
    assert (ranked[1].bm25_score, ranked[1].vector_score) == (9.0, None)
    assert (ranked[3].bm25_score, ranked[3].vector_score) == (1.0, 0.7)


def test_without_vectors_hybrid_is_keywords():
    assert [item.score for item in rank(BM25, (), FOUR)] == [item.score for item in rank(BM25, (), FOUR, mode="bm25")]


def test_without_keywords_hybrid_is_vectors():
    assert [i.score for i in rank((), VECTOR, FOUR)] == [i.score for i in rank((), VECTOR, FOUR, mode="vector")]


def test_a_hit_whose_chunk_is_gone_is_dropped():
    assert order(rank([Hit(99, 50.0), *BM25], [], FOUR)) == [1, 2, 3]
    assert rank([Hit(99, 50.0)], [Hit(98, 1.0)], FOUR) == []


def test_nothing_found_is_nothing_ranked():
    assert rank() == []


def test_a_definition_comes_before_a_mention():
    known = [facts(1, "use.py"), facts(2, "make.py", names=("parseheader",))]
    assert order(rank([Hit(1, 9.0), Hit(2, 7.0)], known=known, query="parseHeader")) == [2, 1]


def test_a_file_named_after_the_question_comes_first():
    known = [facts(1, "middleware/logger.go"), facts(2, "middleware/throttle.go")]
    assert order(rank([Hit(1, 9.0), Hit(2, 8.5)], known=known, query="request throttling")) == [2, 1]


def test_a_name_alone_is_looked_up_where_it_is_defined():
    known = [facts(1, "use.py"), facts(2, "make.py", names=("parseheader",))]
    hits = [Hit(1, 9.0), Hit(2, 4.0)]
    assert order(rank(hits, known=known, query="parseHeader")) == [2, 1]
    assert order(rank(hits, known=known, query="where does parseHeader fail")) == [1, 2]


def test_a_name_alone_is_looked_up_by_its_letters_more_than_by_meaning():
    known = [facts(1, "use.py"), facts(2, "make.py")]
    sides = [Hit(1, 9.0), Hit(2, 7.0)], [Hit(2, 0.9), Hit(1, 0.1)]
    assert order(rank(*sides, known, query="parseHeader")) == [1, 2]
    assert order(rank(*sides, known, query="parsing of headers")) == [2, 1]
    assert order(rank(*sides, known, query="parseHeader", alpha=1.0)) == [2, 1]


def test_a_section_that_is_headed_by_the_question_comes_first():
    known = [facts(1, "a.md", source_type="doc"), facts(2, "b.md", source_type="doc", heading="Read timeouts")]
    assert order(rank([Hit(1, 9.0), Hit(2, 8.5)], known=known, query="timeouts for reading")) == [2, 1]


def test_what_lies_aside_gives_way():
    known = [facts(1, "examples/a.py"), facts(2, "lib/v1/b.py"), facts(3, "lib/b.py")]
    hits = [Hit(1, 9.0), Hit(2, 8.8), Hit(3, 8.0)]
    assert order(rank(hits, known=known))[0] == 3
    assert order(rank(hits, known=known, query="examples with some words"))[0] == 1


def test_many_fair_chunks_outweigh_one_good_one():
    known = [facts(1, "one.py"), *(facts(key, "many.py") for key in range(2, 8))]
    hits = [Hit(1, 9.0), *(Hit(key, 8.0) for key in range(2, 8))]
    assert order(rank(hits, known=known))[0] == 2


def test_tests_and_documents_give_way_unless_they_are_asked_for():
    known = [facts(1, "test_a.py", source_type="test"), facts(2, "a.md", source_type="doc"), facts(3, "b.py")]
    hits = [Hit(1, 9.0), Hit(2, 8.5), Hit(3, 8.0)]
    assert order(rank(hits, known=known)) == [3, 2, 1]
    assert order(rank(hits, known=known, query="where are the tests"))[0] == 1
    assert order(rank(hits, known=known, query="the guide for users"))[0] == 2


def test_a_files_further_chunks_give_way_to_other_files():
    known = [facts(1, "a.py"), facts(2, "a.py"), facts(3, "b.py")]
    hits = [Hit(1, 9.0), Hit(2, 8.9), Hit(3, 8.0)]
    assert order(rank(hits, known=known)) == [1, 3, 2]


def test_ties_are_broken_by_path_and_line():
    known = [facts(1, "b.py", line=1), facts(2, "a.py", line=9), facts(3, "a.py", line=3)]
    hits = [Hit(1, 5.0), Hit(2, 5.0), Hit(3, 5.0)]
    assert order(rank(hits, known=known, weights=NEUTRAL_WEIGHTS)) == [3, 2, 1]


def test_the_same_hits_in_any_order_give_the_same_answer():
    generator = random.Random(5)
    known = [facts(key, f"dir{key % 7}/{key % 11}.py", line=key) for key in range(1, 100)]
    bm25 = [Hit(key, float(key % 13)) for key in range(1, 100)]
    vector = [Hit(key, key % 17 / 17) for key in range(1, 100, 2)]
    expected = rank(bm25, vector, known)
    for _ in range(5):
        generator.shuffle(bm25)
        generator.shuffle(vector)
        assert order(rank(bm25, vector, known)) == order(expected)


def test_what_a_score_is_made_of_adds_up_to_it():
    known = [
        facts(1, "deep/er/throttle.py", names=("throttle",)),
        facts(2, "deep/er/throttle.py"),
        facts(3, "tests/test_it.py", source_type="test"),
        facts(4, "README.md", source_type="doc", heading="How to throttle"),
        facts(5, "examples/throttled.py"),
    ]
    hits = [Hit(key, 10.0 - key) for key in (1, 2, 3, 4, 5)]
    ranked = rank(hits, VECTOR, known, query="throttle", explain=True)
    for item in ranked:
        assert sum(signal.contribution for signal in item.signals) == pytest.approx(item.score)
    names = {signal.name for item in ranked for signal in item.signals}
    assert names == {
        "fused", "defines_name", "defines_bare_name", "filename_match", "heading_match", "path_depth",
        "file_evidence", "is_test", "is_document", "is_peripheral", "is_further_chunk",
    }  # fmt: skip


def test_explaining_changes_no_answer():
    plain = rank(BM25, VECTOR, FOUR)
    assert all(not item.signals for item in plain)
    assert [(i.metadata, i.score) for i in rank(BM25, VECTOR, FOUR, explain=True)] == [
        (i.metadata, i.score) for i in plain
    ]


def test_a_signal_can_be_turned_off():
    known = [facts(1, "test_a.py", source_type="test"), facts(2, "b.py")]
    hits = [Hit(1, 9.0), Hit(2, 8.5)]
    assert order(rank(hits, known=known)) == [2, 1]
    assert order(rank(hits, known=known, weights=replace(DEFAULT_WEIGHTS, test_factor=1.0))) == [1, 2]
