import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_brain_server.support.tokens import (
    MAX_WORD_LENGTH,
    find_subject,
    find_words,
    index_text,
    query_terms,
    split_identifier,
    stem,
    tokenize,
)


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("parseHTTPHeader", ["parse", "http", "header"]),
        ("parse_http_header", ["parse", "http", "header"]),
        ("HTTPServer2", ["http", "server", "2"]),
        ("utf8", ["utf", "8"]),
        ("SCREAMING_SNAKE", ["screaming", "snake"]),
        ("__init__", ["init"]),
        ("größe_Δx1", ["größe", "δx", "1"]),
        ("plain", ["plain"]),
        ("___", []),
    ],
)
def test_split_identifier(name, parts):
    assert split_identifier(name) == parts


@pytest.mark.parametrize("spelling", ["parseHTTPHeader", "parse_http_header", "ParseHttpHeader", "PARSE_HTTP_HEADER"])
def test_tokenize_spellings_of_a_name_share_tokens(spelling):
    whole, *parts = tokenize(spelling)
    assert whole == tokenize("parsehttpheader")[0]
    assert parts == ["pars", "http", "header"]


def test_tokenize_splits_kebab_case():
    assert tokenize("font-size") == ["font", "size"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("requests", "request"),
        ("entries", "entry"),
        ("logging", "log"),
        ("validated", "validates"),
        ("stored", "store"),
    ],
)
def test_stem_inflections(one, other):
    assert stem(one) == stem(other)


@pytest.mark.parametrize("word", ["utf8", "größe", "js", "bus", "a"])
def test_stem_other_words_unchanged(word):
    assert stem(word) == word


def test_tokenize_bigrams_of_unspaced_scripts():
    assert {"数据", "据库"} <= set(query_terms("数据库", limit=9)) & set(tokenize("关闭数据库连接"))


def test_tokenize_separates_unspaced_runs_from_words():
    assert tokenize("HTTPリクエスト") == ["http", "リク", "クエ", "エス", "スト"]
    assert "python" in tokenize("Pythonで書く")
    assert tokenize("锁 lock") == ["锁", "lock"]


def test_tokenize_long_sentence_without_spaces():
    text = "数据库" * 30
    assert {"数据", "据库", "库数"} == {token for token in tokenize(text) if len(token) == 2}
    assert query_terms(text, limit=9)


def test_tokenize_omits_overlong_words():
    assert index_text("a" * (MAX_WORD_LENGTH + 1)) == ""
    assert find_words("x" * (MAX_WORD_LENGTH + 1) + " y") == ["y"]


def test_query_terms_without_stop_words():
    assert query_terms("How are the HTTP requests sent?", limit=64) == ("http", "request", "sent")


def test_query_terms_of_stop_words_only():
    assert query_terms("to be or not to be", limit=64) == ("to", "be", "or", "not")


def test_find_subject_first_meaningful_line():
    assert find_subject("\n---\n# Lock is lost after restart\n\nSeen twice.") == "# Lock is lost after restart"
    assert find_subject("Bug report\n\nThe lock is lost after a restart.\n") == "The lock is lost after a restart."
    assert find_subject("Hello\nthanks") is None
    assert find_subject("where is the lock released after a restart?\n") is None
    assert find_subject("!!!\n???") is None


def test_query_terms_are_distinct_and_limited():
    assert query_terms("red red blue green", limit=2) == ("red", "blue")
    assert query_terms("!!! ???", limit=2) == ()


@given(st.text())
def test_tokenize_any_text_is_lower_case(text):
    for token in tokenize(text):
        assert token
        assert not any(character.isspace() for character in token)
        assert token.isascii() is False or token == token.lower()


@given(st.text(alphabet=st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=40))
def test_query_terms_match_indexed_text(word):
    assert set(query_terms(word, limit=1000)) <= set(tokenize(word))
