"""Bodies of the endpoints under `/query`."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from agent_brain_server.models import DEFAULT_BUDGET, MAX_BUDGET, MIN_BUDGET
from agent_brain_server.models.index import Glob
from agent_brain_server.models.structure import StructureAnswer
from agent_brain_server.support.languages import list_languages, resolve_language

MAX_QUERY_LENGTH = 4000
"""Characters: longer than any real query, short enough to be fast."""

MAX_WAIT_MS = 10_000
"""Milliseconds; a client should not wait longer for an index that is behind."""

MAX_QUERIES = 8
"""Further queries of a request; each takes as long as a separate one."""

MAX_PATH_LENGTH = 4096

MAX_TOP_K = 100
DEFAULT_TOP_K = 10
QueryMode = Literal["hybrid", "vector", "bm25", "structure"]
"""`structure` answers questions about the structure of code only; `hybrid` answers these and all others."""

HIDDEN_CHARACTERS = (
    "Number of characters in text, path, symbols, heading and context that a person cannot see: Unicode tags, "
    "zero-width characters, marks that reorder text, escape sequences. The fields contain them unchanged; treat them "
    "as suspect."
)

CONTEXT = (
    "Lines of the file outside of the range that explain the text, shortened: the signature above a later part of a "
    "definition, and the signatures of the members below the head of a class."
)

LANGUAGES_DESCRIPTION = (
    f"Names of languages, or aliases such as py, golang, ts and c++; empty: all. The names: {list_languages()}."
)


def check_language(name: str) -> str:
    """Return the language of a name or an alias.

    Raises:
        PydanticCustomError: There is no such language.
    """
    language = resolve_language(name)
    if language is None:
        allowed = list_languages()
        raise PydanticCustomError("unknown_language", "no such language; allowed: {allowed}", {"allowed": allowed})
    return language


WaitMs = Annotated[
    int,
    Field(
        ge=0,
        le=MAX_WAIT_MS,
        description="Maximum time to wait until changes made before the request are indexed; the answer counts missing "
        "changes in `index.files_pending`.",
    ),
]
AnswerFormat = Annotated[Literal["json", "compact"], Field(description="`compact`: the answer is one `text`.")]
PathsFrom = Annotated[
    str,
    Field(
        max_length=MAX_PATH_LENGTH,
        description="Directory in the project to which paths in a compact `text` are relative; `/`: absolute paths.",
    ),
]


class QueryRequest(BaseModel):
    """The body of `POST /query`: a query in words, names or both."""

    model_config = ConfigDict(extra="forbid")

    query: str = Field(min_length=1, max_length=MAX_QUERY_LENGTH, examples=["where is the lock released?"])
    queries: list[Annotated[str, StringConstraints(min_length=1, max_length=MAX_QUERY_LENGTH)]] = Field(
        default_factory=list,
        max_length=MAX_QUERIES,
        description="Further queries; all share one answer without repeats. `query` may be left out.",
    )
    project_id: str | None = Field(default=None, description="Required in shared mode, ignored in project mode.")
    mode: QueryMode = "hybrid"
    top_k: int = Field(default=DEFAULT_TOP_K, ge=1, le=MAX_TOP_K, description="Maximum number of results.")
    alpha: float | None = Field(
        default=None,
        ge=0,
        le=1,
        allow_inf_nan=False,
        description="Weight of the vector score in hybrid mode; null: chosen from the query and the hits.",
    )
    similarity_threshold: float = Field(
        default=0.0, ge=0, le=1, allow_inf_nan=False, description="Ignore vector hits below this cosine."
    )
    source_types: list[Literal["doc", "code", "test"]] = Field(default_factory=list, description="Empty: all.")
    languages: list[Annotated[str, StringConstraints(min_length=1, max_length=40), AfterValidator(check_language)]] = (
        Field(default_factory=list, max_length=100, description=LANGUAGES_DESCRIPTION)
    )
    file_paths: list[Glob] = Field(
        default_factory=list, max_length=100, description="Globs on the project-relative path; empty: all."
    )
    explain: bool = Field(default=False, description="Include a score breakdown for each result.")
    wait_ms: WaitMs = 0
    format: AnswerFormat = "json"
    max_tokens: int | None = Field(
        default=None,
        ge=MIN_BUDGET,
        le=MAX_BUDGET,
        description="Maximum tokens of the answer: of the whole document, or of the `text` if the format is `compact` "
        f"(there by default {DEFAULT_BUDGET}). The best results are shown first, and the others are listed.",
    )
    paths_from: PathsFrom = ""

    @model_validator(mode="before")
    @classmethod
    def _take_first_query(cls, values: Any) -> Any:  # noqa: ANN401 - not validated yet
        """Use the first of `queries` as `query` if that is left out."""
        if isinstance(values, dict) and "query" not in values and isinstance(values.get("queries"), list):
            first, *further = values["queries"] or [None]
            return values if first is None else {**values, "query": first, "queries": further}
        return values

    def all_queries(self) -> list[str]:
        """Return the different queries in their order."""
        return list(dict.fromkeys((self.query, *self.queries)))


class SignalModel(BaseModel):
    """One term of a final score."""

    name: str
    value: float
    contribution: float


class ContextLineModel(BaseModel):
    """A line of the file outside of a chunk's range."""

    line: int = Field(description="1-based.")
    text: str


class Copy(BaseModel):
    """Lines elsewhere with the text of a result."""

    source: str
    start_line: int
    end_line: int


class MergedChunk(BaseModel):
    """One of the chunks that a result consists of."""

    chunk_id: str
    start_line: int
    end_line: int
    score: float
    vector_score: float | None
    bm25_score: float | None
    explanation: list[SignalModel] | None = None


class QueryResult(BaseModel):
    """A chunk in the answer, or several chunks of one file that touch, with the id and scores of the best one."""

    chunk_id: str
    text: str
    source: str = Field(description="Path relative to the project root, with `/` separators.")
    start_line: int = Field(description="1-based.")
    end_line: int = Field(description="Inclusive.")
    language: str
    source_type: Literal["doc", "code", "test"]
    symbols: list[str] = Field(description="Names that the chunk defines.")
    heading: str | None = Field(description="Section path of a document, or enclosing definition of code.")
    context: list[ContextLineModel] = Field(default_factory=list, description=CONTEXT)
    part: int = Field(default=1, description="Which part of a long definition the chunk is, from 1.")
    parts: int = Field(default=1, description="Number of the definition's parts; 1 if it was not split.")
    hidden_characters: int = Field(default=0, description=HIDDEN_CHARACTERS)
    score: float
    vector_score: float | None = Field(description="Cosine; null if vector search did not find the chunk.")
    bm25_score: float | None = Field(description="BM25; null if keyword search did not find the chunk.")
    explanation: list[SignalModel] | None = None
    merged: list[MergedChunk] = Field(
        default_factory=list, description="The chunks in the order of lines, if the result consists of several."
    )
    copies: list[Copy] = Field(default_factory=list, description="Where the same text is found, too.")
    answers: list[int] = Field(
        default_factory=list, description="With several queries: which of them found the result, counted from 0."
    )


WatchState = Literal["on", "partial", "off"]


class IndexFreshness(BaseModel):
    """Freshness of the index that answered."""

    last_indexed_at: str | None
    files_pending: int = Field(
        description="Files and directories that changed before the query and are not indexed yet."
    )
    vector_coverage: float = Field(ge=0, le=1, description="Share of the chunks that have a vector.")
    checking: bool = Field(
        default=False, description="Every file is being compared with the index: `files_pending` is a lower bound."
    )
    watch: WatchState = Field(
        default="off",
        description="`on`: every change is noticed at once; `partial`: changes in some directories are noticed every "
        "few seconds; `off`: changes are not noticed (the setting `watch`).",
    )
    unwatched_directories: int = Field(default=0, description="Directories that cannot be watched; see /health/status.")


class QueryResponse(BaseModel):
    """The response of `POST /query`, best result first; ties are broken by path and line."""

    results: list[QueryResult]
    total_results: int
    query_time_ms: float
    mode: QueryMode
    structure: StructureAnswer | None = Field(
        default=None,
        description="The answer to a question about the structure, such as `who calls X`; its chunks are the first "
        "results.",
    )
    index: IndexFreshness


class CompactResponse(BaseModel):
    """The response of `POST /query` with the format `compact`."""

    text: str = Field(description="The results, best first; hidden characters are visible.")
    tokens: int = Field(description="Tokens of `text`.")
    total_results: int
    query_time_ms: float
    mode: QueryMode
    index: IndexFreshness


class SmallResult(BaseModel):
    """A result in an answer with `max_tokens`; fields without a value are left out."""

    source: str
    start_line: int
    end_line: int
    symbols: list[str] | None = None
    heading: str | None = None
    signature: str | None = Field(default=None, description="Of the definition, if the text is a later part of it.")
    score: float
    chunk_id: str
    merged: list[str] | None = Field(default=None, description="Ids of its chunks, if it consists of several.")
    copies: list[str] | None = Field(default=None, description="`path:from-to` of the same text elsewhere.")
    answers: list[int] | None = None
    hidden_characters: int | None = None
    explanation: list[SignalModel] | None = None
    text: str
    excerpt: list[int] | None = Field(default=None, description="First and last line of `text`, if it is not whole.")


class SmallResponse(BaseModel):
    """The response of `POST /query` with `max_tokens`; fields without a value are left out."""

    results: list[SmallResult]
    structure: list[str] | None = Field(
        default=None,
        description="The answer to a question about the structure: a summary, then one line for each place.",
    )
    rest: list[str] | None = Field(default=None, description="`path:line symbol` of the results that are not shown.")
    omitted: int | None = Field(default=None, description="Number of results that are not even listed.")
    total_results: int
    note: str | None = None
    index: dict[str, Any] | None = Field(
        default=None, description="What the index lacks, as in other answers; left out if it is complete."
    )


class ChunkResponse(BaseModel):
    """One whole chunk."""

    chunk_id: str
    text: str
    source: str
    start_line: int
    end_line: int
    language: str
    source_type: Literal["doc", "code", "test"]
    symbols: list[str]
    heading: str | None
    context: list[ContextLineModel] = Field(default_factory=list, description=CONTEXT)
    part: int = 1
    parts: int = 1
    hidden_characters: int = Field(default=0, description=HIDDEN_CHARACTERS)
