"""Recall and precision of references, by name, against the sites that a reference implementation found."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks.structure.package_facts import PackageFacts, Site


@dataclass(frozen=True)
class NameResult:
    """Sites of one name.

    Attributes:
        expected: Sites found by the reference implementation.
        found: Sites found by the product.
        is_unique: Whether the reference implementation finds one definition of the name, counting local variables.
    """

    name: str
    expected: frozenset[Site]
    found: frozenset[Site]
    is_unique: bool

    @property
    def common(self) -> frozenset[Site]:
        """Sites that both found."""
        return self.expected & self.found


@dataclass(frozen=True)
class Score:
    """Recall and precision over names: of all sites (micro), and the mean of the names (macro)."""

    names: int
    sites: int
    recall: float
    precision: float
    macro_recall: float
    macro_precision: float


def compare_names(entries: Sequence[dict[str, Any]], package: PackageFacts) -> list[NameResult]:
    """Compare the sites of each name.

    Lines that define or assign the name are left out on both sides.
    """
    results = []
    for entry in entries:
        name = entry["name"]
        defined = package.definitions.get(name, set())
        omitted = {(path, line) for path, line in entry["definitions"]} | defined
        expected = {(path, line) for path, line in entry["sites"]} - omitted
        found = package.references.get(name, set()) - omitted
        results.append(NameResult(name, frozenset(expected), frozenset(found), entry["times_defined"] == 1))
    return results


def score(results: Sequence[NameResult]) -> Score:
    """Return the figures of some names; names without sites count in neither mean."""
    expected = sum(len(result.expected) for result in results)
    found = sum(len(result.found) for result in results)
    common = sum(len(result.common) for result in results)
    recalls = [len(result.common) / len(result.expected) for result in results if result.expected]
    precisions = [len(result.common) / len(result.found) for result in results if result.found]
    return Score(
        names=len(results),
        sites=expected,
        recall=common / max(expected, 1),
        precision=common / max(found, 1),
        macro_recall=mean(recalls) if recalls else 0.0,
        macro_precision=mean(precisions) if precisions else 0.0,
    )


def read_entries(path: Path) -> list[dict[str, Any]]:
    """Return the names and sites that a reference implementation wrote."""
    entries: list[dict[str, Any]] = json.loads(path.read_text())
    return entries
