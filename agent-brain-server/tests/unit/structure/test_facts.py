"""Definitions and references of files."""

from pathlib import Path

from agent_brain_server.indexing.files.file_types import detect_language
from agent_brain_server.structure.facts import extract_facts
from agent_brain_server.structure.syntax import find_definitions, grammar_name, parse
from agent_brain_server.types import SyntaxFacts

SAMPLES = Path(__file__).parents[2] / "data" / "code"


def extract(data: bytes, path: str = "a.py") -> SyntaxFacts:
    grammar = grammar_name(detect_language(path, data), path)
    tree = parse(data, grammar)
    return extract_facts(tree, data, grammar, find_definitions(tree, data, grammar))


def test_extract_facts_python_definitions():
    facts = extract((SAMPLES / "sample.py").read_bytes())
    assert [(found.kind, found.qualified_name, found.start_line, found.end_line) for found in facts.definitions] == [
        ("constant", "MAX_RETRIES", 5, 5),
        ("class", "Client", 8, 23),
        ("class", "Client.Options", 11, 12),
        ("def", "Client.__init__", 14, 15),
        ("def", "Client.send", 17, 23),
        ("def", "Client.send.attempt", 20, 21),
        ("def", "connect", 26, 27),
    ]
    connect = facts.definitions[6]
    assert (connect.name, connect.signature, connect.parent) == ("connect", "async def connect(host)", None)
    assert facts.definitions[1].documentation == "Talks to one host."
    assert not facts.is_partial


def test_extract_facts_python_references():
    facts = extract((SAMPLES / "sample.py").read_bytes())
    found = {(use.name, use.line, use.kind, use.scope) for use in facts.references}
    assert {
        ("functools", 3, "import", None),
        ("dict", 11, "inherit", 2),
        ("wraps", 18, "call", 1),
        ("attempt", 23, "call", 4),
        ("Client", 27, "call", 6),
    } <= found
    assert "connect" not in {name for name, *_ in found}


def test_extract_facts_broken_file_is_partial():
    facts = extract(b"def send(request):\n    return request\n\nclass (:\n")
    assert facts.is_partial
    assert facts.definitions[0].name == "send"
