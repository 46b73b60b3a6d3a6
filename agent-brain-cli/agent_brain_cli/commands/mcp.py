"""`agent-brain mcp`: serve an agent over the Model Context Protocol."""

import click

from agent_brain_cli.relay import serve


@click.command()
@click.option(
    "--project-root",
    type=click.Path(exists=True, file_okay=False),
    help="Root directory of the project.  [default: found from the current directory]",
)
@click.option(
    "--state-dir",
    type=click.Path(file_okay=False),
    help="Directory of the server's files.  [default: in the project]",
)
def mcp(project_root: str | None, state_dir: str | None) -> None:
    """Serve an agent over the Model Context Protocol.

    The protocol uses stdin and stdout. The command is for the configuration of an agent's host, which starts it in the
    directory of a project. It finds or starts the project's server, and ends with its input.
    """
    serve(project_root or "", state_dir or "")
