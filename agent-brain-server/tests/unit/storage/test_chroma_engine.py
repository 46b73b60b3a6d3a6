"""Chroma embedded and on a server: damage, failures, and what is sent."""

import http.server
import json
import shutil
import socket
import threading
import urllib.error
import urllib.request
from contextlib import contextmanager

import numpy as np
import pytest

from agent_brain_server.errors import StoreError
from agent_brain_server.storage import chroma_collections, chroma_engine
from agent_brain_server.storage.chroma_collections import HttpCollection, delete_collection, name_collection
from agent_brain_server.storage.chroma_engine import MARKER_NAME, ChromaEngine
from agent_brain_server.types import AllowedChunks, ChromaServer, QueryFilter

DIMENSION = 24
COUNT = 300
KEYS = np.arange(1, COUNT + 1)


@pytest.fixture(autouse=True)
def retry_at_once(monkeypatch):
    monkeypatch.setattr(chroma_engine, "RETRY_S", 0.0)


@pytest.fixture
def open_chroma(tmp_path):
    opened = []

    def open_now(server=None, *, directory=tmp_path / "vectors", store_id="ab" * 16):
        opened.append(ChromaEngine(directory, dimension=DIMENSION, model="model", store_id=store_id, server=server))
        return opened[-1]

    yield open_now
    for engine in opened:
        engine.close()


def fill(engine, vectors):
    keys = range(1, len(vectors) + 1)
    engine.add(keys, [f"text-{key}" for key in keys], vectors)


def nearest(engine, vector):
    return engine.search(vector, 1, None)[0].key


# Embedded


def embedded_file(tmp_path, name):
    return next((tmp_path / "vectors").glob(f"chroma-*/**/{name}"))


def test_close_writes_marker_of_closed_files(open_chroma, vectors, tmp_path):
    engine = open_chroma()
    fill(engine, vectors)
    assert not (tmp_path / "vectors" / MARKER_NAME).exists()
    engine.close()
    assert (tmp_path / "vectors" / MARKER_NAME).exists()


def test_open_embedded_ignores_dot_env(open_chroma, tmp_path, monkeypatch):
    (tmp_path / ".env").write_text("CHROMA_OTEL_COLLECTION_ENDPOINT=http://evil.example\nIS_PERSISTENT=maybe\n")
    monkeypatch.chdir(tmp_path)
    assert open_chroma().fault is None


@pytest.mark.process
def test_open_after_kill_keeps_valid_files(open_chroma, vectors, tmp_path):
    engine = open_chroma()
    fill(engine, vectors)
    engine.close()
    (tmp_path / "vectors" / MARKER_NAME).unlink()
    again = open_chroma()
    assert again.count() == COUNT
    assert nearest(again, vectors[41]) == 42
    assert again.maintain()  # what was written last before the kill is compared
    assert not len(again.sync(KEYS).missing)
    assert not again.maintain()


@pytest.mark.process
@pytest.mark.parametrize("is_closed", [True, False])
@pytest.mark.parametrize("damage", ["database", "no index", "vectors"])
def test_open_damaged_files_rebuilds_them(open_chroma, vectors, tmp_path, damage, is_closed):
    many = np.concatenate([vectors] * 5)  # an index is written from 1,000 vectors on
    many += np.random.default_rng(1).standard_normal(many.shape).astype(np.float32) / 10
    many /= np.linalg.norm(many, axis=1, keepdims=True)
    engine = open_chroma()
    fill(engine, many)
    engine.close()
    if damage == "database":
        embedded_file(tmp_path, "chroma.sqlite3").write_bytes(b"garbage" * 3000)
    elif damage == "no index":
        shutil.rmtree(embedded_file(tmp_path, "header.bin").parent)
    else:
        data = embedded_file(tmp_path, "data_level0.bin")
        size = data.stat().st_size
        data.write_bytes(np.random.default_rng(2).bytes(size) if not is_closed else data.read_bytes()[: size // 9])
    if not is_closed:
        (tmp_path / "vectors" / MARKER_NAME).unlink()
    again = open_chroma()
    assert again.count() == 0
    assert len(again.sync(np.arange(1, len(many) + 1)).missing) == len(many)
    fill(again, vectors)
    assert nearest(again, vectors[7]) == 8


def test_find_fault_reports_removed_files(open_chroma, vectors, tmp_path):
    engine = open_chroma()
    fill(engine, vectors)
    assert engine.find_fault() is None
    embedded_file(tmp_path, "chroma.sqlite3").unlink()
    assert "was removed" in engine.find_fault()


@pytest.mark.process
def test_failed_read_is_repaired_by_maintain(open_chroma, vectors, monkeypatch):
    engine = open_chroma()
    fill(engine, vectors)
    monkeypatch.setattr(engine._collection, "query", fail)
    with pytest.raises(StoreError) as caught:
        engine.search(vectors[0], 5, None)
    assert caught.value.code == "store_damaged"
    assert engine.fault is not None
    assert engine.count() == COUNT
    assert engine.maintain()
    assert engine.fault is None
    assert not len(engine.sync(KEYS).missing)
    assert nearest(engine, vectors[0]) == 1


def fail(*_):
    raise StoreError("Chroma fails.", code="store_damaged")


def test_search_filter_with_unknown_keys_is_answered(open_chroma, vectors):
    engine = open_chroma()
    fill(engine, vectors)
    allowed = AllowedChunks(QueryFilter(languages=("x",)), np.array([3, 5000]), None)
    assert [hit.key for hit in engine.search(vectors[0], 5, allowed)] == [3]
    nothing = AllowedChunks(QueryFilter(languages=("x",)), np.array([5000]), None)
    assert engine.search(vectors[0], 5, nothing) == []
    assert engine.fault is None


# On a server


def test_server_away_keeps_count_and_syncs_later(open_chroma, vectors, own_server):
    engine = open_chroma(ChromaServer(own_server.url))
    fill(engine, vectors)
    own_server.kill()
    with pytest.raises(StoreError) as caught:
        engine.search(vectors[0], 5, None)
    assert caught.value.code == "chroma_unreachable"
    assert own_server.url in caught.value.message
    engine.delete(np.array([5]))
    assert engine.count() == COUNT
    assert not engine.maintain()
    assert not len(engine.sync(KEYS).missing)
    own_server.start()
    assert engine.maintain()
    expected = np.array([*range(1, 5), *range(6, COUNT + 1), 1000])
    result = engine.sync(expected)
    assert (result.missing.tolist(), result.orphans.tolist()) == ([1000], [5])
    assert engine.fault is None
    assert not engine.maintain()


def test_server_that_lost_collection_is_filled_again(open_chroma, vectors, own_server):
    engine = open_chroma(ChromaServer(own_server.url))
    fill(engine, vectors)
    (name,) = own_server.collections()
    assert delete_collection(name, ChromaServer(own_server.url))
    assert not delete_collection(name, ChromaServer(own_server.url))
    with pytest.raises(StoreError):
        engine.search(vectors[0], 5, None)
    assert engine.maintain()
    assert len(engine.sync(KEYS).missing) == COUNT


def test_open_without_server_reports_fault(open_chroma, own_server):
    own_server.kill()
    engine = open_chroma(ChromaServer(own_server.url))
    assert engine.fault.code == "chroma_unreachable"
    assert engine.count() == 0
    own_server.start()
    assert engine.maintain()
    assert engine.fault is None


def test_maintain_notices_absent_server(open_chroma, own_server):
    engine = open_chroma(ChromaServer(own_server.url))
    own_server.kill()
    assert not engine.maintain()
    assert engine.fault is not None


def test_silent_server_is_asked_once(open_chroma, vectors, monkeypatch):
    monkeypatch.setattr(chroma_collections, "TIMEOUT_S", 0.5)
    monkeypatch.setattr(chroma_engine, "RETRY_S", 600.0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        engine = open_chroma(ChromaServer(f"http://127.0.0.1:{silent.getsockname()[1]}"))
        for _ in range(50):
            with pytest.raises(StoreError, match="does not answer"):
                engine.search(vectors[0], 5, None)
        silent.settimeout(0)
        connections = 0
        with pytest.raises(BlockingIOError):
            while True:
                silent.accept()[0].close()
                connections += 1
    assert connections == 1


def test_tenant_and_database_of_url_are_used(open_chroma, vectors, chroma_server):
    for path, name in (("/tenants", "team a"), ("/tenants/team%20a/databases", "brain")):
        body = json.dumps({"name": name}).encode()
        request = urllib.request.Request(
            f"{chroma_server.url}/api/v2{path}", body, {"Content-Type": "application/json"}
        )
        urllib.request.urlopen(request, timeout=10).close()
    engine = open_chroma(ChromaServer(f"{chroma_server.url}/team%20a/brain"), store_id="5e" * 16)
    fill(engine, vectors)
    found = chroma_server.get("/tenants/team%20a/databases/brain/collections")
    assert ["5e" * 16 in collection["name"] for collection in found] == [True]


class Gate(http.server.BaseHTTPRequestHandler):
    """A gateway that requires a token."""

    protocol_version = "HTTP/1.1"
    backend = ""
    seen: list[dict[str, str]] = []
    bodies: list[bytes] = []

    def _forward(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.seen.append(dict(self.headers))
        self.bodies.append(body)
        if self.headers.get("Authorization") != "Bearer sesame-sesame":
            return self._answer(401, b'{"error":"AuthError","message":"no"}')
        request = urllib.request.Request(
            self.backend + self.path, body or None, {"Content-Type": "application/json"}, method=self.command
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                self._answer(response.status, response.read())
        except urllib.error.HTTPError as error:
            self._answer(error.code, error.read())

    def do_GET(self):
        self._forward()

    def do_POST(self):
        self._forward()

    def do_DELETE(self):
        self._forward()

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


def test_token_is_sent_and_never_logged(open_chroma, vectors, chroma_server, caplog, monkeypatch):
    monkeypatch.setattr(chroma_collections, "TIMEOUT_S", 60.0)
    with gate(chroma_server) as (url, handler):
        engine = open_chroma(ChromaServer(url, "sesame-sesame"), store_id="a" * 32)
        fill(engine, vectors)
        assert engine.count() == COUNT
        assert {headers["X-Chroma-Token"] for headers in handler.seen} == {"sesame-sesame"}
        engine.close()
        refused = open_chroma(ChromaServer(url, "open-barley"), store_id="b" * 32)
        fault = refused.fault
        refused.close()
    assert fault.code == "chroma_refused"
    assert url in fault.message
    shown = caplog.text + fault.message + fault.hint + repr(ChromaServer(url, "open-barley"))
    assert "open-barley" not in shown


def test_no_text_and_no_path_is_sent(open_chroma, vectors, chroma_server, tmp_path, monkeypatch):
    monkeypatch.setattr(chroma_collections, "TIMEOUT_S", 60.0)
    with gate(chroma_server) as (url, handler):
        engine = open_chroma(ChromaServer(url, "sesame-sesame"), store_id="c" * 32)
        engine.add([1], ["a text's own key"], vectors[:1])
        engine.close()
    sent = b"".join(handler.bodies)
    (upsert,) = (json.loads(body) for body in handler.bodies if b'"embeddings"' in body)
    assert set(upsert) == {"ids", "embeddings"}
    assert upsert["ids"] == ["1"]
    assert b"a text's own key" not in sent
    assert str(tmp_path).encode() not in sent


def test_server_that_is_not_chroma_is_refused(tmp_path):
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
        with pytest.raises(StoreError) as caught:
            HttpCollection(ChromaServer(f"http://127.0.0.1:{listener.server_address[1]}"), "agent-brain-x", {})
        thread.join()
    assert caught.value.code == "chroma_refused"
    assert len(caught.value.message) < 500


def test_name_collection_depends_on_store_and_directory(tmp_path):
    name = name_collection("ab" * 16, tmp_path)
    assert name.startswith("agent-brain-" + "ab" * 16)
    assert name == name_collection("ab" * 16, tmp_path / "x" / "..")
    assert name != name_collection("ab" * 16, tmp_path / "copy")
    assert name != name_collection("cd" * 16, tmp_path)
