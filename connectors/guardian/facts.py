"""What the guardian sees in one look: the source's slot and transactions, and the connector. Nothing is judged here."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from connectors import broker
from connectors.disk import Disk
from connectors.postgres import wal_disk
from connectors.postgres.source import connected
from connectors.reads.snapshots import Reads, reads_of
from connectors.reads.table_reads import Notes, Source, known_source
from connectors.rest import Connect, ConnectorStatus
from contracts.endpoints import PostgresEndpoint
from contracts.errors import ServiceUnavailable
from contracts.stream import Pipeline

_MAY_TAKE_MS = 5000


@dataclass(frozen=True, slots=True)
class Slot:
    """A replication slot. LSNs are bytes since the beginning of the WAL.

    `kept_bytes`: WAL that the server keeps for it; `lag_bytes`: WAL that its reader has not confirmed.
    `reader` is empty while nobody reads it.
    """

    wal_status: str
    restart_lsn: int | None
    confirmed_lsn: int | None
    kept_bytes: int | None
    lag_bytes: int | None
    reader: str = ""
    reader_role: str = ""
    reader_pid: int | None = None
    invalidation: str = ""


@dataclass(frozen=True, slots=True)
class Transaction:
    """An open transaction that has written something, so that no slot may forget the WAL from its beginning on.

    `age_s` is None where the role may not see it. `gid`: a prepared one, which outlives its session.
    """

    xid: int
    age_s: float | None
    pid: int | None = None
    gid: str = ""
    role: str = ""


@dataclass(frozen=True, slots=True)
class Server:
    """The source's server at one moment. `system` is empty where the role may not ask for it. `limit_bytes`:
    max_slot_wal_keep_size, None without a limit. `slot` is None if there is none of that name. `timeline` rises when a
    replica is promoted or a backup restored; 0 while the server recovers. `misread`: published tables (`schema.table`)
    of which a column was dropped in what the slot's reader has not confirmed, and an enum got a value or a domain is
    over one."""

    system: str
    wal_lsn: int
    limit_bytes: int | None
    slot: Slot | None
    transactions: tuple[Transaction, ...] = ()
    timeline: int = 0
    disk: Disk = field(default_factory=Disk)
    misread: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Reader:
    """The connector. `status` and `config` are None if Connect has none of that name; `lsn`: up to where its changes
    are in Kafka, None before the first."""

    status: ConnectorStatus | None
    config: Mapping[str, str] | None
    lsn: int | None


# By the transactions that wrote these rows of the catalog: what is older than the slot's own was decoded long ago. The
# values that a type began with came in one transaction with it; what is altered of it later (its owner) writes its
# own row anew. Before the end of a transaction that adds a value and drops a column no row can have the value.
# Debezium 3.7 takes for an enum what the catalog puts among them (PostgresChangeRecordEmitter.refreshStaleEnumTypes):
# a domain over one too, of which it knows no value, so that each row has a new one; what arrays hold it never looks up.
_MISREAD = """
SELECT n.nspname || '.' || c.relname
FROM pg_replication_slots s CROSS JOIN pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE s.slot_name = %(slot)s AND c.oid IN (SELECT prrelid FROM pg_publication_rel)
  AND EXISTS (SELECT FROM pg_attribute gone
              JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
              JOIN pg_type t ON t.oid = a.atttypid AND t.typcategory = 'E'
              WHERE gone.attrelid = c.oid AND gone.attisdropped
              AND age(gone.xmin) BETWEEN 0 AND age(s.catalog_xmin)
              AND (t.typtype = 'd' OR EXISTS (
                  SELECT FROM pg_enum e
                  WHERE e.enumtypid = t.oid AND e.xmin <> gone.xmin
                  AND age(e.xmin) BETWEEN 0 AND age(s.catalog_xmin)
                  AND (age(t.xmin) > age(e.xmin)
                       OR EXISTS (SELECT FROM pg_enum o WHERE o.enumtypid = t.oid AND o.xmin <> e.xmin)))))
ORDER BY 1
"""

_LOOK = """
WITH now AS (SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END AS lsn)
SELECT json_build_object(
    'system', CASE WHEN has_function_privilege('pg_control_system()', 'execute')
                   THEN (SELECT system_identifier::text FROM pg_control_system()) ELSE '' END,
    'timeline', CASE WHEN pg_is_in_recovery() THEN 0
                     ELSE ('x' || left(pg_walfile_name(now.lsn), 8))::bit(32)::bigint END,
    'wal_lsn', (now.lsn - '0/0')::bigint,
    'limit_mb', (SELECT setting::bigint FROM pg_settings WHERE name = 'max_slot_wal_keep_size'),
    'slot', (
        SELECT json_build_object(
            'row', to_jsonb(s), 'restart_lsn', (s.restart_lsn - '0/0')::bigint,
            'confirmed_lsn', (s.confirmed_flush_lsn - '0/0')::bigint,
            'kept', (now.lsn - s.restart_lsn)::bigint, 'lag', (now.lsn - s.confirmed_flush_lsn)::bigint,
            'reader', a.application_name, 'role', a.usename)
        FROM pg_replication_slots s LEFT JOIN pg_stat_activity a ON a.pid = s.active_pid
        WHERE s.slot_name = %(slot)s),
    'open', (
        SELECT json_agg(t) FROM (
            SELECT backend_xid::text::bigint AS xid, extract(epoch FROM clock_timestamp() - xact_start) AS age_s, pid,
                   '' AS gid, usename AS role
            FROM pg_stat_activity WHERE backend_xid IS NOT NULL AND pid <> pg_backend_pid()
            UNION ALL
            SELECT transaction::text::bigint, extract(epoch FROM clock_timestamp() - prepared), NULL, gid, owner
            FROM pg_prepared_xacts) t)
)::text
FROM now
"""


def look_at_server(source: PostgresEndpoint, slot: str) -> Server:
    """Three queries; needs no privilege beyond connecting. ServiceUnavailable if the server does not answer."""
    with connected(source) as connection, connection.cursor() as cursor:
        cursor.execute("SET LOCAL statement_timeout = %s", (_MAY_TAKE_MS,))
        cursor.execute(_LOOK, {"slot": slot})
        row = cursor.fetchone()
        disk = wal_disk.ask(connection)
        cursor.execute(_MISREAD, {"slot": slot})
        misread = tuple(name for (name,) in cursor.fetchall())
    assert row is not None
    found = json.loads(row[0])
    limit_mb = found["limit_mb"]
    return Server(
        system=found["system"],
        wal_lsn=found["wal_lsn"],
        limit_bytes=limit_mb * 2**20 if limit_mb is not None and limit_mb >= 0 else None,
        slot=_slot(found["slot"]) if found["slot"] else None,
        transactions=tuple(Transaction(**one) for one in found["open"] or ()),
        timeline=found["timeline"],
        disk=disk,
        misread=misread,
    )


def _slot(found: dict[str, Any]) -> Slot:
    row = found["row"]
    return Slot(
        wal_status=row.get("wal_status") or "reserved",
        restart_lsn=found["restart_lsn"],
        confirmed_lsn=found["confirmed_lsn"],
        kept_bytes=found["kept"],
        lag_bytes=found["lag"],
        reader=(found["reader"] or "unknown") if row["active"] else "",
        reader_role=found["role"] or "",
        reader_pid=row["active_pid"],
        invalidation=row.get("invalidation_reason") or "",
    )


def look_at_notes(kafka: str, pipeline: Pipeline) -> tuple[Reads, Source | None]:
    """What the connector told of its reads of tables, and which server was noted when it began. ServiceUnavailable
    if Kafka does not say, after seconds where it says nothing at all."""
    if not broker.answers(kafka, _MAY_TAKE_MS / 1000):
        raise ServiceUnavailable("no Kafka broker answers", next_step="`headrace status`", broker=kafka)
    with closing(Notes(kafka, pipeline)) as notes:
        told = notes.all()
    return reads_of(told), known_source(told)


def look_at_reader(connect: Connect, name: str) -> Reader:
    """Three requests. Asked after the server: what the slot has confirmed by then is in Kafka, if all is well."""
    config = connect.config(name)
    if config is None:
        return Reader(None, None, None)
    return Reader(connect.status(name), config, connect.source_lsn(name))
