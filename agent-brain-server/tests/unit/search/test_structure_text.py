"""Answers from the structure within a budget."""

import json

import pytest

from agent_brain_server.embedding.token_counter import TokenCounter
from agent_brain_server.models.query import IndexFreshness
from agent_brain_server.models.structure import StructureAnswer, StructureLine
from agent_brain_server.search.structure_text import render_structure, render_structure_json

COUNTER = TokenCounter()
STALE = IndexFreshness(
    last_indexed_at="2026-01-02T03:04:05Z", files_pending=9_999, vector_coverage=0.5, watch="partial"
)


def make_answer(text: str, name: str = "run", places: int = 30) -> StructureAnswer:
    lines = [
        StructureLine(source=f"src/m{number}.py", line=number, end_line=number, text=text, enclosing=name)
        for number in range(1, places + 1)
    ]
    return StructureAnswer(question="callers", name=name, summary=f"{places} callers of {name}", lines=lines, total=99)


@pytest.mark.parametrize("budget", [50, 51, 90, 400])
@pytest.mark.parametrize("text", ["run(self)", "😀" * 300, '"' * 300, "\u202e\u200b" * 150, "x" * 300])
def test_structure_never_exceeds_budget(text: str, budget: int) -> None:
    for name in ("run", text * 10):
        answer = make_answer(text, name)
        assert COUNTER.count(render_structure(answer, budget, COUNTER.count, str)) <= budget
        document = render_structure_json(answer, budget, COUNTER.count, STALE)
        assert COUNTER.count(document) <= budget
        assert "index" in json.loads(document)


def test_structure_says_how_many_places_are_missing() -> None:
    text = render_structure(make_answer("run()"), 200, COUNTER.count, str)
    shown = [line for line in text.splitlines() if line.startswith("src/")]
    assert text.splitlines()[0] == "30 callers of run"
    assert f"{99 - len(shown)} more" in text.splitlines()[-1]
    document = json.loads(render_structure_json(make_answer("run()"), 200, COUNTER.count, STALE))
    assert document["omitted"] + len(document["structure"]) - 1 == 99
