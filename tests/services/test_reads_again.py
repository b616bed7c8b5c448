"""Tables read again through the real Debezium: on demand, by a condition, and after the replication slot was lost."""

from __future__ import annotations

from contextlib import closing
from decimal import Decimal
from typing import Any

import psycopg2
import pytest
from psycopg2.errors import ObjectInUse

from connectors import debezium, topics
from connectors.plan import apply
from connectors.postgres import lost_slot
from connectors.reads.reread import _outcome, about_rows, read_again
from connectors.reads.snapshots import earlier_taken, signal
from connectors.reads.table_reads import Notes, part_requested
from connectors.rest import Connect
from contracts.errors import Fatal, ServiceUnavailable
from infra.local import deployment as local_deployment
from tests.services.any_server import kill_part
from tests.services.test_cdc_order import Shop, shop

__all__ = ["shop"]


def unseen(shop: Shop, statements: str) -> None:
    """Changes that the connector is never sent, because the table is not published meanwhile."""
    shop.through()
    publication, table = debezium.default_name(shop.pipeline), f"{shop.pipeline.name}.orders"
    shop.run(f"alter publication {publication} drop table {table}")
    shop.run(statements)
    shop.run(f"alter publication {publication} add table {table}")


def read(shop: Shop, where: str = "") -> int:
    table = shop.stream.table_source.qualified
    return read_again(shop.endpoints, shop.pipeline, table, where, begins_within_s=90).rows


def test_a_table_is_read_again_while_its_changes_go_on(shop: Shop, wait_until: Any) -> None:
    shop.run("insert into orders select n, n from generate_series(1, 6) as n")
    apply(shop.plan())
    assert shop.current() == shop.source()

    unseen(shop, "update orders set price = -price where id in (2, 3); delete from orders where id in (1, 4)")
    before = shop.current()
    assert len(before) == 6, "the changes were sent, so nothing is to be tested"
    # By a condition: what it is true for is read, nothing is deleted, not even what it was true for.
    assert read(shop, "id between 2 and 5 -- not 6") == 3
    assert shop.current() == [(1, 1), (2, -2), (3, -3), (4, 4), (5, 5), (6, 6)]
    assert read(shop, "id > 1000") == 0
    assert shop.current() == [(1, 1), (2, -2), (3, -3), (4, 4), (5, 5), (6, 6)]

    # A read of a part whose caller was killed: the next read of the whole is not taken for it.
    table = shop.stream.table_source.qualified
    part_requested(shop.endpoints.kafka, shop.pipeline, table)
    signal(shop.endpoints.kafka, shop.pipeline, [table], "id = 6")
    shop.run("insert into orders values (7, 7)")
    assert read(shop) == 5
    shop.run("update orders set price = 70 where id = 7")
    assert shop.current() == shop.source() == [(2, -2), (3, -3), (5, 5), (6, 6), (7, 70)]

    # No row is left to say so, and nobody noted where the topic ended: as when a killed first read begins again.
    unseen(shop, "delete from orders")
    assert len(shop.current()) == 5
    with closing(Notes(shop.endpoints.kafka, shop.pipeline)) as notes:
        so_far = len(notes.all())
        signal(shop.endpoints.kafka, shop.pipeline, [table])
        wait_until(lambda: _outcome(notes.all()[so_far:], table) == ("done", 0), 60, "the read to end")
    shop.run("insert into orders values (1, 1)")
    assert shop.current() == shop.source() == [(1, 1)]


@pytest.mark.timeout(800)  # Connect starts again
def test_a_part_that_a_killed_connector_reads_once_more_deletes_nothing(shop: Shop, wait_until: Any) -> None:
    """Debezium stores how far it is in the topic of signals every five seconds."""
    shop.run("insert into orders select n, n from generate_series(1, 6) as n")
    apply(shop.plan())
    assert read(shop, "id in (3, 4)") == 2
    kill_part(shop.settings, "connect")
    local_deployment.up(shop.settings)
    shop.run("insert into orders values (7, 7)")
    wait_until(lambda: [key for what, key, _ in shop.lsns() if what == "r"][6:] == [3, 4] * 2, 120, "a second read")
    assert shop.current() == shop.source()
    assert len(shop.source()) == 7

    # The next read of the whole deletes again.
    unseen(shop, "delete from orders where id < 4")
    assert len(shop.current()) == 7
    assert read(shop) == 4
    assert shop.current() == shop.source()


@pytest.mark.timeout(900)  # Connect starts again, twice
def test_a_part_that_is_obeyed_again_never_passes_for_a_read_of_the_whole(shop: Shop, wait_until: Any) -> None:
    """The whole was asked for right behind it, and a kill took whoever asked, or the source is another."""
    shop.run("insert into orders select n, n from generate_series(1, 6) as n")
    apply(shop.plan())
    signals = debezium.signals_topic(shop.pipeline)

    def killed_and_started() -> None:
        kill_part(shop.settings, "connect")
        local_deployment.up(shop.settings)

    def nothing_is_missing() -> None:
        shop.run("update orders set price = -price where id = 1")
        earlier_taken(shop.endpoints, shop.pipeline)  # what was to be obeyed again has been
        assert shop.current() == shop.source()
        assert len(shop.source()) == 6

    assert read(shop, "id in (3, 4)") == 2
    # As if whoever asks were killed when what is to be known of the read is noted: Kafka takes no request.
    topics.configure(shop.endpoints.kafka, topics.Topic(signals, 1, {"max.message.bytes": "1"}))
    with pytest.raises(ServiceUnavailable, match="did not take the request"):
        read(shop)
    killed_and_started()
    topics.configure(shop.endpoints.kafka, topics.Topic(signals, 1, {"max.message.bytes": "100000"}))
    nothing_is_missing()

    # All is read anew while it is known to nobody how far the connector was with its requests.
    assert read(shop, "id in (3, 4)") == 2
    kill_part(shop.settings, "connect")
    wait_until(lambda: drop_slot(shop), 60, "nobody to read from the slot")
    local_deployment.up(shop.settings)
    apply(shop.plan())
    nothing_is_missing()


def test_a_condition_that_postgres_refuses_is_not_asked_for(shop: Shop) -> None:
    table = shop.stream.table_source.qualified
    assert about_rows(shop.endpoints, shop.pipeline, table, "price > 3") > 0
    with pytest.raises(Fatal, match="does not exist"):
        about_rows(shop.endpoints, shop.pipeline, table, "prize > 3")
    for more in (
        "true); delete from orders; select (1",
        # Out of the transaction that only reads.
        "true); commit; create table public.not_asked_for (id int); select (1",
        f"true) union all select * from {table} where (true",
    ):
        with pytest.raises(Fatal, match="does not take the condition"):
            about_rows(shop.endpoints, shop.pipeline, table, more)


def slot_of(shop: Shop) -> str:
    return debezium.default_name(shop.pipeline)


def drop_slot(shop: Shop, *, and_make_it_again: bool = False) -> bool:
    """Whether it is gone: one that somebody reads from stays."""
    with closing(psycopg2.connect(**shop.endpoints.replicator.dsn())) as connection, connection.cursor() as cursor:
        try:
            cursor.execute("select pg_drop_replication_slot(%s)", (slot_of(shop),))
        except ObjectInUse:
            return False
        if and_make_it_again:
            cursor.execute("select pg_create_logical_replication_slot(%s, 'pgoutput')", (slot_of(shop),))
        connection.commit()
    return True


@pytest.mark.timeout(800)
def test_a_lost_slot_is_never_silent_and_all_is_read_again(shop: Shop, wait_until: Any) -> None:
    shop.run("insert into orders select n, n from generate_series(1, 5) as n")
    apply(shop.plan())
    shop.run("insert into orders values (6, 6)")
    assert shop.current() == shop.source()
    # Somebody asked for a part and was killed in the next moment: the whole that is read now deletes all the same.
    part_requested(shop.endpoints.kafka, shop.pipeline, shop.stream.table_source.qualified)
    name = debezium.connector_name(shop.pipeline)
    with Connect(shop.endpoints.connect_url) as connect:
        connect.stop(name)
        connect.wait_stopped(name)
        assert drop_slot(shop)
        shop.run("update orders set price = 20 where id = 2; delete from orders where id in (3, 6)")
        shop.run("insert into orders values (8, 8)")
        connect.resume(name)
        # Debezium itself refuses: an older one began at the WAL's end.
        wait_until(lambda: (seen := connect.status(name)) and seen.failed, 60, "the connector to fail")
        status = connect.status(name)
        assert status
        assert "no longer available on the server" in status.trace.replace("\n", " ")
        planned = shop.plan()
        assert [change.kind for change in planned.changes] == ["connector"]
        assert f"replication slot {slot_of(shop)} is gone" in planned.changes[0].before
        apply(planned)
        assert shop.plan().changes == []
        assert shop.current() == shop.source() == [(1, 1), (2, 20), (4, 4), (5, 5), (8, 8)]

        # One that somebody made again is there and looks well, but begins behind what was read. And no row is left.
        connect.stop(name)
        connect.wait_stopped(name)
        shop.run("delete from orders where id < 8")
        assert drop_slot(shop, and_make_it_again=True)
        shop.run("delete from orders")
        planned = shop.plan()
        assert "somebody else read from replication slot" in planned.changes[0].before
        apply(planned)
        assert shop.plan().changes == []
        shop.run("insert into orders values (9, 9)")
        assert shop.current() == shop.source() == [(9, Decimal(9))]
    assert lost_slot.identify(shop.endpoints.replicator).timeline == 1
