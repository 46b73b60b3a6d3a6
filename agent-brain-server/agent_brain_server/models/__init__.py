"""Pydantic models of HTTP bodies, and the modes, job states, limits and defaults that settings and requests share."""

from typing import Literal, get_args

Mode = Literal["project", "shared"]
"""`project`: the server serves one project. `shared`: the daemon serves many."""

VectorEngineName = Literal["exact", "chroma"]
"""`exact`: a memory-mapped matrix. `chroma`: chromadb, embedded or on a server."""

MODES: tuple[Mode, ...] = get_args(Mode)

JobState = Literal["queued", "running", "done", "failed", "cancelled"]
TERMINAL_STATES: frozenset[JobState] = frozenset({"done", "failed", "cancelled"})

DEFAULT_MODEL = "all-MiniLM-L6-v2"  # in the package, so that nothing is downloaded

MIN_CHUNK_SIZE = 32  # tokens; smaller chunks lose the context of a line
MAX_CHUNK_SIZE = 8192  # tokens; the longest input of common embedding models
DEFAULT_CHUNK_SIZE = 512
DEFAULT_CHUNK_OVERLAP = 50

LOOPBACK_HOST = "127.0.0.1"
MAX_PORT = 65_535
DAEMON_PORT = 45_123  # fixed, so that `shared_server_url` in a project's settings stays valid

MIN_BUDGET = 50
"""Tokens: the least in which an answer names a result."""

DEFAULT_BUDGET = 1500
"""Tokens of a compact answer: a definition, a few excerpts and the list of the other results."""

MAX_BUDGET = 100_000
"""Tokens: more than the longest answer."""
