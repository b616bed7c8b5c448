"""Whether the source still has every change that the connector has not read: if not, its tables are read again.

Debezium refuses to start when its slot is gone or begins behind what it has read, and says so in a trace. It does not
notice a slot that somebody else has read from, a server that was restored (its WAL ends before what was read: all that
is written until it gets there would be skipped) or a replica that was promoted. So all of that is looked for here.

The source epoch does not rise for it: the topics stay the same, and the offset of what is read again is greater than
that of all there was.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import psycopg2
from psycopg2.extras import LogicalReplicationConnection

from connectors import debezium
from connectors.postgres.source import connected, outages
from connectors.reads.table_reads import Source
from connectors.rest import Connect
from contracts import unreachable
from contracts.endpoints import PostgresEndpoint
from contracts.errors import ServiceUnavailable
from contracts.stream import Pipeline

Lsn = int


@dataclass(frozen=True, slots=True)
class Slot:
    """One row of pg_replication_slots. `invalid`: why the server no longer keeps what it needs, empty if it does."""

    confirmed: Lsn
    invalid: str


def identify(replicator: PostgresEndpoint) -> Source:
    """The server as the replication protocol names it, which needs no privilege beyond replication. Raises as
    `connected`."""
    try:
        connection = psycopg2.connect(
            **replicator.dsn(), connect_timeout=10, connection_factory=LogicalReplicationConnection
        )
    except psycopg2.OperationalError as error:
        why = str(error).strip()
        raise ServiceUnavailable(
            f"Postgres did not accept a replication connection: {why}",
            state="Nothing was changed; whether this is the server that was read is not known.",
            next_step=unreachable.next_step(why, replicator)
            or "see that the server runs and its pg_hba.conf lets this user replicate; a new server lacks it: "
            f"CREATE ROLE {replicator.user} LOGIN REPLICATION PASSWORD …; then `headrace plan`",
            host=f"{replicator.host}:{replicator.port}",
            user=replicator.user,
        ) from error
    with outages(connection, replicator), connection.cursor() as cursor:
        cursor.execute("IDENTIFY_SYSTEM")
        system_identifier, timeline = cursor.fetchone()[:2]
    return Source(str(system_identifier), int(timeline))


def loss(
    pipeline: Pipeline,
    replicator: PostgresEndpoint,
    connect: Connect,
    slot_name: str,
    known: Source | None,
    now: Source,
) -> str:
    """What happened, in words, if changes may be missing that the connector can never read; else empty.

    `known` is the server that was read until now, None if nobody noted it; `now` the one that answers.
    """
    # In this order: the slot never passes what is stored, and what is stored never passes the WAL.
    slot = _slot(replicator, slot_name)
    read_to = _read_to(connect.offsets(debezium.connector_name(pipeline)))
    wal_end = _wal_end(replicator)
    return judge(slot_name, slot, read_to, wal_end, known, now)


def judge(
    slot_name: str, slot: Slot | None, read_to: Lsn | None, wal_end: Lsn, known: Source | None, now: Source
) -> str:
    """See `loss`; `read_to` is None if the connector has read nothing yet."""
    if known is not None and known.system_identifier != now.system_identifier:
        return (
            "the source is another server: it was restored from a dump or replaced "
            f"(system identifier {known.system_identifier} -> {now.system_identifier})"
        )
    if known is not None and known.timeline != now.timeline:
        return (
            "the source is on another timeline: it was restored to a point in time, or a replica was promoted "
            f"({known.timeline} -> {now.timeline})"
        )
    if slot is not None and slot.invalid:
        return f"the source gave up replication slot {slot_name} ({slot.invalid})"
    if read_to is None:
        return ""
    if slot is None:
        return f"replication slot {slot_name} is gone"
    if slot.confirmed > read_to:
        return (
            f"somebody else read from replication slot {slot_name}, or made it again: "
            f"it begins at {_text(slot.confirmed)}, and only what lies before {_text(read_to)} was read"
        )
    if wal_end < read_to:
        return (
            "the source was set back to an earlier state: "
            f"its WAL ends at {_text(wal_end)}, and it was read up to {_text(read_to)}"
        )
    return ""


def _slot(replicator: PostgresEndpoint, name: str) -> Slot | None:
    with connected(replicator) as connection, connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT coalesce(s.confirmed_flush_lsn - '0/0'::pg_lsn, 0)::bigint,
                   CASE WHEN s.wal_status = 'lost' THEN coalesce(to_jsonb(s) ->> 'invalidation_reason', 'wal_removed')
                        ELSE coalesce(to_jsonb(s) ->> 'invalidation_reason', '') END
            FROM pg_replication_slots s WHERE s.slot_name = %s
            """,
            (name,),
        )
        row = cursor.fetchone()
    return Slot(int(row[0]), str(row[1])) if row else None


def _wal_end(replicator: PostgresEndpoint) -> Lsn:
    with connected(replicator) as connection, connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT (CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END
                    - '0/0'::pg_lsn)::bigint
            """
        )
        row = cursor.fetchone()
    return int(row[0]) if row else 0


def _read_to(offsets: Mapping[str, object] | None) -> Lsn | None:
    if not offsets:
        return None
    positions = [offsets.get(name) for name in ("lsn", "lsn_proc", "lsn_commit")]
    return max((int(lsn) for lsn in positions if isinstance(lsn, int | str)), default=None)


def _text(lsn: Lsn) -> str:
    return f"{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}"
