"""The feature's quickstart, run in one shell from top to bottom, prints what the document shows."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from agent_brain_server.lifecycle.control import stop_server
from agent_brain_server.storage_paths import MARKER_DIR, PRODUCT_DIR

QUICKSTART = Path(__file__).parents[3] / ".speckit/features/109-multi-instance-architecture/quickstart.md"
BLOCK = re.compile(r"^```(sh|text)\n(.*?)^```$", flags=re.MULTILINE | re.DOTALL)
VARYING = "…"
BOUNDARY = "\x1e"  # ASCII's record separator, which no command prints
TIME_LIMIT_S = 600  # two dozen commands that take a second or two each

CHECKS = [
    "`init` writes `config.json`",
    "`start` writes `runtime.json` with the real port",
    "`status` works from any subdirectory",
    "`stop` removes every runtime artefact",
    "Two projects run at once, on different ports",
    "A crashed instance recovers on the next `start`",
    "`runtime.json` is ignored by git",
]


def read_sections() -> dict[str, list[tuple[str, str]]]:
    """Return the document's blocks of commands and output by heading."""
    sections = re.split(r"^#+ ", QUICKSTART.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    return {section.partition("\n")[0]: BLOCK.findall(section) for section in sections}


def list_steps() -> list[tuple[str, str, str]]:
    """Return heading, commands and expected output of each step, in order."""
    steps = []
    for heading, blocks in read_sections().items():
        for number, (kind, text) in enumerate(blocks):
            if kind == "sh":
                printed = [following for kind, following in blocks[number + 1 : number + 2] if kind == "text"]
                steps.append((heading, text, printed[0] if printed else ""))
    return steps


STEPS = list_steps()


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory):
    """The output of each step, including stderr, of one shell that runs all steps."""
    directory = tmp_path_factory.mktemp("quick stårt")
    (directory / "bin").mkdir()
    for name, arguments in (("agent-brain", "-m agent_brain_cli"), ("python3", "")):
        (directory / "bin" / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {arguments} "$@"\n')
        (directory / "bin" / name).chmod(0o755)
    ours = ("AGENT_BRAIN_", "DOC_SERVE_", "_AGENT_BRAIN")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    environment |= {
        "AGENT_BRAIN_HOME": str(directory / "home"),
        "PATH": f"{directory / 'bin'}:{os.environ['PATH']}",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "PYTHONPATH": os.pathsep.join(sys.path),  # the packages under test
        "PYTHONWARNINGS": "default",  # a warning in the output fails the test
    }
    (directory / "work").mkdir()
    script = f"printf '{BOUNDARY}'\n".join(commands for _, commands, _ in STEPS)
    try:
        done = subprocess.run(
            ["sh", "-eu", "-c", script],
            cwd=directory / "work",
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            timeout=TIME_LIMIT_S,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        yield done.stdout.split(BOUNDARY)
        assert list(directory.glob(f"work/*/{MARKER_DIR}/{PRODUCT_DIR}/*.lock")) == []
    finally:
        for project in (directory / "work").iterdir():
            stop_server(project / MARKER_DIR / PRODUCT_DIR, force=True)


def test_quickstart_has_the_seven_checks_in_order() -> None:
    numbered = [heading for heading in read_sections() if heading[0].isdigit()]
    assert numbered == [f"{number}. {check}" for number, check in enumerate(CHECKS, start=1)]
    assert all(read_sections()[heading] for heading in numbered)


@pytest.mark.parametrize("number", range(len(STEPS)), ids=[re.sub(r"\W+", "-", step[0]) for step in STEPS])
def test_quickstart_commands_print_the_shown_output(number: int, printed: list[str]) -> None:
    _, _, expected = STEPS[number]
    pattern = "".join(make_line_pattern(line) for line in expected.splitlines())
    assert re.fullmatch(pattern, printed[number]), f"{printed[number]}\nis not\n{expected}"


def make_line_pattern(line: str) -> str:
    """Return a pattern for a line of the document: `…` stands for part of a line, or alone for any number of lines."""
    if line == VARYING:
        return r"(?:.*\n)*?"
    return ".*?".join(re.escape(part) for part in line.split(VARYING)) + r"\n"
