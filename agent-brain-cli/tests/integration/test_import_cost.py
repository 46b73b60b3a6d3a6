"""Commands import no library that they do not need: imports are most of their time."""

import os
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


def test_relay_of_mcp_imports_no_command_line(environment):
    code = (
        "import sys; from agent_brain_cli.__main__ import main; sys.argv = ['agent-brain', 'mcp']; main(); "
        "print(' '.join({name.split('.')[0] for name in sys.modules}), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", code],
        env=environment | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        cwd="/",  # no project, so that no server is started
        input=b"",
        capture_output=True,
        check=True,
    )
    assert done.stdout == b""
    modules = set(done.stderr.decode().splitlines()[-1].split())
    assert not modules & {"click", "typing", "http", "email", "ssl", "dataclasses", "agent_brain_server", *HEAVY}


def test_help_of_mcp_comes_from_click(environment, project):
    command = [sys.executable, "-m", "agent_brain_cli", "mcp", "--help"]
    shown = subprocess.run(command, env=environment, cwd=project, capture_output=True, text=True, check=True).stdout
    assert "--project-root" in shown
    assert "Usage: agent-brain mcp" in shown
