"""The wheels and source distributions of both packages are complete."""

import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email import message_from_bytes
from email.message import Message
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
BUILD_LIMIT_S = 300  # compressing the model takes seconds
PACKAGES = ["agent-brain-server", "agent-brain-cli"]
SKILL = "agent_brain_cli/skill/SKILL.md"
PLUGINS = "agent_brain_cli/plugins"
SETUP = (REPOSITORY / "scripts" / "setup.sh").read_text(encoding="utf-8")


def build(package: str | Path, target: str, directory: Path) -> Path:
    """Build `target`, wheel or sdist, of a package's directory and return the file."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(directory)]
    done = subprocess.run(
        command, cwd=REPOSITORY / package, capture_output=True, text=True, timeout=BUILD_LIMIT_S, check=False
    )
    assert done.returncode == 0, done.stderr
    (built,) = directory.iterdir()
    return built


def list_sources(package: str) -> set[str]:
    """Return the files of a package that its wheel must hold."""
    directory = REPOSITORY / package
    module = package.replace("-", "_")
    found = (path for path in (directory / module).rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    built = {SKILL, *list_plugins()} if package == "agent-brain-cli" else set()
    return {path.relative_to(directory).as_posix() for path in found} | built


def list_plugins() -> dict[str, Path]:
    """Return the files of the plugins by their path in the wheel."""
    skills = REPOSITORY / "agent-brain-skill"
    found = (path for name in ("agent-plugin", "claude-plugin") for path in (skills / name).rglob("*"))
    return {f"{PLUGINS}/{path.relative_to(skills).as_posix()}": path for path in found if path.is_file()}


@pytest.mark.process
@pytest.mark.parametrize("package", PACKAGES)
def test_wheel_holds_every_file_and_metadata(package: str, tmp_path: Path) -> None:
    with zipfile.ZipFile(build(package, "wheel", tmp_path)) as wheel:
        names = set(wheel.namelist())
        (metadata_name,) = [name for name in names if name.endswith(".dist-info/METADATA")]
        metadata = message_from_bytes(wheel.read(metadata_name))
    assert {name for name in names if ".dist-info/" not in name} == list_sources(package)
    assert f"{package.replace('-', '_')}/py.typed" in names
    check_metadata(package, metadata)
    licences = {Path(name).as_posix() for name in metadata.get_all("License-File", [])}
    assert all(any(name.endswith(f"/licenses/{licence}") for name in names) for licence in licences)


def check_metadata(package: str, metadata: Message) -> None:
    """Compare a wheel's metadata with the project and with the Python versions that the set-up accepts."""
    project = tomllib.loads((REPOSITORY / package / "pyproject.toml").read_text())["project"]
    assert metadata["Name"] == package
    assert metadata["Summary"] == project["description"]
    assert metadata["License-Expression"] == project["license"]
    assert metadata.get_payload() == (REPOSITORY / package / "README.md").read_text()
    classifiers = metadata.get_all("Classifier", [])
    accepted = re.search(r"\(3, (\d+)\) <= sys.version_info\[:2\] <= \(3, (\d+)\)", SETUP)
    assert accepted is not None
    first, last = map(int, accepted.groups())
    versions = [each.rpartition(" ")[2] for each in classifiers if re.search(r"Python :: 3\.\d+$", each)]
    assert versions == [f"3.{minor}" for minor in range(first, last + 1)]
    assert project["requires-python"] == f">=3.{first},<3.{last + 1}"


@pytest.mark.process
@pytest.mark.parametrize("package", PACKAGES)
def test_source_distribution_builds_same_wheel(package: str, tmp_path: Path) -> None:
    with tarfile.open(build(package, "sdist", tmp_path)) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert list_sources(package) | {"README.md", "LICENSE", "pyproject.toml"} <= names
    assert not [name for name in names if "__pycache__" in name]


@pytest.mark.process
@pytest.mark.slow
def test_cli_wheel_holds_skill(tmp_path: Path) -> None:
    skill = (REPOSITORY / "agent-brain-skill" / "Agent Brain" / "SKILL.md").read_bytes()
    archive = build("agent-brain-cli", "sdist", tmp_path / "sdist")
    with tarfile.open(archive) as sources:
        sources.extractall(tmp_path, filter="data")
    (unpacked,) = tmp_path.glob("agent_brain_cli-*")
    for directory in (REPOSITORY / "agent-brain-cli", unpacked):
        with zipfile.ZipFile(build(directory, "wheel", tmp_path / f"wheel of {directory.name}")) as wheel:
            assert wheel.read(SKILL) == skill
            assert len(list_plugins()) >= 7
            for name, path in list_plugins().items():
                assert wheel.read(name) == path.read_bytes()


def test_cli_requires_server_of_its_own_version() -> None:
    project = tomllib.loads((REPOSITORY / "agent-brain-cli" / "pyproject.toml").read_text())["project"]
    assert f"agent-brain-server=={project['version']}" in project["dependencies"]
