"""RFC 9457 problem details: the body of every error."""

from pydantic import BaseModel, Field


class Problem(BaseModel):
    """`application/problem+json`."""

    type: str = Field(description="A URI reference that names the kind of problem.")
    title: str
    status: int
    detail: str
    code: str = Field(description="Stable, snake_case: what programs branch on.")
    hint: str = Field(description="What to do next.")
