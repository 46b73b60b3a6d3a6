import pytest

from agent_brain_server.search.parsed_query import parse_query
from agent_brain_server.search.signals import (
    Versions,
    are_related,
    defines_name,
    filename_match,
    find_version,
    heading_match,
    is_peripheral,
    path_depth,
    stem_parts,
)
from agent_brain_server.support.tokens import normalize_name, stem
from agent_brain_server.types import ChunkMetadata


def metadata(symbols):
    return ChunkMetadata(1, "a.py", 1, 9, "python", "code", tuple(map(normalize_name, symbols)), None)


@pytest.mark.parametrize(
    ("query", "symbols", "value"),
    [
        ("flat_hash_map", ("FlatHashMap",), 1.0),
        ("how does parseHeader work", ("Client", "parse_header"), 1.0),
        ("parse header fields quickly", ("parse",), 0.0),
        ("parseHeader", (), 0.0),
    ],
)
def test_defines_name(query, symbols, value):
    assert defines_name(parse_query(query), metadata(symbols)) == value


@pytest.mark.parametrize(
    ("query", "path", "value"),
    [
        ("request throttling and concurrency", "middleware/throttle.go", 1.0),
        ("panic recovery middleware", "middleware/recoverer.go", 1.0),
        ("how are routes matched", "src/router.ts", 1.0),
        ("how are routes matched", "src/route_headers.ts", 0.0),
        ("routing", "routing/__init__.py", 1.0),
        ("routing", "routing/index.ts", 1.0),
        ("main loop", "___", 0.0),
    ],
)
def test_filename_match(query, path, value):
    assert filename_match(parse_query(query), path) == value


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("validation", "validator", True),
        ("recovery", "recoverer", True),
        ("route", "router", True),
        ("log", "logger", True),
        ("con", "context", False),
        ("io", "iota", False),
        ("compose", "computer", False),
        ("interface", "interpolate", False),
        ("authentic", "authenticator", True),
        ("time", "token", False),
    ],
)
def test_are_related_by_common_prefix(one, other, expected):
    assert are_related(stem(one), stem(other)) is expected
    assert are_related(stem(other), stem(one)) is expected


def test_path_depth_is_relative_to_shallowest():
    assert path_depth("src/main/java/org/lang/A.java", 5) == 0.0
    assert path_depth("a/b/c.py", 1) == pytest.approx(0.2)
    assert path_depth("/".join("abcdefghijk"), 0) == 1.0


def test_stem_parts_of_hidden_file():
    assert stem_parts(".gitignore") == {stem("gitignore")}


@pytest.mark.parametrize(
    ("query", "heading", "value"),
    [
        ("separate connect and read timeouts", "User guide > Connect timeouts", 0.5),
        ("timeouts", "Using timeouts", 1.0),
        ("timeouts", "Retries", 0.0),
        ("timeouts", None, 0.0),
        ("?", "Retries", 0.0),
    ],
)
def test_heading_match(query, heading, value):
    assert heading_match(parse_query(query), heading) == value


@pytest.mark.parametrize(
    ("path", "aside"),
    [
        ("src/router.go", False),
        ("examples/rest/main.go", True),
        ("_examples/rest/main.go", True),
        ("src/example.go", False),
        ("third-party/zlib/inflate.c", True),
        ("lib/compat/py2.py", True),
        ("lib/compat.py", True),
        ("lib/_compat.py", True),
        ("lib/compatible.py", False),
        (".github/workflows/build.yml", True),
        (".gitignore", False),
        ("lib/history.py", False),
        ("api/v1/routes.py", False),
    ],
)
def test_is_peripheral_by_path(path, aside):
    assert is_peripheral(parse_query("matching of routes"), path, is_document=False, versions=Versions([path])) is aside


@pytest.mark.parametrize("path", ["CHANGES.rst", "docs/release-notes.md", "docs/changelog/2.0.md", "HISTORY"])
def test_is_peripheral_changelog(path):
    parsed = parse_query("matching of routes")
    assert is_peripheral(parsed, path, is_document=True, versions=Versions(()))
    assert not is_peripheral(parsed, "docs/routes.md", is_document=True, versions=Versions(()))


@pytest.mark.parametrize(
    ("query", "path"),
    [
        ("example of a custom loader", "examples/loader.py"),
        ("legacy loader", "lib/legacy/loader.py"),
        ("the history of loaders", "HISTORY.md"),
    ],
)
def test_is_peripheral_not_if_query_names_it(query, path):
    assert not is_peripheral(parse_query(query), path, is_document=path.endswith("md"), versions=Versions([path]))


@pytest.mark.parametrize(
    ("path", "others", "superseded"),
    [
        ("lib/v1/routes.py", ["lib/routes.py"], True),
        ("lib/v1/routes.py", [], False),
        ("lib/routes.py", ["lib/v1/routes.py"], False),
        ("lib/v3/routes.py", ["lib/v4/routes.py"], True),
        ("lib/v3/removed.py", ["lib/v4/routes.py"], True),
        ("lib/v4/routes.py", ["lib/v3/routes.py"], False),
        ("lib/v9/routes.py", ["lib/v10/routes.py"], True),
        ("lib/v3/routes.py", ["src/v4/routes.py"], False),
        ("api/v1beta1/types.go", ["api/v1/types.go"], True),
        ("api/v1beta1/types.go", ["api/v1alpha2/types.go"], False),
    ],
)
def test_is_peripheral_superseded_version(path, others, superseded):
    versions = Versions([path, *others])
    assert is_peripheral(parse_query("matching of routes"), path, is_document=False, versions=versions) is superseded
    asked = parse_query("v1 v3 v9 v1beta1 routes")
    assert not is_peripheral(asked, path, is_document=False, versions=versions)


@pytest.mark.parametrize(
    ("path", "current"),
    [
        ("lib/v1/routes.py", "lib/routes.py"),
        ("v2/routes.py", "routes.py"),
        ("v2beta1/routes.py", "routes.py"),
        ("lib/dev1/routes.py", None),
        ("lib/v1.py", None),
    ],
)
def test_find_version(path, current):
    found = find_version(path)
    assert (found and found.current) == current
