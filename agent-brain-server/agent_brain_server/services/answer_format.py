"""Write an answer in the format and within the budget that the request asks for."""

from pathlib import Path

from agent_brain_server.models import DEFAULT_BUDGET
from agent_brain_server.models.query import CompactResponse, QueryRequest, QueryResponse
from agent_brain_server.search.budget import CountTokens, count_line
from agent_brain_server.search.compact import CompactEntry, render_compact
from agent_brain_server.search.excerpting import Passage, make_passages
from agent_brain_server.search.shown_paths import make_path_writer
from agent_brain_server.search.small_json import JsonEntry, render_small_json
from agent_brain_server.search.structure_text import render_structure, render_structure_json
from agent_brain_server.support.text import visible

PLACES_SHARE = 0.4
"""Of the budget, at most, is for the places of values that precede the results."""

NO_RESULTS = "No results."
NO_WORD_MATCHES = "No result contains a word of the query; these are the nearest in meaning."


def write_answer(request: QueryRequest, answer: QueryResponse, root: Path, count: CountTokens) -> str:
    """Return the body of the response to a query.

    Args:
        request: The query, with its format and budget.
        answer: All results.
        root: Canonical root of the project.
        count: Counts the tokens of a text; not called without a budget.
    """
    if request.format == "compact":
        return write_compact(request, answer, root, count).model_dump_json()
    if request.max_tokens is None:
        return answer.model_dump_json()
    if answer.structure is not None and answer.structure.lines and not answer.structure.is_partial:
        return render_structure_json(answer.structure, request.max_tokens, count, answer.index)
    passages = make_passages(answer.results, request.all_queries(), request.max_tokens)
    entries = [JsonEntry(passage, request.explain) for passage in passages]
    return render_small_json(
        entries,
        request.max_tokens,
        count,
        index=answer.index,
        remark=_describe_answer(answer),
        unlisted=len(answer.results) - len(entries),
    )


def write_compact(request: QueryRequest, answer: QueryResponse, root: Path, count: CountTokens) -> CompactResponse:
    """Return an answer as compact text.

    Args:
        request: The query, with its budget.
        answer: All results.
        root: Canonical root of the project.
        count: Counts the tokens of a text.
    """
    show_path = make_path_writer(root, request.paths_from)
    budget = request.max_tokens or DEFAULT_BUDGET
    entries = [
        CompactEntry(passage, visible(show_path(passage.result.source)), _number_queries(passage))
        for passage in make_passages(answer.results, request.all_queries(), budget)
    ]
    unlisted = len(answer.results) - len(entries)
    if answer.structure is not None and answer.structure.is_partial:
        places = render_structure(answer.structure, int(budget * PLACES_SHARE), count, show_path)
        left = budget - count_line(places, count)
        text = "\n".join(
            filter(None, (places, render_compact(entries, left, count, unlisted=unlisted) if entries else ""))
        )
    elif answer.structure is not None and answer.structure.lines:
        text = render_structure(answer.structure, budget, count, show_path)
    else:
        text = render_compact(entries, budget, count, _describe_answer(answer), unlisted) if entries else NO_RESULTS
    return CompactResponse(
        text=text,
        tokens=count(text),
        total_results=answer.total_results,
        query_time_ms=answer.query_time_ms,
        mode=answer.mode,
        index=answer.index,
    )


def _number_queries(passage: Passage) -> str:
    """Return the numbers of the queries that found a result, from 1: `[1,2]`; "" if there is one query."""
    answers = passage.result.answers
    return f"[{','.join(str(number + 1) for number in answers)}]" if answers else ""


def _describe_answer(answer: QueryResponse) -> str | None:
    """Return a remark about the results, or `None`.

    It says that the structure has no answer; or else that no result contains a word of the query: such results may be
    far off.
    """
    if answer.structure is not None:
        return answer.structure.summary
    if answer.mode != "hybrid" or not answer.results or any(r.bm25_score is not None for r in answer.results):
        return None
    return NO_WORD_MATCHES
