"""Put definitions of a name first, with real stores."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agent_brain_server.models.index import JobStatus
from agent_brain_server.models.query import QueryRequest, QueryResult
from agent_brain_server.project.services import ProjectServices

RunJob = Callable[..., JobStatus]

FILES = {
    "lib/acme/response.rb": """
        module Acme
          class Response
            def status
              @status
            end
          end
        end""",
    "lib/acme/other.rb": """
        class Other
          class Response
            def status
              Acme::Response.new.status
            end
          end
        end""",
    **{f"lib/acme/part{number}.rb": "module Acme\n  VERSION = 1 # Acme::Response\nend" for number in range(8)},
    "vendor/legacy/parser.py": """
        def parse_header(line):
            return line.split()
        """,
    "src/http/parser.py": """
        from vendor.legacy.parser import parse_header

        def parse(line):
            # parse_header parse_header parse_header parse_header
            return parse_header(line) or parse_header(line)

        class ParseHeaderError(ValueError):
            pass
        """,
    "src/app.py": """
        import http

        def run():
            return http.parser.parse("") or parse_header
        """,
    "src/mail/parser.py": """
        def parse(line):
            return mail(line)
        """,
    "tests/test_parser.py": """
        from src.http.parser import parse

        def build_request():
            return parse("GET /")

        def test_parse():
            assert parse(build_request())
        """,
    "docs/build_request.md": "# build_request\n\nbuild_request builds a request: build_request, build_request.\n",
}


SOURCES = {
    "Acme::Response": "lib/acme/response.rb",
    "Other::Response": "lib/acme/other.rb",
    "Acme::Response#status": "lib/acme/response.rb",
    "parse_header": "vendor/legacy/parser.py",
    "PARSE_HEADER": "vendor/legacy/parser.py",
    "http.parser.parse": "src/http/parser.py",
    "mail/parser.parse": "src/mail/parser.py",
    "ParseHeaderError": "src/http/parser.py",
    "build_request": "tests/test_parser.py",
}
"""Source of each definition, by query."""


@pytest.fixture
def named(project: Path, services: ProjectServices, run_job: RunJob) -> Iterator[ProjectServices]:
    for path, text in FILES.items():
        target = project / path
        target.parent.mkdir(parents=True, exist_ok=True)
        lines = text.removeprefix("\n").split("\n")
        indent = len(lines[0]) - len(lines[0].lstrip())
        target.write_text("\n".join(line[indent:] for line in lines) + "\n")
    run_job(services)
    yield services


def ask(services: ProjectServices, query: str, **options: object) -> list[QueryResult]:
    return services.queries.answer(QueryRequest(query=query, **options)).results  # type: ignore[arg-type]


def test_answer_begins_with_definition(named: ProjectServices) -> None:
    for mode in ("hybrid", "bm25", "vector"):
        for query, source in SOURCES.items():
            best = ask(named, query, mode=mode)[0]
            assert (mode, query, best.source) == (mode, query, source)
            assert best.symbols


def test_answer_explains_definition_and_filters(named: ProjectServices) -> None:
    best, *others = ask(named, "Acme::Response", explain=True)
    signals = {signal.name: signal for signal in best.explanation or ()}
    assert signals["is_definition"].value == 5
    assert sum(signal.contribution for signal in signals.values()) == pytest.approx(best.score)
    assert all(result.score < best.score for result in others)
    assert ask(named, "build_request", source_types=["doc"])[0].source == "docs/build_request.md"
    assert {r.source for r in ask(named, "parse", file_paths=["src/mail/**"])} == {"src/mail/parser.py"}
    assert all(r.language == "ruby" for r in ask(named, "parse_header", languages=["ruby"]))


@pytest.mark.slow
def test_answer_adds_definition_beyond_candidates(project: Path, services: ProjectServices, run_job: RunJob) -> None:
    for number in range(200):
        words = "handle " * 30
        (project / f"use{number}.py").write_text(f"def user_{number}():\n    return '{words}'\n")
    filler = "\n".join(f"    value_{number} = compute(value_{number})" for number in range(60))
    (project / "examples").mkdir()
    (project / "examples" / "one.py").write_text(f"def handle():\n{filler}\n")
    run_job(services)
    for mode in ("hybrid", "bm25", "vector"):
        assert ask(services, "handle", mode=mode)[0].source == "examples/one.py"
