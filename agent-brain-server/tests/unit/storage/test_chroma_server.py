"""Vectors on a Chroma server: a real `chroma run`, started and ended by the tests."""

import http.server
import json
import socket
import threading
import time
import urllib.error
import urllib.request
from contextlib import contextmanager

import numpy as np
import pytest

from agent_brain_server.errors import StoreError
from agent_brain_server.storage import chroma_mirror, chroma_server, vector_store
from agent_brain_server.storage.chroma_place import name_collection
from agent_brain_server.storage.chroma_server import ChromaServerIndex, remove_collections
from agent_brain_server.storage.vector_store import VectorStoreManager
from agent_brain_server.types import AllowedChunks, ChromaServer, QueryFilter

DIMENSION = 24
COUNT = 300
STORE_ID = "0123456789abcdef0123456789abcdef"


def unit_vectors(count, seed=7):
    vectors = np.random.default_rng(seed).standard_normal((count, DIMENSION)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def server(chroma_run, tmp_path_factory):
    server = chroma_run(tmp_path_factory.mktemp("chroma server"))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def vectors():
    return unit_vectors(COUNT)


@pytest.fixture
def open_store(server, tmp_path):
    opened = []

    here = ChromaServer(server.url)

    def open_now(directory=tmp_path / "vectors", *, chroma_server=here, store_id=STORE_ID):
        opened.append(
            VectorStoreManager(
                directory, dimension=DIMENSION, model_name="model", store_id=store_id, chroma_server=chroma_server
            )
        )
        return opened[-1]

    yield open_now
    for store in opened:
        store.close()


@pytest.fixture(autouse=True)
def chroma_answers(monkeypatch):
    """Let Chroma answer at sizes that a test can afford, and be tried again at once."""
    monkeypatch.setattr(vector_store, "CHROMA_FROM", 50)
    monkeypatch.setattr(vector_store, "CHROMA_SERVER_FROM", 50)
    monkeypatch.setattr(vector_store, "EXACT_SUBSET_LIMIT", 20)
    monkeypatch.setattr(chroma_mirror, "RETRY_S", 0.0)


def fill(store, vectors):
    keys = range(1, len(vectors) + 1)
    store.add(keys, [f"text-{key}" for key in keys], vectors)


def flush_all(store):
    while store.flush_chroma(5):
        pass


def on_server(store):
    return sorted(store._mirror.opened().keys())


def best_by_hand(vectors, query, count):
    return [int(row) + 1 for row in np.argsort(-(vectors @ query), kind="stable")[:count]]


def test_the_server_answers_as_the_matrix_would(open_store, vectors):
    store = open_store()
    fill(store, vectors)
    flush_all(store)
    assert on_server(store) == list(range(1, COUNT + 1))
    found = 0
    for query in unit_vectors(20, seed=8):
        mirrored = store._mirror.search(query, 5)
        assert mirrored is not None
        hits = store.search(query, 5)
        assert [hit.key for hit in hits] == [hit.key for hit in mirrored]
        assert [hit.score for hit in hits] == pytest.approx([hit.score for hit in mirrored], abs=1e-5)
        assert hits[0].score == pytest.approx(float(vectors[hits[0].key - 1] @ query), abs=1e-4)
        found += len({hit.key for hit in hits} & set(best_by_hand(vectors, query, 5)))
    assert found >= 95


def test_nothing_of_chroma_is_kept_here(open_store, vectors, tmp_path):
    local = open_store(chroma_server=None)
    fill(local, vectors)
    flush_all(local)
    assert (tmp_path / "vectors" / "chroma.sqlite3").exists()
    local.close()
    store = open_store()
    flush_all(store)
    assert on_server(store) == list(range(1, COUNT + 1))
    kept = {path.name.partition("-")[0] for path in (tmp_path / "vectors").iterdir()}
    assert kept <= {"matrix", "vectors.sqlite3"}


def test_going_back_to_files_feeds_them_again(open_store, vectors):
    store = open_store()
    fill(store, vectors)
    flush_all(store)
    store.close()
    local = open_store(chroma_server=None)
    assert local.count_behind() == COUNT
    flush_all(local)
    assert on_server(local) == list(range(1, COUNT + 1))


def test_deleted_and_new_chunks_reach_the_server(open_store, vectors):
    store = open_store()
    fill(store, vectors)
    flush_all(store)
    fresh = unit_vectors(1, seed=12)
    store.delete([1, 2])
    store.add([1000], ["fresh"], fresh)
    assert store.count_behind() == 3
    assert store.search(fresh[0], 1)[0].key == 1000
    flush_all(store)
    assert store.count_behind() == 0
    assert on_server(store) == [*range(3, COUNT + 1), 1000]


def test_a_cleared_store_leaves_nothing_on_the_server(open_store, vectors):
    store = open_store()
    fill(store, vectors)
    flush_all(store)
    store.clear()
    store.add([7], ["text-7"], vectors[:1])
    flush_all(store)
    assert on_server(store) == [7]


def test_what_the_server_lost_is_sent_again(open_store, vectors, server, tmp_path):
    store = open_store()
    fill(store, vectors)
    flush_all(store)
    store.close()
    place = "tenants/default_tenant/databases/default_database/collections"
    path = f"{server.url}/api/v2/{place}/{name_collection(STORE_ID, tmp_path / 'vectors')}"
    urllib.request.urlopen(urllib.request.Request(path, method="DELETE"), timeout=10).close()
    again = open_store()
    again.delete([COUNT])
    flush_all(again)
    assert on_server(again) == list(range(1, COUNT))


def test_a_copy_of_a_project_has_a_collection_of_its_own(open_store, vectors, server, tmp_path):
    store = open_store()
    fill(store, vectors)
    flush_all(store)
    store.close()
    before = set(server.collections())
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in (tmp_path / "vectors").iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    copied = open_store(copy)
    copied.delete(range(1, COUNT))
    flush_all(copied)
    assert on_server(copied) == [COUNT]
    assert len(set(server.collections()) - before) == 1
    assert on_server(open_store()) == list(range(1, COUNT + 1))


def names_of(server, store_id):
    return {name for name in server.collections() if store_id in name}


def test_a_moved_store_removes_its_old_collection(open_store, vectors, server, tmp_path):
    first = open_store(store_id="1a" * 16)
    fill(first, vectors)
    flush_all(first)
    first.close()
    (tmp_path / "vectors").rename(tmp_path / "moved")
    moved = open_store(tmp_path / "moved", store_id="1a" * 16)
    assert moved.has_left_collections()
    flush_all(moved)
    assert on_server(moved) == list(range(1, COUNT + 1))
    assert names_of(server, "1a" * 16) == {name_collection("1a" * 16, tmp_path / "moved")}
    assert not moved.has_left_collections()


def test_a_store_of_new_documents_removes_the_collection_of_the_old_ones(open_store, vectors, server, tmp_path):
    first = open_store(store_id="2b" * 16)
    fill(first, vectors)
    flush_all(first)
    first.close()
    again = open_store(store_id="3c" * 16)
    fill(again, vectors)
    flush_all(again)
    assert names_of(server, "2b" * 16) == set()
    assert names_of(server, "3c" * 16) == {name_collection("3c" * 16, tmp_path / "vectors")}


def test_a_cleared_store_has_no_collection_until_it_has_vectors(open_store, vectors, server):
    store = open_store(store_id="4d" * 16)
    fill(store, vectors)
    flush_all(store)
    store.clear()
    flush_all(store)
    assert names_of(server, "4d" * 16) == set()
    fill(store, vectors)
    flush_all(store)
    assert on_server(store) == list(range(1, COUNT + 1))


def test_what_was_left_behind_is_removed_once_the_server_is_back(open_store, vectors, own_server, tmp_path):
    first = open_store(chroma_server=ChromaServer(own_server.url))
    fill(first, vectors)
    flush_all(first)
    first.close()
    own_server.kill()
    (tmp_path / "vectors").rename(tmp_path / "moved")
    moved = open_store(tmp_path / "moved", chroma_server=ChromaServer(own_server.url))
    with pytest.raises(StoreError, match="does not answer"):
        moved.flush_chroma()
    moved.close()
    own_server.start()
    assert len(own_server.collections()) == 1
    moved = open_store(tmp_path / "moved", chroma_server=ChromaServer(own_server.url))
    flush_all(moved)
    assert list(own_server.collections()) == [name_collection(STORE_ID, tmp_path / "moved")]


def test_a_collection_that_somebody_else_has_made_is_left_alone(open_store, vectors, server, tmp_path):
    store = open_store(store_id="5e" * 16)
    fill(store, vectors)
    flush_all(store)
    (name,) = names_of(server, "5e" * 16)
    remove_collections(ChromaServer(server.url), {name: "another epoch", "agent-brain-none-00000000": "1"})
    assert names_of(server, "5e" * 16) == {name}


def test_a_filter_is_answered_with_allowed_chunks_only(open_store, vectors):
    store = open_store()
    fill(store, vectors)
    flush_all(store)
    keys = np.arange(1, COUNT, 2, dtype=np.int64)
    hits = store.search(unit_vectors(1, seed=13)[0], 10, AllowedChunks(QueryFilter(languages=("x",)), keys, None))
    assert len(hits) == 10
    assert all(hit.key % 2 for hit in hits)


def test_tenant_and_database_can_stand_in_the_url(open_store, vectors, server):
    for path, name in (("/tenants", "team a"), ("/tenants/team%20a/databases", "brain")):
        body = json.dumps({"name": name}).encode()
        request = urllib.request.Request(f"{server.url}/api/v2{path}", body, {"Content-Type": "application/json"})
        urllib.request.urlopen(request, timeout=10).close()
    store = open_store(chroma_server=ChromaServer(f"{server.url}/team%20a/brain"))
    fill(store, vectors)
    flush_all(store)
    found = server.get("/tenants/team%20a/databases/brain/collections")
    assert [STORE_ID in collection["name"] for collection in found] == [True]


def test_while_the_server_is_away_answers_go_on_and_vectors_catch_up_after_it(open_store, vectors, own_server):
    store = open_store(chroma_server=ChromaServer(own_server.url))
    fill(store, vectors)
    flush_all(store)
    query = unit_vectors(1, seed=21)[0]
    store.search(query, 5)
    assert store.chroma_fault is None

    own_server.kill()
    assert [hit.key for hit in store.search(query, 5)] == best_by_hand(vectors, query, 5)
    assert store.chroma_fault is not None
    assert store.chroma_fault.startswith("chroma_unreachable: ")
    assert own_server.url in store.chroma_fault
    fresh = unit_vectors(1, seed=22)
    store.add([1000], ["fresh"], fresh)
    store.delete([5])
    with pytest.raises(StoreError) as caught:
        store.flush_chroma()
    assert caught.value.code == "chroma_unreachable"
    assert store.search(fresh[0], 1)[0].key == 1000
    assert store.count_behind() == 2

    own_server.start()
    flush_all(store)
    assert store.chroma_fault is None
    assert on_server(store) == [1, 2, 3, 4, *range(6, COUNT + 1), 1000]
    assert store._mirror.search(fresh[0], 1)[0].key == 1000


def test_a_failed_server_is_left_alone_for_a_while(open_store, vectors, own_server, monkeypatch):
    store = open_store(chroma_server=ChromaServer(own_server.url))
    fill(store, vectors)
    own_server.kill()
    monkeypatch.setattr(chroma_mirror, "RETRY_S", 60.0)
    with pytest.raises(StoreError):
        store.flush_chroma()
    assert store.flush_chroma() == 0  # no second attempt, so no error
    own_server.start()
    assert store.flush_chroma() == 0
    assert store.chroma_fault is not None


def test_that_a_server_went_away_is_noticed_with_nothing_to_write(open_store, vectors, own_server):
    store = open_store(chroma_server=ChromaServer(own_server.url))
    fill(store, vectors)
    flush_all(store)
    own_server.kill()
    with pytest.raises(StoreError, match="does not answer"):
        store.flush_chroma()
    own_server.start()
    assert store.flush_chroma() == 0
    assert store.chroma_fault is None


def test_a_server_that_hangs_costs_a_timeout_and_no_more(open_store, vectors, monkeypatch):
    monkeypatch.setattr(chroma_server, "TIMEOUT_S", 3.0)
    monkeypatch.setattr(chroma_mirror, "RETRY_S", 600.0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        store = open_store(chroma_server=ChromaServer(f"http://127.0.0.1:{silent.getsockname()[1]}"))
        fill(store, vectors)
        query = unit_vectors(1, seed=31)[0]
        monkeypatch.setattr(vector_store, "EXACT_SUBSET_LIMIT", COUNT)
        began = time.monotonic()
        for _ in range(50):
            assert [hit.key for hit in store.search(query, 5)] == best_by_hand(vectors, query, 5)
        assert time.monotonic() - began < 25 * chroma_server.TIMEOUT_S  # not one for each of the 50
    assert "chroma_unreachable" in (store.chroma_fault or "")


class Gate(http.server.BaseHTTPRequestHandler):
    """Lets through what shows the token, as a gateway does, and refuses large answers, as a cloud does."""

    protocol_version = "HTTP/1.1"
    backend = ""
    seen: list[dict[str, str]] = []
    bodies: list[bytes] = []
    quota = 300

    def _pass_on(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.seen.append(dict(self.headers))
        self.bodies.append(body)
        if self.headers.get("Authorization") != "Bearer sesame-sesame":
            return self._answer(401, b'{"error":"AuthError","message":"no"}')
        if self.path.endswith("/query") and json.loads(body)["n_results"] > self.quota:
            return self._answer(422, b'{"error":"QuotaExceededError","message":"too many"}')
        request = urllib.request.Request(
            self.backend + self.path, body or None, {"Content-Type": "application/json"}, method=self.command
        )
        try:
            with urllib.request.urlopen(request, timeout=10) as response:
                self._answer(response.status, response.read())
        except urllib.error.HTTPError as error:
            self._answer(error.code, error.read())

    def do_GET(self):
        self._pass_on()

    def do_POST(self):
        self._pass_on()

    def do_DELETE(self):
        self._pass_on()

    def _answer(self, status, data):
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


@contextmanager
def gate(server):
    handler = type("OwnGate", (Gate,), {"backend": server.url, "seen": [], "bodies": []})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as listener:
        thread = threading.Thread(target=listener.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.server_address[1]}", handler
        finally:
            listener.shutdown()
            thread.join()


def test_the_token_is_shown_and_never_told(open_store, vectors, server, caplog):
    with gate(server) as (url, handler):
        store = open_store(chroma_server=ChromaServer(url, "sesame-sesame"), store_id="a" * 32)
        fill(store, vectors)
        flush_all(store)
        assert on_server(store) == list(range(1, COUNT + 1))
        assert {headers["X-Chroma-Token"] for headers in handler.seen} == {"sesame-sesame"}
        store.close()
        wrong = open_store(chroma_server=ChromaServer(url, "open-barley"), store_id="b" * 32)
        fill(wrong, vectors)
        with pytest.raises(StoreError) as caught:
            wrong.flush_chroma()
    assert caught.value.code == "chroma_refused"
    told = caplog.text + caught.value.message + caught.value.hint + repr(ChromaServer(url, "open-barley"))
    assert "open-barley" not in told
    assert url in caught.value.message


def test_no_text_and_no_path_is_sent(open_store, vectors, server):
    with gate(server) as (url, handler):
        store = open_store(chroma_server=ChromaServer(url, "sesame-sesame"), store_id="c" * 32)
        store.add([1], ["a text's own key"], vectors[:1])
        flush_all(store)
    sent = b"".join(handler.bodies)
    (upsert,) = (json.loads(body) for body in handler.bodies if b'"embeddings"' in body)
    assert {key for key, value in upsert.items() if value is not None} == {"ids", "embeddings"}
    assert upsert["ids"] == ["1"]
    assert b"a text's own key" not in sent
    assert str(store._persist_dir).encode() not in sent


def test_a_cloud_with_a_quota_is_asked_for_no_more_than_it_gives(open_store, server, monkeypatch):
    many = unit_vectors(1200, seed=41)
    with gate(server) as (url, _):
        store = open_store(chroma_server=ChromaServer(url, "sesame-sesame"), store_id="d" * 32)
        fill(store, many)
        flush_all(store)
        monkeypatch.setattr(chroma_server, "CLOUD_QUOTA", 300)
        keys = np.arange(1, 1201, 3, dtype=np.int64)
        query = unit_vectors(1, seed=42)[0]
        allowed = AllowedChunks(QueryFilter(languages=("x",)), keys, None)
        for _ in range(2):
            hits = store.search(query, 100, allowed)
            assert all(hit.key % 3 == 1 for hit in hits)
        assert len(hits) == 100
        assert store.chroma_fault is None


def test_what_is_no_chroma_is_refused_with_its_name(tmp_path):
    class Other(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<html>" + b"x" * 10_000)

        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Other) as listener:
        thread = threading.Thread(target=listener.handle_request)
        thread.start()
        url = f"http://127.0.0.1:{listener.server_address[1]}"
        with pytest.raises(StoreError) as caught:
            ChromaServerIndex(ChromaServer(url), "agent-brain-x", "1")
        thread.join()
    assert caught.value.code == "chroma_refused"
    assert len(caught.value.message) < 500


def test_chroma_settings_ignore_dot_env_of_the_directory(tmp_path, monkeypatch):
    (tmp_path / ".env").write_text("CHROMA_OTEL_COLLECTION_ENDPOINT=http://evil.example\nIS_PERSISTENT=maybe\n")
    monkeypatch.chdir(tmp_path)
    settings = chroma_server.make_settings(ChromaServer("https://chroma.example.com", "sesame"))
    assert settings.chroma_otel_collection_endpoint == ""
