"""Tests for the recognition of lines that give a name a value."""

import pytest

from agent_brain_server.services.value_rows import find_documented, list_code_rows, make_patterns, rank_row


@pytest.mark.parametrize(
    ("row", "rank"),
    [
        ("this.limit = timeout ?? 30", 1),
        ("const value = options.timeout || DEFAULT_TIMEOUT", 1),
        ("wait(timeout or 30)", 1),
        ("this[kTimeout] = timeout != null ? timeout : 300e3", 1),
        ('value = options.get("timeout", 30)', 1),
        ('@click.option("--timeout", type=int, default=30)', 1),
        ("let value = self.timeout.unwrap_or(30);", 1),
        (": ${timeout:-30}", 1),
        ("    timeout: int = 30,", 2),
        ('    "timeout": 30,', 2),
        ("timeout = 30", 2),
        ("if timeout or other:", None),
        ("timeout = read()", None),
        ("my_timeout = 30", None),
        ("timeouts ?? 30", None),
    ],
)
def test_row_is_ranked_by_how_it_gives_a_value(row: str, rank: int | None) -> None:
    assert rank_row(row, make_patterns("timeout")) == rank


def test_hostile_rows_are_ranked_in_bounded_time() -> None:
    patterns = make_patterns("a")
    for row in ("a" * 500, "a?" * 250, "'a'," * 125, "a or " * 100, "a:" * 250, "a = [" * 100):
        rank_row(row, patterns)


def test_documented_default_is_found_and_cut() -> None:
    rows = ["/**", " * Milliseconds. Default: `300e3`.", " */", "timeout?: number"]
    assert find_documented(rows, 1, 4) == "* Milliseconds. Default: `300e3`."
    assert find_documented(rows, 3, 4) is None
    long = find_documented([f"// {'x' * 300} default 5"], 1, 1)
    assert long == "…default 5"


def test_docstrings_and_comments_are_no_code_rows() -> None:
    rows = [
        "class A:",
        '    """A class.',
        "    value: 1",
        '    """',
        "    # value = 2",
        "    value = 3",
        '    text = """',
        "    value = 4",
        '    """',
        "    /* value = 5",
        "    value = 6 */",
        "    last = 7",
    ]
    assert [number for number, _ in list_code_rows(rows, 1, 99)] == [1, 6, 7, 12]
