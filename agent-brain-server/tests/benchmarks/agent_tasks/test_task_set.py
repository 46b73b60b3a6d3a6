"""Tasks, their labels, and what a way may know of a question."""

from pathlib import Path

import pytest

from benchmarks.agent_tasks.__main__ import choose_tasks
from benchmarks.agent_tasks.packages import load_packages
from benchmarks.agent_tasks.question import parse_question
from benchmarks.agent_tasks.task_set import CATEGORIES, LabelError, Task, locate, read_need


@pytest.fixture
def task_of(tmp_path: Path):
    """Return a function that makes a task about a package of one file from a label."""
    (tmp_path / "shop.py").write_text("def sell():\n    price()\n    price()\n", encoding="utf-8")
    return lambda *need: Task("shop-1", "shop", "callers", "Who calls `price`?", (read_need(need),))


def test_locate_returns_matching_lines(task_of, tmp_path: Path) -> None:
    (goal,) = locate(task_of("shop.py", r"price\(", 2, "sell"), tmp_path)
    assert [line.number for line in goal.lines] == [2, 3]
    assert goal.within == "sell"


@pytest.mark.parametrize(
    "need", [("other.py", "x"), ("shop.py", "tax"), ("shop.py", "price"), ("shop.py", "price", 2, "buy")]
)
def test_locate_with_wrong_label_raises(task_of, tmp_path: Path, need: tuple[object, ...]) -> None:
    with pytest.raises(LabelError):
        locate(task_of(*need), tmp_path)


@pytest.mark.parametrize(("name", "least", "packages"), [("tasks", 60, 8), ("unseen", 40, 7)])
def test_sets_cover_every_category_and_known_packages(name: str, least: int, packages: int) -> None:
    tasks = choose_tasks(name, [])
    assert len(tasks) >= least
    assert {task.category for task in tasks} == set(CATEGORIES)
    used = {task.package for task in tasks}
    assert len(used) == packages
    assert used <= load_packages().keys()


def test_sets_share_no_package() -> None:
    tasks, unseen = ({task.package for task in choose_tasks(name, [])} for name in ("tasks", "unseen"))
    assert not tasks & unseen


def test_parse_question_separates_names_quotes_and_words() -> None:
    question = parse_question('Why does `Shop.sell` say "sold out" for FST_ERR_SOLD in a large basket?', "error text")
    assert question.names == ("Shop.sell", "FST_ERR_SOLD")
    assert question.quoted == ("sold out",)
    assert question.words == ("large", "basket")
