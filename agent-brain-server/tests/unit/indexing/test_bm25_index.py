import json
import random
import signal
import subprocess
import sys
import sysconfig
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rank_bm25 import BM25Okapi

from agent_brain_server.errors import StoreError
from agent_brain_server.indexing import bm25_index
from agent_brain_server.indexing.bm25_index import BM25IndexManager
from agent_brain_server.support.tokens import query_terms, tokenize
from agent_brain_server.types import AllowedChunks, Chunk, QueryFilter, StoredChunk


def stored(key, text, *, path="a.py", language="python", source_type="code", symbols=(), heading=None):
    return StoredChunk(key, Chunk(f"id{key}", path, text, key, key, language, source_type, symbols, heading))


@pytest.fixture
def index(tmp_path):
    index = BM25IndexManager(tmp_path / "bm25_index")
    index.bind_store("store")
    yield index
    index.close()


def write(index, *chunks):
    by_path: dict[str, list[StoredChunk]] = {}
    for chunk in chunks:
        by_path.setdefault(chunk.chunk.path, []).append(chunk)
    index.index_files(list(by_path.items()))
    index.commit()


def keys(hits):
    return [hit.key for hit in hits]


def test_search_matches_every_field(index):
    write(
        index,
        stored(1, "the body says zebra", path="one.py"),
        stored(2, "nothing", path="zebra/two.py"),
        stored(3, "nothing", path="three.py", symbols=("findZebra",)),
        stored(4, "nothing", path="four.md", heading="Feeding > Zebra"),
        stored(5, "nothing", path="five.py"),
    )
    assert set(keys(index.search("zebras", 10))) == {1, 2, 3, 4}


def test_search_returns_best_first_up_to_limit(index):
    write(index, *(stored(key, "lock " * key + "filler " * 10, path=f"{key}.py") for key in range(1, 21)))
    hits = index.search("lock", 5)
    assert len(hits) == 5
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    assert all(hit.score > 0 for hit in hits)


def test_search_boosts_subject_line(index):
    write(index, stored(1, "lock file lost", path="one.py"), stored(2, "daemon restart loop", path="two.py"))
    one, two = "lock file lost", "daemon restart loop"
    assert keys(index.search(f"{one} {two}", 2)) == keys(index.search(f"{two} {one}", 2))
    assert keys(index.search(f"{one}\n\n{two}", 2)) == [1, 2]
    assert keys(index.search(f"{two}\n\n{one}", 2)) == [2, 1]


def test_search_filtered_empty_index_returns_nothing(index):
    assert index.search("word", 10, allow([], languages=("python",))) == []
    assert index.find_fault() is None


def test_commit_makes_changes_visible(index):
    index.index_files([("a.py", [stored(1, "zebra")])])
    assert index.search("zebra", 5) == []
    index.commit()
    assert keys(index.search("zebra", 5)) == [1]


def test_index_files_replaces_earlier_version(index):
    write(index, stored(1, "zebra"), stored(2, "yak"), stored(3, "zebra", path="b.py"))
    write(index, stored(4, "gnu"))
    assert keys(index.search("zebra", 5)) == [3]
    assert keys(index.search("yak gnu", 5)) == [4]
    assert index.count() == 2


def test_delete_paths_keeps_similar_paths(index):
    write(index, stored(1, "zebra", path="a.py"), stored(2, "zebra", path="a.py/b.py"), stored(3, "zebra", path="A.py"))
    index.delete_paths(["a.py"])
    index.commit()
    assert sorted(keys(index.search("zebra", 5))) == [2, 3]


def test_clear_empties_index_immediately(index):
    write(index, stored(1, "zebra"))
    index.clear()
    assert index.search("zebra", 5) == []
    assert index.count() == 0


def allow(chunks, *, paths=None, languages=(), source_types=()):
    """Return the allowed chunks of a filter, as the document store does."""
    query_filter = QueryFilter(source_types, languages, ("glob",) if paths is not None else ())
    left = [
        stored.key
        for stored in chunks
        if (not languages or stored.chunk.language in languages)
        and (not source_types or stored.chunk.source_type in source_types)
        and (paths is None or stored.chunk.path in paths)
    ]
    return AllowedChunks(query_filter, np.array(left, dtype=np.int64), paths)


@pytest.mark.parametrize("most", [0, 1_000], ids=["named to tantivy", "dropped afterwards"])
@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({"languages": ("go",)}, {2, 4}),
        ({"source_types": ("test",)}, {3, 4}),
        ({"languages": ("go",), "source_types": ("test", "doc")}, {4}),
        ({"paths": ("p1.py", "p4.go", "missing")}, {1, 4}),
        ({"paths": ()}, set()),
        ({"paths": ("p1.py",), "languages": ("go",)}, set()),
    ],
)
def test_search_filter_keeps_scores(index, monkeypatch, limits, expected, most):
    monkeypatch.setattr(bm25_index, "MAX_OVERFETCHED", most)
    chunks = [
        stored(1, "zebra", path="p1.py"),
        stored(2, "zebra zebra", path="p2.go", language="go"),
        stored(3, "zebra", path="p3.py", source_type="test"),
        stored(4, "zebra", path="p4.go", language="go", source_type="test"),
        stored(5, "yak", path="p5.go", language="go"),
    ]
    write(index, *chunks)
    everything = {hit.key: hit.score for hit in index.search("zebra", 10)}
    found = {hit.key: hit.score for hit in index.search("zebra", 10, allow(chunks, **limits))}
    assert set(found) == expected
    assert all(score == pytest.approx(everything[key]) for key, score in found.items())


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None)
@given(left=st.sets(st.integers(0, 19)), limit=st.integers(1, 30), words=st.sets(st.sampled_from("abcd"), min_size=1))
def test_search_both_filter_strategies_agree(twenty_files, left, limit, words):
    index, chunks = twenty_files
    allowed = allow(chunks, paths=tuple(f"{number}.py" for number in left))
    query = " ".join(f"word{letter}" for letter in sorted(words))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bm25_index, "MAX_OVERFETCHED", 0)
        named = index.search(query, limit, allowed)
    dropped = index.search(query, limit, allowed)
    assert [hit.score for hit in dropped] == pytest.approx([hit.score for hit in named])
    assert {hit.key for hit in dropped} <= set(allowed.keys.tolist())


@pytest.fixture(scope="module")
def twenty_files(tmp_path_factory):
    index = BM25IndexManager(tmp_path_factory.mktemp("twenty"))
    index.bind_store("store")
    choice = random.Random(1)
    chunks = [
        stored(key, " ".join(f"word{choice.choice('abcdefgh')}" for _ in range(key % 7 + 3)), path=f"{key % 20}.py")
        for key in range(1, 201)
    ]
    write(index, *chunks)
    yield index, chunks
    index.close()


@pytest.mark.parametrize(
    "query", ["", "   ", "!!!", "\ud800", "\0", '"unclosed AND (', "a:b^2 OR *", "x" * 4000, "wort " * 900]
)
def test_search_accepts_query_syntax_characters(index, query):
    write(index, stored(1, "zebra"))
    assert index.search(query, 5) == []


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(query=st.text(max_size=200))
def test_search_any_query_is_answered(index, query):
    assert isinstance(index.search(query, 5), list)


def test_search_long_query_is_bounded(index):
    write(index, stored(1, "last"), stored(2, "w1"))
    many = " ".join(f"w{number}" for number in range(2000))
    assert keys(index.search(f"{many} last", 5)) == [2]


def test_bind_store_of_other_store_empties_index(tmp_path):
    for store_id, is_new in (("a", True), ("a", False), ("b", True)):
        index = BM25IndexManager(tmp_path)
        assert index.bind_store(store_id) is is_new
        assert index.count() == (0 if is_new else 1)
        write(index, stored(1, "zebra"))
        index.close()


def test_bind_store_of_other_version_empties_index(tmp_path, monkeypatch):
    index = BM25IndexManager(tmp_path)
    index.bind_store("a")
    index.close()
    monkeypatch.setattr(bm25_index, "INDEX_VERSION", 999)
    assert BM25IndexManager(tmp_path).bind_store("a")


@pytest.mark.parametrize("damage", ["meta.json", "index.json", "segment"])
def test_bind_store_rebuilds_corrupt_index(tmp_path, damage):
    index = BM25IndexManager(tmp_path)
    index.bind_store("a")
    write(index, *(stored(key, f"word{key} zebra", path=f"{key}.py") for key in range(50)))
    index.close()
    for path in tmp_path.glob("*.idx") if damage == "segment" else [tmp_path / damage]:
        path.write_bytes(b"\x00garbage")
    index = BM25IndexManager(tmp_path)
    assert index.bind_store("a")
    write(index, stored(1, "zebra"))
    assert keys(index.search("zebra", 5)) == [1]
    index.close()


def test_search_unopened_index_raises(tmp_path):
    with pytest.raises(StoreError, match="not open"):
        BM25IndexManager(tmp_path).search("zebra", 5)


def test_bind_store_reports_unusable_directory(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="file"):
        BM25IndexManager(tmp_path / "file" / "below").bind_store("a")


@pytest.mark.slow
def test_search_works_during_writes(index):
    write(index, *(stored(key, "zebra", path=f"{key}.py") for key in range(100)))
    failures: list[object] = []
    stop = threading.Event()

    def ask():
        while not stop.is_set():
            hits = index.search("zebra", 200)
            if len(hits) != 100:
                failures.append(len(hits))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for turn in range(1, 20):
        write(index, *(stored(turn * 1000 + key, "zebra", path=f"{key}.py") for key in range(100)))
    stop.set()
    for thread in threads:
        thread.join()
    assert not failures


WRITE_UNTIL_KILLED = """
import sys
from pathlib import Path
from agent_brain_server.indexing.bm25_index import BM25IndexManager
from agent_brain_server.types import Chunk, StoredChunk
index = BM25IndexManager(Path(sys.argv[1]))
index.bind_store("a")
key = 0
while True:
    key += 1
    chunk = Chunk(str(key), f"{key}.py", "zebra", 1, 1, "python", "code")
    index.index_files([(chunk.path, [StoredChunk(key, chunk)])])
    index.commit()
    print(key, flush=True)
"""


@pytest.mark.process
def test_kill_keeps_committed_files_and_no_lock(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", WRITE_UNTIL_KILLED, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    committed = 0
    for line in process.stdout:
        committed = int(line)
        if committed >= 20:
            process.send_signal(signal.SIGKILL)
            break
    process.wait()
    process.stdout.close()
    index = BM25IndexManager(tmp_path)
    assert not index.bind_store("a")
    assert index.count() >= committed
    write(index, stored(9999, "yak", path="new.py"))
    assert keys(index.search("yak", 5)) == [9999]
    index.close()


FILL_A_SMALL_DISK = """
import json, random, resource, signal, sys
from pathlib import Path
from agent_brain_server.errors import StoreError
from agent_brain_server.indexing.bm25_index import BM25IndexManager
from agent_brain_server.types import Chunk, StoredChunk
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
index = BM25IndexManager(Path(sys.argv[1]))
index.bind_store("a")
def write(key, text):
    index.index_files([(f"{key}.py", [StoredChunk(key, Chunk(str(key), f"{key}.py", text, 1, 1, "python", "code"))])])
    index.commit()
write(1, "zebra")
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
errors = 0
for key in (2, 3):
    try:
        write(key, " ".join(f"word{random.random()}" for _ in range(20_000)))
    except StoreError as exc:
        errors += str(index._persist_dir) in exc.message
during = [hit.key for hit in index.search("zebra", 5)]
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
write(4, "yak")
print(json.dumps({"errors": errors, "during": during, "after": [hit.key for hit in index.search("yak zebra", 5)]}))
"""


@pytest.mark.process
def test_full_disk_keeps_answers_and_recovers(tmp_path):
    command = [sys.executable, "-c", FILL_A_SMALL_DISK, str(tmp_path)]
    told = json.loads(subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout)
    assert told["errors"] == 2
    assert told["during"] == [1]
    assert sorted(told["after"]) == [1, 4]


QUESTIONS = [
    "parse a json string into objects", "open a socket and connect to an address", "read lines of a compressed file",
    "format a date and time with a timezone", "wait for a lock with a timeout", "split a path into directory and name",
    "compare two sequences and show the difference", "encode bytes as base64", "walk a directory tree",
    "start a subprocess and read its output", "parse command line arguments", "send an email message over smtp",
    "compute the median of numbers", "copy a file with its permissions", "run callbacks in an event loop",
    "quote a url", "make a temporary file", "pickle an object", "match a regular expression",
    "sort with a key function",
]  # fmt: skip


@pytest.mark.slow
def test_search_ranking_agrees_with_rank_bm25(index, monkeypatch):
    """Compare the top ten of plain BM25 over bodies with rank-bm25, on sources of the standard library."""
    monkeypatch.setattr(bm25_index, "FIELD_BOOSTS", {"body": 1.0})
    sources = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))[:60]
    chunks: list[StoredChunk] = []
    for source in sources:
        lines = source.read_text(encoding="utf-8", errors="replace").splitlines()
        for first in range(0, len(lines), 30):
            chunks.append(stored(len(chunks), "\n".join(lines[first : first + 30]), path=f"{source.name}:{first}"))
    write(index, *chunks)
    reference = BM25Okapi([tokenize(chunk.chunk.text) or ["-"] for chunk in chunks], k1=1.2, b=0.75)
    common = 0
    for question in QUESTIONS:
        scores = reference.get_scores(list(query_terms(question, limit=64)))
        best = set(sorted(range(len(chunks)), key=lambda key: -scores[key])[:10])
        common += len(best & set(keys(index.search(question, 10))))
    assert len(chunks) > 400
    assert common >= 0.8 * 10 * len(QUESTIONS)


def test_bind_store_records_store_and_version(tmp_path):
    index = BM25IndexManager(tmp_path)
    index.bind_store("a")
    assert json.loads((tmp_path / "index.json").read_text()) == {"store_id": "a", "version": bm25_index.INDEX_VERSION}
    index.close()


def test_commit_after_interrupted_commit_succeeds(index, tmp_path):
    """A commit writes deletions first, then the list of files; equal changes write files of equal names."""
    directory = tmp_path / "bm25_index"
    write(index, stored(1, "one", path="one.py"), stored(2, "two", path="two.py"))
    listed = (directory / "meta.json").read_bytes()
    for commits_wholly in (False, True):
        index.close()
        assert not index.bind_store("store")
        assert index.count() == 2
        index.delete_paths(["one.py"])
        index.commit()
        assert list(directory.glob("*.del"))
        if not commits_wholly:
            (directory / "meta.json").write_bytes(listed)
    assert keys(index.search("one two", 10)) == [2]
