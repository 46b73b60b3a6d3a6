"""Lines that count as shown, and solved tasks."""

from benchmarks.agent_tasks.scoring import Progress, read_output
from benchmarks.agent_tasks.task_set import Goal, SourceLine

PATHS = ["src/shop.py", "tests/test_shop.py"]
SALE = SourceLine("src/shop.py", 12, "    total = price(item)")


def is_solved(goal: Goal, command: str, output: str, category: str = "definition") -> bool:
    """Return whether one call solves a task with this goal."""
    progress = Progress([goal], category)
    progress.add(read_output(command, output, PATHS))
    return progress.is_solved()


def test_read_output_of_search_returns_paths_and_numbers() -> None:
    (line,) = read_output("rg -n price", "src/shop.py:12:    total = price(item)\n", PATHS)
    assert (line.path, line.first, line.last) == ("src/shop.py", 12, 12)


def test_read_output_of_windows_numbers_their_lines() -> None:
    command = "sed -n '12,13p' src/shop.py; echo --; sed -n '3,3p' tests/test_shop.py"
    lines = read_output(command, "    total = price(item)\n    return total\n--\nimport shop\n", PATHS)
    assert [(line.path, line.first) for line in lines] == [
        ("src/shop.py", 12),
        ("src/shop.py", 13),
        ("tests/test_shop.py", 3),
    ]


def test_is_solved_with_line_below_its_path_returns_true() -> None:
    assert is_solved(Goal((SALE,), False, ""), "agent-brain query x", "src/shop.py:10-14 sell\n  total = price(item)\n")


def test_is_solved_with_line_of_other_file_returns_false() -> None:
    output = "tests/test_shop.py:12:    total = price(item)\n"
    assert not is_solved(Goal((SALE,), False, ""), "rg -n price", output)


def test_is_solved_with_other_line_number_returns_false() -> None:
    assert not is_solved(Goal((SALE,), False, ""), "rg -n price", "src/shop.py:80:    total = price(item)\n")


def test_is_solved_with_text_that_begins_with_number_works() -> None:
    entry = SourceLine("src/shop.py", 7, "2366_, [Windows]: faster")
    assert is_solved(Goal((entry,), False, ""), "agent-brain query x", "src/shop.py:5-9\n2366_, [Windows]: faster\n")


def test_is_solved_by_location_depends_on_category() -> None:
    output = "src/shop.py:12  in sell\n"
    assert is_solved(Goal((SALE,), False, "sell"), "agent-brain refs price", output, "callers")
    assert not is_solved(Goal((SALE,), False, ""), "agent-brain refs price", output, "definition")


def test_is_solved_without_word_nearby_returns_false() -> None:
    output = "src/shop.py:12:    total = price(item)\n"
    assert not is_solved(Goal((SALE,), False, "sell"), "rg -n price", output, "callers")


def test_is_solved_with_any_line_of_goal_returns_true() -> None:
    lines = (SALE, SourceLine("src/shop.py", 20, "    tax(item)"))
    output = "src/shop.py:12:    total = price(item)\n"
    assert is_solved(Goal(lines, True, ""), "rg -n price", output)
    assert not is_solved(Goal(lines, False, ""), "rg -n price", output)


def test_is_solved_by_name_of_enclosing_definition_works() -> None:
    goal = Goal((SourceLine("tests/test_shop.py", 3, "    def test_price(self):"),), False, "")
    output = "tests/test_shop.py:5 in TestShop.test_price.total: total = price(item)\n"
    assert is_solved(goal, "agent-brain refs price", output, "tests")


def test_is_solved_by_heading_of_section_works() -> None:
    goal = Goal((SourceLine("src/shop.py", 3, "## Selling abroad"),), False, "")
    assert is_solved(goal, "agent-brain query x", "src/shop.py:5-9 Shop > Selling abroad\n  Fill in the form.\n")


def test_is_solved_by_line_without_its_comment_works() -> None:
    goal = Goal((SourceLine("src/shop.py", 3, "    limit: 1024 * 1024,  # 1 MiB"),), False, "")
    assert is_solved(goal, "agent-brain def limit", "src/shop.py:3 in Shop: limit: 1024 * 1024\n")
    assert not is_solved(goal, "agent-brain def limit", "src/shop.py:3 in Shop: other: 1024 * 1024\n")
