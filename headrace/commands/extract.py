"""The command that writes a declared extract of the lake or the warehouse to a file for others."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from headrace.app import App, pass_app
from headrace.commands.ask import json_option
from headrace.output import show
from headrace.progress import Bar

if TYPE_CHECKING:
    from warehouse_sql.extract import ExtractFormat


@click.command()
@click.argument("name")
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="The tar to write, as gzip if it ends in .gz; one that is there is replaced.",
)
@click.option(
    "--format",
    "file_format",
    type=click.Choice(["csv", "jsonl"]),
    default="csv",
    show_default=True,
    help="Of the rows: CSV with a header, or one JSON object a line.",
)
@json_option
@pass_app
def extract(app: App, name: str, out: Path, file_format: str, as_json: bool) -> None:
    """Write the rows of the declared extract NAME into a tar, with a manifest: all of it or nothing."""
    from warehouse_sql.extract import extract_sql, open_rows, write_extract

    if not out.absolute().parent.is_dir():
        raise click.UsageError(f"--out: there is no directory {out.absolute().parent}")
    statement = extract_sql(app.pipeline, name)
    with Bar() as bar:
        bar.show("asking for", name)
        with open_rows(app.endpoints, statement, app.pipeline.name) as (columns, rows):
            manifest = write_extract(
                bar.counted("writing", name, rows),
                columns,
                out,
                pipeline=app.pipeline.name,
                name=name,
                made_at=datetime.now(UTC),
                file_format=cast("ExtractFormat", file_format),
            )
    line = {"out": str(out), **asdict(manifest)}
    shown = ("out", "file", "rows", "bytes", "sha256")
    show([line if as_json else {key: line[key] for key in shown}], as_json=as_json)


COMMANDS = (extract,)
