"""A source whose only replication slot, or WAL sender, is somebody else's: `plan` says so, and whatever `apply` meets
there, it leaves nothing half done."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from psycopg2.extras import PhysicalReplicationConnection

from connectors import debezium, password, topics
from connectors.plan import apply
from connectors.postgres import source
from connectors.rest import Connect
from contracts.endpoints import Endpoints, PostgresEndpoint
from contracts.errors import HeadraceError, PlanRefused, ServiceUnavailable
from contracts.settings import Settings
from tests.services.test_connectors_plan import Shop, new_shop, remove_shop
from tests.services.test_guardian_limits import running

TAKEN = "SELECT pg_create_logical_replication_slot('of_somebody_else', 'pgoutput')"
FREED = "SELECT pg_drop_replication_slot('of_somebody_else')"


class Narrow:
    """A shop at a server with one replication slot, and one WAL sender beside the connector's."""

    def __init__(self, shop: Shop, administrator: PostgresEndpoint) -> None:
        self.shop, self.administrator = shop, administrator
        self.name = debezium.connector_name(shop.pipeline)

    def ask(self, statement: str) -> object:
        with source.connected(self.administrator, autocommit=True) as connection, connection.cursor() as cursor:
            cursor.execute(statement)
            (found,) = cursor.fetchone() or (None,)
        return found

    def sender(self) -> Any:
        """A connection that takes a WAL sender."""
        return psycopg2.connect(**self.administrator.dsn(), connection_factory=PhysicalReplicationConnection)

    def left(self) -> dict[str, object]:
        """What of the pipeline is anywhere."""
        declared = [topic.name for topic in topics.declared(self.shop.pipeline)]
        with topics.admin(self.shop.endpoints.kafka) as client, Connect(self.shop.endpoints.connect_url) as connect:
            return {
                "topics": sorted(topics.existing(client, declared)),
                "connector": connect.config(self.name),
                "publications": self.ask("SELECT count(*) FROM pg_publication"),
                "slots": self.ask("SELECT array_agg(slot_name::text) FROM pg_replication_slots"),
                "readable": self.ask(f"SELECT has_table_privilege('debezium', '{self.shop.schema}.orders', 'SELECT')"),
                "secret": password.is_written(
                    self.shop.settings.data_dir, self.shop.pipeline.name, self.shop.endpoints.replicator.password
                ),
            }


NOTHING = {
    "topics": [],
    "connector": None,
    "publications": 0,
    "slots": None,
    "readable": False,
    "secret": False,
}


@pytest.fixture
def narrow(
    endpoints: Endpoints, deployment: Settings, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Narrow]:
    (tmp_path / "postgres.json").write_text(json.dumps({"errors.max.retries": 0}))
    with running(tmp_path / "server", max_replication_slots="1", max_wal_senders="2") as (found, administrator):
        at_it = replace(endpoints, source=found.source, replicator=found.replicator)
        shop = new_shop(at_it, deployment, tmp_path, "orders")
        shop.run("INSERT INTO orders VALUES (1, 1.50, NULL)")
        yield Narrow(shop, administrator)
        remove_shop(shop)


def test_a_slot_or_a_sender_that_is_taken_is_told_before_anything_is_made(narrow: Narrow) -> None:
    def refused(what: str, setting: str, number: int) -> None:
        planned = narrow.shop.plan()
        assert planned.changes
        (told,) = planned.refusals
        assert told.startswith(f"no free {what}: {number} of {number} are taken")
        assert told.endswith(f"ALTER SYSTEM SET {setting} = {number + 10};  -- and restart the server")
        before = narrow.left()
        with pytest.raises(PlanRefused, match=f"no free {what}"):
            apply(planned)
        assert narrow.left() == before

    narrow.ask(TAKEN)
    assert narrow.left() == NOTHING | {"slots": ["of_somebody_else"]}
    refused("replication slot", "max_replication_slots", 1)
    narrow.ask(FREED)
    with closing(narrow.sender()), closing(narrow.sender()):
        refused("WAL sender", "max_wal_senders", 2)
    assert narrow.left() == NOTHING


def test_a_slot_that_is_taken_between_plan_and_apply_is_told_and_the_next_apply_ends_it(
    narrow: Narrow,
) -> None:
    planned = narrow.shop.plan()
    assert planned.refusals == []
    narrow.ask(TAKEN)
    with pytest.raises(HeadraceError) as failed:
        apply(planned)
    assert "all replication slots are in use" in str(failed.value)
    (told,) = narrow.shop.plan().refusals
    assert told.startswith("no free replication slot: 1 of 1 are taken")
    assert narrow.left()["slots"] == ["of_somebody_else"]

    narrow.ask(FREED)
    again = narrow.shop.plan()
    assert again.refusals == []
    assert {change.kind for change in again.changes} == {"connector"}
    apply(again)
    assert narrow.shop.plan().changes == []
    with closing(narrow.sender()), pytest.raises(ServiceUnavailable, match="max_wal_senders") as full:
        narrow.shop.plan()
    assert "ALTER SYSTEM SET max_wal_senders" in (full.value.next_step or "")
    narrow.shop.run("INSERT INTO orders VALUES (2, 2.50, NULL)")
    assert [change["after"]["id"] for change, _ in narrow.shop.changes("orders")] == [1, 2]
