"""Ways of searching, run against a shell that answers from a table."""

from pathlib import Path

import pytest

from agent_brain_server.mcp import tools
from benchmarks.agent_tasks.mcp_way import translate
from benchmarks.agent_tasks.question import parse_question
from benchmarks.agent_tasks.rg_way import choose_windows, read_hits
from benchmarks.agent_tasks.running import (
    WAYS,
    Attempt,
    Workplace,
    attempt,
    judge,
    read_record,
    record_path,
    run_policy,
)
from benchmarks.agent_tasks.scoring import SEPARATOR
from benchmarks.agent_tasks.tables import format_tables, summarize
from benchmarks.agent_tasks.task_set import CATEGORIES, Task, read_need

TOOLS = {tool.name: tool.arguments for tool in tools.TOOLS}
OUTPUT = "src/shop.py:12:    total = price(item)\nsrc/shop.py:40:    price(other)\n"


@pytest.mark.parametrize("way", list(WAYS))
@pytest.mark.parametrize("category", CATEGORIES)
@pytest.mark.parametrize(
    "text", ["Where is `price` called?", 'Who says "sold out today"?', "How are parcels sent abroad?"]
)
def test_way_yields_commands_for_every_category(way: str, category: str, text: str) -> None:
    commands = [command for command, _ in run_policy(WAYS[way](parse_question(text, category)), lambda command: OUTPUT)]
    assert commands
    assert len(set(commands)) == len(commands)


def test_read_hits_splits_path_number_and_text() -> None:
    assert [(hit.path, hit.number) for hit in read_hits(f"{OUTPUT}--\nnothing\n")] == [
        ("src/shop.py", 12),
        ("src/shop.py", 40),
    ]


def test_choose_windows_leaves_out_hits_already_inside() -> None:
    hits = read_hits("a.py:10:x\na.py:12:y\na.py:90:z\n")
    assert choose_windows(hits, before=20, after=5) == [("a.py", 1, 15), ("a.py", 70, 95)]


def test_attempt_stops_when_task_is_solved(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text("def sell():\n    price()\n", encoding="utf-8")
    task = Task("shop-1", "shop", "callers", "Who calls `price`?", (read_need(["shop.py", r"price\(", "sell"]),))
    outputs = iter(["shop.py:2:    price()\n", "1:def sell():\n", "unused"])
    place = Workplace(tmp_path, tmp_path / "records", str.split, lambda command: next(outputs), ["shop.py"])
    result = attempt("rg", task, place)
    assert (result.is_solved, result.calls) == (True, 2)
    steps = read_record(record_path(place.records, "rg", task))
    assert judge("rg", task, steps, place).calls == 2
    assert "solved: True" in (tmp_path / "records" / "rg" / "shop-1.txt").read_text(encoding="utf-8")


def test_tables_compare_ways_with_rg() -> None:
    task = Task("shop-1", "shop", "callers", "Who calls `price`?", ())
    attempts = [Attempt("rg", task, True, 4, 1000), Attempt("query", task, True, 1, 500)]
    assert summarize(attempts)["query"]["calls"] == 1
    assert "| query | 1 of 1 (100%) | 1.00 | 500 | 0.25 | 0.50 |" in format_tables(attempts)


@pytest.mark.parametrize("category", CATEGORIES)
@pytest.mark.parametrize("text", ["Where is `price` called?", 'Who says "sold out today"?', "How are parcels sent?"])
def test_mcp_way_translates_every_command_to_tools(category: str, text: str) -> None:
    for command, _ in run_policy(WAYS["mcp"](parse_question(text, category)), lambda command: OUTPUT):
        calls = translate(command)
        assert len(calls) == len(command.split(SEPARATOR))
        assert all(TOOLS[call["name"]].model_validate(call["arguments"]) for call in calls)
