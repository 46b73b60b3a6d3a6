"""Results of a growth run for one size, kept in a file so that the run can be continued."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Self


@dataclass
class Findings:
    """The measurements of one size.

    Attributes:
        size: Requested number of chunks.
        chunks: Chunks that there are.
        files: In the corpus.
        bytes: Of the corpus.
        keywords_wall: Seconds of the first index until keyword answers were complete.
        keywords_cpu: The same, CPU of every process.
        vectors: Vectors that were embedded, or written, while it was timed.
        vectors_wall: Seconds that this took.
        is_embedded: Whether the vectors are the model's; generated ones take their place at the largest size.
        chroma: Vectors that Chroma took in while it was timed.
        chroma_wall: Seconds that this took.
        behind: Vectors that Chroma lacked during the queries.
        vectors_at: Who compares vectors: "" for the exact matrix, "coarse" for its components first, "files" or
            "server" for Chroma by where its copy is.
        latencies: Milliseconds of each query, by kind.
        rss: Megabytes of the server after the queries, including pages of files.
        anonymous: The part of that which the system can't take back.
        started_rss: Megabytes of a server that was just started and has answered one query.
        chroma_rss: Megabytes of the Chroma server, if any.
        disk: Megabytes by store.
    """

    size: int
    chunks: int = 0
    files: int = 0
    bytes: int = 0
    keywords_wall: float = 0.0
    keywords_cpu: float = 0.0
    vectors: int = 0
    vectors_wall: float = 0.0
    is_embedded: bool = True
    chroma: int = 0
    chroma_wall: float = 0.0
    behind: int = 0
    vectors_at: str = ""
    latencies: dict[str, list[float]] = field(default_factory=dict)
    rss: float = 0.0
    anonymous: float = 0.0
    started_rss: float = 0.0
    chroma_rss: float = 0.0
    disk: dict[str, float] = field(default_factory=dict)

    @classmethod
    def load(cls, path: Path, size: int) -> Self:
        """Return the results of earlier runs; empty without a file."""
        return cls(**json.loads(path.read_text(encoding="utf-8"))) if path.exists() else cls(size)

    def save(self, path: Path) -> None:
        """Write the file."""
        path.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")
