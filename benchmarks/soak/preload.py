"""Preload a small C library into processes."""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

PRELOAD_VARIABLE = "LD_PRELOAD"
COMPILE_LIMIT_S = 60.0


@contextlib.contextmanager
def use_library(source: Path, variables: dict[str, str]) -> Iterator[None]:
    """Compile a C file and preload it into every process that is started in the block.

    Args:
        source: The C file.
        variables: Environment variables that it reads.

    Raises:
        FileNotFoundError: There is no C compiler.
    """
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or sys.platform != "linux":
        raise FileNotFoundError("there is no C compiler, or this is not Linux")
    with contextlib.ExitStack() as stack:
        # a separate directory: LD_PRELOAD cannot name a path with a space, which the loops' directories have on purpose
        library = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="preload_"))) / f"{source.stem}.so"
        subprocess.run(
            [compiler, "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True, timeout=COMPILE_LIMIT_S
        )
        for name, value in {**variables, PRELOAD_VARIABLE: str(library)}.items():
            stack.callback(_restore, name, os.environ.get(name))
            os.environ[name] = value
        yield


def _restore(name: str, before: str | None) -> None:
    os.environ.pop(name, None)
    if before is not None:
        os.environ[name] = before
