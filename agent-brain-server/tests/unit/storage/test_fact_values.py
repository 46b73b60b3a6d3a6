"""References as columns of numbers, and their packed form."""

from hypothesis import given, settings
from hypothesis import strategies as st

from agent_brain_server.storage import fact_values
from agent_brain_server.storage.fact_values import (
    KINDS,
    MAX_LINE,
    MAX_SCOPE,
    ReferenceTable,
    count_sites,
    pack_tables,
    unpack_sites,
)
from agent_brain_server.types import Reference

LINES = st.one_of(st.integers(1, 200), st.integers(1, MAX_LINE))
SCOPES = st.one_of(st.none(), st.integers(0, 300), st.integers(0, MAX_SCOPE))
REFERENCES = st.lists(st.builds(Reference, st.sampled_from("abcé"), LINES, st.sampled_from(KINDS), SCOPES), max_size=30)


def unpack(tables):
    """Return the references of each table, ordered by name, line, kind and scope."""
    found = [[] for _ in tables]
    for index, name, packed in pack_tables(tables):
        sites = unpack_sites(packed)
        assert count_sites(packed) == len(sites) > 0
        found[index].extend(Reference(name, *site) for site in sites)
    return [sorted(references, key=order) for references in found]


def order(reference):
    name, line, kind, scope = reference
    return name, line, KINDS.index(kind), -1 if scope is None else scope


@settings(max_examples=40, deadline=None)
@given(files=st.lists(REFERENCES, max_size=4))
def test_pack_tables_round_trip(files):
    assert unpack([ReferenceTable.make(file) for file in files]) == [sorted(file, key=order) for file in files]


def test_pack_tables_many_names_are_packed_alone(monkeypatch):
    files = [[Reference(f"{name}{number}", 1, "use") for number in range(3)] for name in "ab"]
    tables = [ReferenceTable.make(file) for file in files]
    monkeypatch.setattr(fact_values, "MAX_NAMES", 4)
    assert unpack(tables) == files


@given(references=REFERENCES)
def test_reference_table_equals_its_references(references):
    table = ReferenceTable.make(references)
    assert table == tuple(references)
    assert tuple(references) == table
    assert list(table[1:]) == references[1:]
    assert [table[number] for number in range(len(table))] == references
    assert ReferenceTable.make(table) is table
