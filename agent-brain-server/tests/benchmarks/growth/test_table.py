from benchmarks.growth.progress import Findings
from benchmarks.growth.table import format_growth


def make(**values):
    base = {"chunks": 1_000, "files": 50, "bytes": 720_000, "keywords_wall": 2.0, "keywords_cpu": 4.0}
    return Findings(1_000, **{**base, **values})


def row(table, title):
    (line,) = (line for line in table.splitlines() if line.startswith(f"| {title} |"))
    return [cell.strip() for cell in line.split("|")[2:-1]]


def test_table_has_a_column_for_each_size():
    plain = make(
        latencies={"hybrid": [float(n) for n in range(1, 101)]},
        vectors=900,
        vectors_wall=10.0,
        vectors_cpu=1.8,
        rss=123.4,
    )
    server = make(engine="server", is_embedded=False, vectors=10, vectors_wall=1.0)
    table = format_growth([plain, server])
    assert table.splitlines()[0] == "|  | 1,000 | 1,000 |"
    assert row(table, "engine") == ["exact", "chroma, server"]
    assert row(table, "hybrid query p50 / p95, ms") == ["50.5 / 95", ""]
    assert row(table, "vectors a second") == ["90", "generated, not embedded"]
    assert row(table, "CPU ms a vector, embedding included if it is measured") == ["2", "0"]
    assert row(table, "the same, CPU ms a chunk") == ["4", "4"]
    assert row(table, "memory after the queries, MB") == ["123", "0"]


def test_findings_are_read_back_from_file(tmp_path):
    path = tmp_path / "findings.json"
    found = make(latencies={"hybrid": [1.5]}, disk={"chroma_db": 3.5})
    found.save(path)
    assert Findings.load(path, 1_000) == found
    assert Findings.load(tmp_path / "none.json", 7) == Findings(7)
