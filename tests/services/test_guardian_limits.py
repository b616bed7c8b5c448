"""A server whose limits are narrow: what `plan` says of it, and a slot that it takes away."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from connectors import debezium, source
from connectors.guardian.guard import Guardian
from connectors.server_checks import check_server
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


@pytest.fixture
def narrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Endpoints, PostgresEndpoint]]:
    """A server of its own: these limits would take the slots of other tests away."""
    for name, value in NARROW.items():
        monkeypatch.setitem(postgres._SERVER_SETTINGS, name, value)
    settings = Settings(data_dir=tmp_path, pipeline="narrow")
    found = local_deployment.up(settings, ("postgres",))
    yield found, postgres.endpoint(open_layout(settings), "narrow", "postgres")
    local_deployment.down(settings)


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
