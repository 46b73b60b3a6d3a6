"""Answers of the endpoints that read files and the syntax facts about them."""

from pydantic import BaseModel, Field

from agent_brain_server.models.query import IndexFreshness

MAX_PATH_LENGTH = 4096
"""Characters; as many as Linux allows."""

DEFAULT_READ_LINES = 400
"""Lines of a file that are returned if the request names no last line: some 4,000 tokens."""

MAX_READ_LINES = 2_000
MAX_READ_LINE_LENGTH = 2_000
"""Characters of one line; longer ones are data."""


class FileLines(BaseModel):
    """Lines of a file, read from disk."""

    source: str = Field(description="Path relative to the project root, with `/` separators.")
    language: str
    source_type: str
    start_line: int = Field(description="1-based.")
    end_line: int = Field(description="Inclusive.")
    total_lines: int
    text: str
    next_line: int | None = Field(description="First line that the request asked for and that was left out.")
    cut_lines: int = Field(description=f"Lines that were cut after {MAX_READ_LINE_LENGTH} characters.")
    hidden_characters: int = Field(description="As in the results of `POST /query`.")
    index: IndexFreshness
