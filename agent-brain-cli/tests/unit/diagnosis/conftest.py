"""A project and a home of the test's own, as the checks look at them."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from agent_brain_cli.commands.doctor import describe_patient
from agent_brain_cli.diagnosis.finding import Patient
from agent_brain_cli.options import Target
from agent_brain_server.storage_paths import resolve_state_dir


@pytest.fixture
def look(tmp_path, monkeypatch) -> Callable[[], Patient]:
    """Return a function that looks at the project as it is when it is called."""
    for name in ("DOC_SERVE_STATE_DIR", "AGENT_BRAIN_PORT", "AGENT_BRAIN_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AGENT_BRAIN_HOME", str(tmp_path / "home"))
    root = tmp_path / "project"
    root.mkdir()
    target = Target(root, resolve_state_dir(root), explicit=True, as_json=False)
    return lambda: describe_patient(target)


@dataclass(frozen=True)
class ToldPatient(Patient):
    """A project of which the trial's report is given."""

    report: dict | None = None

    @property
    def trial(self):
        return self.report


@pytest.fixture
def told(look) -> Callable[..., Patient]:
    """Return a function that gives a part of the trial's report and returns the project with it."""

    def tell(part, found, error=None):
        patient = look()
        places = (patient.target, patient.config, patient.is_shared, patient.place, patient.data)
        return ToldPatient(*places, report={part: {"found": found, "error": error}})

    return tell
