"""Write the pictures and the example output of README.md from real runs in docs/sample.

With --check, write nothing and exit with 1 if a file is stale. Scores, times, ports and process ids differ between runs
and are ignored.
"""

import os
import pty
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path

from draw_charts import draw_all
from rich.console import Console
from rich.text import Text

REPOSITORY = Path(__file__).parents[1]
README = REPOSITORY / "README.md"
SAMPLE = REPOSITORY / "docs" / "sample"
PICTURE = REPOSITORY / "docs" / "images" / "query.svg"
BIN = Path(sys.executable).parent
COLUMNS = 100
SHOWN = ["query", "--top-k", "2", "what happens when the payment provider is down?"]

VARIABLE = re.compile(r"\d{4}-\d\d-\d\d [\d:]{8}|\b0\.\d{3}\b|\b1\.\d{3}\b|\bpid \d+|:\d{4,5}\b|\d+ (?:ms|s)\b")
"""Text that differs between runs: times of day, scores, process ids, ports, durations."""

FONT = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace"
SVG = """<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{ font-family: %s; font-size: {char_height}px; line-height: {line_height}px; }}
.{unique_id}-title {{ font-size: 16px; font-weight: bold; font-family: system-ui, sans-serif; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}"/>
</clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
""".replace("%s", FONT)
"""Template for rich, which would load a font from another site by default."""


class Sample:
    """A copy of docs/sample with its own home, indexed by a running server.

    Args:
        root: The copy.
        home: The user's home directory for every command.
    """

    def __init__(self, root: Path, home: Path) -> None:
        self.root = root
        self.environment = {
            "HOME": str(home),
            "AGENT_BRAIN_HOME": str(home / "Agent Brain"),
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
            "LANG": "C.UTF-8",
        }

    def run(self, *command: str) -> str:
        """Run a command and return its standard output."""
        done = subprocess.run(command, cwd=self.root, env=self.environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr}")
        return done.stdout

    def run_on_terminal(self, *command: str) -> str:
        """Run a command on a terminal and return what it prints, with colors."""
        environment = {**self.environment, "TERM": "xterm-256color", "COLUMNS": str(COLUMNS)}
        controller, terminal = pty.openpty()
        with subprocess.Popen(command, cwd=self.root, env=environment, stdout=terminal, stderr=terminal) as process:
            os.close(terminal)
            parts = list(_read_all(controller))
        os.close(controller)
        if process.returncode:
            raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
        return b"".join(parts).decode().replace("\r\n", "\n")


def _read_all(descriptor: int) -> Iterator[bytes]:
    while True:
        try:
            data = os.read(descriptor, 65_536)
        except OSError:  # the other end of a terminal was closed
            return
        if not data:
            return
        yield data


@contextmanager
def open_sample() -> Iterator[Sample]:
    """Copy and index the sample; stop its server at the end."""
    with tempfile.TemporaryDirectory(prefix="readme ") as directory:
        root = Path(directory).resolve() / "shop"
        shutil.copytree(SAMPLE, root)
        subprocess.run(["git", "init", "--quiet"], cwd=root, check=True)
        home = Path(directory) / "home"
        home.mkdir()
        sample = Sample(root, home)
        try:
            sample.run("agent-brain", "index", "--wait", ".")
            yield sample
        finally:
            sample.run("agent-brain", "stop")


def draw_terminal(sample: Sample) -> str:
    """Return a picture of the terminal after a query."""
    console = Console(record=True, width=COLUMNS, file=StringIO(), force_terminal=True)
    words = " ".join(f'"{word}"' if " " in word else word for word in SHOWN)
    console.print(Text.assemble(("~/shop $ ", "green"), f"agent-brain {words}"), soft_wrap=True)
    console.print(Text.from_ansi(sample.run_on_terminal("agent-brain", *SHOWN)))
    return console.export_svg(title="agent-brain", code_format=SVG, unique_id="terminal")


def run_python(sample: Sample) -> str:
    """Run the Python example of the README and return its output."""
    example = README.read_text(encoding="utf-8").partition("```python\n")[2].partition("```")[0]
    return sample.run(sys.executable, "-c", example)


OUTPUTS: dict[str, Callable[[Sample], str]] = {
    "python": run_python,
    "status": lambda sample: sample.run("agent-brain", "status").replace(str(sample.root.parent), "/home/me"),
}
"""Outputs in the README by name, each between `<!-- output: NAME -->` and `<!-- end -->`."""


def replace_output(text: str, name: str, output: str) -> str:
    """Return the README with one output replaced.

    Raises:
        SystemExit: The README has no place for this output.
    """
    begin = f"<!-- output: {name} -->"
    head, found, tail = text.partition(begin)
    if not found:
        raise SystemExit(f"README.md has no {begin}")
    return f"{head}{begin}\n\n```text\n{output.rstrip()}\n```\n\n<!-- end -->{tail.partition('<!-- end -->')[2]}"


def write_all() -> dict[Path, str]:
    """Return the current content of every generated file, by path."""
    readme = README.read_text(encoding="utf-8")
    with open_sample() as sample:
        picture = draw_terminal(sample)
        for name, run in OUTPUTS.items():
            readme = replace_output(readme, name, run(sample))
    return {README: readme, PICTURE: picture, **draw_all()}


def is_current(path: Path, content: str) -> bool:
    """Return whether a file has this content, apart from what differs between runs."""
    known = path.read_text(encoding="utf-8") if path.exists() else ""
    return VARIABLE.sub("…", known) == VARIABLE.sub("…", content)


def main(arguments: list[str]) -> int:
    """Write the files that are not current, or with --check only name them; return 1 if one is stale."""
    stale = {path: content for path, content in write_all().items() if not is_current(path, content)}
    for path, content in stale.items():
        if "--check" in arguments:
            print(f"{path.relative_to(REPOSITORY)} is stale: run ./task readme")
        else:
            path.write_text(content, encoding="utf-8")
    return 1 if stale and "--check" in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
