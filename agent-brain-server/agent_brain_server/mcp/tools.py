"""The tools that agents see: their descriptions, their arguments, and the calls that answer them.

The descriptions are the only documentation that a model reads, at the cost of its context in every session: they say
when to use a tool, when not, and nothing else. Schemas are plain, without references and unions, since hosts differ in
what they support.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from agent_brain_server.errors import InvalidRequestError
from agent_brain_server.mcp import answers
from agent_brain_server.models import DEFAULT_BUDGET, MAX_BUDGET, MIN_BUDGET
from agent_brain_server.models.query import MAX_PATH_LENGTH, MAX_QUERIES, MAX_QUERY_LENGTH
from agent_brain_server.models.symbols import MAX_LINE, MAX_NAME_TEXT

if TYPE_CHECKING:
    from agent_brain_server.project.services import ProjectServices

INSTRUCTIONS = """\
Agent Brain is a local index of this project: code, tests and documents, always up to date with the files on disk.

Use `search` first to find where something is done, in words or by name; it finds code that does not contain your \
words, and shows the lines that answer. Use `symbols` for a name you know: its definition, its callers, \
the outline of a file. Use `read` for the lines around a result.

Prefer grep for a literal string or a regular expression that must be found everywhere, and in files that are not \
part of the project (ignored files, dependencies).

Answers name path and lines, so that no second search is needed to open a file. The last line of an answer says how \
fresh the index is; if files are pending, ask again in a second.
"""

MAX_PROJECTS = 50
ALL_PROJECTS = "*"
SEARCH = "search"

MAX_TOKENS = "Longest answer in tokens; what does not fit is listed by path and line."

Budget = Annotated[int, Field(ge=MIN_BUDGET, le=MAX_BUDGET, description=MAX_TOKENS)]


class _Arguments(BaseModel):
    model_config = ConfigDict(extra="forbid")


class SearchArguments(_Arguments):
    """Arguments of `search`."""

    query: Annotated[
        str, Field(min_length=1, max_length=MAX_QUERY_LENGTH, description="A question, keywords, or a name from code.")
    ]
    also: Annotated[
        list[Annotated[str, StringConstraints(min_length=1, max_length=MAX_QUERY_LENGTH)]],
        Field(max_length=MAX_QUERIES, description="Further questions for the same answer."),
    ] = []
    path: Annotated[
        str, Field(max_length=MAX_PATH_LENGTH, description="Only files that match this glob, for example src/**.")
    ] = ""
    language: Annotated[str, Field(max_length=40, description="Only this language, for example python.")] = ""
    type: Annotated[Literal["any", "code", "test", "doc"], Field(description="Only this type of file.")] = "any"
    projects: Annotated[
        list[Annotated[str, StringConstraints(min_length=1, max_length=MAX_PATH_LENGTH)]],
        Field(
            max_length=MAX_PROJECTS,
            description="Only with the shared daemon: names or roots of other registered projects to search instead "
            "of this one; * for all.",
        ),
    ] = []
    max_tokens: Budget = DEFAULT_BUDGET


class SymbolsArguments(_Arguments):
    """Arguments of `symbols`."""

    name: Annotated[
        str,
        Field(
            min_length=1,
            max_length=MAX_NAME_TEXT,
            description="A name from code, possibly qualified (Client.send, std::move); for outline a file or "
            "directory; for related a path and line (src/client.py:120).",
        ),
    ]
    find: Annotated[
        Literal["definitions", "references", "outline", "related"],
        Field(
            description="definitions: where the name is defined; references: what calls, imports, inherits from or "
            "mentions it; outline: what the file or directory defines; related: what uses the code at the line, what "
            "it uses, and its tests."
        ),
    ] = "definitions"
    path: Annotated[str, Field(max_length=MAX_PATH_LENGTH, description="Only files that match this glob.")] = ""
    max_tokens: Budget = DEFAULT_BUDGET


class ReadArguments(_Arguments):
    """Arguments of `read`."""

    path: Annotated[str, Field(min_length=1, max_length=MAX_PATH_LENGTH, description="Path of a file in the project.")]
    first: Annotated[int, Field(ge=1, le=MAX_LINE, description="First line, 1-based.")] = 1
    last: Annotated[int, Field(ge=0, le=MAX_LINE, description="Last line, inclusive; 0: as many as fit.")] = 0
    max_tokens: Budget = 4_000


class StatusArguments(_Arguments):
    """Arguments of `status`."""


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool.

    Attributes:
        name: Its name in the protocol.
        title: Its name for people.
        description: Tells a model when to use it.
        arguments: Validates the arguments, and describes them.
        answer: Returns the text of the answer.
    """

    name: str
    title: str
    description: str
    arguments: type[_Arguments]
    answer: Callable[["ProjectServices", Any], str]

    def describe_arguments(self) -> dict[str, Any]:
        """Return the JSON schema of the arguments, without the titles that Pydantic adds."""
        schema = self.arguments.model_json_schema()
        fields = {
            name: {key: value for key, value in field.items() if key != "title"}
            for name, field in schema.get("properties", {}).items()
        }
        required = {"required": schema["required"]} if "required" in schema else {}
        return {"type": "object", "properties": fields, **required, "additionalProperties": False}


TOOLS = (
    Tool(
        SEARCH,
        "Search the project",
        "Find where something is done in this project: pass a question (`where is the lock released`), keywords or a "
        "name. Returns the best lines of code, tests and documents with path and line numbers, within a budget of "
        "tokens. Use it instead of grep and find when you do not know the exact words or want the most relevant "
        "places first; use grep for every occurrence of a literal string.",
        SearchArguments,
        answers.search,
    ),
    Tool(
        "symbols",
        "Definitions, references, outlines",
        "Look up a name in the syntax of this project: its definitions, its references (each with the function that "
        "contains it), or the outline of a file or directory. Use it instead of grep for `who calls this`, `where is "
        "this defined`, `what is in this file`: comments and strings are left out.",
        SymbolsArguments,
        answers.symbols,
    ),
    Tool(
        "read",
        "Read lines of a file",
        "Read lines of an indexed file as it is on disk now.",
        ReadArguments,
        answers.read,
    ),
    Tool(
        "status",
        "State of the index",
        "Show what is indexed, what was skipped and why, and whether indexing is in progress. Not needed before the "
        "other tools.",
        StatusArguments,
        answers.status,
    ),
)


def call_tool(services: "ProjectServices", name: str, arguments: Mapping[str, Any]) -> str:
    """Return the text of a tool's answer.

    Args:
        services: The project's services.
        name: Name of the tool.
        arguments: As the client sent them.

    Raises:
        AgentBrainError: The tool does not exist, an argument is invalid, or the call failed.
    """
    tool = _find_tool(name)
    return tool.answer(services, check_arguments(name, arguments))


def check_arguments(name: str, arguments: Mapping[str, Any]) -> Any:  # noqa: ANN401 - the model of the tool
    """Return the arguments of a tool.

    Raises:
        InvalidRequestError: The tool does not exist, or an argument is invalid.
    """
    tool = _find_tool(name)
    try:
        return tool.arguments.model_validate(dict(arguments))
    except ValidationError as error:
        raise InvalidRequestError(
            answers.describe_invalid(error), hint=f"See the schema of the tool {name}."
        ) from error


def _find_tool(name: str) -> Tool:
    tool = next((tool for tool in TOOLS if tool.name == name), None)
    if tool is None:
        names = ", ".join(tool.name for tool in TOOLS)
        raise InvalidRequestError(f"There is no tool {name[:40]!r}.", hint=f"The tools are {names}.")
    return tool
