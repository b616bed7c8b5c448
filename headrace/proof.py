"""The proof that every row arrived: source = lake = warehouse, by count and content, and a ledger without a hole.

It is a chain: source = lake, Kafka = ledger = history, lake = Delta = Postgres. Every comparison reads both sides
anew, each through its own engine: Postgres computes the source's and the warehouse's fingerprints, Spark's
HiveServer2 endpoint the lake's, a plain Kafka consumer the offsets'.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

import psycopg2
import pymysql
from psycopg2 import sql

from connectors.broker import answering
from connectors.mariadb import position as mariadb_position
from connectors.postgres.marker import quiesced
from connectors.postgres.source import connected
from contracts.canonical import table_fingerprint_postgres, table_fingerprint_spark
from contracts.endpoints import PostgresEndpoint
from contracts.errors import ServiceUnavailable
from contracts.stream import Column, Stream
from headrace.app import App
from headrace.cut_overview import nothing_is_held_back
from headrace.findings import Finding, Side, compare, side_by_side
from headrace.lake import pending_rows, rows_of
from headrace.proof_ledger import ledger_holds
from headrace.proof_mariadb import mariadb_side
from warehouse_sql.asking import checks, declared_columns
from warehouse_sql.declaration import load
from warehouse_sql.expected import expected_rows

OFFENDERS = 100
# The table was dropped, or its columns are not the contract's any more.
_OTHER_TABLE = (
    psycopg2.errors.UndefinedTable,
    psycopg2.errors.UndefinedColumn,
    psycopg2.DataError,
    pymysql.err.ProgrammingError,
    pymysql.err.OperationalError,
)


def source_equals_lake(app: App) -> Iterator[Finding]:
    """Each source table against the current view of its stream, by the contract's columns alone. A race while the
    source is written to: stop the writers, let a marker through (`marker.quiesced`), then compare."""
    for stream in app.pipeline.cdc_streams:
        source = stream.table_source
        if source.system == "mongodb":
            continue  # headrace has no client for it; Kafka = ledger = lake is proven all the same
        try:
            if source.system == "mariadb":
                left = mariadb_side(app.endpoints.mariadb, stream)
            else:
                left = postgres_side(app.endpoints.source, (source.schema, source.table), stream.at_source.columns)
        except _OTHER_TABLE as error:
            said = f"{str(error).strip().splitlines()[0]}: `headrace plan` shows what the contract says"
            yield Finding(f"{stream.name}: source = lake", "source not comparable", "lake", False, said)
            continue
        yield compare(
            f"{stream.name}: source = lake",
            left,
            lake_side(app, f"{stream.history}_current", stream),
            ("source", "lake"),
        )


def no_row_is_pending(app: App) -> Iterator[Finding]:
    """One finding per stream with rows of which a value is not known: Postgres did not send it, and the change that
    said it is not in the history. Nothing for the other streams."""
    for stream, pending in pending_rows(app).items():
        if pending:
            yield Finding(
                f"{stream}: every value known",
                "rows without one",
                f"{pending:,}",
                False,
                "the change that said it was refused or never read: see `headrace quarantine list`, then replay; or "
                "update that value at the source",
            )


def comparisons(app: App) -> int:
    """How many findings `proof` has, by what is declared. Those that only something wrong has come on top: values that
    are not known, offsets that Kafka lost."""
    pipeline, tables = app.pipeline, load(app.pipeline).tables
    ledger = 4 + bool(pipeline.file_streams) + len(pipeline.streams)
    cuts = sum(len(streams) for streams in pipeline.cut_groups.values())
    sources = sum(stream.table_source.system != "mongodb" for stream in pipeline.cdc_streams)
    merged = sum(table.kind != "generated" for table in tables)
    return ledger + cuts + sources + merged + len(tables) + len(checks(pipeline))


def proof(app: App) -> Generator[Finding, None, None]:
    """All of it, what costs little first. Waits until every change that the source committed before is in Kafka."""
    with answering(app.endpoints.kafka, "Kafka did not answer: nothing is proven", state="Nothing was changed."):
        if (postgres := app.pipeline.of("postgres")).cdc_streams:
            quiesced(postgres, app.endpoints)
        if (mariadb := app.pipeline.of("mariadb")).cdc_streams:
            mariadb_position.quiesced(mariadb, app.endpoints)
    yield from ledger_holds(app)
    yield from side_by_side(
        lambda: chain(
            nothing_is_held_back(app),
            no_row_is_pending(app),
            source_equals_lake(app),
            warehouse_equals(app),
            checks_hold(app),
        ),
        lambda: lake_equals_warehouse(app),
    )


def lake_equals_warehouse(app: App) -> Iterator[Finding]:
    """Each dimension and fact in Delta against its own source SQL over the whole lake: nothing waits to be merged."""
    warehouse = load(app.pipeline)
    for table in warehouse.tables:
        if table.kind == "generated":
            continue
        columns = [Column(name, kind) for name, kind in declared_columns(warehouse, "delta", table.name)]
        select, wanted = table_fingerprint_spark(columns), expected_rows(warehouse, app.pipeline, table)
        held = f"select * from {app.pipeline.name}.{table.name}"
        if table.kind == "dimension":
            # Inferred members stand for rows that the lake does not have.
            held += f" where not {table.inferred}"
        left = _side(rows_of(app, f"select {select} from ({wanted})"))
        right = _side(rows_of(app, f"select {select} from ({held})"))
        found = compare(f"{table.name}: lake = Delta", left, right, ("lake", "Delta"))
        if table.kind == "dimension" and (waiting := _not_in_state(app, app.pipeline.stream(table.stream))):
            found = replace(found, equal=False, detail=f"{waiting:,} changes wait for the next merge")
        yield found


def _not_in_state(app: App, stream: Stream) -> int:
    """Changes above all that the state holds: the newest change of a stream is always the newest of its key. A truncate
    is no key's: it waits while the state has a row below it."""
    newest = f"(select coalesce(max(_version), -1) from {stream.history}_state)"
    changes = f"select count(*) as n from {stream.history} where _version > {newest} and _op <> 't'"
    truncated = f"(select max(_version) from {stream.history} where _op = 't')"
    waits = f"select count(*) as n from {stream.history}_state where _version < {truncated}"
    return sum(int(rows_of(app, query)[0]["n"]) for query in (changes, waits))


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
    """Rows and fingerprint of a Postgres table. ServiceUnavailable if the server does not answer to the end."""
    statement = sql.SQL("select {} from {}").format(
        sql.SQL(table_fingerprint_postgres(columns)), sql.Identifier(*table)
    )
    with connected(endpoint) as connection, connection.cursor() as cursor:
        try:
            cursor.execute("set time zone 'UTC'")
            cursor.execute(statement)
        except psycopg2.OperationalError as error:
            raise ServiceUnavailable(
                f"Postgres did not finish the comparison of {'.'.join(table)}: {str(error).strip()}",
                state="Nothing was changed.",
                next_step="see what it says, and that it runs; then ask again",
                host=f"{endpoint.host}:{endpoint.port}",
            ) from error
        rows, fingerprint = cursor.fetchone() or (0, 0)
    return int(rows), int(fingerprint)


def lake_side(app: App, view: str, stream: Stream) -> Side:
    """Rows and fingerprint of a lake table or view; the hash is computed anew, not read from `_hash`."""
    return _side(rows_of(app, f"select {table_fingerprint_spark(stream.columns)} from {view}"))


def _side(rows: list[dict[str, Any]]) -> Side:
    return int(rows[0]["row_count"]), int(rows[0]["fingerprint"])
