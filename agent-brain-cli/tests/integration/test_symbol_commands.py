"""`agent-brain def`, `refs` and `outline` with real servers."""

ESCAPE = "\x1b"
LONG_WAIT = ("--wait-ms", "10000")  # on a busy machine


def test_def_prints_location_and_signature(indexed):
    assert indexed("def", "Lock.release").out.splitlines() == [
        "src/locking.py:7-9 in Lock: def release(self) -> None — "
        "Free the lock, so that the next one in the queue may enter the turnstile."
    ]
    found = indexed("def", "lock", "--json").json
    assert (found["match"], found["symbols"][0]["name"]) == ("ignore_case", "Lock")


def test_unknown_name_is_reported_with_exit_code_0(indexed):
    for command in ("def", "refs"):
        outcome = indexed(command, "relaese")
        assert outcome.code == 0, outcome.err
        assert outcome.out.startswith("No definition or use of relaese. Similar names: release")
    filtered = indexed("def", "Lock", "--kind", "fn")
    assert (filtered.code, filtered.out) == (
        0,
        "No definition or use of Lock matches. Search for it with: agent-brain query\n",
    )


def test_refs_see_a_change_at_once(agent_brain):
    assert agent_brain("refs", "Lock").code == 0
    user = agent_brain.project / "src/user.py"
    user.write_text("from locking import Lock\n\n\ndef use() -> None:\n    Lock().release()\n")
    assert agent_brain("refs", "Lock", "--kind", "call", *LONG_WAIT).out == "src/user.py:5 in use: Lock().release()\n"
    grouped = agent_brain("refs", "Lock", "--by-file").out.splitlines()
    assert grouped == ["src/user.py", "  1: from locking import Lock", "  5 in use: Lock().release()"]
    user.unlink()
    assert agent_brain("refs", "Lock", *LONG_WAIT).out == "No use of Lock matches.\n"


def test_outline_prints_lines_and_signatures(indexed):
    assert indexed("outline", "locking.py", cwd=indexed.project / "src").out.splitlines() == [
        "locking.py  python",
        "4-9 class Lock — A lock on a file.",
        "  7-9 def release(self) -> None — Free the lock, so that the next one in the queue may enter the turnstile.",
    ]
    listing = indexed("outline").out.splitlines()
    assert listing[0] == "src/  1 file"
    assert any(line.endswith(": turnip") for line in listing)
    assert not any(ESCAPE in line for line in listing)
    assert "guide.md" in listing


def test_symbol_commands_refuse_bad_input(indexed):
    cases = {
        ("def", "x" * 301): 4,
        ("def", ""): 4,
        ("refs", "x", "--path", "../"): 2,
        ("refs", "x", "--kind", "jump"): 2,
        ("outline", "../"): 2,
        ("outline", "missing"): 4,
        ("outline", "src", "--limit", "0"): 2,
    }
    for arguments, code in cases.items():
        refused = indexed(*arguments)
        assert (refused.code, refused.out) == (code, ""), arguments
        assert len(refused.error_lines) >= 2


def test_query_answers_from_the_structure(indexed):
    answered = indexed("query", "where is Lock defined?")
    assert answered.out.splitlines() == ["1 definition of Lock", "src/locking.py:4-9: class Lock"]
    assert answered.err == ""
    nothing = indexed("query", "who calls release")
    assert nothing.out.splitlines()[0] == "No calls of release"
    assert "src/locking.py" in nothing.out
    refused = indexed("query", "the turnstile", "--mode", "structure")
    assert (refused.code, refused.out) == (4, "")
    assert "who calls X" in refused.err


def test_related_prints_sections(indexed):
    assert indexed("related", "src/locking.py:9").out.splitlines() == [
        "src/locking.py:7-9 in Lock: def release(self) -> None — "
        "Free the lock, so that the next one in the queue may enter the turnstile.",
        "src/locking.py:4-9: class Lock — A lock on a file.",
        "members of Lock:",
        "  7-9 def release(self) -> None",
    ]
    short = indexed("related", "src/locking.py:9", "--budget", "50").out
    assert short.splitlines()[0].startswith("src/locking.py:7-9 in Lock: def release")
    assert "… " in short
    assert indexed("related", "src/locking.py").code == 2
    assert indexed("related", "src/locking.py:99").code == 4
