"""Measure whether the definition of a name comes first: `./task quality -- --names TREE …`.

Names are drawn from each tree with universal-ctags, which is independent of the product: names that are defined once in
the whole tree, in code and in tests, and names that are defined more than once, qualified by what encloses them. A name
that the product defines more often than ctags, as in declaration files, is ambiguous and left out. A name counts
if the lines of the first result contain its definition. Names are never stored.
"""

import json
import random
import re
import subprocess
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent_brain_server.indexing.files.file_types import classify
from agent_brain_server.indexing.reading.loader import HEAD_BYTES
from agent_brain_server.models.query import QueryRequest
from agent_brain_server.project.services import ProjectServices
from agent_brain_server.search.qualified_name import parse_qualified_name
from agent_brain_server.types import SearchMode, SourceType
from benchmarks.report import format_table
from benchmarks.retrieval.indexes import make_shared_services, open_index

LANGUAGES = "C,C++,C#,Elixir,Go,Haskell,Java,JavaScript,Kotlin,Lua,PHP,Python,Ruby,Rust,Sh,TypeScript"
"""Languages that both ctags and the product parse."""

SEED = 1
NAMES_PER_GROUP = 40
"""Of a tree and a kind of names."""

KINDS = frozenset(
    (
        "class",
        "enum",
        "function",
        "interface",
        "method",
        "object",
        "singletonMethod",
        "struct",
        "trait",
        "type",
        "typedef",
    )
)
"""Kinds of tags that people look up; each has a body."""

NAME = re.compile(r"[A-Za-z_]\w{2,63}")
"""A name that is written alike in every language."""

ANONYMOUS = re.compile(r"__anon|Anonymous(Function|Class)[0-9a-f]")
"""Names that ctags makes up."""

SEPARATORS = {"C++": "::", "Ruby": "::", "Rust": "::", "PHP": "::", "Perl": "::"}
"""Between a class and its method; a dot in other languages."""

GROUPS = ("in code", "in tests", "qualified")


@dataclass(frozen=True, slots=True)
class Tag:
    """A definition that ctags found."""

    name: str
    path: str
    line: int
    language: str
    kind: str
    scope: str


@dataclass(frozen=True, slots=True)
class NameQuery:
    """A query and the definition that answers it."""

    text: str
    path: str
    line: int


@dataclass(frozen=True, slots=True)
class NameFigures:
    """Names of one tree: their number by group, and how many had their definition first, by mode and group."""

    tree: str
    asked: Mapping[str, int]
    first: Mapping[SearchMode, Mapping[str, int]]
    missed: tuple[str, ...]


def measure_names(trees: Iterable[Path], work: Path, *, keywords_only: bool = False) -> list[NameFigures]:
    """Index each tree and query names of it.

    Args:
        trees: Source trees; nothing is written into them.
        work: Directory for the indexes, kept for the next run.
        keywords_only: Do not wait for vectors, and measure keywords alone.
    """
    shared = make_shared_services()
    modes: tuple[SearchMode, ...] = ("bm25",) if keywords_only else ("hybrid", "bm25")
    figures = []
    for tree in trees:
        with open_index(tree, work / "indexes" / tree.name, shared, keywords_only=keywords_only) as bundle:
            figures.append(_measure_tree(bundle, tree, modes))
    return figures


def _measure_tree(bundle: ProjectServices, tree: Path, modes: Sequence[SearchMode]) -> NameFigures:
    kinds = classify_files(bundle, tree)
    drawn = draw_names(read_tags(tree, sorted(kinds)), kinds, random.Random(f"{SEED} {tree.name}"))
    queries = {
        group: [query for query in found if not is_ambiguous(bundle, query)][:NAMES_PER_GROUP]
        for group, found in drawn.items()
    }
    first: dict[SearchMode, Counter[str]] = {mode: Counter() for mode in modes}
    missed = []
    for mode in modes:
        for group, asked in queries.items():
            for query in asked:
                if is_first(bundle, query, mode):
                    first[mode][group] += 1
                else:
                    missed.append(f"{mode} {group}: {query.text} at {query.path}:{query.line}")
    return NameFigures(tree.name, {group: len(asked) for group, asked in queries.items()}, first, tuple(missed))


def classify_files(bundle: ProjectServices, tree: Path) -> dict[str, SourceType]:
    """Return the source type of each indexed file of code, by path."""
    paths = [path for path, record in bundle.documents.file_records().items() if record.state == "indexed"]
    types = {path: classify(path, (tree / path).read_bytes()[:HEAD_BYTES])[1] for path in paths}
    return {path: kind for path, kind in types.items() if kind != "doc"}


def is_ambiguous(bundle: ProjectServices, query: NameQuery) -> bool:
    """Return whether the product has several definitions of a name."""
    name = parse_qualified_name(query.text)
    if name is None:
        return False
    found = bundle.documents.symbols.definitions(name.name, match="ignore_case", qualifier=name.qualifier, limit=2)
    return found.total > 1


def is_first(bundle: ProjectServices, query: NameQuery, mode: SearchMode) -> bool:
    """Return whether the first result contains the line of the definition."""
    results = bundle.queries.answer(QueryRequest(query=query.text, mode=mode, top_k=3)).results
    if not results or results[0].source != query.path:
        return False
    return results[0].start_line <= query.line <= results[0].end_line


def read_tags(tree: Path, paths: Sequence[str]) -> list[Tag]:
    """Return the definitions that ctags finds in some files.

    Raises:
        FileNotFoundError: universal-ctags is not installed.
    """
    command = ["ctags", "--options=NONE", "--output-format=json", "--fields=+nKsl", "--extras=-F", "-L", "-", "-f", "-"]
    command.append(f"--languages={LANGUAGES}")
    done = subprocess.run(command, cwd=tree, input="\n".join(paths), capture_output=True, text=True, check=True)
    found = (json.loads(line) for line in done.stdout.splitlines())
    return [_make_tag(tag) for tag in found if tag["_type"] == "tag" and "line" in tag]


def _make_tag(tag: Mapping[str, Any]) -> Tag:
    return Tag(tag["name"], tag["path"], tag["line"], tag.get("language", ""), tag["kind"], tag.get("scope", ""))


def draw_names(
    tags: Sequence[Tag], kinds: Mapping[str, SourceType], chance: random.Random
) -> dict[str, list[NameQuery]]:
    """Return queries by group, in random order, twice as many as are asked.

    Args:
        tags: All definitions of a tree, also of kinds that are not queried: they make a name ambiguous.
        kinds: Source type by path.
        chance: Draws the names.
    """
    by_name: dict[str, list[Tag]] = defaultdict(list)
    for tag in tags:
        by_name[tag.name.casefold()].append(tag)
    wanted = [tag for tag in tags if tag.kind in KINDS and NAME.fullmatch(tag.name) and not ANONYMOUS.match(tag.name)]
    unique = [tag for tag in wanted if len(by_name[tag.name.casefold()]) == 1]
    scopes = Counter((tag.scope, tag.name) for tag in tags)
    qualified = [
        tag
        for tag in wanted
        if tag.scope and not ANONYMOUS.search(tag.scope) and scopes[tag.scope, tag.name] == 1 and tag not in unique
    ]
    groups: dict[str, tuple[list[Tag], Callable[[Tag], str]]] = {
        "in code": ([tag for tag in unique if kinds[tag.path] == "code"], lambda tag: tag.name),
        "in tests": ([tag for tag in unique if kinds[tag.path] == "test"], lambda tag: tag.name),
        "qualified": (qualified, lambda tag: f"{tag.scope}{SEPARATORS.get(tag.language, '.')}{tag.name}"),
    }
    return {
        group: [NameQuery(spell(tag), tag.path, tag.line) for tag in _sample(chance, found)]
        for group, (found, spell) in groups.items()
    }


def _sample(chance: random.Random, tags: Iterable[Tag]) -> list[Tag]:
    ordered = sorted(tags, key=lambda tag: (tag.path, tag.line, tag.name))
    return chance.sample(ordered, min(len(ordered), 2 * NAMES_PER_GROUP))


def format_names(figures: Sequence[NameFigures]) -> str:
    """Return the share of names whose definition is the first result, by tree."""
    rows = [_format_row(figures, "**all**"), *(_format_row([each], each.tree) for each in figures)]
    header = ["tree", *(f"{group}, {mode}" for mode in figures[0].first for group in GROUPS), "names"]
    asked = sum(sum(each.asked.values()) for each in figures)
    return "\n\n".join(
        [
            f"{asked:,} names of {len(figures)} trees, drawn with seed {SEED}. Share whose definition is in the "
            "first result:",
            format_table([header, *rows]),
        ]
    )


def _format_row(figures: Sequence[NameFigures], title: str) -> list[str]:
    cells = []
    for mode in figures[0].first:
        for group in GROUPS:
            asked = sum(each.asked[group] for each in figures)
            first = sum(each.first[mode][group] for each in figures)
            cells.append(f"{first / asked:.1%}" if asked else "")
    return [title, *cells, str(sum(sum(each.asked.values()) for each in figures))]
