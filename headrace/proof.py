"""The proof that every row arrived: source = lake = warehouse, by count and content, and a ledger without a hole.

Every comparison reads both sides anew, each through its own engine: Postgres computes the source's and the
warehouse's fingerprints, Spark's HiveServer2 endpoint the lake's, a plain Kafka consumer the offsets'.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg2
from psycopg2 import sql

from connectors.marker import quiesced
from contracts.canonical import table_fingerprint_postgres, table_fingerprint_spark
from contracts.endpoints import PostgresEndpoint
from contracts.stream import Column, Stream
from headrace.app import App
from headrace.lake import rows_of
from headrace.overview import files_overview
from streaming_jobs.gaps import Booked, read_ranges, stable_ends
from streaming_jobs.ledger import BROKEN
from warehouse_sql.asking import checks, declared_columns
from warehouse_sql.declaration import load

Side = tuple[int, int]
OFFENDERS = 100


@dataclass(frozen=True, slots=True)
class Finding:
    """One comparison: two sides that must be equal, each as rows and fingerprint, or what a check says."""

    what: str
    left: str
    right: str
    equal: bool
    detail: str = ""

    def row(self) -> dict[str, Any]:
        """For `output.show`."""
        return {"proof": self.what, "": self.left, " ": self.right, "equal": self.equal, "detail": self.detail}


def compare(what: str, left: Side, right: Side, names: tuple[str, str]) -> Finding:
    """Equal when row count and fingerprint are."""
    detail = ""
    if left[0] != right[0]:
        detail = f"{abs(left[0] - right[0]):,} rows {'missing in' if left[0] > right[0] else 'too many in'} {names[1]}"
    elif left[1] != right[1]:
        detail = "same number of rows, different content"
    return Finding(what, f"{names[0]} {left[0]:,}", f"{names[1]} {right[0]:,}", left == right, detail)


def source_equals_lake(app: App) -> Iterator[Finding]:
    """Each source table against the current view of its stream. A race while the source is written to: stop the
    writers, let a marker through (`connectors.marker.quiesced`), then compare."""
    for stream in app.pipeline.cdc_streams:
        left = postgres_side(
            app.endpoints.source, (stream.table_source.schema, stream.table_source.table), stream.columns
        )
        yield compare(
            f"{stream.name}: source = lake",
            left,
            lake_side(app, f"{stream.history}_current", stream),
            ("source", "lake"),
        )


def proof(app: App) -> list[Finding]:
    """All of it. First waits until every change that the source committed before the call is in Kafka."""
    if app.pipeline.cdc_streams:
        quiesced(app.pipeline, app.endpoints)
    return [*ledger_holds(app), *source_equals_lake(app), *warehouse_equals(app), *checks_hold(app)]


def warehouse_equals(app: App) -> Iterator[Finding]:
    """Each star-schema table in Delta against the same table in Postgres."""
    warehouse = load(app.pipeline)
    for table in (table.name for table in warehouse.tables):
        columns = [Column(name, kind) for name, kind in declared_columns(warehouse, "delta", table)]
        select = table_fingerprint_spark(columns)
        left = _side(rows_of(app, f"select {select} from {app.pipeline.name}.{table}"))
        right = postgres_side(app.endpoints.warehouse, (app.pipeline.name, table), columns)
        yield compare(f"{table}: Delta = Postgres", left, right, ("Delta", "Postgres"))


def checks_hold(app: App) -> Iterator[Finding]:
    """The pipeline's own checks: queries over the star schema that must return nothing."""
    for name, offenders in checks(app.pipeline).items():
        found = rows_of(app, offenders, limit=OFFENDERS)
        first = f"e.g. {found[0]}" if found else ""
        yield Finding(f"check: {name.replace('_', ' ')}", "offenders", f"{len(found)}", not found, first)


def postgres_side(endpoint: PostgresEndpoint, table: tuple[str, str], columns: Sequence[Column]) -> Side:
    """Rows and fingerprint of a Postgres table."""
    with psycopg2.connect(**endpoint.dsn()) as connection, connection.cursor() as cursor:
        cursor.execute("set time zone 'UTC'")
        statement = sql.SQL("select {} from {}").format(
            sql.SQL(table_fingerprint_postgres(columns).replace("%", "%%")), sql.Identifier(*table)
        )
        cursor.execute(statement)
        rows, fingerprint = cursor.fetchone() or (0, 0)
    connection.close()
    return int(rows), int(fingerprint)


def lake_side(app: App, view: str, stream: Stream) -> Side:
    """Rows and fingerprint of a lake table or view; the hash is computed anew, not read from `_hash`."""
    return _side(rows_of(app, f"select {table_fingerprint_spark(stream.columns)} from {view}"))


def _side(rows: list[dict[str, Any]]) -> Side:
    return int(rows[0]["row_count"]), int(rows[0]["fingerprint"])


def ledger_holds(app: App) -> Iterator[Finding]:
    """Every offset that Kafka can show is booked, exactly once, with sums that add up; the histories hold the rows
    that are booked; every gap is read by the independent reader, here and now; every file is whole."""
    table = f"{app.pipeline.name}_lake.ledger"
    broken = rows_of(app, BROKEN.format(ledger=table))
    said = "; ".join(f"{row['stream']}: {row['finding']}" for row in broken[:3])
    yield Finding("ledger: every offset once, every sum right", "findings", f"{len(broken)}", not broken, said)
    yield ledger_is_up_to_date(app)
    yield from histories_hold_what_is_booked(app)
    yield gaps_are_harmless(app)
    if app.pipeline.file_streams:
        yield files_are_whole(app)


def ledger_is_up_to_date(app: App) -> Finding:
    """What can be read from Kafka at this moment is booked."""
    topics = {stream.topic: stream.name for stream in app.pipeline.streams}
    table = f"{app.pipeline.name}_lake.ledger"
    sql_ends = (
        f"select topic_id, partition, max(last_offset) + 1 as next from {table} where kind = 'batch' group by 1, 2"
    )
    booked = {(row["topic_id"], row["partition"]): row["next"] for row in rows_of(app, sql_ends)}
    behind, end, reached = [], 0, 0
    for (topic, topic_id, partition), stable in stable_ends(app.endpoints.kafka, topics).items():
        position = booked.get((topic_id, partition), 0)
        end, reached = end + stable, reached + position
        if position < stable:
            behind.append(f"{topics[topic]}: {stable - position:,} offsets wait")
    return Finding("Kafka = ledger", f"Kafka {end:,}", f"ledger {reached:,}", not behind, "; ".join(behind[:3]))


def histories_hold_what_is_booked(app: App) -> Iterator[Finding]:
    """Each history has the rows that its commits say they wrote; a replay may have added some from the quarantine."""
    lake = f"{app.pipeline.name}_lake"
    written = _by_stream(
        app, f"select stream, sum(accepted + conflicting) as n from {lake}.ledger where kind = 'batch' group by stream"
    )
    fixed = _by_stream(
        app, f"select stream, count(*) as n from {lake}.quarantine where state = 'fixed' group by stream"
    )
    for stream in app.pipeline.streams:
        booked, most = written.get(stream.name, 0), written.get(stream.name, 0) + fixed.get(stream.name, 0)
        found = int(rows_of(app, f"select count(*) as n from {stream.history}")[0]["n"])
        yield Finding(
            f"{stream.name}: ledger = history",
            f"ledger {booked:,}",
            f"history {found:,}",
            booked <= found <= most,
            f"`headrace replay {stream.name} --from-offset 0` brings back what is missing" if found < booked else "",
        )


def files_are_whole(app: App) -> Finding:
    """Every file that was sent has all of its rows accounted for."""
    files = [row for row in files_overview(app) if row["state"] != "rejected"]
    open_files = [row for row in files if row["state"] not in ("done", "superseded")]
    said = "; ".join(f"{row['file']} is {row['state']}" for row in open_files[:3])
    return Finding(
        "files: all rows accounted for",
        f"sent {len(files)}",
        f"whole {len(files) - len(open_files)}",
        not open_files,
        said,
    )


def _by_stream(app: App, statement: str) -> dict[str, int]:
    return {row["stream"]: int(row["n"]) for row in rows_of(app, statement)}


def gaps_are_harmless(app: App) -> Finding:
    """A plain Kafka consumer reads every booked range again and finds exactly the booked number of records."""
    columns = "topic, topic_id, partition, first_offset, last_offset, rows, gap"
    booked = [
        Booked(
            row["topic"],
            row["topic_id"],
            row["partition"],
            row["first_offset"],
            row["last_offset"] + 1,
            row["rows"],
            row["gap"],
        )
        for row in rows_of(app, f"select {columns} from {app.pipeline.name}_lake.ledger where kind = 'batch'")
    ]
    readings = read_ranges(app.endpoints.kafka, booked)
    problems = [
        f"{r.booked.topic}-{r.booked.partition} {r.booked.first}-{r.booked.next - 1}: {r.problem}"
        for r in readings
        if r.problem
    ]
    aborted = sum(reading.aborted_count for reading in readings)
    control = sum(reading.control_count for reading in readings)
    gaps = sum(item.gap for item in booked)
    return Finding(
        "Kafka, read independently",
        f"booked {sum(item.rows for item in booked):,} rows, gaps {gaps:,}",
        f"aborted {aborted:,}, control {control:,}",
        not problems and gaps == aborted + control,
        "; ".join(problems[:3]),
    )


def until_equal(check: Callable[[], list[Finding]], *, timeout_s: float, every_s: float = 2.0) -> list[Finding]:
    """Repeats a check until all of it is equal or the time is up; returns the last findings either way."""
    deadline = time.monotonic() + timeout_s
    while True:
        findings = check()
        if all(finding.equal for finding in findings) or time.monotonic() > deadline:
            return findings
        time.sleep(every_s)
