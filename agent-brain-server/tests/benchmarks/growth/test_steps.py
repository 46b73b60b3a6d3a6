"""The smallest growth run, from sources to findings, with generated vectors."""

import pytest

from benchmarks.growth import steps
from benchmarks.growth.progress import Findings
from benchmarks.growth.steps import Growth, findings_path

pytestmark = pytest.mark.process

FUNCTION = 'def handle_{0}_{1}(value):\n    """Handle case {0} of part {1}. At once."""\n    return value\n\n\n'


@pytest.fixture
def work(tmp_path, monkeypatch):
    """Return a work directory whose corpus of size 40 has been cut."""
    monkeypatch.setattr(steps, "QUERIES", 5)
    monkeypatch.setattr(steps, "WARM_QUERIES", 1)
    for number in range(8):
        path = tmp_path / "40" / "corpus" / "one" / f"part_{number % 4}" / f"module_{number}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(FUNCTION.format(number, part) for part in range(30)))
    return tmp_path


def test_growth_run_reaches_findings(work):
    assert Growth(40, work, embed_up_to=0).go_on(60)
    found = Findings.load(findings_path(work, 40), 40)
    assert found.chunks > 20
    assert (found.files, found.is_embedded) == (8, False)
    assert found.vectors <= found.chunks  # how many are embedded by then depends on the machine
    assert found.keywords_wall > 0
    assert {kind: len(latencies) for kind, latencies in found.latencies.items()} == {
        "hybrid": 5,
        "filtered": 5,
        "keywords": 5,
    }
    assert found.engine == "exact"
    assert found.rss > found.anonymous > 10
    assert found.disk["chroma_db"] > 0
