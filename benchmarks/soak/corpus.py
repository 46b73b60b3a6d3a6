"""A small project whose files change at random; both versions are kept so that every answer can be checked."""

import random
from pathlib import Path

FILES = 60
CHANGED = 14  # in each round: a second of indexing
ROUTINES = 3
LINES = 9
WORDS = ("lock", "chunk", "corpus", "posting", "recall", "token", "lease", "batch", "vector", "parser", "header")


class ChangingTree:
    """Files of a project, some of which are rewritten in every round.

    Args:
        root: Directory of the files.
        seed: The same seed gives the same files.
    """

    def __init__(self, root: Path, seed: int) -> None:
        self.root = root
        self.present: dict[str, str] = {}
        self.before: dict[str, str] = {}
        self._random = random.Random(seed)
        self._version = 0
        for number in range(FILES):
            self._write(f"src/module_{number}.py")

    def change(self) -> None:
        """Rewrite some files, remove two and add two."""
        self.before = dict(self.present)
        paths = sorted(self.present)
        for path in self._random.sample(paths, CHANGED):
            self._write(path)
        for path in self._random.sample(paths, 2):
            del self.present[path]
            (self.root / path).unlink()
        for _ in range(2):
            self._write(f"src/new_{self._version}.py")

    def pick_marker(self) -> tuple[str, str]:
        """Return a file's path and a word that only its present version has."""
        path = self._random.choice(sorted(self.present))
        return path, self.present[path].split('"""')[1].split()[-1]

    def knows(self, source: str, start_line: int, end_line: int, text: str) -> bool:
        """Return whether a file has this text at these lines, now or before the last change."""
        versions = [files[source] for files in (self.present, self.before) if source in files]
        return any(is_excerpt(version, start_line, end_line, text) for version in versions)

    def _write(self, path: str) -> None:
        self._version += 1
        parts = [f'"""Version marker{self._version}x"""\n']
        for number in range(ROUTINES):
            body = [f"    {self._word()}_{line} = {self._word()}({self._random.random()})" for line in range(LINES)]
            parts.append("\n".join([f"\n\ndef {self._word()}_{self._version}_{number}():", *body, ""]))
        self.present[path] = "".join(parts)
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(self.present[path])

    def _word(self) -> str:
        return self._random.choice(WORDS)


def is_excerpt(whole: str, start_line: int, end_line: int, text: str) -> bool:
    """Return whether lines (1-based, inclusive) of a file have this text."""
    return "\n".join(whole.splitlines()[start_line - 1 : end_line]).strip() == text.strip()
