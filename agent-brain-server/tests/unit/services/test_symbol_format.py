"""Answers about definitions and files within a budget."""

import json

import pytest

from agent_brain_server.models.query import IndexFreshness
from agent_brain_server.models.symbols import (
    FileLines,
    FileSites,
    OutlineAnswer,
    OutlineFile,
    OutlineItem,
    OutlineRequest,
    ReferenceModel,
    ReferencesAnswer,
    ReferencesRequest,
    RelatedAnswer,
    Symbol,
    SymbolAnswer,
    SymbolsAnswer,
)
from agent_brain_server.search.symbol_text import render_answer
from agent_brain_server.services.symbol_format import fit_json

INDEX = IndexFreshness(last_indexed_at="2026-01-01T00:00:00+00:00", files_pending=0, vector_coverage=1.0, watch="on")


def count(text: str) -> int:
    return -(-len(text) // 4)


def make_symbol(number: int) -> Symbol:
    return Symbol(
        name=f"run{number}",
        qualified_name=f"Job.run{number}",
        kind="def",
        signature=f"def run{number}( self, value: int, ) -> None:  # pragma: no cover",
        documentation="Run the job.",
        source="src/job.py",
        line=number,
        start_line=number,
        end_line=number + 3,
        language="python",
        source_type="code",
        hidden_characters=0,
    )


def make_item(number: int, depth: int) -> OutlineItem:
    return OutlineItem(
        depth=depth,
        kind="def",
        name=f"run{number}",
        signature=f"def run{number}({'value, ' * 20})",
        documentation="Run the job, whatever it takes.",
        line=number,
        start_line=number,
        end_line=number + 3,
        hidden_characters=0,
    )


def make_sites(source: str, total: int) -> FileSites:
    sites = [
        ReferenceModel(line=number, kind="call", text=f"job.run({number})", enclosing="main", hidden_characters=0)
        for number in range(1, total + 1)
    ]
    return FileSites(source=source, source_type="code", references=sites)


def make_answers() -> dict[str, SymbolAnswer]:
    symbols = [make_symbol(number) for number in range(1, 21)]
    files = [make_sites("src/a.py", 12), make_sites("src/b.py", 8)]
    items = [make_item(number, number % 3) for number in range(1, 31)]
    text = "\n".join(f"line {number}" for number in range(1, 101))
    return {
        "symbols": SymbolsAnswer(
            name="run", match="part", symbols=symbols, total=50, next_offset=20, nearest=[], index=INDEX
        ),
        "references": ReferencesAnswer(
            name="run", match="exact", definitions=symbols[:2], total_definitions=2, files=files, total=20,
            total_files=2, next_offset=None, nearest=[], index=INDEX,
        ),
        "outline": OutlineAnswer(
            path="src/job.py", kind="file", directories=[], total=30, next_offset=None, index=INDEX,
            files=[OutlineFile(source="src/job.py", language="python", items=items, is_partial=False)],
        ),
        "lines": FileLines(
            source="src/job.py", language="python", source_type="code", start_line=1, end_line=100, total_lines=200,
            text=text, next_line=None, cut_lines=0, hidden_characters=0, index=INDEX,
        ),
        "related": RelatedAnswer(
            source="src/job.py", line=3, definition=symbols[0], enclosing=symbols[1], members=items[:5],
            callers=files, total_callers=20, callees=symbols[2:5], tests=[], total_tests=0, documents=[], index=INDEX,
        ),
    }  # fmt: skip


ANSWERS = make_answers()


@pytest.mark.parametrize("name", ANSWERS)
@pytest.mark.parametrize("budget", [50, 100, 300, 1500, 100_000])
def test_answers_never_exceed_their_budget(name: str, budget: int) -> None:
    assert count(render_answer(ANSWERS[name], budget, count, str)) <= budget
    document = fit_json(ANSWERS[name], budget, 0, count)
    assert count(document) <= budget
    assert "null" not in document


def test_json_within_a_budget_names_the_next_page() -> None:
    symbols = json.loads(fit_json(ANSWERS["symbols"], 300, 40, count))
    assert symbols["next_offset"] == 40 + len(symbols["symbols"])
    references = json.loads(fit_json(ANSWERS["references"], 300, 0, count))
    assert references["next_offset"] == sum(len(file["references"]) for file in references["files"]) > 0
    lines = json.loads(fit_json(ANSWERS["lines"], 100, 0, count))
    assert lines["next_line"] == lines["end_line"] + 1
    assert lines["text"].endswith(f"line {lines['end_line']}")


def test_outline_leaves_out_documentation_then_levels() -> None:
    whole = render_answer(ANSWERS["outline"], 100_000, count, str)
    assert "— Run the job, whatever it takes." in whole
    shorter = render_answer(ANSWERS["outline"], 1200, count, str)
    assert "—" not in shorter
    assert shorter.count("def run") == 30
    outer = render_answer(ANSWERS["outline"], 200, count, str)
    assert outer.count("def run") == 10
    assert "20 inner definitions" in outer


def test_symbols_and_uses_are_one_line_each() -> None:
    symbols = render_answer(ANSWERS["symbols"], 100_000, count, str).splitlines()
    assert symbols[0] == "No definition is named run; these contain it:"
    assert symbols[1] == "src/job.py:1-4 in Job: def run1(self, value: int) -> None: — Run the job."
    assert symbols[-1] == "… 30 more definitions of 50: continue at offset 20"
    uses = render_answer(ANSWERS["references"], 100_000, count, str).splitlines()
    assert uses[0] == "run has 2 definitions: Job.run1 src/job.py:1-4, Job.run2 src/job.py:2-5"
    assert uses[1] == "src/a.py:1 in main: job.run(1)"
    grouped = render_answer(ANSWERS["references"], 100_000, count, str, by_file=True).splitlines()
    assert grouped[1:3] == ["src/a.py", "  1 in main: job.run(1)"]


def test_hidden_characters_are_visible_in_text() -> None:
    hostile = make_sites("src/\x1b[31m.py", 1)
    answer = ReferencesAnswer(
        name="x\u202e", match="exact", definitions=[], total_definitions=0, files=[hostile], total=1, total_files=1,
        next_offset=None, nearest=[], index=INDEX,
    )  # fmt: skip
    text = render_answer(answer, 1500, count, str)
    assert "\x1b" not in text
    assert "\u241b" in text


def test_requests_refuse_small_budgets() -> None:
    with pytest.raises(ValueError, match="greater than or equal to 50"):
        OutlineRequest(path="", max_tokens=49)
    with pytest.raises(ValueError, match="greater than or equal to 1"):
        ReferencesRequest(name="x", limit=0)
