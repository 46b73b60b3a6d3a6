"""git runs without anything that a repository, a hook or a relative search path could control."""

import ast
import os
import subprocess
from pathlib import Path

import pytest

from agent_brain_server.support import git
from agent_brain_server.support.processes import read_start_time

REPOSITORY = Path(__file__).parents[4]
PRODUCT = ("agent-brain-server/agent_brain_server", "agent-brain-cli/agent_brain_cli")
STARTERS = (
    "run",
    "Popen",
    "call",
    "check_call",
    "check_output",
    "execv",
    "execvp",
    "execve",
    "execvpe",
    "create_subprocess_exec",
)


def make_program(directory: Path, script: str) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    program = directory / "git"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return program


@pytest.fixture
def work_tree(tmp_path: Path) -> Path:
    root = tmp_path / "work tree"
    root.mkdir()
    subprocess.run(["git", "init", "-q"], cwd=root, check=True)
    return root


def find_git_starts(path: Path) -> list[int]:
    """Return the lines on which a module starts a program by the name of git."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.List | ast.Tuple) and node.elts:
            first = node.elts[0]
            if isinstance(first, ast.Constant) and isinstance(first.value, str) and Path(first.value).name == "git":
                found.append(node.lineno)
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") in STARTERS and node.args:
            first = node.args[0]
            if isinstance(first, ast.Constant) and str(first.value).split()[:1] == ["git"]:
                found.append(node.lineno)
    return found


@pytest.mark.slow
def test_product_starts_git_in_one_module():
    modules = [path for package in PRODUCT for path in (REPOSITORY / package).rglob("*.py")]
    assert len(modules) > 100
    assert {path: lines for path in modules if (lines := find_git_starts(path)) and path.name != "git.py"} == {}


def test_find_git_starts_sees_a_command(tmp_path):
    module = tmp_path / "module.py"
    module.write_text('import subprocess\nsubprocess.run(["git", "status"])\ncommand = ("/usr/bin/git", "log")\n')
    assert sorted(find_git_starts(module)) == [2, 3]


@pytest.mark.parametrize("entry", ["", ".", "bin"])
def test_find_git_ignores_relative_search_path(work_tree, monkeypatch, entry):
    for directory in (work_tree, work_tree / "bin"):
        make_program(directory, "touch canary")
    monkeypatch.chdir(work_tree)
    monkeypatch.setenv("PATH", f"{entry}:/usr/bin:/bin")
    assert git.is_work_tree_top(work_tree)
    assert not list(work_tree.rglob("canary"))


def test_find_git_without_git_returns_none(work_tree, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git.find_git() is None
    with pytest.raises(git.GitMissingError):
        git.run_git(work_tree, "status")
    assert git.is_ignored(work_tree, work_tree / "a") is None


def test_environment_keeps_only_configuration(work_tree, monkeypatch):
    dropped = ("GIT_DIR", "GIT_SSH_COMMAND", "GIT_CONFIG_COUNT", "GIT_CONFIG_PARAMETERS", "GIT_EXTERNAL_DIFF",
               "GIT_ASKPASS", "SSH_ASKPASS", "GIT_TRACE", "GIT_ATTR_SOURCE", "GIT_OBJECT_DIRECTORY")  # fmt: skip
    for name in dropped:
        monkeypatch.setenv(name, "foreign")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/home/me/.gitconfig")
    made = git.make_environment(work_tree)
    assert not made.keys() & set(dropped)
    assert made["GIT_CONFIG_GLOBAL"] == "/home/me/.gitconfig"
    assert made["GIT_ALLOW_PROTOCOL"] == ""
    assert made["GIT_CEILING_DIRECTORIES"] == str(work_tree.parent)


def test_environment_omits_ceiling_with_a_colon(tmp_path):
    assert "GIT_CEILING_DIRECTORIES" not in git.make_environment(tmp_path / "a:b" / "c")


def test_run_git_searches_no_directory_above(work_tree):
    inner = work_tree / "inner"
    (inner / ".git").mkdir(parents=True)  # no repository
    answer = git.run_git(inner, "rev-parse", "--show-toplevel")
    assert answer is not None
    assert answer.code
    assert git.is_work_tree_top(inner) is False


def test_run_git_timeout_kills_children(work_tree, monkeypatch, tmp_path):
    make_program(tmp_path / "bin", f"sleep 60 &\necho $! > {tmp_path}/child\nwait")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    assert git.run_git(work_tree, "status", timeout_s=1) is None
    child = int((tmp_path / "child").read_text())
    while read_start_time(child) is not None:
        os.sched_yield()


def test_is_work_tree_top_ignores_core_worktree(work_tree, tmp_path):
    subprocess.run(["git", "config", "core.worktree", "/etc"], cwd=work_tree, check=True)
    assert git.is_work_tree_top(work_tree) is False


@pytest.mark.parametrize("content", ["", "gitdir:", "gitdir: ../gone\n", "nonsense\n", "gitdir: \0\n"])
def test_read_git_dir_broken_file_returns_none(tmp_path, content):
    (tmp_path / ".git").write_text(content)
    assert git.read_git_dir(tmp_path) is None


def test_read_git_dir_fifo_does_not_block(tmp_path):
    os.mkfifo(tmp_path / ".git")
    assert git.read_git_dir(tmp_path) is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
@pytest.mark.parametrize("part", [".", ".git"])
def test_is_own_repository_of_another_user(work_tree, part):
    assert git.is_own_repository(work_tree)
    os.chown(work_tree / part, 65533, 65533)
    assert not git.is_own_repository(work_tree)
    assert git.find_own_work_tree(work_tree) is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
@pytest.mark.parametrize("kind", ["file", "link"])
def test_is_own_repository_pointer_to_another_user(work_tree, tmp_path, kind):
    repository = tmp_path / "elsewhere"
    (work_tree / ".git").rename(repository)
    if kind == "file":
        (work_tree / ".git").write_text(f"gitdir: {repository}\n")
    else:
        (work_tree / ".git").symlink_to(repository)
    assert git.is_own_repository(work_tree)
    os.chown(repository, 65533, 65533)
    assert not git.is_own_repository(work_tree)


def test_read_version_reports_version_or_reason(monkeypatch, tmp_path):
    assert git.read_version()[0].isdecimal()
    for script in ("exit 3", "echo something else"):
        make_program(tmp_path / "bin", script)
        monkeypatch.setenv("PATH", str(tmp_path / "bin"))
        with pytest.raises(git.GitMissingError):
            git.read_version()
