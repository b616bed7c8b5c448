"""Commands that ask: what became of every offset, of every refused row, and any SQL."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from headrace.app import App, pass_app
from headrace.lake import rows_of
from headrace.output import show

json_option = click.option("--json", "as_json", is_flag=True, help="One JSON array on stdout.")


@click.command()
@click.option("--stream", help="Only this stream.")
@click.option("--batches", is_flag=True, help="One line per batch and partition instead of one per stream.")
@click.option("--rebuild", is_flag=True, help="First book the commits of the histories again; stop `run` before.")
@json_option
@pass_app
def ledger(app: App, stream: str | None, batches: bool, rebuild: bool, as_json: bool) -> None:
    """What became of every offset.

    accepted + duplicate + conflicting + quarantined + no_row + aborted + control + lost + unproven = offsets +
    in_chunks. `in_chunks`: the rows of large files beyond the one record of each chunk. `lost` were gone from Kafka
    before they were read, which a person accepted. `unproven` are offsets that Spark never saw and that the independent
    reader has not looked at yet.
    """
    if stream:
        app.stream(stream)
    if rebuild:
        from headrace.replaying import rebuild as book_again

        click.echo(f"{book_again(app):,} ranges are booked", err=True)
    counts = ["accepted", "duplicate", "conflicting", "quarantined", "no_row", "aborted", "control"]
    where = "where kind <> 'replay'" + (" and stream = %(stream)s" if stream else "")
    table = f"{app.pipeline.name}_lake.ledger"
    unproven = "if(proven_at is null and kind = 'batch', gap, 0)"
    lost = "if(kind = 'lost', gap, 0)"
    in_chunks = "coalesce(rows - records, 0)"
    if batches:
        sql = f"""
            select stream, partition, first_offset, last_offset, {in_chunks} as in_chunks, {", ".join(counts)},
                   {lost} as lost, {unproven} as unproven, committed_at, history_version
            from {table} {where} order by stream, partition, first_offset"""
    else:
        sums = ", ".join(f"sum(coalesce({name}, 0)) as {name}" for name in counts)
        sql = f"""
            select stream, sum(last_offset - first_offset + 1) as offsets, sum({in_chunks}) as in_chunks, {sums},
                   sum({lost}) as lost, sum({unproven}) as unproven,
                   count(distinct history_version) as batches,
                   sum(last_offset - first_offset + 1) + sum({in_chunks})
                     = {" + ".join(f"sum(coalesce({name}, 0))" for name in counts)}
                     + sum({lost}) + sum({unproven}) as balanced
            from {table} {where} group by stream order by stream"""
    show(rows_of(app, sql, stream=stream), as_json=as_json, title="Ledger", empty="no batch has been committed yet")


@click.group()
def quarantine() -> None:
    """What was refused, why, and where it stands in its source."""


@quarantine.command("list")
@click.option("--stream", help="Only this stream.")
@click.option("--rows", is_flag=True, help="One line per row instead of one per rule.")
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True, help="At most this many lines.")
@json_option
@pass_app
def quarantine_list(app: App, stream: str | None, rows: bool, limit: int, as_json: bool) -> None:
    """List refused rows by stream and rule."""
    if stream:
        app.stream(stream)
    table = f"{app.pipeline.name}_lake.quarantine"
    where = "where state = 'open'" + (" and stream = %(stream)s" if stream else "")
    if rows:
        sql = f"select stream, partition, offset, file, line, rule, column_name, reason from {table} {where} order by stream, partition, offset, line limit {int(limit)}"  # noqa: E501
    else:
        sql = f"select stream, rule, column_name, count(*) as rows, min(reason) as example from {table} {where} group by stream, rule, column_name order by stream, rule, column_name limit {int(limit)}"  # noqa: E501
    show(rows_of(app, sql, stream=stream), as_json=as_json, title="Quarantine", empty="no row is in quarantine")


@quarantine.command("show")
@click.argument("stream")
@click.argument("offset", type=click.IntRange(min=0))
@click.option("--partition", type=click.IntRange(min=0), default=0, show_default=True, help="Of the topic.")
@click.option("--line", type=click.IntRange(min=1), help="Of the file; a chunk of a large file is one offset.")
@click.option("--limit", type=click.IntRange(min=1), default=10, show_default=True, help="At most this many rows.")
@json_option
@pass_app
def quarantine_show(
    app: App, stream: str, offset: int, partition: int, line: int | None, limit: int, as_json: bool
) -> None:
    """Show one refused row whole, its raw bytes included."""
    app.stream(stream)
    table = f"{app.pipeline.name}_lake.quarantine"
    sql = f"select *, make_valid_utf8(cast(raw as string)) as raw_text from {table} where stream = %(stream)s and partition = %(partition)s and offset = %(offset)s and (%(line)s = 0 or line = %(line)s) order by line limit {int(limit)}"  # noqa: E501
    found = rows_of(app, sql, stream=stream, partition=partition, offset=offset, line=line or 0)
    if as_json or not found:
        show(
            found,
            as_json=as_json,
            empty=f"{stream}: nothing is in quarantine at partition {partition}, offset {offset}",
        )
        return
    for row in found:
        show([{"field": name, "value": value} for name, value in row.items()], as_json=False)


@click.command()
@click.argument("statement")
@click.option("--limit", type=click.IntRange(min=1), default=1000, show_default=True, help="At most this many rows.")
@json_option
@pass_app
def sql(app: App, statement: str, limit: int, as_json: bool) -> None:
    """Run one SQL statement over HiveServer2; STATEMENT may be a file (`@file.sql`)."""
    text = _content(Path(statement[1:])) if statement.startswith("@") else statement
    found: list[dict[str, Any]] = rows_of(app, text, limit=limit)
    show(found, as_json=as_json, empty="no rows")


def _content(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise click.UsageError(f"@{file} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise click.UsageError(f"@{file} is not UTF-8: {error}") from error


COMMANDS = (ledger, quarantine, sql)
