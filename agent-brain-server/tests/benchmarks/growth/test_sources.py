import zipfile

import pytest

from benchmarks.growth import sources
from benchmarks.growth.sources import Wheel, choose_half, cut_corpus, fetch_wheel, make_queries

FUNCTION = 'def handle_{0}(value):\n    """Handle case {0} of the value. At once."""\n    return value\n'


@pytest.fixture
def wheels(tmp_path, monkeypatch):
    """Lay two small wheels where pip would have put them."""
    made = []
    for name, files in (("one", 40), ("two", 10)):
        wheel = Wheel(name, "1.0", "py3-none-any", "")
        with zipfile.ZipFile(tmp_path / wheel.file_name, "w") as archive:
            for number in range(files):
                archive.writestr(f"{name}/part_{number % 4}/module_{number}.py", FUNCTION.format(number) * 22)
            archive.writestr(f"{name}/data.json", "{}" * 100_000)
            archive.writestr(f"{name}/empty.py", "")
        digest = sources.hashlib.sha256((tmp_path / wheel.file_name).read_bytes()).hexdigest()
        made.append(Wheel(name, "1.0", "py3-none-any", digest))
    monkeypatch.setattr(sources, "WHEELS", tuple(made))
    return tmp_path


def sizes(root):
    return {path.relative_to(root).as_posix(): path.stat().st_size for path in root.rglob("*") if path.is_file()}


def test_corpus_has_requested_size_and_is_repeatable(wheels, tmp_path):
    cut_corpus(20, tmp_path / "a", wheels)
    cut_corpus(20, tmp_path / "b", wheels)
    files = sizes(tmp_path / "a")
    assert files == sizes(tmp_path / "b")
    assert 0 <= sum(files.values()) - 20 * sources.BYTES_OF_CHUNK < 2_000
    assert all(name.startswith("one/") and name.endswith(".py") for name in files)


def test_larger_corpus_contains_smaller_one(wheels, tmp_path):
    cut_corpus(20, tmp_path / "small", wheels)
    cut_corpus(110, tmp_path / "large", wheels)
    small, large = sizes(tmp_path / "small"), sizes(tmp_path / "large")
    assert small.items() < large.items()
    assert any(name.startswith("two/") for name in large)


def test_corpus_larger_than_source_is_refused(wheels, tmp_path):
    with pytest.raises(ValueError, match="fewer than 1,000"):
        cut_corpus(1_000, tmp_path / "a", wheels)
    assert not (tmp_path / "a").exists()


def test_wheel_with_wrong_hash_is_refused(wheels):
    wheel = Wheel("one", "1.0", "py3-none-any", "0" * 64)
    with pytest.raises(ValueError, match="not the expected file"):
        fetch_wheel(wheel, wheels)


def test_queries_are_distinct_half_per_directory(wheels, tmp_path):
    cut_corpus(110, tmp_path / "a", wheels)
    questions = list(make_queries(tmp_path / "a"))
    assert questions == list(make_queries(tmp_path / "a"))
    assert len(set(questions)) == len(questions) > 20
    assert "Handle case 7 of the value" in questions
    assert choose_half(tmp_path / "a")[:3] == ["one/part_0/**", "one/part_2/**", "two/part_0/**"]
