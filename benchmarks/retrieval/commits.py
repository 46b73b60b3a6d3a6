"""Queries about changes: the message of a commit, and the lines of code that it wrote and that still exist."""

import re
import shutil
import subprocess
import tarfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from agent_brain_server.indexing.files.file_types import classify, detect_language
from agent_brain_server.structure.syntax import has_grammar
from benchmarks.retrieval.kinds import KindQuery, KindSet, draw_order
from benchmarks.retrieval.query_set import Target

REPORT = "report"
TITLE = "title of a commit"

COMMITS = 50
"""Of a repository; half of them with a message of several lines, if there are as many."""

LONG_BODY = 120  # characters
SURVIVING_LINES = range(2, 121)
MAX_FILES = 4
MIN_TITLE_WORDS = 3
MAX_BODY = 2_500  # characters
MAX_QUERY = 4_000  # characters

NOT_CODE = re.compile(r"(^|/)(examples?|benchmarks?|docs?|docs_src|website|scripts)/")
ROUTINE = re.compile(
    r"\[|v?\d|(merge|revert|version|release|bump|prepare|update|build|ci|docs?|(fix )?typo|style|lint|format|chore)\b",
    re.IGNORECASE,
)
"""The beginning of titles that describe no change of behaviour."""

TRAILER = re.compile(
    r"^\s*(signed-off-by|co-authored-by|reviewed-by|fixes|closes|refs?|pr-url|pr|cc|link)\b.*$", re.I | re.M
)
LINK = re.compile(r"https?://\S+|\(?#\d+\)?|<!--.*?-->", re.DOTALL)

REPORTS = (
    "{title}\n\nI am using the latest release and noticed this in our service. {body}\n\nMy tests fail with it:\n\n"
    '```\nTraceback (most recent call last):\n  File "app.py", line 12, in <module>\n    main()\nRuntimeError\n```\n\n'
    "Can you help us?",
    "{title}\n\n### Describe the bug\n\nWe upgraded last week and now see this. {body}\n\n### To reproduce\n\n"
    "1. Install the package\n2. Run my example\n\n### Expected behavior\n\nIt works as the documentation says.\n",
    "{title}\n\nI think this is a bug? {body} Let me know if I can add a test for it.\n",
)
"""Texts that users put around a description, with words that are not about the code."""


@dataclass(frozen=True, slots=True)
class Commit:
    """A change of code.

    Attributes:
        targets: Runs of lines that it wrote and that still exist.
        files: Files of code that it changed.
    """

    identity: str
    title: str
    body: str
    targets: tuple[Target, ...]
    files: tuple[str, ...]


def make_commit_sets(repositories: Iterable[Path], directory: Path) -> list[KindSet]:
    """Export the checked-out revision of each repository, and draw queries from its history.

    Args:
        repositories: Clones with their history.
        directory: Of the trees.
    """
    sets = []
    for repository in repositories:
        tree = export_tree(repository, directory / f"commits-{repository.resolve().name}")
        commits = draw_commits(find_commits(repository))
        reports = (KindQuery(compose_report(commit), commit.targets, commit.files) for commit in commits)
        titles = (KindQuery(commit.title, commit.targets, commit.files) for commit in commits)
        sets += [KindSet(REPORT, tree, tuple(reports)), KindSet(TITLE, tree, tuple(titles))]
    return sets


def run_git(repository: Path, *arguments: str) -> str:
    """Return the output of a git command."""
    done = subprocess.run(["git", "-C", repository, *arguments], capture_output=True, check=True)
    return done.stdout.decode("utf-8", "replace")


def export_tree(repository: Path, tree: Path) -> Path:
    """Write the files of the checked-out revision into a directory, once for each revision."""
    tree = tree.with_name(f"{tree.name}-{run_git(repository, 'rev-parse', '--short=12', 'HEAD').strip()}")
    if not tree.is_dir():
        partial = tree.with_name(f"{tree.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        done = subprocess.run(["git", "-C", repository, "archive", "HEAD"], capture_output=True, check=True)
        with tarfile.open(fileobj=BytesIO(done.stdout)) as archive:
            archive.extraction_filter = getattr(tarfile, "data_filter", None)
            archive.extractall(partial)
        partial.rename(tree)
    return tree


def find_commits(repository: Path) -> Iterator[Commit]:
    """Yield the commits of one parent whose code still exists and whose message describes it."""
    paths = frozenset(filter(is_code, run_git(repository, "ls-tree", "-r", "-z", "--name-only", "HEAD").split("\0")))
    written: dict[str, list[Target]] = defaultdict(list)
    for path in sorted(paths):
        for identity, target in _read_blame(
            run_git(repository, "blame", "-l", "-s", "--root", "HEAD", "--", path), path
        ):
            written[identity].append(target)
    for identity, targets in written.items():
        if _count_lines(targets) in SURVIVING_LINES and len({target.path for target in targets}) <= MAX_FILES:
            commit = _read_commit(repository, identity, targets, paths)
            if commit is not None:
                yield commit


def is_code(path: str) -> bool:
    """Return whether a path is a file of code and neither a test nor an example."""
    return (
        bool(path)
        and not NOT_CODE.search(path)
        and classify(path, b"")[1] == "code"
        and has_grammar(detect_language(path, b""))
    )


def _read_blame(output: str, path: str) -> Iterator[tuple[str, Target]]:
    """Yield runs of lines with the commit that wrote them, from the output of `git blame -l -s`."""
    start, current = 1, ""
    for number, line in enumerate([*output.splitlines(), ""], 1):
        identity = line[:40].lstrip("^").strip()
        if identity != current:
            if current:
                yield current, Target(path, start, number - 1)
            start, current = number, identity


def _count_lines(targets: Iterable[Target]) -> int:
    return sum((target.end_line or 0) - (target.start_line or 0) + 1 for target in targets)


def _read_commit(repository: Path, identity: str, targets: Sequence[Target], paths: frozenset[str]) -> Commit | None:
    message, _, parents = run_git(repository, "show", "-s", "--format=%B%x00%P", identity).partition("\0")
    title, body = read_message(message)
    if len(parents.split()) != 1 or not is_description(title):
        return None
    changed = run_git(repository, "diff-tree", "--no-commit-id", "--name-only", "-r", "-z", identity).split("\0")
    code = sorted(filter(is_code, changed))
    if not 1 <= len(code) <= MAX_FILES:
        return None
    files = {*(target.path for target in targets), *(path for path in code if path in paths)}
    return Commit(identity, title, body, tuple(targets), tuple(sorted(files)))


def read_message(message: str) -> tuple[str, str]:
    """Return the title and the body of a message without trailers, links and numbers of issues."""
    title, _, body = LINK.sub("", TRAILER.sub("", message)).strip().partition("\n")
    return title.strip(), re.sub(r"\n{3,}", "\n\n", body).strip()


def is_description(title: str) -> bool:
    """Return whether a title describes a change of behaviour in three words or more."""
    return not ROUTINE.match(title) and len(re.findall(r"[A-Za-z]{3,}", title)) >= MIN_TITLE_WORDS


def draw_commits(commits: Iterable[Commit]) -> list[Commit]:
    """Return some commits, half of them with a long message if there are as many."""
    ordered = sorted(commits, key=lambda commit: draw_order(commit.identity))
    detailed = [commit for commit in ordered if len(commit.body) > LONG_BODY][: COMMITS // 2]
    others = [commit for commit in ordered if commit not in detailed]
    return [*detailed, *others[: COMMITS - len(detailed)]]


def compose_report(commit: Commit) -> str:
    """Return the text of a user who reports what a commit changed."""
    body = re.sub(r"\s*\n\s*[*-]\s*", ". ", commit.body)[:MAX_BODY]
    form = REPORTS[draw_order(commit.identity) % len(REPORTS)]
    return form.format(title=commit.title, body=body)[:MAX_QUERY]
