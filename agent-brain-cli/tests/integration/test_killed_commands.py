"""A command that is killed before any of its changes to the disk: the next command succeeds."""

import itertools
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

COMPILER = shutil.which("cc") or shutil.which("gcc")
MAX_CHANGES = 200  # more than any of these commands makes

KILLER = r"""
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Kills the process before its n-th change to the disk, counted from when the file KILL_AT exists and contains n. */
static void count_change(void) {
    static atomic_int count;
    char text[16] = {0};
    int file = syscall(SYS_openat, AT_FDCWD, getenv("KILL_AT"), O_RDONLY | O_CLOEXEC);
    if (file < 0) return;
    if (read(file, text, sizeof text - 1) > 0 && ++count == atoi(text)) kill(getpid(), SIGKILL);
    close(file);
}

int rename(const char *from, const char *to) {
    count_change();
    return syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
}
int unlink(const char *path) { count_change(); return syscall(SYS_unlinkat, AT_FDCWD, path, 0); }
int unlinkat(int place, const char *path, int flags) {
    count_change();
    return syscall(SYS_unlinkat, place, path, flags);
}
int rmdir(const char *path) { count_change(); return syscall(SYS_unlinkat, AT_FDCWD, path, AT_REMOVEDIR); }
int mkdir(const char *path, mode_t mode) { count_change(); return syscall(SYS_mkdirat, AT_FDCWD, path, mode); }
int fsync(int file) { count_change(); return syscall(SYS_fsync, file); }
int fdatasync(int file) { count_change(); return syscall(SYS_fdatasync, file); }
int ftruncate(int file, off_t size) { count_change(); return syscall(SYS_ftruncate, file, size); }
"""

REGISTER = """
import sys
from pathlib import Path
from agent_brain_server.lifecycle import registry
registry.register(Path(sys.argv[1]), Path(sys.argv[1]) / ".claude")
"""

ARM_AND_REGISTER = """
import os, sys
from pathlib import Path
from agent_brain_server.lifecycle import registry
Path(os.environ["KILL_AT"]).write_text(sys.argv[2])
registry.register(Path(sys.argv[1]), Path(sys.argv[1]) / ".claude")
"""

pytestmark = pytest.mark.skipif(COMPILER is None or sys.platform != "linux", reason="needs a C compiler and Linux")


@pytest.fixture(scope="module")
def killer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("killer")
    (directory / "killer.c").write_text(KILLER)
    assert COMPILER is not None
    command = [COMPILER, "-shared", "-fPIC", "-O1", "-o", str(directory / "killer.so"), str(directory / "killer.c")]
    subprocess.run(command, check=True, timeout=180)
    return directory / "killer.so"


@pytest.fixture
def kill_at(tmp_path: Path) -> Path:
    return tmp_path / "kill at"


@pytest.fixture
def mortal(agent_brain, killer: Path, kill_at: Path):
    """Run commands that are killed before the change whose number is in the file `kill_at`."""
    environment = agent_brain.environment | make_deadly(killer, kill_at)
    return replace(agent_brain, environment=environment, in_process=False)


def make_deadly(killer: Path, kill_at: Path) -> dict[str, str]:
    return {"LD_PRELOAD": str(killer), "KILL_AT": str(kill_at)}


def kill_everywhere(run: Callable[[], int], kill_at: Path, *, step: int = 1) -> Iterator[int]:
    """Run repeatedly, killed `step` changes later each time, until a run completes; yield after each kill."""
    for number in itertools.count(1, step):
        assert number < MAX_CHANGES
        kill_at.write_text(str(number))
        code = run()
        kill_at.unlink()
        if code != -signal.SIGKILL:
            assert code == 0
            return
        yield number


def test_init_completes_after_a_killed_init(agent_brain, mortal, project, kill_at):
    killed = 0
    for _ in kill_everywhere(lambda: mortal("init").code, kill_at):
        killed += 1
        listed = agent_brain("list", "--json")
        assert listed.code == 0, listed.err
        again = agent_brain("init", "--json")
        assert again.code == 0, again.err
        json.loads(Path(again.json["config_file"]).read_text())
        assert [entry["project_root"] for entry in agent_brain("list", "--json").json["projects"]] == [str(project)]
        shutil.rmtree(project / ".claude" / "Agent Brain")
        shutil.rmtree(Path(agent_brain.environment["AGENT_BRAIN_HOME"]))
    assert killed >= 5


def test_project_answers_after_a_killed_reset(agent_brain, mortal, project, kill_at):
    assert agent_brain("index", "--wait").code == 0
    assert agent_brain("stop").code == 0
    data = project / ".claude" / "Agent Brain" / "data"
    kept = project.parent / "data"
    shutil.copytree(data, kept)
    killed = 0
    for number in kill_everywhere(lambda: mortal("reset", "--yes").code, kill_at, step=9):
        killed += 1
        if number % 3 == 0:
            assert agent_brain("reset", "--yes").code == 0
        elif number % 3 == 1:
            indexed = agent_brain("index", "--wait")  # completes the index
            assert indexed.code == 0, indexed.err
        for question, source in (("turnstile", "src/locking.py"), ("wombat", "guide.md")):
            answer = agent_brain("query", question, "--json")
            assert answer.code == 0, answer.err
            assert answer.json["results"][0]["source"] == source
        assert agent_brain("stop").code == 0
        shutil.rmtree(data)
        shutil.copytree(kept, data)
    assert killed >= 2
    assert not (data / "llamaindex").exists()


def test_registry_keeps_projects_after_a_killed_writer(environment, tmp_path, killer, kill_at):
    first, second = tmp_path / "first", tmp_path / "second"

    def register(root: Path, program: str = REGISTER, *arguments: str, **more: str) -> int:
        command = [sys.executable, "-c", program, str(root), *arguments]
        return subprocess.run(command, env=environment | more, check=False, timeout=180).returncode

    home = Path(environment["AGENT_BRAIN_HOME"])
    for number in range(1, MAX_CHANGES):
        assert register(first) == 0
        code = register(second, ARM_AND_REGISTER, str(number), **make_deadly(killer, kill_at))
        kill_at.unlink()
        if code == 0:
            break
        assert code == -signal.SIGKILL
        assert register(second) == 0
        listed = json.loads((home / "registry.json").read_text())["projects"]
        assert {Path(entry["project_root"]) for entry in listed} == {first, second}
        assert sorted(path.name for path in home.iterdir()) == ["registry.json", "registry.lock"]
        (home / "registry.json").unlink()
    assert number >= 3


def test_daemon_registers_project_after_a_killed_one(agent_brain, mortal, brain_home, kill_at):
    killed = 0
    for number in range(1, MAX_CHANGES, 4):  # a daemon takes seconds to start twice
        assert mortal("start", "--mode", "shared", cwd=brain_home).code == 0
        shutil.rmtree(brain_home / "projects", ignore_errors=True)
        kill_at.write_text(str(number))
        outcome = agent_brain("init", "--mode", "shared")
        assert outcome.code == 0, outcome.err
        registered = agent_brain("start", "--mode", "shared")
        kill_at.unlink()
        if registered.code == 0:
            break
        killed += 1
        assert agent_brain("start", "--mode", "shared").code == 0
        status = agent_brain("status", "--json")
        assert status.code == 0, status.err
        assert status.json["mode"] == "shared"
        assert agent_brain("stop", "--mode", "shared").code == 0
    assert killed >= 1
