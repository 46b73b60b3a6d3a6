"""Questions about packages' documentation, of our own, and the source distributions that carry it, fetched by pip.

`documents.json` names each package with version and hash, and each question with the section that answers it. A
question is worded as the section is ("same") or in other words ("other").
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
        """Name of its archive's only directory."""
        return f"{self.name}-{self.version}"


@dataclass(frozen=True, slots=True)
class Section:
    """A section of a document.

    Attributes:
        heading: Its title.
        place: Its file and its lines, the title's included.
    """

    heading: str
    place: Target


@dataclass(frozen=True, slots=True)
class DocumentQuestion:
    """A question and the sections each of which answers it.

    Attributes:
        package: Name.
        wording: "same" or "other" words than the section's.
    """

    package: str
    text: str
    wording: str
    sections: tuple[Section, ...]

    @property
    def targets(self) -> tuple[Target, ...]:
        """Where the answer stands."""
        return tuple(section.place for section in self.sections)


def load_questions(path: Path = QUESTIONS) -> tuple[list[Package], list[DocumentQuestion]]:
    """Read the packages and the questions."""
    content = json.loads(path.read_text(encoding="utf-8"))
    packages = [Package(**package) for package in content["packages"]]
    return packages, [_read_question(question) for question in content["questions"]]


def _read_question(question: Mapping[str, Any]) -> DocumentQuestion:
    sections = tuple(Section(each["heading"], Target(each["path"], *each["lines"])) for each in question["sections"])
    return DocumentQuestion(question["package"], question["question"], question["wording"], sections)


def fetch_package(package: Package, directory: Path) -> Path:
    """Return the package's unpacked sources below a directory, downloading them where they are not there yet.

    Raises:
        ValueError: What was downloaded is not the file that is meant.
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
    """Return if a section begins where its label says.

    Raises:
        ValueError: It does not.
    """
    lines = (sources / section.place.path).read_text(encoding="utf-8").splitlines()
    start, end = section.place.start_line or 1, section.place.end_line or 1
    if not start <= end <= len(lines) or section.heading not in lines[start - 1]:
        raise ValueError(f"{section.place.path}:{start} is not the heading {section.heading!r}")
