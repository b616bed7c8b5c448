"""Commands that declare and send: plan, apply, load, push, watch, files, generate."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from datetime import date, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.text import Text

from headrace.app import POSITIVE, App, pass_app, progress_console
from headrace.commands.ask import json_option
from headrace.output import show
from headrace.progress import BYTES, ROWS, Bar

if TYPE_CHECKING:
    from producers.push import FileResult

FileArgument = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.command()
@pass_app
def plan(app: App) -> None:
    """Show the difference between what is declared and what runs; exit code 1 if there is one."""
    from headrace.planning import planned

    found = planned(app)
    for warning in found.warnings:
        click.secho(f"warning: {warning}", fg="yellow", err=True)
    for hint in found.hints:
        click.echo(f"hint: {hint}", err=True)
    for refusal in found.refusals:
        click.secho(f"refused: {refusal}", fg="red", err=True)
    for change in found.changes:
        click.echo(change.describe())
    if found.empty:
        click.echo("nothing to do: what runs is what is declared")
        return
    count = f"{len(found.changes)} change{'' if len(found.changes) == 1 else 's'}"
    if found.refusals:
        click.echo(f"\n{count}; `headrace apply` makes none of them while something is refused", err=True)
    else:
        click.echo(f"\n{count}; `headrace apply` makes them", err=True)
    sys.exit(1)


@click.command()
@click.option("--dry-run", is_flag=True, help="The same as `headrace plan`.")
@click.pass_context
def apply(context: click.Context, dry_run: bool) -> None:
    """Make what is declared run: topics, source access, connector, tables."""
    from connectors.plan import apply as make
    from headrace.planning import planned, restart_monitor
    from headrace.rereading import reading

    app: App = context.obj
    if dry_run:
        context.invoke(plan)
        return
    found = planned(app)
    for warning in found.warnings:
        click.secho(f"warning: {warning}", fg="yellow", err=True)
    with reading(app, "apply"):
        changed = make(found, lambda line: progress_console.print(Text(line)))
    if changed:
        restart_monitor(app)
    click.echo(f"applied: {changed} changes" if changed else "nothing to do: what runs is what is declared")


@click.command()
@click.argument("file", type=FileArgument)
@click.option("--table", "-t", default="", help="`table` or `schema.table` of the source database.")
@click.option("--dry-run", is_flag=True, help="Only read the header.")
@pass_app
def load(app: App, file: Path, table: str, dry_run: bool) -> None:
    """Fill a source table from a CSV FILE with COPY, or run a .sql FILE there: all of it or nothing."""
    from connectors.postgres import load as loading

    if file.suffix.lower() == ".sql":
        if table:
            raise click.UsageError("a .sql file names its tables itself: leave --table out")
        if dry_run:
            click.echo(f"would run {file.name} in the source database")
        else:
            with Bar() as bar:
                bar.show("running", file.name)
                loading.run_sql_file(app.endpoints.source, file)
            click.echo(f"{file.name}: done")
        return
    if not table:
        raise click.UsageError("name the table: --table TABLE")
    if dry_run:
        click.echo(f"would copy {', '.join(loading.header(file))} of {file.name} into {table}")
        return
    with Bar() as bar:
        told = partial(bar.show, "loading", file.name, unit=BYTES)
        rows = loading.load(file, table, app.endpoints.source, progress=told)
    click.echo(f"{table}: {rows:,} rows")


@click.command()
@click.argument("files", nargs=-1, required=True, type=FileArgument)
@click.option("--dry-run", is_flag=True, help="Read and say what would be sent; send nothing.")
@click.option(
    "--batch-date",
    type=click.DateTime(["%Y-%m-%d"]),
    help="Of contracts that ask for one (`headrace.fromBatchDate`); default: today, in UTC.",
)
@json_option
@pass_app
def push(app: App, files: tuple[Path, ...], dry_run: bool, batch_date: datetime | None, as_json: bool) -> None:
    """Send FILES to Kafka, each content once; archives are unpacked. Repeat it after any interruption."""
    from headrace.arrivals import send_options
    from producers.push import push as send

    day = batch_date.date() if batch_date else None
    with Bar() as bar:
        options = send_options(app, dry_run=dry_run, batch_date=day, bar=bar)
        results = send(files, app.pipeline, app.endpoints.kafka, options)
    names = ["file", "stream", "unit", "rows", "sent", "state", "reason"]
    names[1:1] = [name for name in ("archive", "delimiter") if any(getattr(result, name) for result in results)]
    rows = [asdict(result) for result in results]
    if as_json:
        show(rows, as_json=True)
    else:
        show([{name: row[name] for name in names} for row in rows], as_json=False)
        _show_judged(results)
    if any(result.state in ("rejected", "given_up") for result in results):
        sys.exit(1)


def _show_judged(results: list[FileResult]) -> None:
    """What would become of the rows of files that were only looked at, and the first that would be refused."""
    judged = [(result.file, result.judged) for result in results if result.judged]
    if not judged:
        return
    counts = ("accepted", "duplicate", "conflicting", "refused")
    show(
        [{"file": file} | {name: getattr(one, name) for name in counts} for file, one in judged],
        as_json=False,
        title="What would become of the rows",
    )
    offenders = [{"file": file} | asdict(offender) for file, one in judged for offender in one.offenders]
    if offenders:
        show(offenders, as_json=False, title="The first that would be refused")


@click.command()
@click.argument("directory")
@json_option
@pass_app
def watch(app: App, directory: str, as_json: bool) -> None:
    """Send what is dropped into DIRECTORY/incoming; then move it to processed/ or rejected/. Ends on SIGTERM.

    DIRECTORY is a local folder, `s3://bucket/prefix` or `hdfs://namenode/path`.
    """
    from headrace.arrivals import send_options, watch_remotely
    from producers.watch import stop_on_signals
    from producers.watch import watch as keep_watching

    def tell(result: FileResult) -> None:
        bar.clear()
        if as_json:
            click.echo(json.dumps(asdict(result), ensure_ascii=False))
        else:
            click.echo(
                f"{result.file}: {result.state}, {result.sent:,} of {result.rows:,} rows sent {result.reason}".rstrip()
            )

    with Bar() as bar:
        options, stop = send_options(app, bar=bar), stop_on_signals()
        if "://" in directory:
            watch_remotely(app, directory, options, stop, tell, bar)
            return
        folder = Path(directory)
        if not folder.is_dir():
            raise click.BadParameter(f"{directory} is no directory", param_hint="DIRECTORY")
        keep_watching(folder, app.pipeline, app.endpoints.kafka, stop=stop, on_result=tell, options=options)


@click.command()
@json_option
@pass_app
def files(app: App, as_json: bool) -> None:
    """Each file: rows, rows sent, and what became of them in the lake; exit code 1 unless all are done or replaced."""
    from headrace.overview import WHOLE, files_overview

    rows = files_overview(app)
    show(rows, as_json=as_json, title="Files", empty="no file has been sent yet")
    if any(row["state"] not in WHOLE for row in rows):
        sys.exit(1)


@click.command()
@click.option("--out", required=True, type=click.Path(path_type=Path, file_okay=False), help="Directory to fill.")
@click.option("--scale", type=POSITIVE, default=1.0, show_default=True, help="Times the declared number of rows.")
@click.option("--seed", type=int, help="Default: the declaration's.")
@click.option(
    "--batch-date",
    "batch_dates",
    multiple=True,
    type=click.DateTime(["%Y-%m-%d"]),
    help="May be repeated; default today.",
)
@json_option
@pass_app
def generate(
    app: App, out: Path, scale: float, seed: int | None, batch_dates: tuple[datetime, ...], as_json: bool
) -> None:
    """Make this pipeline's sample data from its declaration, with its dirt and its known answer."""
    from headrace.sample import generate_sample

    days = [day.date() for day in batch_dates] or [date.today()]
    if len(set(days)) != len(days):
        raise click.UsageError("--batch-date names a day twice: each day has one file per stream")
    with Bar() as bar:
        told = partial(bar.show, "writing", "sample data", unit=ROWS)
        answer = generate_sample(app, out, scale=scale, seed=seed, batch_dates=days, progress=told)
    rows = [{"file": str(out / table.file), "rows": table.rows} for table in answer.tables]
    rows += [{"file": str(out / file.file), "rows": file.rows} for file in answer.files]
    show(rows, as_json=as_json, title="Sample data; the true answer is in answer.json")


COMMANDS = (plan, apply, load, push, watch, files, generate)
