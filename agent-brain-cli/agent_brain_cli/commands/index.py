"""`agent-brain index`: bring the index up to date."""

from pathlib import Path

import click

from agent_brain_cli.indexing import wait_for_job
from agent_brain_cli.options import Target, named_options, target_options
from agent_brain_cli.progress import count_reasons, vector_share
from agent_brain_cli.render import Json, format_share, show, visible
from agent_brain_cli.servers import connect, note_version
from agent_brain_server.support.text import pluralize


@click.command()
@click.argument("path", required=False, type=click.Path(path_type=Path))
@click.option("--wait/--no-wait", default=None, help="Wait for the vectors too / for nothing.  [default: for keywords]")
@click.option("--include", "include_patterns", multiple=True, metavar="GLOB", help="Only files that match; repeatable.")
@click.option("--exclude", "exclude_patterns", multiple=True, metavar="GLOB", help="Not files that match; repeatable.")
@click.option("--no-recursive", is_flag=True, help="Leave subdirectories out.")
@click.option("--force", is_flag=True, help="Index every file again, changed or not.")
@click.option(
    "--chunk-size", type=click.IntRange(min=1), metavar="N", help="Tokens in a chunk.  [default: of config.json]"
)
@click.option(
    "--chunk-overlap", type=click.IntRange(min=0), metavar="N", help="Shared by neighbours.  [default: of config.json]"
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="Longest wait; the job goes on.  [default: no limit]",
)
@target_options
def index(target: Target, path: Path | None, wait: bool | None, timeout: float | None, **options: object) -> None:
    """Bring the index up to date.

    Only what changed is read, in PATH or in the whole project. Returns when keyword answers are complete; vectors
    follow in the server, which is started where none runs.
    """
    client = connect(target)
    job_id = client.post("/index", index_request(path, target, options))["job_id"]
    if wait is False:
        job = client.get_job(job_id)
    else:
        job = wait_for_job(client, job_id, "end" if wait else "keywords", timeout_s=timeout)
    show(job, render_job, as_json=target.as_json)
    note_version(client.state)


def index_request(path: Path | None, target: Target, options: dict[str, object]) -> Json:
    """Return the body of `POST /index`: only what the user named, so that the server's defaults hold."""
    recursive = not options.pop("no_recursive")
    folder = path.absolute() if path else target.project_root
    return {"folder_path": str(folder), "recursive": recursive, **named_options(options)}


def render_job(job: Json) -> str:
    """Say what a job did."""
    progress = job["progress"]
    if not progress["keywords_ready"]:
        return f"Job {job['job_id']} is {job['state']}; see how far it is with: agent-brain status"
    share = vector_share(job)
    vectors = "all vectors are there" if share >= 1 else f"vectors follow ({format_share(share)})"
    skipped = f" Left out: {visible(count_reasons(progress['files_skipped']))}." if progress["files_skipped"] else ""
    return (
        f"Indexed {pluralize(progress['files_total'], 'file')} ({progress['files_changed']:,} read, "
        f"{progress['files_removed']:,} removed): keyword answers are complete, {vectors}.{skipped}"
    )
