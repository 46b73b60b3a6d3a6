"""Syntax facts in the document store: written with their files, read by name, path and directory."""

import dataclasses
import threading

import pytest

from agent_brain_server.types import Definition, FactCounts, FileRecord, Reference, SyntaxFacts


def define(name, line, *, qualified=None, kind="def", parent=None, end=None):
    return Definition(
        name, qualified or name, kind, f"{kind} {name}", line, line, end or line, parent, f"About {name}."
    )


CLIENT = SyntaxFacts(
    (
        define("Client", 1, kind="class", end=4),
        define("send", 2, qualified="Client.send", parent=0),
        define("close", 4, qualified="Client.close", parent=0),
    ),
    (Reference("helper", 2, "call", 1), Reference("socket", 3, "use", 1), Reference("socket", 4, "call", 2)),
)
SERVER = SyntaxFacts(
    (define("Server", 1, kind="class", end=2), define("send", 2, qualified="Server.send", parent=0)),
    (Reference("Client", 1, "inherit", 0), Reference("send", 200, "call", None), Reference("socket", 2, "use", 1)),
    is_partial=True,
)


@pytest.fixture
def write(store, make_file):
    def write(path, facts, lines=4):
        file = make_file(path, [f"{path}{number}" for number in range(lines)])
        return store.replace_files([dataclasses.replace(file, facts=facts)])

    return write


@pytest.fixture
def symbols(store, write):
    write("src/client.py", CLIENT)
    write("src/server.py", SERVER)
    return store.symbols


def places(found):
    return [(stored.path, stored.definition.qualified_name) for stored in found.definitions]


def sites(found):
    return [
        (file.path, site.line, site.kind, site.enclosing and site.enclosing.qualified_name)
        for file in found.files
        for site in file.sites
    ]


def test_definitions_exact_lists_path_and_line(symbols):
    found = symbols.definitions("send")
    assert places(found) == [("src/client.py", "Client.send"), ("src/server.py", "Server.send")]
    assert found.total == 2
    assert found.definitions[0].definition == CLIENT.definitions[1]
    assert places(symbols.definitions("Send")) == []


def test_definitions_qualifier_matches_enclosing(symbols):
    assert places(symbols.definitions("send", qualifier=["Server"])) == [("src/server.py", "Server.send")]
    assert places(symbols.definitions("send", qualifier=["erver"])) == []


def test_definitions_ignore_case_and_part(symbols):
    assert places(symbols.definitions("SEND", match="ignore_case", qualifier=["server"])) == [
        ("src/server.py", "Server.send")
    ]
    assert [path for path, _ in places(symbols.definitions("ER", match="part"))] == ["src/server.py"]
    assert places(symbols.definitions("LI", match="part")) == [("src/client.py", "Client")]


def test_definitions_pages_and_filters(symbols):
    assert places(symbols.definitions("send", limit=1, offset=1)) == [("src/server.py", "Server.send")]
    assert symbols.definitions("send", limit=1).total == 2
    assert symbols.definitions("send", kinds=["class"]).total == 0
    assert places(symbols.definitions("send", allows=lambda path: "client" in path)) == [
        ("src/client.py", "Client.send")
    ]


def test_definitions_of_returns_whole_file(symbols):
    found = symbols.definitions_of("src/server.py")
    assert found.definitions == SERVER.definitions
    assert found.is_partial
    assert symbols.definitions_of("src") is None


def test_references_name_enclosing_definition(symbols):
    found = symbols.references("socket")
    assert sites(found) == [
        ("src/client.py", 3, "use", "Client.send"),
        ("src/client.py", 4, "call", "Client.close"),
        ("src/server.py", 2, "use", "Server.send"),
    ]
    assert (found.total_files, found.total_sites) == (2, 3)
    assert sites(symbols.references("send")) == [("src/server.py", 200, "call", None)]


@pytest.mark.parametrize(("offset", "limit"), [(0, 1), (1, 1), (1, 2), (2, 9), (3, 1), (0, 0)])
def test_references_pages_are_slices(symbols, offset, limit):
    page = symbols.references("socket", limit=limit, offset=offset)
    assert sites(page) == sites(symbols.references("socket"))[offset : offset + limit]
    assert (page.total_files, page.total_sites) == (2, 3)


def test_references_filters_by_kind_and_path(symbols):
    assert sites(symbols.references("socket", kinds=["call"])) == [("src/client.py", 4, "call", "Client.close")]
    assert symbols.references("socket", allows=lambda path: "server" in path).total_sites == 1


def test_references_of_returns_all_of_a_file(symbols):
    assert symbols.references_of("src/server.py") == [SERVER.references[0], SERVER.references[2], SERVER.references[1]]
    assert symbols.references_of("src") == []


def test_has_name_distinguishes_case(symbols):
    assert symbols.has_name("Client")
    assert not symbols.has_name("client")
    assert symbols.has_name("client", ignore_case=True)
    assert not symbols.has_name("socket")


def test_nearest_names_orders_by_distance(symbols):
    assert symbols.nearest_names("cliemt", 1) == ["Client"]
    assert symbols.nearest_names("Sevrer", 2)[0] == "Server"
    assert len(symbols.nearest_names("x", 9)) == 4


def test_nearest_names_follows_changes(symbols, store, write):
    symbols.nearest_names("x", 1)
    write("new.py", SyntaxFacts((define("ParseHeader", 1),)))
    assert symbols.nearest_names("parse_header", 1) == ["ParseHeader"]
    store.remove_files(["new.py"])
    assert "ParseHeader" not in symbols.nearest_names("parse_header", 9)


def test_nearest_names_ignores_overlong_names(symbols, write):
    write("long.py", SyntaxFacts((define("client" * 20, 1),)))
    assert len(symbols.nearest_names("x", 9)) == 4
    write("longer.py", SyntaxFacts((define("server" * 20, 1), define("Worker", 2))))
    assert symbols.nearest_names("workre", 1) == ["Worker"]
    assert len(symbols.nearest_names("x", 9)) == 5


def test_defining_keys_returns_chunk_of_name(symbols, store, write):
    keys = symbols.defining_keys("send", ["Client"])
    assert [store.chunks_by_keys(keys)[key].start_line for key in keys] == [2]
    assert len(symbols.defining_keys("send")) == 2
    assert symbols.defining_keys("SEND") == []
    assert len(symbols.defining_keys("SEND", ["client"], ignore_case=True)) == 1


def test_defining_keys_prefers_definitions_to_extensions(store, write):
    write("a.rs", SyntaxFacts((define("Pool", 1, kind="struct"), define("Pool", 3, kind="impl"))))
    write("b.rs", SyntaxFacts((define("Queue", 2, kind="impl"),)))
    lines = [
        [store.chunks_by_keys([key])[key].start_line for key in store.symbols.defining_keys(name)]
        for name in ("Pool", "Queue")
    ]
    assert lines == [[1], [2]]


def test_replace_files_replaces_facts(symbols, store, write):
    write("src/client.py", SERVER)
    assert symbols.definitions("close").total == 0
    assert symbols.references("helper").total_sites == 0
    assert symbols.counts() == FactCounts(4, 6, 2)
    write("src/client.py", SyntaxFacts())
    assert symbols.definitions_of("src/client.py") is None
    assert symbols.counts() == FactCounts(2, 3, 1)


def test_remove_files_removes_facts(symbols, store):
    store.remove_files(["src/client.py"])
    assert symbols.counts() == FactCounts(2, 3, 1)
    store.remember_skipped([(FileRecord("src/server.py", 1, 1, "", "pending"), "binary")])
    assert_no_facts(store)


def test_clear_removes_facts(symbols, store):
    symbols.nearest_names("x", 1)
    store.clear()
    assert_no_facts(store)
    assert symbols.nearest_names("x", 1) == []


def assert_no_facts(store):
    with store.database.reading() as connection:
        for table in ("facts", "definitions", "uses"):
            assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)
    assert store.symbols.counts() == FactCounts(0, 0, 0)


DAMAGE = {
    "packed": "UPDATE facts SET packed = CAST('torn' AS BLOB) WHERE file_id = 1",
    "language": "UPDATE facts SET language = 'pythoo' WHERE file_id = 1",
    "flag": "UPDATE facts SET is_partial = 'yes' WHERE file_id = 1",
    "sites": "UPDATE uses SET sites = x'01' || substr(sites, 2) WHERE file_id = 1",
    "sites_type": "UPDATE uses SET sites = 'text' WHERE file_id = 1",
    "name": "UPDATE OR REPLACE definitions SET name = 'changed' WHERE file_id = 1",
    "ordinal": "UPDATE OR REPLACE definitions SET ordinal = 99 WHERE file_id = 1",
    "line": "UPDATE definitions SET line = 'text' WHERE file_id = 1",
    "enclosing": "UPDATE definitions SET enclosing = x'ff' WHERE file_id = 1",
}


def ask_everything(symbols):
    """Call every method; return the paths in the answers."""
    paths = {stored.path for name in ("send", "Client", "changed") for stored in symbols.definitions(name).definitions}
    paths.update(file.path for name in ("socket", "helper") for file in symbols.references(name).files)
    paths.update(path for path in ("src/client.py", "src/server.py") if symbols.definitions_of(path))
    symbols.definitions("e", match="part")
    symbols.references_of("src/client.py")
    symbols.nearest_names("Clint", 3)
    symbols.defining_keys("send", ["Client"])
    return paths


@pytest.mark.parametrize("kind", DAMAGE)
def test_damaged_facts_are_left_out_and_read_again(symbols, store, write, kind):
    store.mark_indexed(["src/client.py", "src/server.py"])
    calls = []
    store.on_damage = lambda: calls.append(store.take_damage())
    with store.database.writing() as connection:
        connection.execute(DAMAGE[kind])
    ask_everything(symbols)
    assert calls[0]
    assert ask_everything(symbols) == {"src/server.py"}
    assert (store.pending_paths(), store.file_records()["src/client.py"].size) == (["src/client.py"], -1)
    write("src/client.py", CLIENT)
    assert ask_everything(symbols) == {"src/client.py", "src/server.py"}
    assert symbols.references("socket").total_sites == 3


@pytest.mark.parametrize("kind", DAMAGE)
def test_damaged_facts_are_replaced_with_the_file(symbols, store, write, kind):
    with store.database.writing() as connection:
        connection.execute(DAMAGE[kind])
    write("src/client.py", CLIENT)
    assert symbols.references("socket").total_sites == 3
    assert symbols.definitions_of("src/client.py").definitions == CLIENT.definitions


def test_reads_see_whole_files_while_writing(store, write):
    variants = [CLIENT, SERVER]
    write("a.py", CLIENT)
    stop = threading.Event()
    torn = []

    def read():
        while not stop.is_set():
            found = store.symbols.references("socket")
            names = {site.enclosing.qualified_name for file in found.files for site in file.sites}
            if names not in ({"Client.send", "Client.close"}, {"Server.send"}):
                torn.append(names)

    readers = [threading.Thread(target=read) for _ in range(4)]
    for reader in readers:
        reader.start()
    for turn in range(40):
        write("a.py", variants[turn % 2])
    stop.set()
    for reader in readers:
        reader.join()
    assert not torn


def test_names_of_any_content_are_found(store, write):
    names = ["line\nbreak", "nul\0", "", "ÄÖ", "x" * 1_000, "日本", "%_"]
    write("odd.py", SyntaxFacts(tuple(define(name, 1) for name in names), (Reference("nul\0", 1, "use"),)))
    for name in names:
        assert store.symbols.has_name(name)
        assert [stored.definition.name for stored in store.symbols.definitions(name).definitions] == [name]
    assert store.symbols.definitions("äö", match="ignore_case").total == 1
    assert store.symbols.definitions("本", match="part").total == 1
    assert store.symbols.definitions("%", match="part").total == 1
    assert store.symbols.nearest_names("日本語", 1) == ["日本"]
    assert store.symbols.references("nul\0").total_sites == 1
    store.remove_files(["odd.py"])
    assert_no_facts(store)
