from agent_brain_cli.excerpt import choose_excerpt, split_terms


def lines(count: int, **special: str) -> str:
    return "\n".join(special.get(f"line{number}", f"filler {number}") for number in range(count))


def test_a_short_chunk_is_shown_whole():
    assert choose_excerpt("a\nb\nc", "anything", limit=3) == (0, 3)


def test_a_chunk_that_is_little_longer_is_shown_whole():
    assert choose_excerpt(lines(15), "filler", limit=12) == (0, 15)
    start, end = choose_excerpt(lines(16), "filler", limit=12)
    assert end - start == 12


def test_the_window_lies_around_the_words_of_the_question():
    text = lines(60, line40="release the lock", line42="lock.unlink()")
    start, end = choose_excerpt(text, "where is the lock released", limit=12)
    assert end - start == 12
    assert start <= 40
    assert end > 42


def test_what_follows_the_telling_line_is_shown_rather_than_what_leads_to_it():
    assert choose_excerpt(lines(60, line40="needle"), "needle", limit=12) == (38, 50)
    assert choose_excerpt(lines(60, line59="needle"), "needle", limit=12) == (48, 60)


def test_a_rare_word_counts_more_than_a_frequent_one():
    text = "\n".join(["filler", *["value = value + 1"] * 30, *["filler"] * 10, "tombstone()", *["filler"] * 3])
    start, end = choose_excerpt(text, "value tombstone", limit=5)
    assert start <= 41 < end


def test_without_a_word_of_the_question_the_chunk_begins_at_its_first_line():
    assert choose_excerpt(lines(50), "zebra", limit=10) == (0, 10)


def test_case_does_not_matter_and_short_words_are_not_looked_for():
    assert split_terms("Is a LOCK of it?") == {"lock"}


def test_lines_end_at_newlines_alone_as_line_numbers_do():
    assert choose_excerpt("a\x0cb\u2028c\nd", "x", limit=5) == (0, 2)
