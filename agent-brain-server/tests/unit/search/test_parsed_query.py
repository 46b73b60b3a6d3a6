import pytest

from agent_brain_server.search.parsed_query import is_identifier, parse_query
from agent_brain_server.support.tokens import normalize_name


def test_parse_query_terms_without_stop_words():
    parsed = parse_query("How are the HTTP requests sent?")
    assert parsed.terms == {"http", "request", "sent"}
    assert not parsed.names
    assert not parsed.is_symbol


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("Router", {"router"}),
        ("flat_hash_map", {"flathashmap"}),
        ("Client.send", {"client", "send"}),
        ("std::move", {"std", "move"}),
        ("where does parseHeader fail", {"parseheader"}),
        ("where is the header parsed", set()),
    ],
)
def test_parse_query_names(query, names):
    assert parse_query(query).names == names


@pytest.mark.parametrize("query", ["Router", "Client.send", "absl::StrSplit", "Net::HTTP#get"])
def test_parse_query_single_name_is_symbol(query):
    assert parse_query(query).is_symbol


def test_parse_query_unspaced_sentence_is_no_symbol():
    parsed = parse_query("数据库连接在哪里关闭")
    assert not parsed.is_symbol
    assert {"数据", "据库", "关闭"} <= parsed.terms


def test_parse_query_asks_tests_or_docs():
    assert parse_query("how are the tests run").asks_tests
    assert parse_query("which guides explain installing").asks_docs
    assert parse_query("what happens when I press a key").asks_docs
    other = parse_query("where is the lock released")
    assert not (other.asks_tests or other.asks_docs)


def test_parse_query_report_intent_from_first_line():
    body = "I upgraded and my tests fail. The documentation of our project says otherwise."
    report = parse_query(f"Response headers are lost on redirect\n\n{body}")
    assert not (report.asks_tests or report.asks_docs)
    assert parse_query(f"Tests of redirects fail at random\n\n{body}").asks_tests
    assert parse_query(f"Documentation of redirects is wrong\n\n{body}").asks_docs


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("how do I change the timeout", True),
        ("how do I change max_timeout", False),
        ("where is the timeout changed", False),
        (
            "after the last upgrade I see that the timeout of my pool is ignored as soon as a second client is started",
            False,
        ),
    ],
)
def test_parse_query_pronoun_short_question_asks_docs(question, expected):
    assert parse_query(question).asks_docs is expected


@pytest.mark.parametrize(
    ("word", "expected"),
    [("parse_header", True), ("parseHeader", True), ("utf8", True), ("word", False), ("_x", False)],
)
def test_is_identifier(word, expected):
    assert is_identifier(word) is expected


def test_normalize_name_equal_for_all_spellings():
    assert normalize_name("parse_header") == normalize_name("ParseHeader") == "parseheader"
