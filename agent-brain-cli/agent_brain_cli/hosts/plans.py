"""Plan what `install` and `uninstall` do with each file, before any file is written, and carry it out."""

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from agent_brain_cli.hosts.catalog import Host, find_host
from agent_brain_cli.hosts.edits import Edit, EditError, add, find_content, is_empty, is_ours, take_out
from agent_brain_cli.hosts.files import list_missing_directories, read_text, refuse, write_text
from agent_brain_cli.hosts.records import (
    Change,
    find_difference,
    hash_text,
    read_record,
    remove_directories,
    write_record,
)

Action = Literal["create", "change", "delete", "unchanged", "keep"]


@dataclass(frozen=True, slots=True)
class Step:
    """A planned change of one file.

    Attributes:
        edit: The edit and its file.
        hosts: Names of the hosts that it is for.
        action: What is done; `keep` leaves what the user has written.
        before: The text of the file, `None` if it does not exist.
        after: Its text afterwards, `None` if it does not exist then.
        change: The record of the change, `None` to drop the record.
        directories: Directories to remove if they are empty afterwards, the innermost first.
    """

    edit: Edit
    hosts: tuple[str, ...]
    action: Action
    before: str | None
    after: str | None
    change: Change | None = None
    directories: Sequence[str] = ()


Planner = Callable[[Edit, tuple[str, ...], Path, Change | None], Step]


def plan_install(edits: Iterable[Edit], base: Path) -> list[Step]:
    """Return what installing does with each file.

    Args:
        edits: The edits of all hosts; hosts may share a file.
        base: The home directory or the project.

    Raises:
        ConfigError: A file must not be edited, or cannot be parsed.
    """
    record = read_record()
    shared: dict[Path, tuple[Edit, tuple[str, ...]]] = {}
    for edit in edits:
        first, hosts = shared.get(edit.path, (edit, ()))
        shared[edit.path] = (first, (*hosts, edit.host.name))
    return [_guard(_plan_addition, edit, hosts, base, record.get(str(path))) for path, (edit, hosts) in shared.items()]


def plan_uninstall(edits: Iterable[Edit], hosts: Sequence[Host], base: Path) -> list[Step]:
    """Return what uninstalling does with each file.

    Args:
        edits: The edits that installing makes now; earlier ones are in the record.
        hosts: The hosts to remove Agent Brain from.
        base: The home directory or the project.

    Raises:
        ConfigError: A file must not be edited, or cannot be parsed.
    """
    record = read_record()
    names = {host.name for host in hosts}
    found = {edit.path: edit for edit in edits}
    for name, recorded in record.items():
        if recorded.base == str(base) and (own := names.intersection(recorded.hosts)):
            found[Path(name)] = Edit(Path(name), recorded.kind, find_host(min(own)), recorded.content)
    steps = []
    for path, edit in found.items():
        change = record.get(str(path))
        own = names.intersection(change.hosts) if change else {edit.host.name}
        steps.append(_guard(_plan_removal, edit, tuple(sorted(own)), base, change))
    return steps


def carry_out(steps: Iterable[Step]) -> None:
    """Write the files, and the record first, so that a killed command leaves nothing unrecorded.

    Raises:
        ConfigError: A file was changed while the command ran.
        OSError: A file cannot be written.
    """
    steps = list(steps)
    record = read_record()
    record |= {str(step.edit.path): step.change for step in steps if step.change is not None}
    write_record(record)
    for step in steps:
        path = step.edit.path
        if step.after != step.before:
            _require_unchanged(step)
            if step.after is None:
                path.unlink()
            else:
                write_text(path, step.after)
        if step.change is None:
            record.pop(str(path), None)
            if step.after is None:
                remove_directories(step.directories)
    write_record(record)


def _require_unchanged(step: Step) -> None:
    present = step.edit.path.read_bytes().decode() if os.path.lexists(step.edit.path) else None
    if present != step.before:
        raise refuse(step.edit.path, "was changed by another program just now")


def _guard(plan: Planner, edit: Edit, hosts: tuple[str, ...], base: Path, change: Change | None) -> Step:
    try:
        return plan(edit, hosts, base, change)
    except EditError as error:
        raise refuse(edit.path, f"cannot be parsed ({error})") from error


def _plan_addition(edit: Edit, hosts: tuple[str, ...], base: Path, change: Change | None) -> Step:
    text = read_text(edit.path, base)
    found = None if text is None else find_content(edit, text)
    if text is not None and found == edit.content:
        merged = replace(change, hosts=sorted({*change.hosts, *hosts})) if change else None
        return Step(edit, hosts, "unchanged", text, text, merged)
    if found is not None and edit.kind in ("json", "toml") and not (change and change.content == found):
        return Step(edit, hosts, "keep", text, text, change)
    original = None if text is None else _find_original(edit, text, found, change)
    existed = change.existed if change is not None and text is not None else text is not None
    after = add(edit, original or "")
    start, old, new = find_difference(original or "", after)
    directories = list(map(str, list_missing_directories(edit.path))) or (change.directories if change else [])
    everyone = sorted({*hosts, *(change.hosts if change else ())})
    made = Change(edit.kind, edit.content, str(base), everyone, existed, start, old, new, hash_text(after), directories)
    return Step(edit, hosts, "create" if text is None else "change", text, after, made)


def _find_original(edit: Edit, text: str, found: object, change: Change | None) -> str:
    """Return the text of a file without an earlier version of the edit."""
    restored = change.restore(text) if change is not None else None
    if restored is not None:
        return restored
    is_earlier = found is not None and (change is not None or edit.kind == "text")
    return take_out(edit, text) if is_earlier and edit.kind != "skill" else text


def _plan_removal(edit: Edit, hosts: tuple[str, ...], base: Path, change: Change | None) -> Step:
    text = read_text(edit.path, base)
    others = [name for name in change.hosts if name not in hosts] if change else []
    if change is not None and others:
        return Step(edit, hosts, "keep", text, text, replace(change, hosts=others))
    directories = change.directories if change else [str(edit.path.parent)] if edit.kind == "skill" else []
    if text is None:
        return Step(edit, hosts, "unchanged", None, None, None, directories)
    restored = change.restore(text) if change else None
    if restored is None:
        found = find_content(edit, text)
        if found is None:
            return Step(edit, hosts, "unchanged", text, text)
        if found != edit.content and (edit.kind == "skill" or (edit.kind in ("json", "toml") and not is_ours(found))):
            return Step(edit, hosts, "keep", text, text)
        restored = take_out(edit, text)
    was_created = edit.kind == "skill" if change is None else not change.existed
    if was_created and is_empty(edit.kind, restored):
        return Step(edit, hosts, "delete", text, None, None, directories)
    return Step(edit, hosts, "change", text, restored)
