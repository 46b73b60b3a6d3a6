"""Agent Brain: `query` alone, and `query` with the structural commands, as an agent that read `--help` uses them.

Each way is a sequence of commands that depends on the question, its category and what earlier commands printed.
"""

import shlex

from benchmarks.agent_tasks.question import Question
from benchmarks.agent_tasks.rg_way import Policy, choose_identifiers

BUDGET = 1_500
"""Tokens of one answer: the default for agents."""
LARGER_BUDGET = 3_000
BUDGETS = {
    "definition": 600,
    "callers": 600,
    "implementers": 600,
    "tests": 600,
    "configuration": 900,
    "error text": 500,
    "where to add": 1_200,
    "data flow": 1_200,
    "documentation": 1_000,
    "changelog": 600,
}
"""Tokens of the first answer, by category: an agent knows how much it is looking for."""
CHANGELOGS = "--path '*[Cc][Hh][Aa][Nn][Gg][Ee]*' --path 'NEWS*' --path 'HISTORY*' --path '*[Mm]igrat*'"
FILES = {"documentation": "--type doc", "changelog": CHANGELOGS, "tests": "--type test"}
"""Filters, by category; the others look for code."""


def search_with_query(question: Question) -> Policy:
    """Ask as the user did, then for the names alone, then for more."""
    files = FILES.get(question.category, "--type code")
    words = " ".join((*question.names, *question.words))
    yield query(question.text, files, budget=BUDGETS[question.category])
    if question.names or question.quoted:
        yield query(" ".join(question.quoted or question.names), files)
    yield query(words, files)
    yield query(question.text, "-k 25", budget=LARGER_BUDGET)
    yield query(words, "-k 25", budget=LARGER_BUDGET)


def search_with_structure(question: Question) -> Policy:
    """Ask for uses of a name where the task is about uses, else as the user did; then follow names and ask for more."""
    files = FILES.get(question.category, "--type code")
    words = " ".join((*question.names, *question.words))
    if question.category in USES:
        for name in question.names:
            yield f"agent-brain refs {USES[question.category]} {shlex.quote(name)}".replace("  ", " ")
    text = question.quoted[0] if question.category == "error text" and question.quoted else question.text
    output = yield query(text, files, budget=BUDGETS[question.category])
    for name in choose_identifiers(output, question)[:1]:
        yield f"agent-brain def {name}"
    yield query(words, files)
    for name in question.names:
        yield f"agent-brain refs {shlex.quote(name)}"
    yield query(question.text, "-k 25", budget=LARGER_BUDGET)


USES = {"callers": "--kind call", "implementers": "--kind inherit", "tests": "--path '*test*'", "data flow": ""}
"""Options of `refs`, by category that it answers."""


def query(text: str, options: str = "", *, budget: int = BUDGET) -> str:
    """Return a query command."""
    words = ["agent-brain query --format compact --budget", str(budget), options, shlex.quote(text)]
    return " ".join(filter(None, words))
