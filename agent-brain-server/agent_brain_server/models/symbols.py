"""Answers of the endpoints that read files and the syntax facts about them."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from agent_brain_server.models import DEFAULT_BUDGET, MAX_BUDGET, MIN_BUDGET
from agent_brain_server.models.index import Glob
from agent_brain_server.models.query import (
    MAX_PATH_LENGTH,
    AnswerFormat,
    IndexFreshness,
    PathsFrom,
    WaitMs,
    check_language,
)

DEFAULT_READ_LINES = 400
"""Lines of a file that are returned if the request names no last line: some 4,000 tokens."""

MAX_READ_LINES = 2_000
MAX_READ_LINE_LENGTH = 2_000
"""Characters of one line; longer ones are data."""

MAX_LINE_LENGTH = 300
"""Characters of a line beside its location."""

DEFAULT_LIMIT = 50
MAX_LIMIT = 500
MAX_OFFSET = 1_000_000

SOURCE = "Path relative to the project root, with `/` separators."
HIDDEN = "As in the results of `POST /query`."
OFFSET = "Value of `offset` for the next page; null on the last one."

ReferenceKindName = Literal["call", "import", "inherit", "use"]
SourceTypeName = Literal["code", "test"]
NameMatch = Literal["exact", "ignore_case", "unqualified", "part", "none"]
"""The way in which definitions match a name; `unqualified`: only the last part of a qualified name matches."""

MAX_FILTERS = 100
MAX_NAME_TEXT = 4_000
"""Characters, as of a query; a text of this length is refused with the error `invalid_name`."""

MAX_LINE = 10_000_000
"""More lines than any file has that is small enough to be indexed."""

LanguageName = Annotated[str, StringConstraints(min_length=1, max_length=40), AfterValidator(check_language)]
KindName = Annotated[str, StringConstraints(min_length=1, max_length=40)]


class SymbolRequest(BaseModel):
    """Parameters that all these endpoints have."""

    model_config = ConfigDict(extra="forbid")

    project_id: str | None = Field(default=None, description="Required in shared mode, ignored in project mode.")
    wait_ms: WaitMs = 0
    format: AnswerFormat = "json"
    max_tokens: int | None = Field(
        default=None,
        ge=MIN_BUDGET,
        le=MAX_BUDGET,
        description="Maximum tokens of the answer: of the whole document, or of the `text` if the format is `compact` "
        f"(there by default {DEFAULT_BUDGET}, except for lines of a file).",
    )
    paths_from: PathsFrom = ""


class _PageRequest(SymbolRequest):
    """Parameters of endpoints that answer in pages."""

    limit: int = Field(default=DEFAULT_LIMIT, ge=1, le=MAX_LIMIT)
    offset: int = Field(default=0, ge=0, le=MAX_OFFSET, description="`next_offset` of the previous page.")


class _NameRequest(_PageRequest):
    """Parameters of endpoints about a name."""

    name: str = Field(
        min_length=1, max_length=MAX_NAME_TEXT, description="As in code, possibly qualified: `A::B`, `a.b`, `A#b`."
    )
    path: list[Glob] = Field(
        default_factory=list, max_length=MAX_FILTERS, description="Globs on the project-relative path; empty: all."
    )


class SymbolsRequest(_NameRequest):
    """The parameters of `GET /symbols`."""

    kind: list[KindName] = Field(
        default_factory=list, max_length=MAX_FILTERS, description="`class`, `def`, `fn`, …; empty: all."
    )
    language: list[LanguageName] = Field(default_factory=list, max_length=MAX_FILTERS, description="Empty: all.")
    source_type: list[SourceTypeName] = Field(default_factory=list, max_length=MAX_FILTERS, description="Empty: all.")


class ReferencesRequest(_NameRequest):
    """The parameters of `GET /references`."""

    kind: list[ReferenceKindName] = Field(default_factory=list, max_length=MAX_FILTERS, description="Empty: all.")
    by_file: bool = Field(default=False, description="Group the uses by file in a compact `text`.")


class OutlineRequest(_PageRequest):
    """The parameters of `GET /outline`."""

    path: str = Field(
        max_length=MAX_PATH_LENGTH, description="A file or directory, relative to the project root, or absolute."
    )
    limit: int = Field(default=MAX_LIMIT, ge=1, le=MAX_LIMIT)


class FileRequest(SymbolRequest):
    """The parameters of `GET /files/{path}`."""

    first: int = Field(default=1, alias="from", ge=1, le=MAX_LINE, description="First line, 1-based.")
    last: int | None = Field(
        default=None,
        alias="to",
        ge=1,
        le=MAX_LINE,
        description=f"Last line, inclusive; by default the last of {DEFAULT_READ_LINES}.",
    )
    numbers: bool = Field(default=False, description="Write the number of each line in a compact `text`.")


class RelatedRequest(SymbolRequest):
    """The parameters of `GET /related`."""

    path: str = Field(max_length=MAX_PATH_LENGTH, description="A file, relative to the project root, or absolute.")
    line: int = Field(ge=1, le=MAX_LINE, description="1-based.")


class FileLines(BaseModel):
    """Lines of a file, read from disk."""

    source: str = Field(description=SOURCE)
    language: str
    source_type: str
    start_line: int = Field(description="1-based.")
    end_line: int = Field(description="Inclusive.")
    total_lines: int
    text: str
    next_line: int | None = Field(description="First line that the request asked for and that was left out.")
    cut_lines: int = Field(description=f"Lines that were cut after {MAX_READ_LINE_LENGTH} characters.")
    hidden_characters: int = Field(description=HIDDEN)
    index: IndexFreshness


class Symbol(BaseModel):
    """A definition."""

    name: str
    qualified_name: str = Field(description="With the names of the enclosing definitions, joined by dots.")
    kind: str = Field(description="Keyword of the language: `class`, `def`, `fn`, `interface`, …")
    signature: str
    documentation: str = Field(description="First sentence of its documentation.")
    source: str = Field(description=SOURCE)
    line: int = Field(description="Line of the name, 1-based.")
    start_line: int = Field(description="With decorators and documentation comments.")
    end_line: int = Field(description="Inclusive.")
    language: str
    source_type: str
    hidden_characters: int = Field(description=HIDDEN)


class SymbolsAnswer(BaseModel):
    """Definitions of a name, ordered by path and line; the best part matches first."""

    name: str
    match: NameMatch = Field(description="How the definitions match; `none`: see `nearest`.")
    symbols: list[Symbol]
    total: int
    next_offset: int | None = Field(description=OFFSET)
    nearest: list[str] = Field(description="Similar defined names, if there is no match.")
    index: IndexFreshness


class ReferenceModel(BaseModel):
    """A place where a name is used."""

    line: int = Field(description="1-based.")
    kind: ReferenceKindName
    text: str = Field(description=f"The line, without indentation, at most {MAX_LINE_LENGTH} characters.")
    enclosing: str | None = Field(description="Qualified name of the innermost enclosing definition.")
    hidden_characters: int = Field(description=HIDDEN)


class FileSites(BaseModel):
    """The places of one file where a name is used."""

    source: str = Field(description=SOURCE)
    source_type: str
    references: list[ReferenceModel]


class ReferencesAnswer(BaseModel):
    """Places where a name is used: in code first, then in tests; ordered by path and line."""

    name: str
    match: NameMatch
    definitions: list[Symbol] = Field(description="What the name may mean; several if it is ambiguous.")
    total_definitions: int
    files: list[FileSites]
    total: int = Field(description="Places on all pages.")
    total_files: int
    next_offset: int | None = Field(description=OFFSET)
    nearest: list[str] = Field(description="Similar defined names, if the name is neither defined nor used.")
    index: IndexFreshness


class OutlineItem(BaseModel):
    """A definition of a file, or a heading of a document."""

    depth: int = Field(description="Number of enclosing definitions.")
    kind: str
    name: str
    signature: str
    documentation: str
    line: int = Field(description="Line of the name, 1-based.")
    start_line: int
    end_line: int
    hidden_characters: int = Field(description=HIDDEN)


class OutlineFile(BaseModel):
    """The outline of one file."""

    source: str = Field(description=SOURCE)
    language: str
    items: list[OutlineItem]
    is_partial: bool = Field(description="A part of the file could not be parsed.")


class OutlineDirectory(BaseModel):
    """A directory in an outline."""

    source: str = Field(description=SOURCE)
    files: int = Field(description="Indexed files in it and below.")


class OutlineAnswer(BaseModel):
    """The definitions of a file; of a directory, the subdirectories, and the files with their outermost definitions."""

    path: str = Field(description="The file or directory, relative to the project root.")
    kind: Literal["file", "directory"]
    directories: list[OutlineDirectory]
    files: list[OutlineFile]
    total: int = Field(description="Items of the file, or files of the directory, on all pages.")
    next_offset: int | None = Field(description=OFFSET)
    index: IndexFreshness


class DocumentMention(BaseModel):
    """A section of a document that mentions a name."""

    source: str = Field(description=SOURCE)
    line: int
    heading: str | None
    text: str = Field(description="The line, as in references.")
    hidden_characters: int = Field(description=HIDDEN)


class RelatedAnswer(BaseModel):
    """Definitions, uses and documents that belong to the code at a line."""

    source: str = Field(description=SOURCE)
    line: int
    definition: Symbol | None = Field(description="The innermost definition around the line.")
    enclosing: Symbol | None = Field(description="The definition around that one.")
    members: list[OutlineItem] = Field(description="What the enclosing definition, or the file, consists of.")
    callers: list[FileSites] = Field(description="Uses in code.")
    total_callers: int
    callees: list[Symbol] = Field(description="Definitions of the project that the definition uses.")
    tests: list[FileSites] = Field(description="Uses in tests.")
    total_tests: int
    documents: list[DocumentMention]
    index: IndexFreshness


class SmallSymbols(BaseModel):
    """An answer with `max_tokens`: the fields of the whole answer that have a value, with as many entries as fit."""

    model_config = ConfigDict(extra="allow")

    omitted: int | None = Field(default=None, description="Number of entries, if the budget has no room for any.")
    index: dict[str, Any] | None = Field(default=None, description="What the index lacks; left out if it is complete.")


class CompactSymbols(BaseModel):
    """An answer of these endpoints with the format `compact`."""

    text: str = Field(description="One line for each definition or use; hidden characters are visible.")
    tokens: int = Field(description="Tokens of `text`.")
    index: IndexFreshness


SymbolAnswer = SymbolsAnswer | ReferencesAnswer | OutlineAnswer | FileLines | RelatedAnswer
"""The answers of these endpoints with the format `json`."""
