"""Choose the lines of a text that answer a query."""

from agent_brain_server.support.excerpts import choose_excerpt, choose_window, dedent, find_signature, split_terms


def make_lines(count: int, **special: str) -> str:
    return "\n".join(special.get(f"line{number}", f"filler {number}") for number in range(count))


def test_excerpt_of_short_chunk_is_whole() -> None:
    assert choose_excerpt("a\nb\nc", "anything", limit=3) == (0, 3)
    assert choose_excerpt(make_lines(15), "filler", limit=12) == (0, 15)
    start, end = choose_excerpt(make_lines(16), "filler", limit=12)
    assert end - start == 12


def test_excerpt_contains_the_words_of_the_query() -> None:
    text = make_lines(60, line40="release the lock", line42="lock.unlink()")
    start, end = choose_excerpt(text, "where is the lock released", limit=12)
    assert end - start == 12
    assert start <= 40
    assert end > 42


def test_excerpt_prefers_lines_after_the_match() -> None:
    assert choose_excerpt(make_lines(60, line40="needle"), "needle", limit=12) == (38, 50)
    assert choose_excerpt(make_lines(60, line59="needle"), "needle", limit=12) == (48, 60)


def test_excerpt_weighs_rare_words_more() -> None:
    text = "\n".join(["filler", *["value = value + 1"] * 30, *["filler"] * 10, "tombstone()", *["filler"] * 3])
    start, end = choose_excerpt(text, "value tombstone", limit=5)
    assert start <= 41 < end


def test_excerpt_without_a_match_starts_at_the_first_line() -> None:
    assert choose_excerpt(make_lines(50), "zebra", limit=10) == (0, 10)


def test_split_terms_ignores_case_and_short_words() -> None:
    assert split_terms("Is a LOCK of it?") == {"lock"}


def test_excerpt_counts_lines_by_newlines_only() -> None:
    assert choose_excerpt("a\x0cb\u2028c\nd", "x", limit=5) == (0, 2)


def test_choose_window_without_weights_starts_at_first_line() -> None:
    assert choose_window([0.0] * 9, 4) == (0, 4)
    assert choose_window([], 4) == (0, 0)


def test_find_signature_skips_comments_and_decorators() -> None:
    lines = ["# run the app", "@app.cli", '"""run"""', "    def run(self):", "        return run"]
    assert find_signature(lines, ["run"]) == 3
    assert find_signature(lines, ["ru"]) is None
    assert find_signature(["int main(void) {"], ["missing", "main"]) == 0


def test_dedent_removes_shared_indentation_only() -> None:
    assert dedent(["    a", "", "      b  "]) == ["a", "", "  b"]
    assert dedent(["\ta", "  b"]) == ["\ta", "  b"]
    assert dedent(["", "  "]) == ["", ""]
