"""What a command imports is what it costs: nothing heavy where it is not needed."""

import subprocess
import sys

import pytest

HEAVY = ("fastapi", "starlette", "uvicorn", "chromadb", "tantivy", "llama_index", "onnxruntime", "httpx", "numpy")


def imported(*arguments: str, environment, cwd) -> set[str]:
    code = (
        "import sys; from agent_brain_cli.cli import main; main(sys.argv[1:]); "
        "print('\\n' + ' '.join({name.split('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], env=environment, cwd=cwd, capture_output=True, text=True, check=True
    )
    return set(done.stdout.splitlines()[-1].split())


def test_help_imports_no_command_and_no_library_but_click(environment, project):
    modules = imported("--help", environment=environment, cwd=project)
    assert "click" in modules
    assert not modules & {"pydantic", "rich", "http", "agent_brain_cli.commands", *HEAVY}


@pytest.mark.parametrize("command", ["status", "list"])
def test_asking_imports_nothing_heavy(command, environment, project):
    assert not imported(command, environment=environment, cwd=project) & {"rich", *HEAVY}
