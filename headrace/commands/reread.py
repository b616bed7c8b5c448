"""The command that has tables read again."""

from __future__ import annotations

from functools import partial

import click

from headrace.app import POSITIVE, App, pass_app
from headrace.commands.ask import json_option
from headrace.output import show
from headrace.progress import ROWS, Bar


@click.command()
@click.argument("streams", nargs=-1, required=True)
@click.option("--where", default="", help="Only rows that this SQL condition is true for; no other row is touched.")
@click.option("--wait", "wait_s", type=POSITIVE, help="Seconds to wait until the lake's current state has all of it.")
@click.option("--dry-run", is_flag=True, help="Show the tables and about how many rows; ask for nothing.")
@json_option
@click.pass_context
@pass_app
def resnapshot(
    app: App,
    context: click.Context,
    streams: tuple[str, ...],
    where: str,
    wait_s: float | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Read the tables of STREAMS again while their changes go on; rows gone from the source are deleted.

    The stream of changes of the whole source pauses while a table is read. Repeat it after any interruption.
    """
    from headrace.rereading import planned_reads, read_streams_again

    if not where.strip() and context.get_parameter_source("where") is click.core.ParameterSource.COMMANDLINE:
        # As from a variable that is not set: it would read all, and delete.
        raise click.UsageError(
            "--where is empty; without it whole tables are read, and rows that are gone are deleted."
        )
    if dry_run:
        show(planned_reads(app, streams, where), as_json=as_json, title="Would be read again")
        return
    try:
        with Bar() as bar:
            told = partial(bar.show, "reading", unit=ROWS)
            rows = read_streams_again(app, streams, where, wait_s=wait_s, progress=told)
    except KeyboardInterrupt:
        click.echo(
            "Interrupted; no table is held. What was asked for by now is read to its end all the same, as `headrace "
            "status` shows. Typed again it is read once more, which changes no table.",
            err=True,
        )
        raise
    show(rows, as_json=as_json, title="Read again")


COMMANDS = (resnapshot,)
