"""Shorten a list of results: one result for identical texts, and one for chunks of a file that touch."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import zip_longest

from agent_brain_server.models.query import ContextLineModel, Copy, MergedChunk, QueryResult
from agent_brain_server.support.text import count_hidden

MAX_BLANK_LINES = 3
"""Between two chunks that touch: chunks begin and end with a line of text."""

IsBlank = Callable[[str, int, int], bool]
"""Returns whether a range of lines of a file is in no chunk, which means that the lines are blank."""


def merge_results(results: Sequence[QueryResult], is_blank: IsBlank) -> list[QueryResult]:
    """Return the results without repeated texts, and with touching chunks of a file as one result.

    A merged result has the place, id and scores of its best chunk, and lists all its chunks in `merged`.

    Args:
        results: Best first.
        is_blank: Tells whether lines between two chunks are blank; called only for a few lines.
    """
    folded = _fold_copies(results)
    if len({result.source for result in folded}) == len(folded):
        return folded  # nearly always: ranking holds back further chunks of a file
    return _join_touching(folded, is_blank)


def interleave_results(answers: Sequence[Sequence[QueryResult]]) -> list[QueryResult]:
    """Return the results of several queries as one list: the best of each query first, then the second of each.

    A chunk that several queries found is one result; `answers` lists these queries.
    """
    found: dict[str, list[int]] = defaultdict(list)
    first: dict[str, QueryResult] = {}
    for row in zip_longest(*answers):
        for number, result in enumerate(row):
            if result is not None:
                found[result.chunk_id].append(number)
                first.setdefault(result.chunk_id, result)
    return [result.model_copy(update={"answers": sorted(found[key])}) for key, result in first.items()]


def _fold_copies(results: Iterable[QueryResult]) -> list[QueryResult]:
    """Turn a result whose text an earlier one has into a copy of the earlier one."""
    by_text: dict[str, QueryResult] = {}
    for result in results:
        text = result.text.replace("\r\n", "\n").strip()
        known = by_text.get(text)
        if known is None:
            by_text[text] = result
            continue
        copy = Copy(source=result.source, start_line=result.start_line, end_line=result.end_line)
        answers = sorted({*known.answers, *result.answers})
        by_text[text] = known.model_copy(update={"copies": [*known.copies, copy], "answers": answers})
    return list(by_text.values())


def _join_touching(results: Sequence[QueryResult], is_blank: IsBlank) -> list[QueryResult]:
    ranks = {result.chunk_id: rank for rank, result in enumerate(results)}
    files: dict[str, list[QueryResult]] = defaultdict(list)
    for result in results:
        files[result.source].append(result)
    joined: list[QueryResult] = []
    for chunks in files.values():
        if len(chunks) == 1:
            joined += chunks
        else:
            joined += [_join_run(run, ranks) for run in _find_runs(chunks, is_blank)]
    return sorted(joined, key=lambda result: ranks[result.chunk_id])


def _find_runs(chunks: Iterable[QueryResult], is_blank: IsBlank) -> Iterator[list[QueryResult]]:
    """Yield the chunks of one file in groups that touch, each in the order of the file."""
    run: list[QueryResult] = []
    for chunk in sorted(chunks, key=lambda chunk: (chunk.start_line, -chunk.end_line)):
        if run and _touch(run, chunk, is_blank):
            run.append(chunk)
            continue
        if run:
            yield run
        run = [chunk]
    if run:
        yield run


def _touch(run: Sequence[QueryResult], chunk: QueryResult, is_blank: IsBlank) -> bool:
    """Return whether a chunk continues or overlaps a run, so that their lines can be joined."""
    last = max(run, key=lambda earlier: earlier.end_line)
    overlap = last.end_line - chunk.start_line + 1
    if overlap < -MAX_BLANK_LINES or not (_has_whole_lines(last) and _has_whole_lines(chunk)):
        return False
    if overlap > 0:  # chunks that say something about other lines, such as outlines, differ from them
        shared = _lines_of(last)[chunk.start_line - last.start_line :]
        return all(a.strip() == b.strip() for a, b in zip(shared, _lines_of(chunk), strict=False))
    return overlap == 0 or is_blank(chunk.source, last.end_line + 1, chunk.start_line - 1)


def _join_run(run: Sequence[QueryResult], ranks: dict[str, int]) -> QueryResult:
    if len(run) == 1:
        return run[0]
    best = min(run, key=lambda chunk: ranks[chunk.chunk_id])
    lines: list[str] = []
    for chunk in run:
        gap = chunk.start_line - run[0].start_line - len(lines)
        lines += [""] * gap
        lines += _lines_of(chunk)[max(-gap, 0) :]
    text, symbols = "\n".join(lines), list(dict.fromkeys(symbol for chunk in run for symbol in chunk.symbols))
    context = _join_context(run)
    hidden = any(chunk.hidden_characters for chunk in run)
    fields = (text, best.source, *symbols, run[0].heading or "", *(line.text for line in context)) if hidden else ()
    is_complete = run[0].part == 1 and run[-1].part == run[-1].parts
    return best.model_copy(
        update={
            "text": text,
            "start_line": run[0].start_line,
            "end_line": run[0].start_line + len(lines) - 1,
            "symbols": symbols,
            "heading": run[0].heading,
            "context": context,
            "part": run[0].part,
            "parts": 1 if is_complete else run[0].parts,
            "hidden_characters": sum(map(count_hidden, fields)),
            "merged": [_describe_part(chunk) for chunk in run],
            "copies": _join_copies(copy for chunk in run for copy in chunk.copies),
            "answers": sorted({answer for chunk in run for answer in chunk.answers}),
        }
    )


def _describe_part(chunk: QueryResult) -> MergedChunk:
    return MergedChunk(
        chunk_id=chunk.chunk_id,
        start_line=chunk.start_line,
        end_line=chunk.end_line,
        score=chunk.score,
        vector_score=chunk.vector_score,
        bm25_score=chunk.bm25_score,
        explanation=chunk.explanation,
    )


def _join_context(run: Sequence[QueryResult]) -> list[ContextLineModel]:
    """Return the context of all chunks of a run, in the order of lines, without the lines of the run."""
    first, last = run[0].start_line, max(chunk.end_line for chunk in run)
    lines = {line.line: line for chunk in run for line in chunk.context if not first <= line.line <= last}
    return [lines[number] for number in sorted(lines)]


def _join_copies(copies: Iterable[Copy]) -> list[Copy]:
    """Return copies in the order of files, with copies of one file that touch as one."""
    joined: list[Copy] = []
    for copy in sorted(copies, key=lambda copy: (copy.source, copy.start_line)):
        last = joined[-1] if joined else None
        if last and last.source == copy.source and copy.start_line <= last.end_line + 1 + MAX_BLANK_LINES:
            joined[-1] = last.model_copy(update={"end_line": max(last.end_line, copy.end_line)})
        else:
            joined.append(copy)
    return joined


def _has_whole_lines(chunk: QueryResult) -> bool:
    """Return whether a text is the lines of its range: not a part of a long line, and not an outline."""
    return chunk.text.removesuffix("\n").count("\n") == chunk.end_line - chunk.start_line


def _lines_of(chunk: QueryResult) -> list[str]:
    return chunk.text.removesuffix("\n").split("\n")
