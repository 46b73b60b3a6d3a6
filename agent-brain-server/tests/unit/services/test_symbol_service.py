"""Answer about definitions and uses with real stores."""

import time
from collections.abc import Iterator

import pytest

from agent_brain_server.config.settings import ProjectConfig
from agent_brain_server.errors import InvalidRequestError
from agent_brain_server.models.index import IndexRequest
from agent_brain_server.models.symbols import (
    OutlineAnswer,
    OutlineRequest,
    ReferencesAnswer,
    ReferencesRequest,
    RelatedAnswer,
    RelatedRequest,
    SymbolsAnswer,
    SymbolsRequest,
)
from agent_brain_server.project.services import ProjectServices

CLIENT = '''"""Talk to a server."""

LIMIT = 5


class Transport:
    """Sends bytes."""

    def send(self, data: bytes) -> int:
        """Send all bytes."""
        return len(data)


class RetryingTransport(Transport):
    def send(self, data: bytes) -> int:
        return super().send(data)


def upload(transport: Transport) -> int:
    return transport.send(b"x" * LIMIT)
'''

USER = """from client import Transport


def gone(transport):
    return Transport()
"""

TEST = """from client import Transport, upload


def test_upload_sends():
    assert upload(Transport()) == 5
"""


FILES = {
    "src/client.py": CLIENT,
    "src/parser.py": "def parse(line):\n    return line\n",
    "docs/guide.md": "# Guide\n\nWhat it is.\n\n## Installing\n\nRun the installer and call `upload`.\n",
    "tests/test_client.py": TEST,
    "user.py": USER,
}
JOB_LIMIT_S = 600.0


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory, starts_processes: None) -> Iterator[ProjectServices]:
    """Return the services of an indexed project that the tests of this module share; they do not change it."""
    root = tmp_path_factory.mktemp("symbols") / "projekt ä"
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


def find(services: ProjectServices, name: str, **fields: object) -> SymbolsAnswer:
    barrier = services.queries.changes.barrier(may_wait=False)
    return services.symbols.find_symbols(SymbolsRequest.model_validate({"name": name, **fields}), barrier)


def refer(services: ProjectServices, name: str, **fields: object) -> ReferencesAnswer:
    barrier = services.queries.changes.barrier(may_wait=False)
    return services.symbols.find_references(ReferencesRequest.model_validate({"name": name, **fields}), barrier)


def outline(services: ProjectServices, path: str, **fields: object) -> OutlineAnswer:
    barrier = services.queries.changes.barrier(may_wait=False)
    return services.symbols.outline(OutlineRequest.model_validate({"path": path, **fields}), barrier)


def relate(services: ProjectServices, path: str, line: int) -> RelatedAnswer:
    barrier = services.queries.changes.barrier(may_wait=False)
    return services.symbols.related.find_related(RelatedRequest(path=path, line=line), barrier)


def places(answer: ReferencesAnswer) -> list[tuple[str, int, str | None]]:
    return [(file.source, site.line, site.enclosing) for file in answer.files for site in file.references]


def test_symbols_match_exactly_then_by_case_then_by_part(services: ProjectServices) -> None:
    exact = find(services, "Transport")
    assert (exact.match, [each.signature for each in exact.symbols]) == ("exact", ["class Transport"])
    assert (exact.symbols[0].source, exact.symbols[0].line) == ("src/client.py", 6)
    assert exact.symbols[0].documentation == "Sends bytes."
    assert (find(services, "TRANSPORT").match, find(services, "TRANSPORT").total) == ("ignore_case", 1)
    part = find(services, "Retrying")
    assert (part.match, part.symbols[0].name) == ("part", "RetryingTransport")


@pytest.mark.parametrize(
    "name", ["RetryingTransport.send", "RetryingTransport#send", "client.RetryingTransport::send()"]
)
def test_symbols_of_qualified_name_match_the_qualifier(services: ProjectServices, name: str) -> None:
    found = find(services, name)
    assert [each.qualified_name for each in found.symbols] == ["RetryingTransport.send"]


def test_symbols_of_wrong_qualifier_match_the_name(services: ProjectServices) -> None:
    found = find(services, "Upload.send")
    assert (found.match, found.total) == ("unqualified", 2)


def test_unknown_name_returns_the_nearest(services: ProjectServices) -> None:
    found = find(services, "Transprot")
    assert (found.match, found.total, found.nearest[0]) == ("none", 0, "Transport")
    uses = refer(services, "uplaod")
    assert (uses.match, uses.total, uses.nearest[0]) == ("none", 0, "upload")


def test_symbols_are_filtered_and_paged(services: ProjectServices) -> None:
    assert find(services, "send", kind=["class"]).total == 0
    assert find(services, "Transport", path=["tests/"]).total == 0
    assert find(services, "send", language=["go"]).total == 0
    assert find(services, "test_upload_sends", source_type=["test"]).total == 1
    first = find(services, "send", limit=1)
    second = find(services, "send", limit=1, offset=first.next_offset)
    assert first.next_offset == 1
    assert second.next_offset is None
    assert [each.qualified_name for each in (*first.symbols, *second.symbols)] == [
        "Transport.send",
        "RetryingTransport.send",
    ]


def test_references_have_text_and_enclosing_definition(services: ProjectServices) -> None:
    found = refer(services, "Transport")
    assert places(found)[:2] == [("src/client.py", 14, "RetryingTransport"), ("src/client.py", 19, "upload")]
    assert found.files[0].references[0].text == "class RetryingTransport(Transport):"
    assert found.files[0].references[0].kind == "inherit"
    assert [file.source for file in found.files] == ["src/client.py", "user.py", "tests/test_client.py"]
    assert {each.qualified_name for each in refer(services, "send").definitions} == {
        "Transport.send",
        "RetryingTransport.send",
    }


def test_references_are_filtered_and_paged(services: ProjectServices) -> None:
    assert places(refer(services, "Transport", kind=["inherit"])) == [("src/client.py", 14, "RetryingTransport")]
    assert {place[0] for place in places(refer(services, "upload", path=["src/"]))} == set()
    everything = places(refer(services, "Transport"))
    paged: list[tuple[str, int, str | None]] = []
    offset: int | None = 0
    while offset is not None:
        page = refer(services, "Transport", limit=2, offset=offset)
        paged += places(page)
        offset = page.next_offset
    assert paged == everything
    assert len(everything) == page.total


def test_deleted_and_changed_files_are_not_answered(services: ProjectServices) -> None:
    user = services.project_root / "user.py"
    try:
        user.write_text("\n\n" + USER.replace("transport", "other"))
        changed = [file for file in refer(services, "Transport").files if file.source == "user.py"]
        assert [site.text == "" or "Transport" in site.text for site in changed[0].references] == [True, True]
        user.unlink()
        assert "user.py" not in [file.source for file in refer(services, "Transport").files]
        assert find(services, "gone").total == 0
    finally:
        user.write_text(USER)


@pytest.mark.parametrize("name", [" ", "x" * 301, "()"])
def test_text_that_is_no_name_is_refused(services: ProjectServices, name: str) -> None:
    with pytest.raises(InvalidRequestError):
        find(services, name)


def test_outline_of_file_and_document(services: ProjectServices) -> None:
    items = outline(services, "src/client.py").files[0].items
    assert [(item.depth, item.name) for item in items] == [
        (0, "LIMIT"), (0, "Transport"), (1, "send"), (0, "RetryingTransport"), (1, "send"), (0, "upload"),
    ]  # fmt: skip
    assert (items[1].start_line, items[1].end_line) == (6, 11)
    headings = outline(services, "docs/guide.md").files[0].items
    assert [(item.depth, item.name, item.start_line, item.end_line) for item in headings] == [
        (0, "Guide", 1, 7),
        (1, "Installing", 5, 7),
    ]


def test_outline_of_directory_names_definitions(services: ProjectServices) -> None:
    root = outline(services, "")
    assert (root.kind, [(each.source, each.files) for each in root.directories]) == (
        "directory",
        [("docs", 1), ("src", 2), ("tests", 1)],
    )
    src = outline(services, "src", limit=1)
    assert (src.total, src.next_offset) == (2, 1)
    assert [item.name for item in src.files[0].items] == ["LIMIT", "Transport", "RetryingTransport", "upload"]


def test_related_lists_uses_tests_and_documents(services: ProjectServices) -> None:
    found = relate(services, "src/client.py", 20)
    assert found.definition is not None
    assert (found.definition.name, found.enclosing) == ("upload", None)
    assert [each.name for each in found.callees] == ["Transport", "LIMIT", "send"]
    assert (found.total_callers, [file.source for file in found.tests]) == (0, ["tests/test_client.py"])
    assert [(each.source, each.line, each.heading) for each in found.documents] == [
        ("docs/guide.md", 7, "Guide > Installing")
    ]


def test_related_of_method_has_class_and_members(services: ProjectServices) -> None:
    found = relate(services, "src/client.py", 11)
    assert found.definition is not None
    assert found.enclosing is not None
    assert (found.definition.qualified_name, found.enclosing.name) == ("Transport.send", "Transport")
    assert [item.name for item in found.members] == ["send"]
    assert found.total_callers == 2


def test_related_outside_of_definitions_lists_the_file(services: ProjectServices) -> None:
    found = relate(services, "src/client.py", 1)
    assert found.definition is None
    assert [item.name for item in found.members] == ["LIMIT", "Transport", "RetryingTransport", "upload"]
    assert relate(services, "docs/guide.md", 3).definition is None
    with pytest.raises(InvalidRequestError):
        relate(services, "src/client.py", 500)
    with pytest.raises(InvalidRequestError):
        relate(services, "src", 1)
