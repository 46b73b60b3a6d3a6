"""What a check finds, and what it is given to look at."""

import functools
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from agent_brain_cli.options import Target
from agent_brain_cli.render import Json
from agent_brain_server.config.settings import ProjectConfig
from agent_brain_server.storage_paths import make_child_environment

Status = Literal["ok", "warning", "failed"]

TRIAL_LIMIT_S = 60.0  # it takes two to three seconds here, and several times that on a loaded machine
TRIAL_MODULE = "agent_brain_server.project.self_check"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report.

    Attributes:
        check: What was looked at.
        status: `warning` is worth knowing; `failed` keeps Agent Brain from what it promises.
        message: What was found.
        next_step: What to do, preferably a command; None where nothing is to be done.
    """

    check: str
    status: Status
    message: str
    next_step: str | None = None


@dataclass(frozen=True)
class Patient:
    """What is looked at.

    Attributes:
        target: The project.
        config: Its settings; the defaults where its files can't be understood, which is a finding of its own.
        is_shared: The project is meant for the daemon.
        place: The state directory of the server that answers for the project: its own, or the daemon's.
        data: Where the project's indexes lie.
    """

    target: Target
    config: ProjectConfig
    is_shared: bool
    place: Path
    data: Path

    @functools.cached_property
    def trial(self) -> Json:
        """What a process of its own found out about packages, model, watching and stores.

        Raises:
            OSError: It could not be started.
            ValueError: It gave no report.
            subprocess.TimeoutExpired: It took too long.
        """
        command = [sys.executable, "-P", "-m", TRIAL_MODULE, "--model", self.config.embedding_model]
        command += ["--root", str(self.target.project_root), "--data", str(self.data)]
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=TRIAL_LIMIT_S,
            check=False,
            stdin=subprocess.DEVNULL,
            cwd="/",  # libraries read `.env` of the current directory, which may be a clone's
            env=make_child_environment(),
        )
        if done.returncode:
            last_line = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
            raise ValueError(f"the trial ended with code {done.returncode}: {last_line}")
        report: Any = json.loads(done.stdout)
        return dict(report)

    def tried(self, part: str) -> tuple[Any, str | None]:
        """Return what the trial found of a part, and what went wrong with it."""
        outcome = self.trial[part]
        return outcome["found"], outcome["error"]
