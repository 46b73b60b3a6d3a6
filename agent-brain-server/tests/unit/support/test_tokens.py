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
def test_an_identifier_falls_into_its_parts(name, parts):
    assert split_identifier(name) == parts


@pytest.mark.parametrize("spelling", ["parseHTTPHeader", "parse_http_header", "ParseHttpHeader", "PARSE_HTTP_HEADER"])
def test_all_spellings_of_a_name_are_one(spelling):
    whole, *parts = tokenize(spelling)
    assert whole == tokenize("parsehttpheader")[0]
    assert parts == ["pars", "http", "header"]


def test_kebab_case_falls_apart_at_its_hyphens():
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
def test_forms_of_a_word_are_one_word(one, other):
    assert stem(one) == stem(other)


@pytest.mark.parametrize("word", ["utf8", "größe", "js", "bus", "a"])
def test_what_is_no_english_word_stays(word):
    assert stem(word) == word


def test_scripts_without_spaces_are_found_by_pairs():
    assert {"数据", "据库"} <= set(query_terms("数据库", limit=9)) & set(tokenize("关闭数据库连接"))


def test_words_that_nobody_asks_for_are_left_out():
    assert index_text("a" * (MAX_WORD_LENGTH + 1)) == ""
    assert find_words("x" * (MAX_WORD_LENGTH + 1) + " y") == ["y"]


def test_a_question_is_asked_without_its_sentence():
    assert query_terms("How are the HTTP requests sent?", limit=64) == ("http", "request", "sent")


def test_a_question_of_stop_words_alone_is_asked_with_them():
    assert query_terms("to be or not to be", limit=64) == ("to", "be", "or", "not")


def test_the_subject_is_the_first_line_of_several_that_says_something():
    assert find_subject("\n---\n# Lock is lost after restart\n\nSeen twice.") == "# Lock is lost after restart"
    assert find_subject("Bug report\n\nThe lock is lost after a restart.\n") == "The lock is lost after a restart."
    assert find_subject("Hello\nthanks") is None
    assert find_subject("where is the lock released after a restart?\n") is None
    assert find_subject("!!!\n???") is None


def test_a_query_has_distinct_terms_up_to_the_limit():
    assert query_terms("red red blue green", limit=2) == ("red", "blue")
    assert query_terms("!!! ???", limit=2) == ()


@given(st.text())
def test_any_text_has_terms_that_are_lower_case_words(text):
    for token in tokenize(text):
        assert token
        assert not any(character.isspace() for character in token)
        assert token.isascii() is False or token == token.lower()


@given(st.text(alphabet=st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=40))
def test_what_is_asked_as_it_is_written_is_found(word):
    assert set(query_terms(word, limit=1000)) <= set(tokenize(word))
