"""`agent-brain index`: bring the index up to date."""

from pathlib import Path

import click

from agent_brain_cli.jobs import count_reasons, get_vector_share, wait_for_job
from agent_brain_cli.options import Target, named_options, target_options
from agent_brain_cli.output import Json, format_share, show, visible
from agent_brain_cli.servers import connect, note_version
from agent_brain_server.support.text import pluralize


@click.command()
@click.argument("path", required=False, type=click.Path(path_type=Path))
@click.option(
    "--wait/--no-wait", default=None, help="Wait for vectors too, or do not wait.  [default: wait for keywords]"
)
@click.option(
    "--include", "include_patterns", multiple=True, metavar="GLOB", help="Index only files that match. Repeatable."
)
@click.option("--exclude", "exclude_patterns", multiple=True, metavar="GLOB", help="Skip files that match. Repeatable.")
@click.option("--no-recursive", is_flag=True, help="Skip subdirectories.")
@click.option("--force", is_flag=True, help="Index every file again, even if it has not changed.")
@click.option(
    "--chunk-size", type=click.IntRange(min=1), metavar="N", help="Tokens per chunk.  [default: from config.json]"
)
@click.option(
    "--chunk-overlap",
    type=click.IntRange(min=0),
    metavar="N",
    help="Tokens shared by neighbouring chunks.  [default: from config.json]",
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="Wait at most this long; the job continues.  [default: no limit]",
)
@target_options
def index(target: Target, path: Path | None, wait: bool | None, timeout: float | None, **options: object) -> None:
    """Bring the index up to date.

    Reads only files that have changed, in PATH or in the whole project. Returns when keyword search is complete; the
    server computes the vectors in the background. Starts the server if needed.
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
    """Return the body of `POST /index`, with only the options that the user gave: the server has the defaults."""
    recursive = not options.pop("no_recursive")
    folder = path.absolute() if path else target.project_root
    return {"folder_path": str(folder), "recursive": recursive, **named_options(options)}


def render_job(job: Json) -> str:
    """Return what a job did, or how to follow it."""
    progress = job["progress"]
    if not progress["keywords_ready"]:
        return f"Job {job['job_id']} is {job['state']}. See its progress with: agent-brain status"
    share = get_vector_share(job)
    vectors = "all vectors are ready" if share >= 1 else f"vectors are being computed ({format_share(share)})"
    skipped = f" Skipped: {visible(count_reasons(progress['files_skipped']))}." if progress["files_skipped"] else ""
    return (
        f"Indexed {pluralize(progress['files_total'], 'file')} ({progress['files_changed']:,} read, "
        f"{progress['files_removed']:,} removed): keyword search is complete, {vectors}.{skipped}"
    )
