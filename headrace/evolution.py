"""What arrives, or stands in the source, that the contracts do not say: for `status` and `plan`, and for streams that
stop there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, suppress
from datetime import datetime
from typing import Any

from connectors import broker
from connectors.finding import Finding
from connectors.mariadb import checks as mariadb_checks
from connectors.mariadb import ddl as mariadb_ddl
from connectors.mariadb import source as mariadb
from connectors.postgres import checks as postgres_checks
from connectors.postgres import ddl_messages
from connectors.postgres.source import connected
from contracts.endpoints import HURRY_S, Endpoints
from contracts.errors import HeadraceError, ServiceUnavailable
from contracts.stream import Stream, System
from headrace.app import App
from headrace.lake import rows_of
from streaming_jobs.stopping import TableChange

_KEPT = """
select stream, field as what, sum(n) as rows, min(committed_at) as since, max(committed_at) as last
from (select stream, committed_at, explode(rescued) as (field, n) from {lake}.ledger where rescued is not null)
group by stream, field
"""
_REFUSED = """
select stream, reason as what, count(*) as rows, min(quarantined_at) as since, max(quarantined_at) as last
from {lake}.quarantine where state = 'open' and rule in ('undeclared_field', 'missing_field')
group by stream, reason
"""


def other_fields(app: App) -> list[dict[str, Any]]:
    """One row per field that was kept although its contract does not declare it (as far as the ledger has booked), and
    per set of fields for which rows wait in the quarantine. Empty where the lake does not answer."""
    lake, streams = f"{app.pipeline.name}_lake", {stream.name: stream for stream in app.pipeline.streams}
    found = []
    if any(stream.rescues for stream in app.pipeline.streams):
        for row in _rows(app, _KEPT.format(lake=lake)):
            if _undeclared(streams.get(row["stream"]), row["what"]):
                found.append(_told(row, f"not in the contract: {row['what']}", "kept in _rescued"))
    for row in _rows(app, _REFUSED.format(lake=lake)):
        if row["stream"] in streams:
            found.append(_told(row, row["what"], "in quarantine"))
    return sorted(found, key=lambda row: (row["stream"], row["fields"]))


def warnings(app: App) -> list[str]:
    """The same in sentences, with what to do."""
    files = {stream.name: stream.file for stream in app.pipeline.streams}
    return [
        f"{row['stream']}: {row['rows']:,} rows since {row['since']} ({row['fields']}, {row['rows are']}; "
        f"last {row['last']})\n  {_ADVICE[row['rows are']].format(file=files[row['stream']], stream=row['stream'])}"
        for row in other_fields(app)
    ]


_ADVICE: Mapping[str, str] = {
    "kept in _rescued": "{file}: declare the field, and new rows have it as a column",
    "in quarantine": "{file}: declare the fields as they are now, or `headrace.evolution: evolve`; then "
    "`headrace replay {stream}`",
}


def source_changes(app: App, away: dict[System, str] | None = None) -> list[str]:
    """How the source's tables differ from the contracts: dropped tables, columns that came, went or have another type.
    Nothing of a source that does not answer, nor of MongoDB, which has no columns. `away`: the systems known not to
    answer, which are not asked, and why; one that does not answer now is added."""
    found: list[Finding] = []
    silent = {} if away is None else away
    try:
        if "postgres" not in silent and (part := app.pipeline.of("postgres")).cdc_streams:
            with connected(app.endpoints.source) as connection:
                found += postgres_checks.changed(connection, part)
    except HeadraceError:
        silent |= _away("postgres", lambda: connected(app.endpoints.replicator))
    try:
        if "mariadb" not in silent and (part := app.pipeline.of("mariadb")).cdc_streams:
            with mariadb.connected(app.endpoints.mariadb) as cursor:
                found += mariadb_checks.changed(cursor, part)
    except HeadraceError:
        silent |= _away("mariadb", lambda: mariadb.connected(app.endpoints.mariadb_replicator))
    return [str(finding) for finding in found]


def _away(system: System, connection: Callable[[], AbstractContextManager[object]]) -> dict[System, str]:
    """The system and why, if it lets the role that reads it not in. One that is busy, has many tables or refuses its
    owner is not away."""
    try:
        with connection():
            return {}
    except ServiceUnavailable as error:
        return {system: error.what}
    except HeadraceError:
        return {}


def table_changes(endpoints: Endpoints, stream: Stream) -> list[TableChange]:
    """In what the table of a stream is no longer what its contract declares. Asked as the role that reads its rows,
    which needs no other privilege for it. Nothing of MongoDB, which has no columns.

    Raises:
        ServiceUnavailable: the source does not answer.
        Fatal: no MariaDB server is named.
    """
    found: list[Finding] = []
    try:
        if stream.table_source.system == "postgres":
            with connected(endpoints.replicator) as connection:
                found = postgres_checks.unfit(connection, stream)
        elif stream.table_source.system == "mariadb":
            with mariadb.connected(endpoints.mariadb_replicator) as cursor:
                found = mariadb_checks.unfit(cursor, stream)
    except ServiceUnavailable as error:
        raise ServiceUnavailable(
            f"values do not fit, and the source does not say whether its table was changed: {error.what}",
            state="Nothing of these rows was committed; the batch is repeated.",
            next_step=error.next_step,
            stream=stream.name,
            **error.where,
        ) from error
    return [TableChange(finding.headline, finding.fix) for finding in found]


def definitions(app: App) -> list[dict[str, Any]]:
    """One row per table of which the source told a DDL command, with the last one. Of Postgres empty where
    `ddl_capture.sql` is not installed; empty where nothing was altered since, or Kafka does not answer."""
    postgres, of_mariadb, kafka = app.pipeline.of("postgres"), app.pipeline.of("mariadb"), app.endpoints.kafka
    if not (postgres.cdc_streams or of_mariadb.cdc_streams) or not broker.answers(kafka, HURRY_S):
        return []
    found: list[ddl_messages.Told | mariadb_ddl.Told] = []
    if postgres.cdc_streams:
        with suppress(HeadraceError):
            found += ddl_messages.newest(ddl_messages.told(kafka, postgres))
    if of_mariadb.cdc_streams:
        with suppress(HeadraceError):
            found += mariadb_ddl.newest(mariadb_ddl.told(kafka, of_mariadb))
    return [
        {
            "table": one.qualified,
            "command": one.command,
            "columns": ", ".join(" ".join(column) for column in one.columns) or None,
            "at": _short(one.at),
            "place": one.place,
            "offset": one.offset,
        }
        for one in found
    ]


def _undeclared(stream: Stream | None, field: str) -> bool:
    return stream is not None and field not in {column.source_name for column in stream.sent_columns}


def _told(row: Mapping[str, Any], fields: str, becomes: str) -> dict[str, Any]:
    return {
        "stream": row["stream"],
        "fields": fields,
        "rows": row["rows"],
        "since": _short(row["since"]),
        "last": _short(row["last"]),
        "rows are": becomes,
    }


def _short(at: datetime | str) -> str:
    return str(at)[:19]


def _rows(app: App, statement: str) -> list[dict[str, Any]]:
    try:
        return rows_of(app, statement)
    except HeadraceError:
        return []
