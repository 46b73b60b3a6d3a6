"""`agent-brain read` with real servers."""

ESCAPE = "\x1b"


def test_first_read_starts_the_server_and_indexes(agent_brain):
    first = agent_brain("read", "src/locking.py:4-6")
    assert first.code == 0, first.err
    assert first.out.splitlines() == [
        "src/locking.py:4-6 of 9 lines",
        "class Lock:",
        '    """A lock on a file."""',
        "",
        "… 3 more lines: agent-brain read src/locking.py:7-",
    ]
    assert "was never indexed" in first.err


def test_read_prints_numbers_and_json(indexed):
    assert "4  class Lock:" in indexed("read", "src/locking.py", "--numbers").out
    answer = indexed("read", "locking.py:4", "--json", cwd=indexed.project / "src").json
    assert (answer["source"], answer["start_line"], answer["total_lines"]) == ("src/locking.py", 4, 9)


def test_read_makes_hidden_characters_visible(indexed):
    outcome = indexed("read", f"evil{ESCAPE}[31m.py")
    assert outcome.code == 0, outcome.err
    assert ESCAPE not in outcome.out
    assert "<U+E0068>" in outcome.out


def test_read_reports_bad_paths_and_ranges(indexed):
    cases = {"../x.py": 2, "src": 4, "missing.py": 4, "src/locking.py:9-3": 2, "src/locking.py:50": 4}
    for argument, code in cases.items():
        refused = indexed("read", argument)
        assert (refused.code, refused.out) == (code, ""), argument
        assert len(refused.error_lines) >= 2
    assert indexed("read", "src/locking.py:5-99").out.startswith("src/locking.py:5-9 of 9 lines")
