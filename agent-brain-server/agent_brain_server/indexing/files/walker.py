"""Find the files of a project to index: the files that git tracks or would track, except those without useful text.

In a git work tree, git lists the files, so that its ignore rules apply exactly (30 ms of CPU for 3,600 files).
Elsewhere, or if git fails, the directories are scanned and `.gitignore` files are applied here (60 ms). No other file
is opened.
"""

import os
import re
import stat
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from agent_brain_server.errors import InvalidRequestError, NotFoundError
from agent_brain_server.indexing.files.file_types import find_unwanted
from agent_brain_server.indexing.files.git_files import GitListing, list_git_files
from agent_brain_server.indexing.files.ignore_rules import (
    CACHE_MARKERS,
    EXCLUDED_NAMES,
    IGNORE_FILE,
    IgnoreRules,
    enter_directory,
)
from agent_brain_server.indexing.files.secret_files import is_secret_path
from agent_brain_server.support.git import find_own_work_tree, is_ignored
from agent_brain_server.support.globs import GlobList, compile_globs, compile_selection
from agent_brain_server.types import FileStat, Skip, SkipReason

DEFAULT_MAX_FILE_BYTES = 1_000_000  # larger files are data or generated, and their chunks would dominate answers

STATE_DIRECTORY = b".claude/Agent Brain"
"""Default state directory; excluded at any depth, because projects can be nested."""

BARE_HEAD = b"HEAD"
BARE_REPOSITORY = frozenset({BARE_HEAD, b"objects", b"refs"})
"""Entries by which git recognizes a bare repository. It is excluded like `.git`: it has no text but configuration."""

HAS_EFFECTIVE_ACCESS = os.access in os.supports_effective_ids


class GitUnavailableError(Exception):
    """Git listed this tree in an earlier walk and fails now."""


@dataclass(frozen=True, slots=True)
class WalkOptions:
    """Options for a directory walk.

    Attributes:
        include_patterns: Include only files that match one of these globs, relative to the project root; empty: all.
        exclude_patterns: Exclude files that match one of these globs.
        recursive: Whether to descend into directories.
        max_file_bytes: Skip larger files.
        index_secrets: Include files that usually contain secrets, such as `.env`.
        own_dirs: Agent Brain's directories besides the default state directory, such as a configured `data_dir`.
    """

    include_patterns: tuple[str, ...] = ()
    exclude_patterns: tuple[str, ...] = ()
    recursive: bool = True
    max_file_bytes: int = DEFAULT_MAX_FILE_BYTES
    index_secrets: bool = False
    own_dirs: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class WalkTargets:
    """Restriction of a walk to a part of the tree.

    Attributes:
        paths: Files and directories relative to the project root, outside nested repositories; a directory includes
            everything below it.
        known: Files among them that an earlier walk included.
        uses_git: Whether that walk used git. If so, this one uses git too, and files that git does not list are
            ignored.
    """

    paths: frozenset[bytes]
    known: frozenset[bytes]
    uses_git: bool


@dataclass(frozen=True, slots=True)
class Walk:
    """Result of a walk.

    Attributes:
        files: Sorted by path.
        skipped: Files skipped for their kind or content, sorted by path; ignored and excluded files are not listed.
        uses_git: Whether git listed the files.
    """

    files: tuple[FileStat, ...]
    skipped: tuple[Skip, ...]
    uses_git: bool = False

    @property
    def skip_counts(self) -> dict[str, int]:
        """Number of skipped files by reason."""
        return dict(Counter(skip.reason for skip in self.skipped))


def walk_files(root: Path, start: Path, options: WalkOptions, targets: WalkTargets | None = None) -> Walk:
    """Find the files below `start` that belong in the index.

    Args:
        root: The project root; the paths in the result are relative to it.
        start: A directory or file inside the project.
        options: Globs, limits, depth.
        targets: Find only these; `None`: all.

    Raises:
        NotFoundError: `start` does not exist.
        InvalidRequestError: `start` is outside the root or is neither file nor directory, or a glob is invalid.
        GitUnavailableError: The targets require git, and it fails; walk without targets instead.
    """
    include = compile_selection(options.include_patterns, "include_patterns")
    exclude = compile_globs(options.exclude_patterns, "exclude_patterns")
    root = root.resolve()
    start = resolve_start(root, start)
    prefix = os.fsencode(start.relative_to(root).as_posix())
    collector = _Collector(root, options, include, exclude)
    if any(is_bare_repository(os.fsencode(path)) for path in (start, *start.parents) if path.is_relative_to(root)):
        return collector.finish()
    if start.is_dir():
        prefix = b"" if prefix == b"." else prefix + b"/"
        if targets is not None:
            collector.add_targets(start, prefix, targets)
            return collector.finish()
        listing = list_git_files(start)
        if listing is None:
            collector.add_scan(start, prefix)
        else:
            collector.add_listing(listing, prefix)
    elif targets is None or is_below(prefix, targets.paths):
        collector.add(prefix)
    return collector.finish()


def is_excluded(root: Path, path: bytes, options: WalkOptions, *, uses_git: bool) -> bool:
    """Return whether a rule or glob excludes a file, whether or not it exists.

    Args:
        root: The project root.
        path: Relative to it, outside nested repositories, and not tracked by git.
        options: Globs.
        uses_git: Whether git lists the files of this project.
    """
    name = path.decode("utf-8", "backslashreplace")
    include = compile_selection(options.include_patterns, "include_patterns")
    exclude = compile_globs(options.exclude_patterns, "exclude_patterns")
    if (include is not None and not include.match_file(name)) or (exclude is not None and exclude.match_file(name)):
        return True
    if not EXCLUDED_NAMES.isdisjoint(path.split(b"/")) or own_dirs_pattern(root, options.own_dirs).search(path):
        return True
    if uses_git:
        top = find_own_work_tree(root)
        return top is not None and is_ignored(top, root / os.fsdecode(path)) is True
    rules = enter_directory(root, os.path.dirname(path))
    return rules is None or rules.ignores(name, is_directory=False)


def own_dirs_pattern(root: Path, own_dirs: Sequence[Path] = ()) -> re.Pattern[bytes]:
    """Return a pattern that finds paths in Agent Brain's directories.

    Args:
        root: Canonical path of the project root; the paths are relative to it, and those of directories end in `/`.
        own_dirs: Directories besides the default state directory; those outside the root have no effect.
    """
    inside = [path.resolve().relative_to(root) for path in own_dirs if path.resolve().is_relative_to(root)]
    named = b"|".join(re.escape(os.fsencode(path.as_posix())) for path in inside)
    default = b"(?:^|/)%s/" % re.escape(STATE_DIRECTORY)
    return re.compile(b"%s|^(?:%s)/" % (default, named) if named else default)


def is_below(path: bytes, directories: Collection[bytes]) -> bool:
    """Return whether a path equals one of `directories` or is inside one of them."""
    while path:
        if path in directories:
            return True
        path = path.rpartition(b"/")[0]
    return b"" in directories


def resolve_start(root: Path, start: Path) -> Path:
    """Return the canonical path of a file or directory inside the project.

    Raises:
        NotFoundError: It does not exist.
        InvalidRequestError: It is outside the project, or a device, fifo or socket.
    """
    try:
        resolved = (root / start).resolve(strict=True)
        mode = resolved.stat().st_mode
    except (OSError, RuntimeError, ValueError) as error:
        raise NotFoundError(
            f"{str(start)!r} does not exist or cannot be read.",
            code="path_not_found",
            hint="Name a directory or file of the project.",
        ) from error
    if not resolved.is_relative_to(root):
        raise InvalidRequestError(
            f"{str(start)!r} is outside the project {str(root)!r}.",
            code="outside_project",
            hint="Name a directory or file inside the project root.",
        )
    if not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):
        raise InvalidRequestError(
            f"{str(start)!r} is neither a directory nor a file.",
            code="not_a_file",
            hint="Name a directory or file of the project.",
        )
    return resolved


class _Collector:
    """Collects files and skips of one walk. Paths are bytes relative to the project root."""

    def __init__(self, root: Path, options: WalkOptions, include: GlobList | None, exclude: GlobList | None) -> None:
        self._root = root
        self._base = os.fsencode(root) + b"/"
        self._user = os.geteuid()
        self._options = options
        self._include = include
        self._exclude = exclude
        self._files: list[FileStat] = []
        self._skips: list[Skip] = []
        self._uses_git = False
        self._own_dirs = own_dirs_pattern(root, options.own_dirs)

    def finish(self) -> Walk:
        return Walk(
            files=tuple(sorted(self._files, key=lambda file: file.path)),
            skipped=tuple(sorted(self._skips, key=lambda skip: (skip.path, skip.reason))),
            uses_git=self._uses_git,
        )

    def add_targets(self, start: Path, prefix: bytes, targets: WalkTargets) -> None:
        """Collect the targets below `prefix` that no rule excludes."""
        self._uses_git = targets.uses_git
        inside = {path for path in targets.paths if path.startswith(prefix)}
        inside = {path for path in inside if not is_below(os.path.dirname(path), inside)}
        known = {path for path in inside & targets.known if not self._is_directory(path)}
        for path in known:
            if self._is_real_directory(b"", os.path.dirname(path)) and self._is_in_depth(path, prefix):
                self.add(path)
        if not (unknown := inside - known):
            return
        if not targets.uses_git:
            for path in unknown:
                self._add_target(path, prefix)
            return
        listing = list_git_files(start, {path[len(prefix) :] for path in unknown})
        if listing is None:
            raise GitUnavailableError("git no longer lists the files of this project.")
        self.add_listing(listing, prefix)

    def _add_target(self, path: bytes, prefix: bytes) -> None:
        """Collect a file, or the files below a directory, unless a rule excludes it."""
        rules = enter_directory(self._root, os.path.dirname(path))
        if rules is None or os.path.basename(path) in EXCLUDED_NAMES or not self._is_in_depth(path, prefix):
            return
        is_directory = self._is_directory(path)
        if rules.ignores(os.fsdecode(path), is_directory=is_directory):
            return
        if not is_directory:
            self.add(path)
        elif self._options.recursive and enter_directory(self._root, path) is not None:
            self.add_scan(self._root / os.fsdecode(path), path + b"/")

    def _is_directory(self, path: bytes) -> bool:
        return os.path.isdir(self._base + path) and not os.path.islink(self._base + path)

    def _is_in_depth(self, path: bytes, prefix: bytes) -> bool:
        return self._options.recursive or b"/" not in path[len(prefix) :]

    def add_listing(self, listing: GitListing, prefix: bytes) -> None:
        """Collect the files that git listed below `prefix`, except those whose directory was replaced by a link."""
        self._uses_git = True
        for path in listing.unreadable:
            self._skip(prefix + path, "unreadable")
        for path in listing.worktrees:
            self._skip(prefix + path, "other_worktree")
        for path in listing.unlisted:
            self.add_scan(self._root / os.fsdecode(prefix + path), prefix + path + b"/")
        real: dict[bytes, bool] = {}
        in_bare_repository = self._find_bare_repositories(listing.files, prefix)
        for name in listing.files:
            directory = name.rpartition(b"/")[0]
            if (directory and not self._options.recursive) or in_bare_repository(name):
                continue
            if directory not in real:
                real[directory] = self._is_real_directory(prefix, directory)
                if real[directory]:
                    self._add_special_files(prefix + directory)
            if real[directory]:
                self.add(prefix + name)

    def _find_bare_repositories(self, names: set[bytes], prefix: bytes) -> Callable[[bytes], object]:
        """Return a function that is true for files inside a bare repository."""
        candidates = {name.removesuffix(b"/" + BARE_HEAD) for name in names if name.endswith(b"/" + BARE_HEAD)}
        found = [re.escape(name) for name in candidates if is_bare_repository(self._base + prefix + name)]
        return re.compile(b"(?:%s)/" % b"|".join(found)).match if found else lambda _: False

    def _is_real_directory(self, prefix: bytes, directory: bytes) -> bool:
        while directory:
            try:
                if not stat.S_ISDIR(os.lstat(self._base + prefix + directory).st_mode):
                    return False
            except OSError:
                return False
            directory = directory.rpartition(b"/")[0]
        return True

    def _add_special_files(self, directory: bytes) -> None:
        """Collect fifos, sockets and devices, which git omits silently."""
        try:
            with os.scandir(self._base + directory) as entries:
                special = [entry.name for entry in entries if _is_special(entry)]
        except OSError:
            return
        for name in special:
            self.add((directory.rstrip(b"/") + b"/" + name).lstrip(b"/"))

    def add_scan(self, start: Path, prefix: bytes) -> None:
        """Collect the files below `start`, except those that ignore files and `UNTRACKED_EXCLUDES` exclude."""
        rules = IgnoreRules.of_root(self._root)
        inner = ""
        for part in start.relative_to(self._root).parts:
            if rules.ignores(inner + part, is_directory=True):
                return
            rules = rules.enter(self._root / (inner := f"{inner}{part}/"), inner)
        pending = [(prefix, rules)]
        while pending:
            directory, rules = pending.pop()
            found = self._list(directory)
            if IGNORE_FILE in found and directory != prefix:  # that of `prefix` was entered above
                inner = os.fsdecode(directory)
                rules = rules.enter(self._root / inner, inner)
            for path, entry in self._select(directory, found, rules):
                if not entry.is_dir(follow_symlinks=False):
                    self.add(path, is_file=entry.is_file(follow_symlinks=False))
                elif self._options.recursive:
                    pending.append((path + b"/", rules))

    def _list(self, directory: bytes) -> dict[bytes, "os.DirEntry[bytes]"]:
        """Return the entries of a directory by name; none for a cache or a bare repository."""
        try:
            with os.scandir(self._base + directory) as entries:
                found = {entry.name: entry for entry in entries}
        except OSError:
            self._skip(directory.rstrip(b"/"), "unreadable")
            return {}
        has_no_sources = not found.keys().isdisjoint(CACHE_MARKERS) or found.keys() >= BARE_REPOSITORY
        return {} if has_no_sources else found

    def _select(
        self, directory: bytes, found: Mapping[bytes, "os.DirEntry[bytes]"], rules: IgnoreRules
    ) -> Iterator[tuple[bytes, "os.DirEntry[bytes]"]]:
        """Yield path and entry of those that are not ignored."""
        for name, entry in found.items():
            path = directory + name
            is_directory = entry.is_dir(follow_symlinks=False)
            if name in EXCLUDED_NAMES or (is_directory and self._is_own(path + b"/")):
                continue
            if not rules.ignores(os.fsdecode(path), is_directory=is_directory):
                yield path, entry

    def add(self, path: bytes, *, is_file: bool = False) -> None:
        """Add one path to the files or the skips. Deleted files are not recorded as skipped.

        Args:
            path: Relative to the root.
            is_file: Whether it is known to be a regular file, so that its name is checked before its status.
        """
        if self._is_own(path):
            return
        try:
            name = path.decode("utf-8")
        except UnicodeDecodeError:
            self._skip(path, "undecodable_name")
            return
        if self._is_filtered(name):
            return
        if is_file and (reason := self._check_name(name)):
            self._skip(path, reason)
            return
        try:
            found = os.lstat(self._base + path)
        except FileNotFoundError:
            return
        except OSError:
            self._skip(path, "unreadable")
            return
        reason = self._find_reason(path, name, found)
        if reason is None:
            self._files.append(FileStat(name, found.st_size, found.st_mtime_ns))
        else:
            self._skip(path, reason)

    def _is_own(self, path: bytes) -> bool:
        return self._own_dirs.search(path) is not None

    def _is_filtered(self, name: str) -> bool:
        if self._include is not None and not self._include.match_file(name):
            return True
        return self._exclude is not None and self._exclude.match_file(name)

    def _find_reason(self, path: bytes, name: str, found: os.stat_result) -> SkipReason | None:
        """Return the reason to skip a file, or `None`."""
        if stat.S_ISLNK(found.st_mode):
            return self._describe_link(path)
        if not stat.S_ISREG(found.st_mode):
            return "special_file"
        if reason := self._check_name(name):
            return reason
        if found.st_size == 0:
            return "empty"
        if found.st_size > self._options.max_file_bytes:
            return "too_large"
        return None if self._is_readable(path, found) else "unreadable"

    def _check_name(self, name: str) -> SkipReason | None:
        """Return the reason to skip a file because of its name, or `None`."""
        if not self._options.index_secrets and is_secret_path(name):
            return "secret"
        return find_unwanted(name)

    def _is_readable(self, path: bytes, found: os.stat_result) -> bool:
        """Return whether this process can read a file; needs no system call if it is the user's own."""
        if found.st_uid == self._user and found.st_mode & stat.S_IRUSR:
            return True
        return os.access(self._base + path, os.R_OK, effective_ids=HAS_EFFECTIVE_ACCESS)

    def _describe_link(self, path: bytes) -> SkipReason:
        """Return the reason to skip a link; a target inside the project is indexed under its own path."""
        try:
            target = os.path.realpath(self._base + path, strict=True)
        except FileNotFoundError:
            return "dangling_symlink"
        except OSError:
            return "symlink_loop"
        return "symlink" if (target + b"/").startswith(self._base) else "symlink_outside"

    def _skip(self, path: bytes, reason: SkipReason) -> None:
        self._skips.append(Skip(path.decode("utf-8", "backslashreplace"), reason))


def is_bare_repository(directory: bytes) -> bool:
    """Return whether a directory, given by its absolute path, is a bare repository."""
    return all(os.path.lexists(os.path.join(directory, name)) for name in BARE_REPOSITORY)


def _is_special(entry: "os.DirEntry[bytes]") -> bool:
    return not (entry.is_file(follow_symlinks=False) or entry.is_dir(follow_symlinks=False) or entry.is_symlink())
