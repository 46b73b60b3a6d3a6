"""Memory that was used and is not any more, given back to the system."""

import ctypes
import sys
from functools import cache

RETURN_INTERVAL_S = 60.0
"""Between two returns while there is always something to index; what is free grows by some 30 MB otherwise."""


def return_free_memory() -> None:
    """Let the C library give back what it keeps for later; takes some milliseconds, and does nothing where it can't.

    Indexing in many threads leaves free memory in as many of its arenas, which it does not return by itself.
    """
    library = _load_c_library()
    if library is not None:
        library.malloc_trim(0)


@cache
def _load_c_library() -> ctypes.CDLL | None:
    if not sys.platform.startswith("linux"):
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "malloc_trim") else None  # musl has none, and needs none
