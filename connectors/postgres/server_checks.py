"""Whether the source's server and the replication role are fit for a slot that must not endanger the server."""

from __future__ import annotations

import json
from typing import Any

from psycopg2 import sql
from psycopg2.extensions import connection as Connection

from connectors.finding import Finding
from contracts.stream import TableSource

_RELOAD = "SELECT pg_reload_conf();"
# Debezium tells the server where it is every ten seconds; a sender that waits less long cuts it off.
_SHORTEST_SENDER_TIMEOUT_S = 20
_LONGEST_SENDER_TIMEOUT_S = 600


def check_server(connection: Connection, slot: str, *, limit: str = "") -> list[Finding]:
    """What of the server's settings stands in the way, or lets a slot fill the disk. `limit`: what its disk has room
    for, if that is known. Changes nothing."""
    server = _server(connection, slot)
    return [*_cannot_decode(server), *_no_place(server), *_wrong_slot(server, slot), *_endangered(server, limit)]


def _server(connection: Connection, slot: str) -> dict[str, Any]:
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT json_build_object(
                'database', current_database(),
                'standby', pg_is_in_recovery(),
                'wal_level', current_setting('wal_level'),
                'slots', current_setting('max_replication_slots')::int,
                'used_slots', (SELECT count(*) FROM pg_replication_slots),
                'senders', current_setting('max_wal_senders')::int,
                'used_senders', (SELECT count(*) FROM pg_stat_replication),
                'keep_mb', (SELECT setting::bigint FROM pg_settings WHERE name = 'max_slot_wal_keep_size'),
                'sender_timeout_ms', (SELECT setting::bigint FROM pg_settings WHERE name = 'wal_sender_timeout'),
                'idle_timeout', nullif(current_setting('idle_replication_slot_timeout', true), '0'),
                'encrypted', (SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()),
                'remote', coalesce(NOT inet_client_addr() <<= '127.0.0.0/8' AND inet_client_addr() <> '::1', false),
                'slot', (SELECT to_jsonb(s) FROM pg_replication_slots s WHERE slot_name = %s)
            )::text
            """,
            (slot,),
        )
        row = cursor.fetchone()
    assert row is not None
    found: dict[str, Any] = json.loads(row[0])
    return found


def _cannot_decode(server: dict[str, Any]) -> list[Finding]:
    findings = []
    if server["standby"]:
        findings.append(
            Finding("refusal", "the server is a standby", why="publications are made there", fix="name the primary")
        )
    if server["wal_level"] != "logical":
        findings.append(
            Finding(
                "refusal",
                "wal_level has no changes to decode",
                declared="logical",
                found=server["wal_level"],
                fix="ALTER SYSTEM SET wal_level = logical;  -- and restart the server",
            )
        )
    return findings


def _no_place(server: dict[str, Any]) -> list[Finding]:
    if server["slot"]:
        return []  # it has its place, and its reader keeps its sender
    findings = []
    for what, setting, all_, used in (
        ("replication slot", "max_replication_slots", server["slots"], server["used_slots"]),
        ("WAL sender", "max_wal_senders", server["senders"], server["used_senders"]),
    ):
        if used >= all_:
            findings.append(
                Finding(
                    "refusal",
                    f"no free {what}: {used} of {all_} are taken",
                    why="the connector needs one of its own; see pg_replication_slots and pg_stat_replication",
                    fix=f"ALTER SYSTEM SET {setting} = {all_ + 10};  -- and restart the server",
                )
            )
    if server["used_senders"] == server["senders"] - 1:
        findings.append(
            Finding(
                "warning",
                f"one WAL sender is free: {server['used_senders']} of {server['senders']} are taken",
                why="the connector keeps it, and headrace asks over another which server it is: it could not any more",
                fix=f"ALTER SYSTEM SET max_wal_senders = {server['senders'] + 10};  -- and restart the server",
            )
        )
    return findings


def _wrong_slot(server: dict[str, Any], slot: str) -> list[Finding]:
    found = server["slot"]
    if not found:
        return []
    if found["database"] != server["database"] or found["plugin"] != "pgoutput":
        return [
            Finding(
                "refusal",
                f"there is a replication slot {slot} of another use",
                declared=f"database {server['database']}, plugin pgoutput",
                found=f"database {found['database']}, plugin {found['plugin']}",
                why="a slot reads one database; this one belongs to somebody else",
                fix='name another one in postgres.json: {"slot.name": "…"}',
            )
        ]
    if found.get("wal_status") == "lost":
        return [
            Finding(
                "warning",
                f"replication slot {slot} is lost: the server has removed WAL that it needed",
                why="changes are missing from there on, until all tables are read again",
                fix="`headrace status` shows the steps, in order",
            )
        ]
    return []


def _endangered(server: dict[str, Any], limit: str) -> list[Finding]:
    findings = []
    if server["keep_mb"] == -1:
        findings.append(
            Finding(
                "warning",
                "max_slot_wal_keep_size is -1: a slot that nobody reads keeps WAL until the disk is full",
                why="a full disk stops the whole server; above the limit only the slot is lost, and tables read again",
                fix=f"ALTER SYSTEM SET max_slot_wal_keep_size = '{limit or '20GB'}'; {_RELOAD}  "
                f"-- {'half of what is' if limit else 'at most half of what is'} free where pg_wal lies",
            )
        )
    timeout_s = (server["sender_timeout_ms"] or 0) / 1000
    if timeout_s == 0 or timeout_s > _LONGEST_SENDER_TIMEOUT_S:
        findings.append(
            Finding(
                "warning",
                f"wal_sender_timeout is {f'{timeout_s:g} s' if timeout_s else '0, never'}",
                why="when the Connect host dies, its connection holds the slot so long: nobody else can read it",
                fix=f"ALTER SYSTEM SET wal_sender_timeout = '60s'; {_RELOAD}",
            )
        )
    elif timeout_s < _SHORTEST_SENDER_TIMEOUT_S:
        findings.append(
            Finding(
                "warning",
                f"wal_sender_timeout is {timeout_s:g} s",
                why="Debezium answers every ten seconds: the server would cut it off again and again",
                fix=f"ALTER SYSTEM SET wal_sender_timeout = '60s'; {_RELOAD}",
            )
        )
    if server["idle_timeout"]:
        findings.append(
            Finding(
                "warning",
                f"idle_replication_slot_timeout is {server['idle_timeout']}",
                why="a connector that stands still for so long loses its slot, and all tables must be read again",
                fix=f"ALTER SYSTEM SET idle_replication_slot_timeout = 0; {_RELOAD}  -- max_slot_wal_keep_size guards",
            )
        )
    if server["remote"] and not server["encrypted"]:
        findings.append(
            Finding(
                "warning",
                "the connection to the source is not encrypted",
                why="whoever is on the way reads all rows and can pose as the server",
                fix="settings: source: {sslmode: verify-full, sslrootcert: /path/to/ca.pem}",
            )
        )
    return findings


def check_role(connection: Connection, role: str, tables: list[TableSource]) -> list[Finding]:
    """Whether the replication role may do more than it needs, or sees fewer rows than there are."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT rolsuper, rolcreatedb OR rolcreaterole, rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = %s",
            (role,),
        )
        attributes = cursor.fetchone()
        if attributes is None:
            return []
        cursor.execute(
            """
            SELECT n.nspname || '.' || c.relname,
                   has_table_privilege(%(role)s, c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE'),
                   c.relrowsecurity AND (c.relforcerowsecurity OR NOT pg_has_role(%(role)s, c.relowner, 'USAGE'))
            FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
            WHERE (n.nspname, c.relname) IN (SELECT * FROM unnest(%(schemas)s::text[], %(tables)s::text[]))
            ORDER BY 1
            """,
            {
                "role": role,
                "schemas": [source.schema for source in tables],
                "tables": [source.table for source in tables],
            },
        )
        rights = cursor.fetchall()
    is_super, makes_others, sees_all = attributes
    quoted = sql.Identifier(role).as_string(connection)
    findings = []
    too_much = ["is superuser"] if is_super else []
    too_much += ["may make roles or databases"] if makes_others and not is_super else []
    writable = [name for name, may_write, _ in rights if may_write]
    too_much += [f"may write to {', '.join(writable)}"] if writable and not is_super else []
    if too_much:
        findings.append(
            Finding(
                "warning",
                f"role {role}, which the connector uses, {' and '.join(too_much)}",
                why="Debezium only logs in, replicates and reads the declared tables",
                fix="settings: replicator: {user: …}; `headrace apply` or source_role.sql makes that role",
            )
        )
    if not sees_all:
        findings += [
            Finding(
                "refusal",
                f"row security hides rows from role {role}",
                table=name,
                why="the first read would leave them out without a word, while their changes arrive",
                fix=f"ALTER ROLE {quoted} BYPASSRLS;  -- by a superuser",
            )
            for name, _, hidden in rights
            if hidden
        ]
    return findings
