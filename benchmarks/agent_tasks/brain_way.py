"""Agent Brain: `query` alone, and `query` with the structural commands, as an agent that read `--help` uses them.

Each way is a sequence of commands that depends on the question, its category and what earlier commands printed.
"""

import re
import shlex

from benchmarks.agent_tasks.question import TaskQuestion
from benchmarks.agent_tasks.rg_way import WINDOWS, Hit, Policy, choose_identifiers, choose_windows, rank_hits
from benchmarks.agent_tasks.scoring import SEPARATOR

BUDGET = 1_500
"""Tokens of one answer: the default for agents."""
SECOND_BUDGET = 1_200
"""Tokens of a second answer, whose results were partly shown by the first."""
BUDGETS = {
    "definition": 600,
    "callers": 600,
    "implementers": 600,
    "tests": 800,
    "configuration": 700,
    "error text": 350,
    "where to add": 1_000,
    "data flow": 800,
    "documentation": 800,
    "changelog": 1_000,
}
"""Tokens of the first answer, by category: an agent knows how much it is looking for."""
STRUCTURE_BUDGET = 400
"""Tokens of an answer from the structure, which has one line for each place."""
CHANGELOGS = "--path '*[Cc][Hh][Aa][Nn][Gg][Ee]*' --path 'NEWS*' --path 'HISTORY*' --path '*[Mm]igrat*'"
FILES = {"documentation": "--type doc", "changelog": CHANGELOGS, "tests": "--type test"}
"""Filters, by category; the others look for code."""


def search_with_query(question: TaskQuestion) -> Policy:
    """Ask as the user did, read the rest of what was shown in part, then ask for the names alone, then for more."""
    files = FILES.get(question.category, "--type code")
    words = " ".join((*question.names, *question.words))
    output = yield query(question.text, files, budget=BUDGETS[question.category])
    if question.category == "definition":
        yield from read_rest(output)
    if question.names or question.quoted:
        yield query(" ".join(question.quoted or question.names), files, budget=SECOND_BUDGET)
    yield query(words, files, budget=SECOND_BUDGET)
    yield query(question.text, "-k 25")


def search_with_structure(question: TaskQuestion) -> Policy:
    """Ask for uses of a name where the task is about uses, else as the user did; then follow names and ask for more."""
    files = FILES.get(question.category, "--type code")
    text = question.quoted[0] if question.category == "error text" and question.quoted else question.text
    asked = query(text, files, budget=BUDGETS[question.category])
    about_names = [command for name in question.names for command in commands_about(name, question.category)]
    output = ""
    if about_names:
        output = yield SEPARATOR.join((*about_names, asked) if question.category in TOGETHER else about_names)
        if question.category == "definition":
            yield from read_rest(output)
    if question.category not in TOGETHER or not about_names:
        output += yield asked
    if names := choose_identifiers(output, question)[:2]:
        output += yield SEPARATOR.join(follow(name, question.category) for name in names)
    places = rank_hits(read_places(output), question)
    if windows := choose_windows(places, before=5, after=15)[:WINDOWS]:
        yield SEPARATOR.join(f"agent-brain read -n {path}:{first}-{last}" for path, first, last in windows)
    yield query(" ".join((*question.names, *question.words)), files, budget=SECOND_BUDGET)
    yield query(question.text, "-k 25")


def read_rest(output: str) -> Policy:
    """Read the rest of the best result, if an answer showed a part of it and names the command for the rest."""
    found = READ.search(output)
    if found and "\n" + LIST_HEADING not in output[: found.start()] and int(found[3]) - int(found[2]) <= MAX_REST:
        yield found[1]


def read_places(output: str) -> list[Hit]:
    """Return the places that `refs`, `def` and the list of further results of `query` name."""
    matches = map(PLACE.match, output.splitlines())
    return [Hit(match[1], int(match[2]), match[3]) for match in matches if match]


READ = re.compile(r"… (agent-brain read \S+?:(\d+)-(\d+))$", re.MULTILINE)
LIST_HEADING = "Also found:"
MAX_REST = 60
"""Lines of a result that are read without a further look."""

PLACE = re.compile(r"^([^\s:]+):(\d+)(?:-\d+)? (.*)$")
TOGETHER = ("data flow",)
"""Categories where uses of a name are rarely enough: they are asked for in the same call as the question."""


def commands_about(name: str, category: str) -> list[str]:
    """Return the structural commands for a name, where a task of this category is about definitions and uses."""
    quoted = shlex.quote(name)
    return {
        "definition": [query(name, "--type code", budget=BUDGETS[category])],
        "callers": [f"agent-brain refs --kind call {quoted}"],
        "implementers": [f"agent-brain refs --kind inherit {quoted}"],
        "tests": [query(f"tests of {name}", budget=STRUCTURE_BUDGET)],
        "configuration": [query(f"default of {name}", budget=STRUCTURE_BUDGET)],
        "data flow": [f"agent-brain refs -k 10 {quoted}"],
    }.get(category, [])


def follow(name: str, category: str) -> str:
    """Return the command that looks up a name which an answer mentioned."""
    if category == "configuration":
        return query(f"default of {name}", budget=STRUCTURE_BUDGET)
    return f"agent-brain def -k 3 {name}"


def query(text: str, options: str = "", *, budget: int = BUDGET) -> str:
    """Return a query command."""
    words = ["agent-brain query --format compact --budget", str(budget), options, shlex.quote(text)]
    return " ".join(filter(None, words))
