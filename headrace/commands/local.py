"""Commands for the local deployment: bring it up, take it down, look at it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

import click
from rich.text import Text

from connectors.guardian.judgement import Concern, amount
from headrace.app import App, pass_app, progress_console
from headrace.background import processes
from headrace.commands.ask import json_option
from headrace.cut_overview import cuts_overview
from headrace.evolution import definitions, other_fields, source_changes
from headrace.guarding import guarded_systems, source_overview, sources_away
from headrace.output import masked, show
from headrace.overview import crashes, merges_overview, parts_overview, streams_overview
from headrace.reads_overview import reads_overview
from infra.local import deployment


def announce() -> Callable[[str, str], None]:
    """A progress callback that writes one line per step to stderr."""
    return lambda part, message: progress_console.print(Text.assemble("  ", (part, "bold"), "  ", message))


@click.command()
@click.option("--only-services", is_flag=True, help="Do not start `headrace run` and the monitor.")
@pass_app
def up(app: App, only_services: bool) -> None:
    """Start the local deployment; a second call changes nothing."""
    deployment.up(app.settings, progress=announce())
    if not only_services:
        deployment.up(app.settings, parts=(), extra=processes(app), progress=announce())
    click.echo("up: `headrace status` shows the parts, `headrace apply` makes the pipeline's topics and connector")


@click.command()
@pass_app
def down(app: App) -> None:
    """Stop every local process; data stay."""
    stopped = deployment.down(app.settings, progress=announce())
    click.echo(f"down: {len(stopped)} processes stopped" if stopped else "down: nothing was running")


@click.command()
@json_option
@pass_app
def status(app: App, as_json: bool) -> None:
    """Did it arrive? Parts, source, streams, merges, what waits, what was refused; exit code 3: a person must act."""
    app = app.in_a_hurry()
    parts = deployment.status(app.settings)
    table = [masked(row) for row in parts_overview(parts)]
    seen = {system: masked(source_overview(app, system)) for system in guarded_systems(app.pipeline)}
    source = seen.get("postgres", {})
    readers = [one for system, one in seen.items() if system != "postgres" and one]
    away = sources_away(seen)
    told_away = set(away)
    runs = app.status_file.exists()
    changes = source_changes(app, away) if runs else []
    # Where there is no connector nothing is read.
    reads = reads_overview(app, [system for system, one in seen.items() if one.get("connector state")], away)
    snapshots = {one["stream"]: one["snapshot"] for one in reads}
    streams = [masked(row) for row in streams_overview(app, source.get("lag bytes"), snapshots, away)]
    merges = masked(merges_overview(app))
    fields = [masked(row) for row in other_fields(app)] if streams else []
    told = [masked(row) for row in definitions(app)] if streams else []
    cuts = [masked(row) for row in cuts_overview(app)] if streams else []
    if as_json:
        overview = {"parts": table, "source": source, "readers": readers, "streams": streams, "merges": merges}
        overview |= {"reads": reads, "fields": fields, "schema": changes, "definitions": told, "cuts": cuts}
        show([overview], as_json=True)
    else:
        show(table, as_json=False, title=f"Parts (logs in {app.settings.data_dir / 'log'})")
        click.echo()
        brief = [{name: value for name, value in row.items() if name not in ("reason", "snapshot")} for row in streams]
        show(brief, as_json=False, title=f"Streams of {app.pipeline.name}", empty="`headrace run` has not run yet")
        for stream, said in snapshots.items():
            click.echo(f"{stream}: {said}")
        if fields:
            click.echo()
            show(fields, as_json=False, title="Rows with other fields than their contract")
        if told:
            click.echo()
            show(told, as_json=False, title="Last definitions that the source told of its tables")
        if cuts:
            click.echo()
            show(cuts, as_json=False, title="Consistent cuts")
        for change in changes:
            click.secho(f"\n{change}", fg="yellow", err=True)
        for system in away.keys() - told_away:
            click.secho(f"\n{system} does not answer: {masked(away[system])}", fg="yellow", err=True)
        if app.sql_away:
            click.secho(f"\nwhat the lake would say is left out: {masked(str(app.sql_away))}", fg="yellow", err=True)
        if merges:
            click.echo(f"\nmerges: last round {merges['last round'] or 'never'}")
            if merges["error"]:
                click.secho(f"the round of {merges['failed']} failed: {merges['error']}", fg="red", err=True)
        for one in (source, *readers):
            show_source(one)
        for row in streams:
            if row["reason"]:
                click.secho(f"\n{row['stream']} is {row['state']}: {row['reason']}", fg="red", err=True)
        for said in crashes(parts):
            click.secho(f"\n{said}", fg="red", err=True)
        click.echo("\nMore: headrace ledger · headrace files · headrace quarantine list · headrace verify")
    if any(one.get("critical") for one in (source, *readers)):
        sys.exit(3)
    if (
        merges.get("error")
        or any(part.state in ("crashed", "unreachable") for part in parts)
        or any(row["state"] != "flowing" for row in streams)
    ):
        sys.exit(1)


def show_source(source: dict[str, Any]) -> None:
    """The connector's line, the slot's if it has one, then each concern with its steps."""
    if not source:
        return
    state = f"{source['connector state'] or 'unknown'}, tasks {', '.join(source['tasks']) or 'none'}"
    restarts = f", {source['restarts']} restarts" if source["restarts"] else ""
    click.echo(f"\nsource: connector {source['connector']} {state}{restarts}")
    disk = source.get("disk bytes")
    room = f"{amount(source['disk free bytes'])} of {amount(disk)} free on its disk" if disk else ""
    if source.get("kept WAL bytes") is not None:
        kept, budget, lag = (amount(source[name] or 0) for name in ("kept WAL bytes", "budget bytes", "lag bytes"))
        behind = ", ".join(part for part in (f"{lag} behind", room) if part)
        click.echo(f"slot {source['slot']}: {source['wal status']}, {kept} of WAL kept of {budget}, {behind}")
    elif room:
        click.echo(f"log: {room}")
    for one in source["concerns"]:
        concern = Concern(**{**one, "steps": tuple(one["steps"])})
        colour = "red" if concern.severity == "critical" else "yellow"
        click.secho(f"\n{concern.severity}: {concern}", fg=colour, err=True)


@click.command()
@click.argument("part")
@click.option("--lines", "-n", type=click.IntRange(min=1), default=50, show_default=True, help="How many.")
@pass_app
def logs(app: App, part: str, lines: int) -> None:
    """The last lines of a part's log."""
    click.echo("\n".join(deployment.logs(app.settings, part, lines)))


@click.command()
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Say what would be deleted.")
@pass_app
def reset(app: App, yes: bool, dry_run: bool) -> None:
    """Delete all local data together: topics, databases, tables, metastore, checkpoints."""
    folder = app.settings.data_dir.resolve()
    click.echo(f"This deletes the local topics, databases, lake and warehouse under {folder}.")
    if dry_run:
        return
    if not yes:
        click.confirm("Delete them?", abort=True)
    deployment.reset(app.settings, progress=announce())
    app.status_file.unlink(missing_ok=True)


@click.command()
@pass_app
def settings(app: App) -> None:
    """The settings in force, secrets masked."""
    click.echo(json.dumps(masked(json.loads(app.settings.model_dump_json())), indent=2, ensure_ascii=False))


COMMANDS = (up, down, status, logs, reset, settings)
