"""The command that writes a contract: from a sample file."""

from __future__ import annotations

from pathlib import Path

import click

from headrace.app import App, pass_app
from headrace.drafts.draft import DEFAULT_ROWS, check_draft, draft_contract, write_contract


@click.command()
@click.option(
    "--from-file",
    "sample",
    required=True,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="A CSV, JSON or Parquet file or an access log; gzip or zip too.",
)
@click.option("--stream", default="", help="Name of the stream; default from the file's name.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Default: contracts/NAME.yaml in the pipeline's directory, or in the working directory.",
)
@click.option(
    "--rows",
    type=click.IntRange(min=1),
    default=DEFAULT_ROWS,
    show_default=True,
    help="At most this many rows are read.",
)
@click.option("--key", default="", metavar="COL,...", help="Columns of the key; default what the sample suggests.")
@click.option(
    "--header/--no-header", default=None, help="Whether a CSV's first line holds names; default by the sample."
)
@click.option("--force", is_flag=True, help="Replace a contract that is there.")
@click.option("--dry-run", is_flag=True, help="Print the contract; write nothing.")
@pass_app
def init(
    app: App,
    sample: Path,
    stream: str,
    out: Path | None,
    rows: int,
    key: str,
    header: bool | None,
    force: bool,
    dry_run: bool,
) -> None:
    """Write the contract of a stream from a sample file, every guess marked as one; it is loaded at once."""
    names = [name.strip() for name in key.split(",") if name.strip()]
    pipeline = app.settings.pipeline
    draft = draft_contract(sample, pipeline, stream=stream, rows=rows, key=names, header=header)
    if dry_run:
        check_draft(draft, pipeline)
        click.echo(draft.text, nl=False)
        return
    target = out or (app.settings.pipeline_dir or Path()) / "contracts" / f"{draft.stream}.yaml"
    write_contract(draft, target, pipeline, force=force)
    click.echo(f"{target}: check what its first lines name, then `headrace plan`")


COMMANDS = (init,)
