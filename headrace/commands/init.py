"""The command that writes contracts: from a sample file, or from the tables of a database."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click

from headrace.app import App, pass_app
from headrace.commands.ask import json_option
from headrace.drafts.draft import DEFAULT_ROWS, check_draft, draft_contract, write_contract
from headrace.output import show
from headrace.progress import BYTES, Bar

_OF_FILES = ("member", "stream", "rows", "key", "header")
_OF_TABLES = ("tables", "schema", "url", "as_json")


@click.command()
@click.option(
    "--from-file",
    "sample",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="A CSV, JSON or Parquet file or an access log, or an archive of such: gzip, zip, tar, tar.gz.",
)
@click.option("--from-postgres", is_flag=True, help="The tables of the source database, each its contract.")
@click.option(
    "--member", default="", metavar="NAME", help="Of an archive: the file that is the sample; default its first."
)
@click.option("--stream", default="", help="Of a file: name of the stream; default from the file's name.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="The file, for tables the folder. Default: contracts/ in the pipeline's directory, or in the working one.",
)
@click.option(
    "--rows",
    type=click.IntRange(min=1),
    default=DEFAULT_ROWS,
    show_default=True,
    help="Of a file: at most this many rows are read.",
)
@click.option("--key", default="", metavar="COL,...", help="Columns of a file's key; default what the sample suggests.")
@click.option(
    "--header/--no-header", default=None, help="Whether a CSV's first line holds names; default by the sample."
)
@click.option("--tables", default="", metavar="T,...", help="These tables (`table` or `schema.table`); default all.")
@click.option("--schema", default="public", show_default=True, help="All tables of this schema.")
@click.option(
    "--url",
    default="",
    help="postgresql://USER@HOST:PORT/DATABASE instead of the settings' source; its password from PGPASSWORD.",
)
@click.option("--force", is_flag=True, help="Replace a contract that is there.")
@click.option("--dry-run", is_flag=True, help="Print the contract; write nothing.")
@json_option
@click.pass_context
@pass_app
def init(
    app: App,
    context: click.Context,
    sample: Path | None,
    from_postgres: bool,
    member: str,
    stream: str,
    out: Path | None,
    rows: int,
    key: str,
    header: bool | None,
    tables: str,
    schema: str,
    url: str,
    force: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Write contracts from a sample file or a database's tables, every guess marked as one; they are loaded at once."""
    if from_postgres == bool(sample):
        raise click.UsageError("Name one of --from-file FILE and --from-postgres.")
    for name in _OF_FILES if from_postgres else _OF_TABLES:
        if context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE:
            other = "--from-file" if from_postgres else "--from-postgres"
            raise click.UsageError(f"--{name.removeprefix('as_')} belongs to {other}.")
    pipeline = app.settings.pipeline
    folder = (app.settings.pipeline_dir or Path()) / "contracts"
    if sample is None:
        from headrace.init_tables import init_tables

        names = [name.strip() for name in tables.split(",") if name.strip()]
        if tables and context.get_parameter_source("schema") is click.core.ParameterSource.COMMANDLINE:
            raise click.UsageError("--tables and --schema: name one; a table may be written schema.table.")
        with Bar() as bar:
            bar.show("reading", "the database's tables")
            results = init_tables(app, names, schema, url, out or folder, force=force, dry_run=dry_run)
        if dry_run and not as_json:
            click.echo("---\n".join(result.text for result in results if result.text), nl=False)
            results = [result for result in results if result.fix]
        if results or not dry_run or as_json:
            show([result.row for result in results], as_json=as_json, title="Tables")
        if any(result.refused for result in results):
            context.exit(1)
        return
    if out and out.is_dir():
        raise click.UsageError(f"--out {out} is a folder; of a file's contract it names the file.")
    names = [name.strip() for name in key.split(",") if name.strip()]
    with Bar() as bar:
        bar.show("reading", sample.name)
        draft = draft_contract(
            sample,
            pipeline,
            stream=stream,
            rows=rows,
            key=names,
            header=header,
            member=member,
            spool=app.settings.data_dir / "spool",
            progress=partial(bar.show, "unpacking", sample.name, unit=BYTES),
        )
    if dry_run:
        check_draft(draft, pipeline)
        click.echo(draft.text, nl=False)
        return
    target = out or folder / f"{draft.stream}.yaml"
    write_contract(draft, target, pipeline, force=force)
    click.echo(f"{target}: check what its first lines name, then `headrace plan`")


COMMANDS = (init,)
