"""An answer includes every change made before the query, or counts it: real files, git and kernel events."""

import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from agent_brain_server.models.index import JobStatus
from agent_brain_server.models.query import QueryRequest
from agent_brain_server.project.services import ProjectServices
from agent_brain_server.services import tree_watch, watcher

OpenServices = Callable[..., ProjectServices]
RunJob = Callable[..., JobStatus]
LIMIT_S = 600.0


ON_EVERY_SYSTEM = pytest.mark.parametrize("services", ["inotify", "other"], indirect=True)


@pytest.fixture
def services(
    open_services: OpenServices, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> ProjectServices:
    """Services that watch, once as on Linux and once as on systems without inotify."""
    if getattr(request, "param", "inotify") == "other":
        monkeypatch.setattr(tree_watch, "HAS_INOTIFY", False)
        monkeypatch.setattr(watcher, "HAS_INOTIFY", False)
    return open_services(watch=True)


def find(services: ProjectServices, name: str) -> list[str]:
    results = services.queries.answer(QueryRequest(query=name, mode="bm25")).results
    return [result.source for result in results if name in result.symbols]


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < deadline, "the change was not indexed"
        time.sleep(0.02)


@ON_EVERY_SYSTEM
def test_saved_file_is_found_and_its_old_content_is_not(
    services: ProjectServices, project: Path, run_job: RunJob
) -> None:
    run_job(services)
    (project / "src/parser.py").write_text("def decode_trailer(line):\n    return line\n")
    wait_for(lambda: find(services, "decode_trailer") == ["src/parser.py"])
    assert find(services, "parse_http_header") == []
    wait_for(lambda: services.queries.freshness().files_pending == 0)


@ON_EVERY_SYSTEM
def test_save_by_rename_is_found(services: ProjectServices, project: Path, run_job: RunJob) -> None:
    run_job(services)
    (project / "src/.parser.py.new").write_text("def renamed_into_place():\n    pass\n")
    os.replace(project / "src/.parser.py.new", project / "src/parser.py")
    wait_for(lambda: find(services, "renamed_into_place") == ["src/parser.py"])


@ON_EVERY_SYSTEM
def test_new_directories_are_watched_recursively(services: ProjectServices, project: Path, run_job: RunJob) -> None:
    run_job(services)
    (project / "lib/inner").mkdir(parents=True)
    (project / "lib/inner/fresh.py").write_text("def first_in_new_directory():\n    pass\n")
    wait_for(lambda: find(services, "first_in_new_directory") == ["lib/inner/fresh.py"])
    (project / "lib/inner/second.py").write_text("def second_in_new_directory():\n    pass\n")
    wait_for(lambda: find(services, "second_in_new_directory") == ["lib/inner/second.py"])


@ON_EVERY_SYSTEM
def test_deleted_directory_is_removed_from_index(services: ProjectServices, project: Path, run_job: RunJob) -> None:
    run_job(services)
    shutil.rmtree(project / "src")
    wait_for(lambda: services.documents.counts().files == 2)
    assert find(services, "parse_http_header") == []


def test_many_new_files_are_found(services: ProjectServices, project: Path, run_job: RunJob) -> None:
    run_job(services)
    for number in range(300):
        (project / f"src/bulk_{number}.py").write_text(f"def bulk_{number}():\n    pass\n")
    wait_for(lambda: services.documents.counts().files == 304 and services.documents.counts().files_pending == 0)
    wait_for(lambda: find(services, "bulk_299") == ["src/bulk_299.py"])


def test_start_indexes_changes_made_while_stopped(open_services: OpenServices, project: Path, run_job: RunJob) -> None:
    first = open_services()
    run_job(first)
    first.close()
    (project / "src/parser.py").write_text("def changed_while_stopped():\n    pass\n")
    second = open_services(watch=True)
    wait_for(lambda: find(second, "changed_while_stopped") == ["src/parser.py"])


def test_files_outside_of_indexed_roots_stay_out(services: ProjectServices, project: Path, run_job: RunJob) -> None:
    run_job(services, "src", include_patterns=["*.py"])
    (project / "docs/guide.md").write_text("# Changed\n")
    (project / "src/notes.md").write_text("# New\n")
    (project / "src/parser.py").write_text("def the_expected_one():\n    pass\n")
    wait_for(lambda: find(services, "the_expected_one") == ["src/parser.py"])
    assert set(services.documents.file_records()) == {"src/locks.py", "src/parser.py"}


def test_project_without_indexed_roots_is_not_indexed(services: ProjectServices, project: Path) -> None:
    (project / "src/parser.py").write_text("def unasked():\n    pass\n")
    time.sleep(1.0)
    assert services.indexing.jobs.newest() == []


def ask(services: ProjectServices, word: str) -> list[str]:
    """Return the files that contain a word, from the first answer without pending files."""
    deadline = time.monotonic() + 6 * LIMIT_S
    while True:
        request = QueryRequest(query=word, mode="bm25", wait_ms=10_000)
        answer = services.queries.answer(request)
        if answer.index.files_pending == 0:
            return sorted({result.source for result in answer.results if word in result.text})
        assert time.monotonic() < deadline, answer.index


def write(path: Path, word: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"def {word}():\n    pass\n")


def git(project: Path, *arguments: str) -> None:
    command = ["git", "-c", "user.name=t", "-c", "user.email=t@t", *arguments]
    subprocess.run(command, cwd=project, check=True, capture_output=True)


@ON_EVERY_SYSTEM
def test_query_after_each_save_finds_it(services: ProjectServices, project: Path, run_job: RunJob) -> None:
    run_job(services)
    for number in range(20):
        write(project / "src/parser.py", f"savedword{number:02}")
        assert ask(services, f"savedword{number:02}") == ["src/parser.py"]
        if number:
            assert ask(services, f"savedword{number - 1:02}") == []


def test_query_without_waiting_counts_the_save(services: ProjectServices, project: Path, run_job: RunJob) -> None:
    run_job(services)
    assert ask(services, "nothing") == []
    write(project / "src/parser.py", "notwaitedfor")
    answer = services.queries.answer(QueryRequest(query="notwaitedfor", mode="bm25"))
    assert answer.results or answer.index.files_pending > 0


@ON_EVERY_SYSTEM
def test_deleted_file_is_never_answered(services: ProjectServices, project: Path, run_job: RunJob) -> None:
    run_job(services)
    (project / "src/parser.py").unlink()
    assert find(services, "parse_http_header") == []


def test_second_save_with_equal_mtime_is_found(services: ProjectServices, project: Path, run_job: RunJob) -> None:
    run_job(services)
    path = project / "src/parser.py"
    write(path, "firstsave")
    assert ask(services, "firstsave") == ["src/parser.py"]
    before = path.stat()
    write(path, "nextssave")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert ask(services, "nextssave") == ["src/parser.py"]


def test_new_directory_is_watched_before_it_has_files(
    services: ProjectServices, project: Path, run_job: RunJob
) -> None:
    run_job(services)
    (project / "lib/deep").mkdir(parents=True)
    assert ask(services, "nothing") == []
    write(project / "lib/deep/one.py", "firstindirectory")
    assert ask(services, "firstindirectory") == ["lib/deep/one.py"]
    (project / "lib/deep/one.py").unlink()
    assert ask(services, "firstindirectory") == []
    write(project / "lib/deep/two.py", "secondindirectory")
    assert ask(services, "secondindirectory") == ["lib/deep/two.py"]


def test_package_with_empty_init_is_watched(services: ProjectServices, project: Path, run_job: RunJob) -> None:
    run_job(services)
    (project / "pkg").mkdir()
    (project / "pkg/__init__.py").touch()
    assert ask(services, "nothing") == []
    write(project / "pkg/module.py", "inthepackage")
    assert ask(services, "inthepackage") == ["pkg/module.py"]


def test_empty_project_is_watched(services: ProjectServices, project: Path, run_job: RunJob) -> None:
    for name in ("src", "tests", "docs"):
        shutil.rmtree(project / name)
    run_job(services)
    write(project / "first.py", "firstofall")
    assert ask(services, "firstofall") == ["first.py"]


def test_swapped_directory_is_watched_by_inode(services: ProjectServices, project: Path, run_job: RunJob) -> None:
    run_job(services)
    for number in range(3):
        write(project / "gen.new/out.py", f"generated{number}")
        shutil.rmtree(project / "gen", ignore_errors=True)
        os.rename(project / "gen.new", project / "gen")
        assert ask(services, f"generated{number}") == ["gen/out.py"]
        write(project / "gen/out.py", f"savedagain{number}")
        assert ask(services, f"savedagain{number}") == ["gen/out.py"]


def test_file_replaced_by_directory_is_updated(services: ProjectServices, project: Path, run_job: RunJob) -> None:
    run_job(services)
    (project / "src/parser.py").unlink()
    write(project / "src/parser.py/inner.py", "insidenow")
    assert ask(services, "insidenow") == ["src/parser.py/inner.py"]
    assert find(services, "parse_http_header") == []


@ON_EVERY_SYSTEM
def test_branch_switches_and_stashes_are_found(services: ProjectServices, project: Path, run_job: RunJob) -> None:
    git(project, "init", "-q", "-b", "main")
    git(project, "add", "-A")
    git(project, "commit", "-q", "-m", "base")
    run_job(services)
    git(project, "checkout", "-q", "-b", "other")
    for number in range(50):
        write(project / f"many/dir_{number}/file.py", f"branchword{number:03}")
    git(project, "add", "-A")
    git(project, "commit", "-q", "-m", "many")
    git(project, "checkout", "-q", "main")
    assert ask(services, "branchword037") == []
    git(project, "checkout", "-q", "other")
    git(project, "checkout", "-q", "main")
    git(project, "checkout", "-q", "other")
    assert ask(services, "branchword037") == ["many/dir_37/file.py"]
    write(project / "many/dir_37/file.py", "savedafterwards")
    write(project / "fresh/new.py", "untrackedword")
    git(project, "stash", "-q", "-u")
    git(project, "stash", "pop", "-q")
    assert ask(services, "savedafterwards") == ["many/dir_37/file.py"]
    write(project / "fresh/new.py", "aftertheestash")
    assert ask(services, "aftertheestash") == ["fresh/new.py"]


@ON_EVERY_SYSTEM
def test_changed_ignore_rules_are_applied(services: ProjectServices, project: Path, run_job: RunJob) -> None:
    git(project, "init", "-q")
    run_job(services)
    write(project / "maybe/file.py", "maybeignored")
    assert ask(services, "maybeignored") == ["maybe/file.py"]
    for rules in (project / ".gitignore", project / ".git/info/exclude"):
        rules.parent.mkdir(exist_ok=True)
        rules.write_text("maybe/\n")
        assert ask(services, "maybeignored") == []
        rules.write_text("")
        assert ask(services, "maybeignored") == ["maybe/file.py"]


def test_forced_add_of_ignored_file_is_found(services: ProjectServices, project: Path, run_job: RunJob) -> None:
    (project / ".gitignore").write_text("ignored/\n")
    git(project, "init", "-q")
    run_job(services)
    write(project / "ignored/file.py", "forcedin")
    assert ask(services, "forcedin") == []
    git(project, "add", "-f", "ignored/file.py")
    assert ask(services, "forcedin") == ["ignored/file.py"]
    write(project / "ignored/file.py", "changedinside")
    assert ask(services, "changedinside") == ["ignored/file.py"]
    git(project, "rm", "-q", "-f", "--cached", "ignored/file.py")
    assert ask(services, "changedinside") == []


def test_growing_log_does_not_delay_other_saves(services: ProjectServices, project: Path, run_job: RunJob) -> None:
    git(project, "init", "-q")
    (project / ".gitignore").write_text("ignored.log\n")
    run_job(services)
    for number in range(15):
        for name in ("ignored.log", "listed.log"):
            with (project / name).open("a") as file:
                file.write("tick tick\n" * 100)
        write(project / "src/parser.py", f"besidethelog{number:02}")
        wait_for(lambda word=f"besidethelog{number:02}": find(services, word) == ["src/parser.py"])  # type: ignore[misc]


def test_unwatched_directories_are_compared_and_reported(
    open_services: OpenServices, project: Path, run_job: RunJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent_brain_server.services.tree_watch.MAX_WATCHES", 1)
    services = open_services(watch=True)
    run_job(services)
    write(project / "src/parser.py", "notwatched")
    assert ask(services, "notwatched") == ["src/parser.py"]
    status = services.status().watch
    assert (status.state, status.unwatched_directories > 0) == ("partial", True)
    assert "max_user_watches" in status.unwatched["src"]
    assert services.queries.answer(QueryRequest(query="x")).index.watch == "partial"
    write(project / "src/parser.py", "polledinstead")  # found within seconds, also if no query waits
    wait_for(lambda: find(services, "polledinstead") == ["src/parser.py"])


def test_restored_project_root_is_watched_again(services: ProjectServices, project: Path, run_job: RunJob) -> None:
    run_job(services)
    away = project.with_name("away")
    os.rename(project, away)
    answer = services.queries.answer(QueryRequest(query="parse_http_header"))
    assert (answer.results, answer.index.files_pending > 0) == ([], True)
    os.rename(away, project)
    write(project / "src/parser.py", "backagain")
    assert ask(services, "backagain") == ["src/parser.py"]


def test_save_during_a_long_job_is_indexed_before_its_end(
    services: ProjectServices, project: Path, run_job: RunJob
) -> None:
    run_job(services)
    for number in range(300):
        write(project / f"bulk/file_{number}.py", f"bulkword{number}")
    wait_for(lambda: services.documents.counts().files > 10)
    write(project / "src/parser.py", "besidethejob")
    assert ask(services, "besidethejob") == ["src/parser.py"]
    assert ask(services, "bulkword299") == ["bulk/file_299.py"]


def test_directory_with_kept_times_is_read_again(services: ProjectServices, project: Path, run_job: RunJob) -> None:
    run_job(services)
    for number in range(3):
        write(project / "new/out.py", f"sametimes{number}")
        os.utime(project / "new/out.py", (1_000_000_000, 1_000_000_000))
        shutil.rmtree(project / "gen", ignore_errors=True)
        os.rename(project / "new", project / "gen")
        assert ask(services, f"sametimes{number}") == ["gen/out.py"]


def test_name_that_is_not_utf8_is_skipped(services: ProjectServices, project: Path, run_job: RunJob) -> None:
    run_job(services)
    Path(os.fsdecode(os.fsencode(project) + b"/src/bad\xff.py")).write_text("x = 1\n")
    Path(os.fsdecode(os.fsencode(project) + b"/dir\xff")).mkdir()
    write(project / "src/parser.py", "besidebadname")
    assert ask(services, "besidebadname") == ["src/parser.py"]
    assert services.status().skipped.get("undecodable_name") == 1
