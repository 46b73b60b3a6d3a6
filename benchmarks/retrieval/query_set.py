"""A set of labelled queries on disk: `repos.json` names the repositories, `queries/<name>.json` has the queries.

Each repository has a name, a language and published figures of other tools; each query has the files, or lines of
files, that answer it. Sets and source trees are third-party work and are not copied into this repository.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CATEGORIES = ("symbol", "semantic", "architecture")
"""A name; a description; how something works."""


@dataclass(frozen=True, slots=True)
class Target:
    """A file, or lines of it, that answers a query.

    Attributes:
        path: Relative to the repository; it may have more or fewer leading directories.
        start_line: First line, 1-based; `None` for the complete file.
        end_line: Last line, inclusive; `None` for the complete file.
    """

    path: str
    start_line: int | None = None
    end_line: int | None = None


@dataclass(frozen=True, slots=True)
class LabelledQuery:
    """A query with all its targets."""

    text: str
    category: str
    targets: tuple[Target, ...]


@dataclass(frozen=True, slots=True)
class LabelledRepository:
    """A repository with its queries.

    Attributes:
        published: Published NDCG@10 of other tools for the same queries, by tool.
    """

    name: str
    language: str
    published: Mapping[str, float]
    queries: tuple[LabelledQuery, ...]


def load_query_set(directory: Path, names: Collection[str] = ()) -> list[LabelledRepository]:
    """Read a set.

    Args:
        directory: Holds `repos.json` and `queries/`.
        names: Repositories to read; empty for all.

    Raises:
        ValueError: The set lacks a named repository.
    """
    specs = json.loads((directory / "repos.json").read_text(encoding="utf-8"))["repos"]
    if unknown := set(names) - {spec["name"] for spec in specs}:
        raise ValueError(f"{directory} has no repository {', '.join(sorted(unknown))}")
    return [_load_repository(directory, spec) for spec in specs if not names or spec["name"] in names]


def _load_repository(directory: Path, spec: Mapping[str, Any]) -> LabelledRepository:
    queries = json.loads((directory / "queries" / f"{spec['name']}.json").read_text(encoding="utf-8"))
    published = {tool: score for tool, score in spec.get("published_ndcg10", {}).items() if score is not None}
    return LabelledRepository(spec["name"], spec["language"], published, tuple(map(_read_query, queries)))


def _read_query(query: Mapping[str, Any]) -> LabelledQuery:
    targets = (*query.get("relevant", ()), *query.get("secondary", ()))
    return LabelledQuery(
        query["query"], query.get("category") or guess_category(query["query"]), tuple(map(_read_target, targets))
    )


def _read_target(target: str | Mapping[str, Any]) -> Target:
    if isinstance(target, str):
        return Target(target)
    return Target(target["path"], target.get("start_line"), target.get("end_line"))


def guess_category(query: str) -> str:
    """Guess the category of an unlabelled query from its form."""
    text = query.strip()
    if " " not in text:
        return "symbol"
    return "architecture" if text.lower().startswith("how ") else "semantic"
