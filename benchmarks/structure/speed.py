"""CPU time of parsing and of extraction, by grammar."""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from agent_brain_server.indexing.files.file_types import detect_language
from agent_brain_server.structure.facts import extract_facts
from agent_brain_server.structure.syntax import (
    GRAMMARS,
    SlowSyntaxError,
    find_definitions,
    grammar_name,
    load_grammar,
    parse,
)
from benchmarks.structure.package_facts import list_sources

SAMPLE_BYTES = 1_000_000  # per grammar


@dataclass
class Speed:
    """Bytes of a grammar's sample, and CPU seconds to parse it, to find its definitions, and to extract its facts."""

    size: int = 0
    parsing: float = 0.0
    finding: float = 0.0
    extracting: float = 0.0


def measure_speed(roots: Iterable[Path]) -> dict[str, Speed]:
    """Return the speed by grammar over the first files of each tree."""
    speeds = {grammar: Speed() for grammar in GRAMMARS}
    for root in roots:
        for path in list_sources(root):
            data = path.read_bytes()
            grammar = grammar_name(detect_language(path.name, data), path.name)
            if grammar in speeds and speeds[grammar].size < SAMPLE_BYTES:
                _measure(data, grammar, speeds[grammar])
    return {grammar: speed for grammar, speed in speeds.items() if speed.size}


def _measure(data: bytes, grammar: str, speed: Speed) -> None:
    load_grammar(grammar)
    extract_facts(tree := parse(b"", grammar), b"", grammar, find_definitions(tree, b"", grammar))
    began = time.thread_time()
    try:
        tree = parse(data, grammar)
    except SlowSyntaxError:
        return
    parsed = time.thread_time()
    definitions = find_definitions(tree, data, grammar)
    found = time.thread_time()
    extract_facts(tree, data, grammar, definitions)
    speed.size += len(data)
    speed.parsing += parsed - began
    speed.finding += found - parsed
    speed.extracting += time.thread_time() - found
