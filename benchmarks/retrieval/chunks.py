"""Count the forms of all chunks of source trees, and of results: `./task quality -- --chunks DIR...`."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agent_brain_server.config.settings import ProjectConfig
from agent_brain_server.indexing.chunking.chunker import chunk_file
from agent_brain_server.indexing.files.file_types import detect_language
from agent_brain_server.structure.syntax import has_grammar
from agent_brain_server.types import SourceText
from benchmarks.retrieval.chunk_forms import FORMS, PYTHON_FORMS, PythonForms, Shown, SourceForms

MAX_FILE_BYTES = 1_000_000  # larger files are cut by lines, or not indexed


@dataclass(slots=True)
class FormCounts:
    """Forms of the chunks of one language.

    Attributes:
        chunks: Number of chunks.
        forms: Number of chunks by form.
        functions: Number of functions, for Python.
        separated: Number of functions without their decorators or docstring.
    """

    chunks: int = 0
    forms: Counter[str] = field(default_factory=Counter)
    functions: int = 0
    separated: int = 0

    def add(self, shown: Shown, source: SourceForms, python: PythonForms | None) -> None:
        """Count one chunk."""
        self.chunks += 1
        self.forms.update(source.describe(shown))
        if python is not None:
            self.forms.update(python.describe(shown))

    def as_dict(self) -> dict[str, Any]:
        """Return the counts for the results file."""
        return {
            "chunks": self.chunks,
            "functions": self.functions,
            "separated": self.separated,
            **{name: self.forms[name] for name in (*FORMS, *PYTHON_FORMS)},
        }


def count_forms(directories: Iterable[Path]) -> dict[str, FormCounts]:
    """Cut every source file below the directories and count the forms of its chunks, by language."""
    counts: dict[str, FormCounts] = {}
    settings = ProjectConfig()
    for path in _list_files(directories):
        data = path.read_bytes()
        language = detect_language(path.as_posix(), data[:100])
        if not has_grammar(language):
            continue
        text = data.decode("utf-8", "replace").replace("\r\n", "\n")
        source = SourceText(path.name, text, language, "code", "", len(data), 0)
        file = chunk_file(source, chunk_size=settings.chunk_size, chunk_overlap=settings.chunk_overlap)
        shown = [
            Shown(chunk.start_line, chunk.end_line, tuple(line.line for line in chunk.context)) for chunk in file.chunks
        ]
        _count_file(counts.setdefault(language, FormCounts()), shown, source)
    return counts


def _count_file(counts: FormCounts, chunks: Sequence[Shown], source: SourceText) -> None:
    forms = SourceForms(source.text, source.language, source.path)
    python = parse_python(source.text) if source.language == "python" else None
    for shown in chunks:
        counts.add(shown, forms, python)
    if python is not None:
        counts.functions += len(python.functions)
        counts.separated += python.count_separated(chunks)


def parse_python(text: str) -> PythonForms | None:
    """Return the forms of a Python file, or `None` if it is not valid."""
    try:
        return PythonForms(text)
    except (SyntaxError, ValueError, RecursionError):
        return None


def _list_files(directories: Iterable[Path]) -> Iterator[Path]:
    for directory in directories:
        for path in sorted(directory.rglob("*")):
            relative = path.relative_to(directory).parts
            is_hidden = any(part.startswith(".") for part in relative)
            if not is_hidden and path.is_file() and not path.is_symlink() and path.stat().st_size <= MAX_FILE_BYTES:
                yield path


def format_forms(counts: dict[str, FormCounts]) -> str:
    """Return the counts as tables."""
    lines = [
        f"| language | chunks | {' | '.join(FORMS)} |",
        f"|---|---|{'---|' * len(FORMS)}",
    ]
    for language, each in sorted(counts.items()):
        shares = " | ".join(f"{each.forms[name]} ({each.forms[name] / max(each.chunks, 1):.1%})" for name in FORMS)
        lines.append(f"| {language} | {each.chunks} | {shares} |")
    if python := counts.get("python"):
        lines += ["", "| Python, by `ast` | share of chunks |", "|---|---|"]
        lines += [f"| {name} | {python.forms[name] / max(python.chunks, 1):.1%} |" for name in PYTHON_FORMS]
        lines.append(f"| functions without their decorator or docstring | {python.separated} of {python.functions} |")
    return "\n".join(lines)
