"""Filters are worked out once for each state of the store, and globs mean what they mean for a job."""

import pytest

from agent_brain_server.errors import InvalidRequestError
from agent_brain_server.storage import chunk_filter
from agent_brain_server.types import QueryFilter


@pytest.fixture
def filled(store, make_file):
    store.replace_files(
        [
            make_file("src/a.py", ["one", "two"]),
            make_file("src/b.go", ["three"], language="go"),
            make_file("tests/test_a.py", ["four"], source_type="test"),
            make_file("docs/guide.md", ["five"], language="markdown", source_type="doc"),
        ]
    )
    return store


def texts(store, **limits):
    allowed = store.resolve_filter(QueryFilter(**limits))
    return sorted(chunk.text for chunk in store.chunks_by_keys(allowed.keys.tolist()).values())


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({"languages": ("go", "markdown")}, ["five", "three"]),
        ({"source_types": ("test",)}, ["four"]),
        ({"file_paths": ("src/",)}, ["one", "three", "two"]),
        ({"file_paths": ("*.py", "!tests/")}, ["one", "two"]),
        ({"file_paths": ("!src/",)}, ["five", "four"]),
        ({"file_paths": ("nowhere/",)}, []),
        ({"file_paths": ("src/",), "languages": ("go",)}, ["three"]),
        ({"languages": ("cobol",)}, []),
    ],
)
def test_each_limit_takes_away_and_together_they_take_more(filled, limits, expected):
    assert texts(filled, **limits) == expected


def test_the_same_filter_is_worked_out_once_until_the_store_changes(filled, make_file):
    limits = QueryFilter(languages=("go",))
    first = filled.resolve_filter(limits)
    assert filled.resolve_filter(limits) is first
    filled.replace_files([make_file("c.go", ["six"], language="go")])
    assert len(filled.resolve_filter(limits).keys) == 2


def test_only_so_many_filters_are_remembered(filled, monkeypatch):
    monkeypatch.setattr(chunk_filter, "MAX_CACHED_FILTERS", 2)
    limits = [QueryFilter(languages=(name,)) for name in ("go", "python", "markdown")]
    first, second, _ = (filled.resolve_filter(each) for each in limits)
    assert filled.resolve_filter(limits[1]) is second
    assert filled.resolve_filter(limits[0]) is not first


def test_a_range_from_back_to_front_is_refused_by_name(filled):
    with pytest.raises(InvalidRequestError, match=r"file_paths.*\[z-a\]"):
        filled.resolve_filter(QueryFilter(file_paths=("[z-a]",)))
