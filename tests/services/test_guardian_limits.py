"""Servers whose limits are narrow or that cannot serve: what `plan` says of them, and a slot that one takes away."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import psycopg2
import pytest
from psycopg2.extras import PhysicalReplicationConnection

from connectors import debezium
from connectors.finding import Finding
from connectors.guardian.guard import Guardian
from connectors.postgres import source
from connectors.postgres.server_checks import check_role, check_server
from contracts.endpoints import Endpoints, PostgresEndpoint
from contracts.settings import GuardSettings, Settings
from contracts.stream import Column, Pipeline, Stream, TableSource
from infra.local import deployment as local_deployment
from infra.local import postgres
from infra.local.layout import open_layout

NARROW = {
    "max_slot_wal_keep_size": "1MB",
    "max_replication_slots": "1",
    "wal_sender_timeout": "0",
    "idle_replication_slot_timeout": "1d",
}
STREAM = Stream("narrow", "t", "narrow.public.t", TableSource("public", "t"), (Column("id", "bigint"),), ("id",))


@contextmanager
def running(folder: Path, **server: str) -> Iterator[tuple[Endpoints, PostgresEndpoint]]:
    """A server of its own: these limits would take the slots of other tests away."""
    settings = Settings(data_dir=folder, pipeline="narrow")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in server.items():
            patch.setitem(postgres._SERVER_SETTINGS, name, value)
        found = local_deployment.up(settings, ("postgres",))
    try:
        yield found, postgres.endpoint(open_layout(settings), "narrow", "postgres")
    finally:
        local_deployment.down(settings)


@pytest.fixture
def narrow(tmp_path: Path) -> Iterator[tuple[Endpoints, PostgresEndpoint]]:
    with running(tmp_path, **NARROW) as found:
        yield found


def findings(found: list[Finding]) -> dict[str, tuple[str, str]]:
    """What `plan` says, and by that what is to be typed and at which level."""
    return {one.what: (one.level, one.fix) for one in found}


def test_a_server_that_cannot_decode_has_no_sender_and_no_limit_is_told_with_what_to_type(tmp_path: Path) -> None:
    unfit = {"wal_level": "replica", "max_wal_senders": "1", "max_slot_wal_keep_size": "-1", "wal_sender_timeout": "7s"}
    # Within a transaction a server's statistics stay as they were.
    with (
        running(tmp_path, **unfit) as (_, administrator),
        source.connected(administrator, autocommit=True) as connection,
    ):
        free = findings(check_server(connection, "headrace"))
        with closing(psycopg2.connect(**administrator.dsn(), connection_factory=PhysicalReplicationConnection)):
            taken = findings(check_server(connection, "headrace"))
        (over,) = check_role(connection, "postgres", [])
    no_sender, more = "no free WAL sender: 1 of 1 are taken", "ALTER SYSTEM SET max_wal_senders = 11;"
    assert free.pop("one WAL sender is free: 0 of 1 are taken") == ("warning", f"{more}  -- and restart the server")
    assert taken == free | {no_sender: ("refusal", f"{more}  -- and restart the server")}
    assert no_sender not in free
    assert free["wal_level has no changes to decode"] == (
        "refusal",
        "ALTER SYSTEM SET wal_level = logical;  -- and restart the server",
    )
    limit = "max_slot_wal_keep_size is -1: a slot that nobody reads keeps WAL until the disk is full"
    assert free[limit][0] == "warning"
    assert free[limit][1].startswith("ALTER SYSTEM SET max_slot_wal_keep_size = '20GB'; SELECT pg_reload_conf();")
    assert free["wal_sender_timeout is 7 s"] == (
        "warning",
        "ALTER SYSTEM SET wal_sender_timeout = '60s'; SELECT pg_reload_conf();",
    )
    assert (over.level, over.what) == ("warning", "role postgres, which the connector uses, is superuser")
    assert "source_role.sql makes that role" in over.fix


def test_a_slot_of_the_same_name_that_reads_another_database_is_refused(
    narrow: tuple[Endpoints, PostgresEndpoint],
) -> None:
    _, administrator = narrow
    elsewhere = replace(administrator, database=postgres.WAREHOUSE_DATABASE)
    with source.connected(elsewhere, autocommit=True) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT pg_create_logical_replication_slot('mine', 'pgoutput')")
    with source.connected(administrator) as connection:
        refused, *_ = check_server(connection, "mine")
    assert refused.level == "refusal"
    assert str(refused).splitlines() == [
        "there is a replication slot mine of another use "
        "(declared database narrow, plugin pgoutput, found database warehouse, plugin pgoutput)",
        "  a slot reads one database; this one belongs to somebody else",
        '  name another one in postgres.json: {"slot.name": "…"}',
    ]


def test_a_slot_that_the_server_takes_away_is_told_before_and_after(
    narrow: tuple[Endpoints, PostgresEndpoint], tmp_path: Path
) -> None:
    endpoints, administrator = narrow
    pipeline = Pipeline("narrow", (STREAM,), tmp_path, tmp_path, tmp_path)
    nobody = replace(endpoints, connect_url="http://127.0.0.1:1")
    guardian = Guardian(pipeline, nobody, GuardSettings(), patience_s=0.2)
    slot = debezium.default_name(pipeline)

    def kinds() -> dict[str, str]:
        return {one.kind: one.severity for one in guardian.look().concerns if one.kind != "connect away"}

    with source.connected(administrator, autocommit=True) as connection, connection.cursor() as cursor:
        assert kinds() == {}  # no slot was ever there
        cursor.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", (slot,))
        assert guardian.look().budget_bytes == 2**19
        whats = [finding.what for finding in check_server(connection, "another")]
        assert [what.split(":")[0] for what in whats] == [
            "no free replication slot",
            "wal_sender_timeout is 0, never",
            "idle_replication_slot_timeout is 1d",
        ]
        assert not [finding for finding in check_server(connection, slot) if finding.level == "refusal"]
        for _ in range(3):
            cursor.execute("SELECT pg_logical_emit_message(false, 'x', repeat('x', 1000000)); SELECT pg_switch_wal()")
        assert kinds() == {"slot in danger": "critical", "wal kept": "critical"}
        assert "max_slot_wal_keep_size = '2MB'" in guardian.look().concerns[0].steps[0]
        cursor.execute("CHECKPOINT")
        report = guardian.look()
        assert (report.wal_status, kinds()) == ("lost", {"slot lost": "critical"})
        assert "wal_removed" in next(one.what for one in report.concerns if one.kind == "slot lost")
        assert "lost" in check_server(connection, slot)[0].what
        cursor.execute("SELECT pg_drop_replication_slot(%s)", (slot,))
        assert kinds() == {"slot missing": "critical"}
