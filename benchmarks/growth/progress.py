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
        vectors_cpu: The same, CPU of all processes, including a Chroma server.
        is_embedded: Whether the vectors are the model's; generated ones take their place at the largest size.
        engine: `exact`, `chroma` (embedded) or `server` (a Chroma server).
        latencies: Milliseconds of each query, by kind.
        query_cpu: Mean CPU milliseconds of a query in the server and the Chroma server, by kind.
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
    vectors_cpu: float = 0.0
    is_embedded: bool = True
    engine: str = "exact"
    latencies: dict[str, list[float]] = field(default_factory=dict)
    query_cpu: dict[str, float] = field(default_factory=dict)
    rss: float = 0.0
    anonymous: float = 0.0
    started_rss: float = 0.0
    chroma_rss: float = 0.0
    disk: dict[str, float] = field(default_factory=dict)

    @classmethod
    def load(cls, path: Path, size: int, engine: str = "exact") -> Self:
        """Return the results of earlier runs; empty without a file."""
        if path.exists():
            return cls(**json.loads(path.read_text(encoding="utf-8")))
        return cls(size, engine=engine)

    def save(self, path: Path) -> None:
        """Write the file."""
        path.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")
