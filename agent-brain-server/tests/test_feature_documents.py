"""The feature's documents, the README and the notes for agents name existing things."""

import json
import re
import tomllib
from pathlib import Path

import pytest

from agent_brain_server import storage_paths
from agent_brain_server.config.settings import ProjectConfig
from agent_brain_server.storage.document_store import SCHEMA

REPOSITORY = Path(__file__).parents[2]
FEATURE = REPOSITORY / ".speckit/features/109-multi-instance-architecture"
TASK_IDS = [f"T{number:03}" for number in range(1, 65)]
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
BUILD = (REPOSITORY / ".ci/run").read_text(encoding="utf-8")
NOTES = "CLAUDE.md"

Task = tuple[str, list[str], str]


def read_tasks() -> list[Task]:
    """Return the id, the modules and the test of each task."""
    text = (FEATURE / "tasks.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (T\d{3}) \| .*? \| (`[^|]*`) \| `([^|]*)` \|$", text, flags=re.MULTILINE)
    return [(task, re.findall(r"`(.*?)`", places), test) for task, places, test in rows]


def test_tasks_are_listed_once() -> None:
    assert sorted(task for task, _, _ in read_tasks()) == TASK_IDS


@pytest.mark.parametrize(("task", "places", "test"), read_tasks(), ids=[task for task, _, _ in read_tasks()])
def test_task_has_its_module_and_test(task: str, places: list[str], test: str) -> None:
    assert [place for place in places if not (REPOSITORY / place).is_file()] == []
    path, _, name = test.partition("::")
    functions = re.findall(r"^(?:async )?def (test_\w+)", (REPOSITORY / path).read_text(), flags=re.MULTILINE)
    assert functions
    assert not name or name in functions, task


@pytest.mark.parametrize("name", ["spec", "plan", "research", "data-model", "tasks"])
def test_specification_is_implemented(name: str) -> None:
    assert "\nStatus: Implemented\n" in (FEATURE / f"{name}.md").read_text(encoding="utf-8")


def test_plan_names_existing_modules() -> None:
    table = re.findall(r"^\| .*? \| (`.*?`) \| .* \|$", (FEATURE / "plan.md").read_text(), flags=re.MULTILINE)
    modules = re.findall(r"`([\w/]+\.py)`", " ".join(table))
    assert len(modules) > 10
    server = REPOSITORY / "agent-brain-server/agent_brain_server"
    assert [module for module in modules if not (server / module).is_file()] == []


def test_data_model_lists_every_table_and_file() -> None:
    text = (FEATURE / "data-model.md").read_text(encoding="utf-8")
    described = re.findall(r"^\| `([a-z]+)` \|", text.partition("## The document store")[2], flags=re.MULTILINE)
    assert described == re.findall(r"CREATE TABLE (\w+)", SCHEMA)
    names = [value for name, value in vars(storage_paths).items() if re.fullmatch(r"[A-Z_]+_(FILE|DIR)", name)]
    places = text.partition("## Files")[2].partition("\n## ")[0]
    in_logs = {storage_paths.SERVER_LOG_FILE, storage_paths.STDERR_FILE}
    assert len(names) > 10
    assert [name for name in names if name not in in_logs and name not in places and not name.endswith(".log")] == []


def test_agent_notes_name_existing_files() -> None:
    assert f"(../{NOTES})" in (REPOSITORY / ".claude" / NOTES).read_text(encoding="utf-8")
    text = (REPOSITORY / NOTES).read_text(encoding="utf-8")
    tasks = re.findall(r"^  ([a-z-]+):$", (REPOSITORY / "Taskfile.yml").read_text(), flags=re.MULTILINE)
    named = re.findall(r"\./task ([a-z-]+)", text)
    assert "before-push" in named
    assert [task for task in named if task not in tasks] == []
    scripts = re.findall(r"python (scripts/\w+\.py)", text)
    assert [script for script in scripts if not (REPOSITORY / script).is_file()] == []
    directories = re.findall(r"cd ([\w-]+) && \S+ -m pytest (\S+?)`", text)
    assert directories
    assert all((REPOSITORY / package / path).is_dir() for package, path in directories)


def test_contributing_and_ci_name_the_same_gate() -> None:
    opening = README.partition("```sh\n")[2].partition("```")[0]
    assert [line.split("#")[0].strip() for line in opening.splitlines()] == ["./task demo", "./task test"]
    contributing = (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert [command for command in ("./task test", "./task before-push") if command not in BUILD] == []
    assert "./task before-push" in contributing


def test_contributing_describes_every_task() -> None:
    taskfile = (REPOSITORY / "Taskfile.yml").read_text(encoding="utf-8")
    tasks = re.findall(r"^  ([a-z:-]+):\n(?:    .*\n)*?    desc: ", taskfile, flags=re.MULTILINE)
    contributing = (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8")
    parts_of_the_gate = re.findall(r"- task: ([a-z-]+)", taskfile.partition("\n  before-push:")[2].partition("\n\n")[0])
    assert len(parts_of_the_gate) > 3
    assert [
        task for task in tasks if task not in parts_of_the_gate and f"./task {task}" not in README + contributing
    ] == []


def test_readme_figures_are_measured() -> None:
    prose = re.sub(r"```.*?```", "", README, flags=re.DOTALL)
    figures = set(re.findall(r"\b0\.\d{2,3}\b|\b\d{1,2},\d{3}\b|\b\d+(?:\.\d+)?(?= (?:ms|MB)\b)", prose))
    reports = [(REPOSITORY / "docs" / name).read_text(encoding="utf-8") for name in ("QUALITY.md", "PERFORMANCE.md")]
    assert len(figures) > 10
    limits = {"1"}  # MB of a file that is indexed: a setting
    unknown = {figure for figure in figures - limits if not any(re.search(as_measured(figure), r) for r in reports)}
    assert unknown == set()


def as_measured(figure: str) -> str:
    """Return a pattern for a figure of a report, which may have more digits than the README."""
    return rf"\b{re.escape(figure)}" if "." in figure else rf"\b{re.escape(figure)}\b"


def test_charts_show_recorded_figures() -> None:
    figures = json.loads((REPOSITORY / "benchmarks" / "comparison.json").read_text(encoding="utf-8"))
    quality = (REPOSITORY / "docs" / "QUALITY.md").read_text(encoding="utf-8")
    for tool in figures["quality"]["tools"]:
        assert all(f"{tool[key]:.3f}" in quality for key in ("seen", "unseen") if key in tool)
    for way in figures["tasks"]["ways"]:
        assert f"{way['tokens']:,}" in README + quality


def test_readme_counts_installed_grammars() -> None:
    project = tomllib.loads((REPOSITORY / "agent-brain-server/pyproject.toml").read_text())["project"]
    grammars = [line for line in project["dependencies"] if line.startswith("tree-sitter-")]
    assert f"tree-sitter, {len(grammars)} languages" in README


def test_settings_examples_are_valid() -> None:
    text = (REPOSITORY / "docs" / "CONFIGURATION.md").read_text(encoding="utf-8")
    examples = re.findall(r"^```json\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    assert examples
    for example in examples:
        assert ProjectConfig.model_validate(json.loads(example)) != ProjectConfig()


def test_changelog_starts_with_package_version() -> None:
    newest = re.search(r"^## (\S+?),? ", (REPOSITORY / "CHANGELOG.md").read_text(), flags=re.MULTILINE)
    assert newest is not None
    for package in ("agent-brain-server", "agent-brain-cli"):
        project = tomllib.loads((REPOSITORY / package / "pyproject.toml").read_text())["project"]
        assert project["version"] == newest[1]


def test_deviations_name_listed_tasks() -> None:
    text = (FEATURE / "tasks.md").read_text(encoding="utf-8").partition("\n## Deviations\n")[2]
    named = [
        task for heads in re.findall(r"^- \*\*(.*?)\*\*: ", text, flags=re.MULTILINE) for task in heads.split(", ")
    ]
    assert {"T001", "T005", "T016", "T021", "T031", "T048", "T054"} <= set(named)
    assert [task for task in named if task.split(" to ")[0] not in TASK_IDS] == []
    assert len(named) == len(set(named))


def test_diagram_is_the_same_in_readme_and_architecture() -> None:
    documents = (README, (REPOSITORY / "docs" / "ARCHITECTURE.md").read_text(encoding="utf-8"))
    diagrams = [re.findall(r"^```mermaid$.*?^```$", text, flags=re.MULTILINE | re.DOTALL) for text in documents]
    assert diagrams[0] == diagrams[1] != []
