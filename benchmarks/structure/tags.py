"""Recall of definitions against universal-ctags, by language.

Left out are tags that are no definitions by which a user looks something up. The rules are by language, kind and
spelling, never by tag:

- kinds of `EXCLUDED`: packages and modules that a file belongs to, imports and aliases of imports, names that ctags
  generates, sentences, and the kinds that ctags finds with regular expressions in comments and strings;
- variables and properties in a function, and in JavaScript and TypeScript those in indented lines: they are local;
- names that contain a space, a quote, or a character that ctags puts in (`__anon`).
"""

import json
import re
import subprocess
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agent_brain_server.structure.facts import FUNCTION_KINDS
from agent_brain_server.structure.syntax import unqualify
from agent_brain_server.types import Definition
from benchmarks.structure.package_facts import read_files

LANGUAGES = (
    "C", "C++", "C#", "Elixir", "Go", "Haskell", "Java", "JavaScript", "Kotlin", "Lua", "PHP", "Python", "Ruby", "Rust",
    "Sh", "TypeScript",
)  # fmt: skip

LOCAL_KINDS = frozenset({"variable", "constant", "property", "member", "field"})

KEYWORDS = frozenset(
    {"_", "any", "as", "async", "const", "export", "extends", "from", "function", "new", "true", "unquote", "where"}
)
"""Words that ctags takes for names."""

UNNAMED = frozenset(" '\"()[]$<>!=")
"""Characters that are in no name."""

EXCLUDED: Mapping[str, frozenset[str]] = {
    "C": frozenset({"header"}),
    "C++": frozenset({"header"}),
    "Go": frozenset({"anonMember", "packageName", "unknown", "package"}),
    "Elixir": frozenset({"test"}),
    "Java": frozenset({"package"}),
    "Kotlin": frozenset({"package"}),
    "Python": frozenset({"namespace", "module", "unknown"}),
    "PHP": frozenset({"alias"}),
    "Ruby": frozenset({"library"}),
    "Sh": frozenset({"heredoc", "script"}),
}


def _word(word: str) -> Callable[[str], re.Pattern[str]]:
    return lambda _: re.compile(rf"\b{word}\b")


def _assigned(name: str) -> re.Pattern[str]:
    word = rf"(?<![\w$]){re.escape(name)}\b"
    return re.compile(rf"{word}\s*[?!]?\s*[=:;(<]|\b(const|let|var)\b.*{word}")


REQUIRED: Mapping[tuple[str, str], Callable[[str], re.Pattern[str]]] = {
    ("Haskell", "module"): _word("class"),
    ("JavaScript", "class"): _word("class"),
    ("JavaScript", "constant"): _assigned,
    ("JavaScript", "field"): _assigned,
    ("JavaScript", "property"): _assigned,
    ("JavaScript", "variable"): _assigned,
    ("Kotlin", "constant"): _word("val"),
    ("Kotlin", "method"): _word("fun"),
    ("Kotlin", "variable"): _word("var"),
    ("Lua", "function"): lambda name: re.compile(
        rf"function\s+[\w.:]*{re.escape(name.rpartition(':')[2])}\b|{re.escape(name)}\s*=\s*function"
    ),
    ("Sh", "alias"): lambda name: re.compile(rf"alias\s+{re.escape(name)}="),
    ("TypeScript", "constant"): _assigned,
    ("TypeScript", "property"): _assigned,
}
"""Language and kind to what the line of a tag must contain.

Otherwise ctags took another construct for this kind, such as the parameter of a lambda for a method.
"""


@dataclass
class TagScore:
    """Tags of one language; `missed` counts by kind, `examples` has some of each."""

    tags: int = 0
    found: int = 0
    excluded: int = 0
    missed: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    @property
    def recall(self) -> float:
        """Share of the tags that the product finds."""
        return self.found / max(self.tags, 1)


def list_tags(root: Path, paths: Iterable[str]) -> list[dict[str, Any]]:
    """Return the tags of some files."""
    command = [
        "ctags",
        "--options=NONE",
        "--output-format=json",
        "--fields=+nKzsl",
        "--extras=-F",
        "-L",
        "-",
        "-f",
        "-",
    ]
    command += [f"--languages={','.join(LANGUAGES)}"]
    done = subprocess.run(command, cwd=root, input="\n".join(paths), capture_output=True, text=True, check=True)
    tags = [json.loads(line) for line in done.stdout.splitlines()]
    return [tag for tag in tags if tag["_type"] == "tag"]


def compare_tags(root: Path, scores: dict[str, TagScore], limit: int) -> None:
    """Add the tags of a tree to the scores of the languages."""
    definitions: dict[str, tuple[Definition, ...]] = {}
    for path, _, facts in read_files(root, limit):
        definitions[path] = facts.definitions
    by_name = {path: _index(found) for path, found in definitions.items()}
    rules = {path: FileRules(root / path, found) for path, found in definitions.items()}
    for tag in list_tags(root, definitions):
        score = scores.setdefault(tag["language"], TagScore())
        if rules[tag["path"]].is_excluded(tag):
            score.excluded += 1
            continue
        score.tags += 1
        name, line = unqualify(tag["name"]).lstrip("#"), tag["line"]
        name = name.rpartition(":")[2] if tag["language"] == "Lua" else name
        if any(found.start_line <= line <= found.end_line for found in by_name[tag["path"]].get(name, ())):
            score.found += 1
        else:
            score.missed[tag["kind"]] += 1
            score.examples[tag["kind"]].append(f"{root.name}/{tag['path']}:{line} {tag['name']}")


def _index(definitions: Iterable[Definition]) -> dict[str, list[Definition]]:
    by_name: dict[str, list[Definition]] = {}
    for definition in definitions:
        by_name.setdefault(definition.name.lstrip("#"), []).append(
            definition
        )  # ctags may omit the mark of private names
    return by_name


class FileRules:
    """The rules for the tags of one file."""

    def __init__(self, path: Path, definitions: Iterable[Definition]) -> None:
        functions = [found for found in definitions if found.kind in FUNCTION_KINDS]
        self._lines = path.read_text("utf-8", "replace").split("\n")
        self._local = {line for found in functions for line in range(found.name_line + 1, found.end_line + 1)}
        self._quoted = _find_quoted(self._lines) if path.suffix in {".ex", ".exs"} else set()

    def is_excluded(self, tag: Mapping[str, Any]) -> bool:
        """Return whether a tag is left out."""
        name, kind, line = tag["name"], tag["kind"], tag["line"]
        if kind in EXCLUDED.get(tag["language"], ()) or "__anon" in name or "anonymous" in name.lower():
            return True
        if any(mark in name for mark in UNNAMED) or line in self._quoted or name in KEYWORDS:
            return True
        if (rule := REQUIRED.get((tag["language"], kind))) and not rule(name).search(self._lines[line - 1]):
            return True
        is_script = tag["language"] in {"JavaScript", "TypeScript"} and kind in {"constant", "variable"}
        if is_script and self._lines[line - 1][:1].isspace():
            return True
        return kind in LOCAL_KINDS and (line in self._local or "__anon" in tag.get("scope", ""))


def _find_quoted(lines: Iterable[str]) -> set[int]:
    """Return the lines between triple quotes."""
    quoted: set[int] = set()
    is_open = False
    for number, line in enumerate(lines, 1):
        if is_open:
            quoted.add(number)
        if line.count('"""') % 2:
            is_open = not is_open
    return quoted
