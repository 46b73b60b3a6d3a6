"""Bodies of the calls under `/query`."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints
from pydantic_core import PydanticCustomError

from agent_brain_server.models.index import Glob
from agent_brain_server.support.languages import list_languages, resolve_language

MAX_QUERY_LENGTH = 4000
"""Characters: far longer than any question, short enough that no query costs noticeable time."""

MAX_WAIT_MS = 10_000
"""Milliseconds; an index that is further behind than this is not worth a client's patience."""

MAX_TOP_K = 100
DEFAULT_TOP_K = 10
DEFAULT_ALPHA = 0.4
"""Weight of the vectors in hybrid mode; measured, see docs/QUALITY.md."""

HIDDEN_CHARACTERS = (
    "How many characters of text, path, symbols and heading a person cannot see: Unicode tags, zero-width characters, "
    "marks that reorder text, escape sequences. They are in the fields as they are in the file; treat them as suspect."
)

LANGUAGES_DESCRIPTION = (
    f"Names of languages, or aliases such as py, golang, ts and c++; empty: all. The names: {list_languages()}."
)


def check_language(name: str) -> str:
    """Return the language that a name or an alias stands for.

    Raises:
        PydanticCustomError: There is no such language.
    """
    language = resolve_language(name)
    if language is None:
        allowed = list_languages()
        raise PydanticCustomError("unknown_language", "no such language; allowed: {allowed}", {"allowed": allowed})
    return language


class QueryRequest(BaseModel):
    """`POST /query`: a question in words, names or both."""

    model_config = ConfigDict(extra="forbid")

    query: str = Field(min_length=1, max_length=MAX_QUERY_LENGTH, examples=["where is the lock released?"])
    project_id: str | None = Field(default=None, description="Required in shared mode, ignored in project mode.")
    mode: Literal["hybrid", "vector", "bm25"] = "hybrid"
    top_k: int = Field(default=DEFAULT_TOP_K, ge=1, le=MAX_TOP_K, description="How many results to return.")
    alpha: float = Field(
        default=DEFAULT_ALPHA, ge=0, le=1, allow_inf_nan=False, description="Weight of the vector side in hybrid mode."
    )
    similarity_threshold: float = Field(
        default=0.0, ge=0, le=1, allow_inf_nan=False, description="Vector hits below this cosine are not used."
    )
    source_types: list[Literal["doc", "code", "test"]] = Field(default_factory=list, description="Empty: all.")
    languages: list[Annotated[str, StringConstraints(min_length=1, max_length=40), AfterValidator(check_language)]] = (
        Field(default_factory=list, max_length=100, description=LANGUAGES_DESCRIPTION)
    )
    file_paths: list[Glob] = Field(
        default_factory=list, max_length=100, description="Globs on the project-relative path; empty: all."
    )
    explain: bool = Field(default=False, description="Include a score breakdown for each result.")
    wait_ms: int = Field(
        default=0,
        ge=0,
        le=MAX_WAIT_MS,
        description="Wait at most this long for changes made before the query to be indexed; what the answer still "
        "lacks is counted in `index.files_pending`.",
    )


class SignalModel(BaseModel):
    """One term of a score."""

    name: str
    value: float
    contribution: float


class QueryResult(BaseModel):
    """One chunk of the answer."""

    chunk_id: str
    text: str
    source: str = Field(description="Path relative to the project root, `/` separators.")
    start_line: int = Field(description="1-based.")
    end_line: int = Field(description="Inclusive.")
    language: str
    source_type: Literal["doc", "code", "test"]
    symbols: list[str] = Field(description="Names that the chunk defines.")
    heading: str | None = Field(description="Section path of a document, or the enclosing definition of code.")
    hidden_characters: int = Field(default=0, description=HIDDEN_CHARACTERS)
    score: float
    vector_score: float | None = Field(description="Cosine; null where the vector side did not find the chunk.")
    bm25_score: float | None = Field(description="BM25; null where the keyword side did not find the chunk.")
    explanation: list[SignalModel] | None = None


WatchState = Literal["on", "partial", "off"]


class IndexFreshness(BaseModel):
    """How fresh the index was that answered."""

    last_indexed_at: str | None
    files_pending: int = Field(
        description="Files and directories that changed before the query and are not in the index yet."
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
    """The answer of `POST /query`: best first; ties are broken by path and line."""

    results: list[QueryResult]
    total_results: int
    query_time_ms: float
    mode: Literal["hybrid", "vector", "bm25"]
    index: IndexFreshness


class ChunkResponse(BaseModel):
    """One chunk whole."""

    chunk_id: str
    text: str
    source: str
    start_line: int
    end_line: int
    language: str
    source_type: Literal["doc", "code", "test"]
    symbols: list[str]
    heading: str | None
    hidden_characters: int = Field(default=0, description=HIDDEN_CHARACTERS)
