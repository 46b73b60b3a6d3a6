"""The part of the answer to a query that comes from the structure of the code."""

from typing import Literal

from pydantic import BaseModel, Field

StructuralKind = Literal["callers", "uses", "imports", "subclasses", "tests", "outline", "definition", "values"]


class StructureLine(BaseModel):
    """A place that answers: a use, a definition or a heading."""

    source: str = Field(description="Path relative to the project root, with `/` separators.")
    line: int = Field(description="1-based.")
    end_line: int = Field(description="Inclusive; the same as `line` for a use.")
    text: str = Field(description="The line of a use, or the signature of a definition; at most 300 characters.")
    enclosing: str | None = Field(description="Qualified name of the enclosing definition.")
    depth: int = Field(default=0, description="Of a subclass: how many classes are between; of an outline: nesting.")
    hidden_characters: int = 0


class StructureAnswer(BaseModel):
    """The answer to a question about the structure."""

    question: StructuralKind
    name: str = Field(description="The name or path that the question is about.")
    summary: str = Field(description="What was found, in a few words.")
    lines: list[StructureLine]
    total: int = Field(description="Number of places; more than `lines` if there are many.")
    is_partial: bool = Field(
        default=False, description="Whether the query asks for more than these places, so that results follow them."
    )
