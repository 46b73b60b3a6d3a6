"""Classify chunks of source code."""

from pathlib import Path

from benchmarks.retrieval.chunk_forms import PythonForms, Shown, SourceForms
from benchmarks.retrieval.chunks import count_forms, format_forms

TEXT = '''# Why.

class C:
    """Explain C."""

    @cached
    def f(self):
        """Explain."""
        first()
        return second()

    def g(self):
        pass
'''


def test_python_forms_of_parts():
    forms = PythonForms(TEXT)
    assert forms.describe(Shown(3, 5)) == {"whole"}
    assert forms.describe(Shown(6, 10)) == {"whole"}
    assert forms.describe(Shown(6, 8)) == {"part", "head without body"}
    assert forms.describe(Shown(10, 13)) == {"part", "part without head"}
    assert forms.describe(Shown(10, 13, (7,))) == {"part"}
    assert forms.count_separated([Shown(1, 6), Shown(7, 13)]) == 1


def test_source_forms_of_heads_and_comments():
    forms = SourceForms(TEXT, "python", "a.py")
    assert forms.describe(Shown(1, 1)) == {"comment", "few lines"}
    assert forms.describe(Shown(3, 3)) == {"bare head", "few lines"}
    assert forms.describe(Shown(3, 3, (7, 12))) == set()
    assert forms.describe(Shown(6, 10)) == set()


def test_count_forms_of_directory(tmp_path: Path):
    (tmp_path / "a.py").write_text(TEXT)
    (tmp_path / "notes.md").write_text("# Notes\n")
    counts = count_forms([tmp_path])
    assert counts["python"].chunks == 1
    assert counts["python"].as_dict()["whole"] == 1
    assert "| python | 1 | 0 (0.0%) |" in format_forms(counts)
