"""The queries about documentation and their source archives."""

import hashlib
import tarfile
from pathlib import Path

import pytest

from benchmarks.retrieval.package_docs import (
    WORDINGS,
    Package,
    Section,
    fetch_package,
    load_questions,
    require_section,
)
from benchmarks.retrieval.query_set import Target

LEAST_QUESTIONS = 60


def test_query_set_is_half_paraphrased() -> None:
    packages, questions = load_questions()
    assert len(questions) >= LEAST_QUESTIONS
    assert len({question.text for question in questions}) == len(questions)
    assert {question.package for question in questions} == {package.name for package in packages}
    assert {question.wording for question in questions} == set(WORDINGS)
    assert 2 * sum(question.wording == "other" for question in questions) >= len(questions)


def test_query_set_has_lines_and_hashes() -> None:
    packages, questions = load_questions()
    for target in (target for question in questions for target in question.targets):
        assert target.start_line is not None
        assert target.end_line is not None
        assert target.start_line < target.end_line
    assert all(len(bytes.fromhex(package.sha256)) == hashlib.sha256().digest_size for package in packages)


@pytest.fixture
def package(tmp_path: Path) -> Package:
    """Write the archive of a package with one document, as if it had been downloaded."""
    document = tmp_path / "guide.md"
    document.write_text("# Guide\n\n## Installing\n\nRun it.\n")
    archive = tmp_path / "sources" / "tool-1.0.tar.gz"
    archive.parent.mkdir()
    with tarfile.open(archive, "w:gz") as sources:
        sources.add(document, "tool-1.0/docs/guide.md")
    return Package("tool", "1.0", hashlib.sha256(archive.read_bytes()).hexdigest())


def test_archive_is_unpacked_once(tmp_path: Path, package: Package) -> None:
    unpacked = fetch_package(package, tmp_path / "sources")
    assert (unpacked / "docs" / "guide.md").read_text().startswith("# Guide")
    (tmp_path / "sources" / "tool-1.0.tar.gz").unlink()
    assert fetch_package(package, tmp_path / "sources") == unpacked


def test_archive_with_wrong_hash_is_refused(tmp_path: Path, package: Package) -> None:
    with pytest.raises(ValueError, match="not the expected file"):
        fetch_package(Package(package.name, package.version, "0" * 64), tmp_path / "sources")
    assert not (tmp_path / "sources" / "tool-1.0").exists()


def test_label_at_wrong_heading_is_refused(tmp_path: Path, package: Package) -> None:
    sources = fetch_package(package, tmp_path / "sources")
    require_section(Section("Installing", Target("docs/guide.md", 3, 5)), sources)
    for lines in ((4, 5), (3, 6)):
        with pytest.raises(ValueError, match="is not the heading 'Installing'"):
            require_section(Section("Installing", Target("docs/guide.md", *lines)), sources)
