"""Fail on retired wording, on retired names, and on test names over 60 characters.

The code, its messages and its documents are written in plain technical English, with the standard terms of the field.
This check keeps out the phrases and names that were replaced.

Usage: check_language.py [PATH...]; without a path, every tracked file is checked.
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

MAX_TEST_NAME = 60
SUFFIXES = {".py", ".md", ".sh", ".yml", ".yaml", ".toml", ".c"}
EXCLUDED_PARTS = {"data"}  # samples that tests read
EXCLUDED_FILES = {"check_language.py", "multi-instance-tasks.md"}  # quotes the patterns; the user's own text

PHRASES = (
    r"\b(none|true|false) where\b",
    r"\bwhere (it|they|there|one|none|nothing|that|this) (is|are|was|has|can|runs|does)\b",
    r"\b(whoever|whosoever|anew|anybody|somebody|nobody|everybody)\b",
    r"\b(lie|lies|lay) (in|at|on|below|above|deeper|beside|still|outside|there)\b",
    r"\bgo(es)? on (with|as)\b",
    r"\bof (its|their|one's) own\b",
    r"\b(is|are|was|were|be|been) told\b",
    r"\btold apart\b",
    r"\bof (one|another) mind\b",
    r"\b(mend|mends|mended|mending|mender)\b",
    r"\blook(s|ed|ing)? after\b",
    r"\bas ever\b",
    r"\bwhat is left (of|over)\b",
    r"\b(is|are) (not|no) (any)? ?more\b",
    r"\bhas gone\b",
    r"\bwhat (of|became of)\b",
    r"\bthat is wanted\b",
    r"\bby and by\b",
    r"\bnot .{1,40} at all hours\b",
    r"\bmet (with )?damaged\b",
    r"\bworked out\b",
    r"\bput together\b",
    r"\bhear(s|d)? of\b",
    r"\bfront door\b",
    r'""(Say|Tell|Let|Whatever|What|Which|Where|How|Who|Is|Are|Does|True|None) ',
)

NAMES = (
    *(
        "membership",
        "read_membership",
        "is_meant",
        "ChromaPlace",
        "mender",
        "look_after",
        "VectorBacklog",
        "SideThread",
    ),
    *("side_thread", "VectorMap", "FactsCache", "Question", "read_question", "spells_file_name", "lies_deeper"),
    *("lies_aside", "PASSING_REASONS", "RequestBorder", "request_meter", "calls_page", "Patient", "diagnosis"),
    *("Said", "count_noun", "vectors_elsewhere", "forget_vectors"),
)

PHRASE = re.compile("|".join(PHRASES), re.IGNORECASE)
NAME = re.compile(rf"\b({'|'.join(NAMES)})\b")
TEST = re.compile(r"^\s*(?:async )?def (test_\w+)")


def find_faults(path: Path) -> Iterator[str]:
    """Yield one `path:line: description` for each retired phrase, retired name and long test name in a file."""
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        for match in (*PHRASE.finditer(line), *NAME.finditer(line)):
            yield f"{path}:{number}: {match[0]!r}: {line.strip()[:110]}"
        name = TEST.match(line)
        if name and len(name[1]) > MAX_TEST_NAME:
            yield f"{path}:{number}: test name of {len(name[1])} characters, over {MAX_TEST_NAME}: {name[1]}"


def list_files(arguments: list[str]) -> list[Path]:
    """Return the tracked text files below the given paths, or all of them."""
    listing = subprocess.run(["git", "ls-files", "-z", "--", *arguments], capture_output=True, text=True, check=True)
    found = (Path(name) for name in listing.stdout.split("\0") if name)
    return [path for path in found if is_checked(path)]


def is_checked(path: Path) -> bool:
    """Return whether the wording of a file is this project's."""
    is_text = path.suffix in SUFFIXES and path.name not in EXCLUDED_FILES and path.is_file()
    return is_text and not ("tests" in path.parts and EXCLUDED_PARTS.intersection(path.parts))


def main(arguments: list[str]) -> int:
    """Print every fault; return 1 if there is one."""
    faults = [fault for path in list_files(arguments) for fault in find_faults(path)]
    print("\n".join(faults + [f"{len(faults)} hits"]) if faults else "plain English")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
