"""Agent Brain: `query` alone, and `query` with the structural commands, as an agent that read `--help` uses them.

Each way is a sequence of commands that depends on the question, its category and what earlier commands printed.
"""

import shlex

from benchmarks.agent_tasks.question import Question
from benchmarks.agent_tasks.rg_way import Policy

BUDGET = 1_500
"""Tokens of one answer: the default for agents."""
LARGER_BUDGET = 3_000
TYPES = {"documentation": "--type doc", "changelog": "--type doc", "tests": "--type test"}


def search_with_query(question: Question) -> Policy:
    """Ask as the user did, then for the names alone, then for more."""
    types = TYPES.get(question.category, "")
    yield query(question.text, types)
    if question.names or question.quoted:
        yield query(" ".join(question.quoted or question.names), types)
    yield query(" ".join((*question.names, *question.words)), types)
    yield query(question.text, "", budget=LARGER_BUDGET)
    yield query(" ".join((*question.names, *question.words)), "--type code", budget=LARGER_BUDGET)


def query(text: str, options: str = "", *, budget: int = BUDGET) -> str:
    """Return a query command."""
    words = ["agent-brain query --format compact --budget", str(budget), options, shlex.quote(text)]
    return " ".join(filter(None, words))
