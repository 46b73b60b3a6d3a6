"""Queries about the documentation of packages, and the source distributions with it, downloaded by pip.

`documents.json` lists each package with version and hash, and each query with the sections that answer it. A query uses
the words of the section ("same") or paraphrases it ("other").
"""

import hashlib
import json
import subprocess
import sys
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.retrieval.query_set import Target

QUESTIONS = Path(__file__).with_name("documents.json")
WORDINGS = ("same", "other")


@dataclass(frozen=True, slots=True)
class Package:
    """A source distribution."""

    name: str
    version: str
    sha256: str

    @property
    def directory(self) -> str:
        """Return the name of the only directory of its archive."""
        return f"{self.name}-{self.version}"


@dataclass(frozen=True, slots=True)
class Section:
    """A section of a document.

    Attributes:
        heading: Its title.
        place: Its file and lines, including the title.
    """

    heading: str
    place: Target


@dataclass(frozen=True, slots=True)
class DocumentQuestion:
    """A query and the sections that each answer it.

    Attributes:
        package: Name.
        wording: "same" or "other" words as the section.
    """

    package: str
    text: str
    wording: str
    sections: tuple[Section, ...]

    @property
    def targets(self) -> tuple[Target, ...]:
        """Return the lines that answer the query."""
        return tuple(section.place for section in self.sections)


def load_questions(path: Path = QUESTIONS) -> tuple[list[Package], list[DocumentQuestion]]:
    """Read the packages and the queries."""
    content = json.loads(path.read_text(encoding="utf-8"))
    packages = [Package(**package) for package in content["packages"]]
    return packages, [_read_question(question) for question in content["questions"]]


def _read_question(question: Mapping[str, Any]) -> DocumentQuestion:
    sections = tuple(Section(each["heading"], Target(each["path"], *each["lines"])) for each in question["sections"])
    return DocumentQuestion(question["package"], question["question"], question["wording"], sections)


def fetch_package(package: Package, directory: Path) -> Path:
    """Return the unpacked sources of a package below a directory; download them if needed.

    Raises:
        ValueError: The hash of the downloaded file differs.
    """
    unpacked = directory / package.directory
    if unpacked.is_dir():
        return unpacked
    directory.mkdir(parents=True, exist_ok=True)
    archive = directory / f"{package.directory}.tar.gz"
    if not archive.exists():
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary=:all:"]
        subprocess.run([*pip, "--dest", directory, f"{package.name}=={package.version}"], check=True)
    if hashlib.sha256(archive.read_bytes()).hexdigest() != package.sha256:
        raise ValueError(f"{archive} is not the expected file: remove it and run this again")
    partial = directory / f"{package.directory}.partial"
    with tarfile.open(archive) as sources:
        if hasattr(tarfile, "data_filter"):  # not in Python 3.11.0 to 3.11.3; its hash says what the archive holds
            sources.extraction_filter = tarfile.data_filter
        sources.extractall(partial)
    return (partial / package.directory).rename(unpacked)


def require_section(section: Section, sources: Path) -> None:
    """Check that a section begins at its labelled line.

    Raises:
        ValueError: Another line is there.
    """
    lines = (sources / section.place.path).read_text(encoding="utf-8").splitlines()
    start, end = section.place.start_line or 1, section.place.end_line or 1
    if not start <= end <= len(lines) or section.heading not in lines[start - 1]:
        raise ValueError(f"{section.place.path}:{start} is not the heading {section.heading!r}")
