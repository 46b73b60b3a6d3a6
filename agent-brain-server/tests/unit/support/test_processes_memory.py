"""Free memory is returned to the system if the C library supports it."""

import sys
from pathlib import Path

import pytest

from agent_brain_server.support.processes import return_free_memory


def read_resident_kilobytes() -> int:
    text = Path("/proc/self/status").read_text()
    return int(text.partition("RssAnon:")[2].split()[0])


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere the allocator decides by itself")
def test_return_free_memory_never_adds_memory() -> None:
    blocks = [bytearray(1000) for _ in range(100_000)]
    full = read_resident_kilobytes()
    del blocks
    return_free_memory()
    return_free_memory()
    assert read_resident_kilobytes() < full
