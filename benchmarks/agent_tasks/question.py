"""The question of a task as a way of searching sees it; the label stays hidden."""

import re
from dataclasses import dataclass

NAME = re.compile(r"`([^`]+)`")
QUOTED = re.compile(r'"([^"]+)"')
WORD = re.compile(r"[A-Za-z][\w.#+-]*\w|\b[A-Z]\b")
STEM_LENGTH = 5
"""Words are cut after this many characters or before their ending, so that other forms of them match too."""
ENDINGS = re.compile(r"(ations?|ing|ed|es|s|e)$")
COMMON = """
    a about above after again all an and any another are as at available be because been beside beyond but by
    call called calls can check checked come comes could decide decides define defined derive derived derives
    did directly do does each else exist exists extend extends find first for from function functions further
    get gets given go goes happen happens has have he how i if implement in into is it its itself just kind know
    like list long look make many me method methods more most much my name named need new no not now of on one
    only or other our out outside over own part place put same say see set should show since so some somewhere
    still such take than that the their them then there these they this those time times to too type types up
    use used user users uses using very want was way what when where whether which while who whose why will with
    without would you your
"""
STOP_WORDS = frozenset(COMMON.split())


@dataclass(frozen=True, slots=True)
class TaskQuestion:
    """A question as a way of searching sees it.

    Attributes:
        text: As the user wrote it, without marks around names.
        category: The kind of task.
        names: Identifiers in it: in backticks, or with an underscore.
        quoted: Text in quotation marks, such as an error message.
        words: The other words, without common ones.
    """

    text: str
    category: str
    names: tuple[str, ...]
    quoted: tuple[str, ...]
    words: tuple[str, ...]


def parse_question(text: str, category: str) -> TaskQuestion:
    """Split a question into names, quoted text and words."""
    quoted = tuple(QUOTED.findall(text))
    rest = QUOTED.sub(" ", NAME.sub(" ", text))
    words = [word for word in WORD.findall(rest) if word.lower() not in STOP_WORDS]
    names = [*NAME.findall(text), *(word for word in words if "_" in word)]
    plain = dict.fromkeys(word for word in words if "_" not in word)
    return TaskQuestion(text.replace("`", ""), category, tuple(dict.fromkeys(names)), quoted, tuple(plain))


def stem(word: str) -> str:
    """Return the beginning of a word that its other forms share."""
    cut = ENDINGS.sub("", word)
    return cut if len(cut) >= STEM_LENGTH else word
