"""What is made of packages, model, git and limits."""

import pytest

from agent_brain_cli.diagnosis import machine


@pytest.mark.parametrize(
    ("check", "part", "found", "error", "word"),
    [
        (machine.check_packages, "packages", {"missing": ["tantivy"], "broken": {}}, None, "tantivy"),
        (machine.check_packages, "packages", {"missing": [], "broken": {"numpy": "ImportError: x"}}, None, "numpy"),
        (machine.check_packages, "packages", None, "PackageNotFoundError: y", "y"),
        (machine.check_model, "model", None, "FileNotFoundError: model.onnx", "model.onnx"),
        (machine.check_watching, "watching", None, "OSError: inotify watch limit reached", "limit"),
    ],
)
def test_what_is_missing_is_named_with_what_to_do(told, check, part, found, error, word):
    finding = check(told(part, found, error))
    assert finding.status == "failed"
    assert word in finding.message
    assert finding.next_step


def test_the_machine_that_runs_the_tests_is_well(look):
    for check in (machine.check_python, machine.check_git, machine.check_disk):
        assert check(look()).status in ("ok", "warning")


def test_without_git_it_is_a_warning(look, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert machine.check_git(look()).status == "warning"
