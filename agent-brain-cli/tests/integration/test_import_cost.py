"""Commands import no library that they do not need: imports are most of their time."""

import subprocess
import sys

import pytest

HEAVY = ("fastapi", "starlette", "uvicorn", "chromadb", "tantivy", "llama_index", "onnxruntime", "httpx", "numpy")


def list_imports(*arguments: str, environment, cwd) -> set[str]:
    code = (
        "import sys; from agent_brain_cli.cli import main; main(sys.argv[1:]); "
        "print('\\n' + ' '.join({name.split('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], env=environment, cwd=cwd, capture_output=True, text=True, check=True
    )
    return set(done.stdout.splitlines()[-1].split())


def test_help_imports_no_command_and_only_click(environment, project):
    modules = list_imports("--help", environment=environment, cwd=project)
    assert "click" in modules
    assert not modules & {"pydantic", "rich", "http", "agent_brain_cli.commands", *HEAVY}


@pytest.mark.parametrize("command", ["status", "list"])
def test_read_only_command_imports_nothing_heavy(command, environment, project):
    assert not list_imports(command, environment=environment, cwd=project) & {"rich", *HEAVY}
