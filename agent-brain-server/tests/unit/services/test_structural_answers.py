"""Answer questions about the structure with real stores."""

import json
import time
from collections.abc import Iterator

import pytest

from agent_brain_server.config.settings import ProjectConfig
from agent_brain_server.errors import InvalidRequestError
from agent_brain_server.models.index import IndexRequest
from agent_brain_server.models.query import QueryRequest, QueryResponse
from agent_brain_server.project.services import ProjectServices

FILES = {
    "src/shapes.py": '''"""Shapes."""


class Shape:
    def area(self) -> float:
        raise NotImplementedError


class Polygon(Shape):
    pass


class Square(Polygon):
    def area(self) -> float:
        return 1.0


def measure_all(shapes: list[Shape]) -> float:
    return sum(shape.area() for shape in shapes)
''',
    "src/report.py": "from shapes import measure_all\n\n\ndef print_report(shapes):\n    print(measure_all(shapes))\n",
    "tests/test_shapes.py": "from shapes import Square, measure_all\n\n\n"
    "def test_measure_all_of_nothing():\n    assert True\n\n\n"
    "def test_sum():\n    assert measure_all([Square()]) == 1.0\n",
}
FILES["render/render.go"] = """package render

type Render interface {
	Write(text string) error
	Close() error
}

type JSON struct{}

func (r JSON) Write(text string) error { return nil }

func (r JSON) Close() error { return nil }

type Half struct{}

func (r Half) Write(text string) error { return nil }
"""
FILES["src/options.py"] = """LIMIT = 400
TABLE = {
    "first": 1,
}


class Reader:
    capacity: int = 30
    unset: int

    def __init__(self, meta, block_size=64, unset=None):
        self.capacity = capacity_of(meta)
        self.unset = max(
            unset or 0,
            5 * 60,
        )
        self.mode = "fast"
"""
FILES["tests/test_options.py"] = """from options import LIMIT, Reader

reader = Reader({}, block_size=2)


def test_limit_of_reader():
    reader.capacity = 3
"""
FILES["src/padding.py"] = """_WIDTH = 30


def render(
    text: str,
    pad: int = _WIDTH,
) -> str:
    return text.ljust(pad)
"""
FILES["src/failures.py"] = """LOST = "the link to the peer was lost"


class PeerError(Exception):
    def __init__(self):
        super().__init__("the peer sent an unexpected reply")


def fetch(peer):
    if not peer:
        raise ConnectionError(LOST)
    note = "the peer is known and sends replies"
    raise PeerError
"""
FILES["src/inline.rs"] = """pub fn byte_fallback() {}

mod tests {
    #[test]
    fn test_bpe_byte_fallback() {}
}
"""
JOB_LIMIT_S = 600.0


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory, starts_processes: None) -> Iterator[ProjectServices]:
    root = tmp_path_factory.mktemp("structure") / "project"
    for path, text in FILES.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    opened = ProjectServices.open("project", root, root / ".claude" / "Agent Brain", ProjectConfig(watch=False))
    try:
        job = opened.indexing.submit(IndexRequest(folder_path="."))
        deadline = time.monotonic() + JOB_LIMIT_S
        while not opened.indexing.jobs.get(job.job_id).progress.keywords_ready:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        yield opened
    finally:
        opened.close()


def ask(services: ProjectServices, query: str, **fields: object) -> QueryResponse:
    return services.queries.answer(QueryRequest.model_validate({"query": query, **fields}))


def lines(answer: QueryResponse) -> list[tuple[str, int, int]]:
    assert answer.structure is not None
    return [(line.source, line.line, line.depth) for line in answer.structure.lines]


def test_callers_come_from_the_structure(services: ProjectServices) -> None:
    answer = ask(services, "who calls measure_all?")
    assert answer.structure is not None
    assert answer.structure.summary == "2 calls of measure_all in 2 files"
    assert lines(answer) == [("src/report.py", 5, 0), ("tests/test_shapes.py", 9, 0)]
    assert answer.structure.lines[0].text == "print(measure_all(shapes))"
    assert answer.structure.lines[0].enclosing == "print_report"
    best = answer.results[0]
    assert best.source == "src/report.py"
    assert best.start_line <= 5 <= best.end_line
    assert len({result.chunk_id for result in answer.results}) == len(answer.results)


def test_subclasses_are_transitive_with_depth(services: ProjectServices) -> None:
    answer = ask(services, "subclasses of Shape")
    assert answer.structure is not None
    assert answer.structure.summary == "2 subtypes of Shape, 1 of them direct"
    assert lines(answer) == [("src/shapes.py", 9, 0), ("src/shapes.py", 13, 1)]


def test_implementers_in_go_have_all_methods(services: ProjectServices) -> None:
    assert lines(ask(services, "what implements Render")) == [("render/render.go", 8, 0)]


def test_tests_use_the_name_or_contain_it(services: ProjectServices) -> None:
    answer = ask(services, "tests of measure_all")
    assert lines(answer) == [("tests/test_shapes.py", 4, 0), ("tests/test_shapes.py", 8, 0)]


def test_tests_beside_code_are_found_by_name(services: ProjectServices) -> None:
    assert lines(ask(services, "tests of byte_fallback")) == [("src/inline.rs", 5, 0)]
    assert lines(ask(services, "tests of bpe_byte")) == [("src/inline.rs", 5, 0)]


def test_uses_outside_of_tests_come_last(services: ProjectServices) -> None:
    assert lines(ask(services, "tests of Reader")) == [("tests/test_options.py", 6, 0), ("tests/test_options.py", 3, 0)]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("what is LIMIT set to?", ["src/options.py:1 LIMIT = 400"]),
        ("default value of TABLE", ['src/options.py:2 TABLE = { "first": 1, }']),
        (
            "where is capacity initialized",
            ["src/options.py:8 capacity: int = 30", "src/options.py:12 self.capacity = capacity_of(meta)"],
        ),
        (
            "what is the default of unset",
            [
                "src/options.py:13 self.unset = max( unset or 0, 5 * 60, )",
                "src/options.py:11 def __init__(self, meta, block_size=64, unset=None)",
                "src/options.py:9 unset: int",
            ],
        ),
        (
            "default of pad",
            [
                "src/padding.py:6 pad: int = _WIDTH,",
                "src/padding.py:1 _WIDTH = 30",
                "src/padding.py:4 def render( text: str, pad: int = _WIDTH, ) -> str",
            ],
        ),
        ("default of block_size", ["src/options.py:11 def __init__(self, meta, block_size=64, unset=None)"]),
        (
            "default of Reader",
            [
                "src/options.py:7 class Reader",
                "src/options.py:8 capacity: int = 30",
                "src/options.py:11 def __init__(self, meta, block_size=64, unset=None):",
                'src/options.py:17 self.mode = "fast"',
            ],
        ),
    ],
)
def test_values_come_from_the_structure(services: ProjectServices, query: str, expected: list[str]) -> None:
    answer = ask(services, query)
    assert answer.structure is not None
    assert [f"{line.source}:{line.line} {line.text}" for line in answer.structure.lines] == expected


def test_outline_of_file_suffix_and_class(services: ProjectServices) -> None:
    assert [line[1] for line in lines(ask(services, "outline of shapes.py"))] == [4, 5, 9, 13, 14, 18]
    assert [line[1:] for line in lines(ask(services, "outline of Square"))] == [(13, 0), (14, 1)]
    assert lines(ask(services, "where is Square defined")) == [("src/shapes.py", 13, 0)]


@pytest.mark.parametrize(
    "query",
    [
        "who calls nothing_of_this_name",
        "tests of equality",
        "outline of missing.py",
        "where is the area measured",
        "default of missing_name",
    ],
)
def test_other_questions_are_searched(services: ProjectServices, query: str) -> None:
    answer = ask(services, query)
    assert answer.structure is None
    with pytest.raises(InvalidRequestError) as refused:
        ask(services, query, mode="structure")
    assert refused.value.code == "not_structural"


def test_filters_and_other_modes_search(services: ProjectServices) -> None:
    assert ask(services, "who calls measure_all", mode="bm25").structure is None
    assert ask(services, "who calls measure_all", source_types=["doc"]).structure is None
    answer = ask(services, "who calls measure_all", file_paths=["src/"], mode="structure")
    assert lines(answer) == [("src/report.py", 5, 0)]
    assert [result.source for result in answer.results] == ["src/report.py"]


def test_budget_limits_structural_answers(services: ProjectServices) -> None:
    request = QueryRequest(query="who calls measure_all", format="compact")
    compact = json.loads(services.queries.answer_body(request))
    assert compact["text"].splitlines()[1] == "src/report.py:5 in print_report: print(measure_all(shapes))"
    small = json.loads(services.queries.answer_body(request.model_copy(update={"format": "json", "max_tokens": 100})))
    assert small["structure"][0] == "2 calls of measure_all in 2 files"
    assert small["results"] == []
    tight = request.model_copy(update={"max_tokens": 50})
    assert json.loads(services.queries.answer_body(tight))["tokens"] <= 50


def test_sentence_about_default_gets_values_and_results(services: ProjectServices) -> None:
    query = "Which block_size has a Reader by default?"
    answer = ask(services, query, source_types=["code"])
    assert answer.structure is not None
    assert answer.structure.is_partial
    assert lines(answer)[0][:2] == ("src/options.py", 11)
    assert answer.results
    request = QueryRequest(query=query, format="compact", max_tokens=300)
    compact = json.loads(services.queries.answer_body(request))
    text = compact["text"].splitlines()
    assert text[0] == "1 place where block_size may get its value"
    assert text[2].startswith("src/options.py:")
    assert compact["tokens"] <= 300


@pytest.mark.parametrize("query", ["How fast is block_size read?", "What is the default of everything?"])
def test_sentence_without_value_question_is_searched(services: ProjectServices, query: str) -> None:
    assert ask(services, query).structure is None


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("the link to the peer was lost", ("LOST", 11)),
        ("the peer sent an unexpected reply", ("PeerError", 13)),
        ("the peer is known and sends replies", None),
    ],
)
def test_error_text_is_followed_to_its_uses(
    services: ProjectServices, query: str, expected: tuple[str, int] | None
) -> None:
    answer = ask(services, query)
    assert answer.results[0].source == "src/failures.py"
    found = answer.structure
    assert (found and (found.name, found.lines[0].line)) == expected
    if found is not None:
        assert found.is_partial
        assert found.summary == f"1 use of {found.name}, which has this text"
