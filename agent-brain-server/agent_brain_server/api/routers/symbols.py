"""Definitions, uses, outlines and lines of the files in the index."""

from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Path, Query, Response

from agent_brain_server.api.deps import ProjectsDep
from agent_brain_server.api.waiting import answer_when_fresh
from agent_brain_server.models.query import MAX_PATH_LENGTH
from agent_brain_server.models.symbols import (
    CompactSymbols,
    FileLines,
    FileRequest,
    OutlineAnswer,
    OutlineRequest,
    ReferencesAnswer,
    ReferencesRequest,
    RelatedAnswer,
    RelatedRequest,
    SmallSymbols,
    SymbolAnswer,
    SymbolRequest,
    SymbolsAnswer,
    SymbolsRequest,
)
from agent_brain_server.services.symbol_format import write_symbol_answer

if TYPE_CHECKING:
    from agent_brain_server.project.services import ProjectServices

router = APIRouter(tags=["symbols"])


@router.get("/symbols", response_model=SymbolsAnswer | CompactSymbols | SmallSymbols)
async def find_symbols(request: Annotated[SymbolsRequest, Query()], projects: ProjectsDep) -> Response:
    """Return where a name is defined; otherwise similar names that are defined."""
    return await answer_when_fresh(
        projects,
        request.project_id,
        request.wait_ms,
        lambda services, barrier: write(services, request, services.symbols.find_symbols(request, barrier)),
    )


@router.get("/references", response_model=ReferencesAnswer | CompactSymbols | SmallSymbols)
async def find_references(request: Annotated[ReferencesRequest, Query()], projects: ProjectsDep) -> Response:
    """Return where a name is used, by file, and what it may mean."""
    return await answer_when_fresh(
        projects,
        request.project_id,
        request.wait_ms,
        lambda services, barrier: write(services, request, services.symbols.find_references(request, barrier)),
    )


@router.get("/outline", response_model=OutlineAnswer | CompactSymbols | SmallSymbols)
async def outline(request: Annotated[OutlineRequest, Query()], projects: ProjectsDep) -> Response:
    """Return the definitions of a file, the headings of a document, or what a directory contains."""
    return await answer_when_fresh(
        projects,
        request.project_id,
        request.wait_ms,
        lambda services, barrier: write(services, request, services.symbols.outline(request, barrier)),
    )


@router.get("/related", response_model=RelatedAnswer | CompactSymbols | SmallSymbols)
async def find_related(request: Annotated[RelatedRequest, Query()], projects: ProjectsDep) -> Response:
    """Return what belongs to the code at a line: its definition, uses, what it uses, tests and documents."""
    return await answer_when_fresh(
        projects,
        request.project_id,
        request.wait_ms,
        lambda services, barrier: write(services, request, services.symbols.related.find_related(request, barrier)),
    )


@router.get("/files/{path:path}", response_model=FileLines | CompactSymbols | SmallSymbols)
async def read_file(
    path: Annotated[str, Path(max_length=MAX_PATH_LENGTH, description="Relative to the project root.")],
    request: Annotated[FileRequest, Query()],
    projects: ProjectsDep,
) -> Response:
    """Return lines of a file that is in the index, as they are on disk now."""
    return await answer_when_fresh(
        projects,
        request.project_id,
        request.wait_ms,
        lambda services, barrier: write(services, request, services.symbols.read_file(path, request, barrier)),
    )


def write(services: "ProjectServices", request: SymbolRequest, answer: SymbolAnswer) -> str:
    """Return the body of the response, in the format and within the budget that the request asks for."""
    return write_symbol_answer(request, answer, services.project_root, services.tokens.count)
