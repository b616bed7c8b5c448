"""Topics as declared, first reads that are missing, and a plan that refuses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from connectors import topics
from connectors.connector_plan import plan_connector
from connectors.plan import Change, Plan, apply, other_partitions
from connectors.reads.snapshots import Reads, missing
from connectors.rest import Connect
from contracts.errors import ContractError, PlanRefused
from contracts.settings import Settings
from contracts.stream import Column, FileSource, Pipeline, Stream, TableSource
from infra.local.deployment import endpoints

ID = (Column("id", "bigint"),)
ORDERS = Stream("shop", "orders", "shop.sales.orders", TableSource("sales", "orders"), ID, ("id",), partitions=7)
ITEMS = replace(ORDERS, name="items", topic="shop.sales.items", source=TableSource("sales", "items"))
DROPS = Stream(
    "shop", "drops", "shop.files.drops", FileSource(r"x\.csv", "csv"), ID, ("id",), partitions=3, retention_days=2
)
SHOP = Pipeline("shop", (ORDERS, ITEMS, DROPS), Path(), Path(), Path())


def test_changes_of_a_table_have_one_partition_whatever_is_declared() -> None:
    declared = {topic.name: topic for topic in topics.declared(SHOP)}
    assert declared["shop.sales.orders"].partitions == 1
    assert declared["shop.files.drops"].partitions == 3
    assert declared["shop.files.drops"].config["retention.ms"] == str(2 * 24 * 60 * 60 * 1000)
    assert declared["shop.files"].config == {"cleanup.policy": "compact"}
    assert int(declared["shop.sales.orders"].config["max.message.bytes"]) == 20 * 1024 * 1024


@pytest.mark.parametrize(
    ("topic", "source"),
    [
        ("shop.mariadb.transaction", TableSource("mariadb", "transaction")),
        ("shop.notifications", FileSource(r"x\.csv", "csv")),
        ("shop.files", FileSource(r"x\.csv", "csv")),
    ],
)
def test_a_stream_whose_topic_headrace_or_debezium_writes_other_things_to_is_refused(
    topic: str, source: TableSource | FileSource
) -> None:
    stock = replace(
        ORDERS, name="stock", topic="shop.mariadb.s.stock", source=TableSource("s", "stock", system="mariadb")
    )
    taken = replace(DROPS, name="taken", topic=topic, source=source)
    pipeline = replace(SHOP, streams=(*SHOP.streams, stock, taken))
    with pytest.raises(ContractError, match=f"stream taken: .*`{topic}`"):
        topics.declared(pipeline)


def test_a_secret_that_somebody_gave_a_connector_is_not_shown() -> None:
    found, reference = Plan("shop"), "${file:/etc/secrets:p}"
    given = {"database.password": "hunter2", "a.jaas.config": 'X required password="hunter2";', "slot.name": "theirs"}
    wanted = {"database.password": reference, "slot.name": "ours"}
    plan_connector(found, SHOP, endpoints(Settings()), Connect("http://127.0.0.1:1"), given, wanted)
    (change,) = found.changes
    assert "hunter2" not in change.describe()
    for line in ("database.password = ****", f"database.password = {reference}", "slot.name = theirs"):
        assert f"    {line}\n" in f"{change.describe()}\n"


def test_another_number_of_partitions_is_refused_with_what_to_do() -> None:
    declared = {topic.name: topic for topic in topics.declared(SHOP)}
    drops = declared["shop.files.drops"]
    assert "declare 1, or give the stream a new topic" in other_partitions(drops, replace(drops, partitions=1))
    transactions = declared["shop.transaction"]
    said = other_partitions(transactions, replace(transactions, partitions=3))
    assert "has 3 partitions and 1 are declared" in said
    assert "PUT /connectors/shop/stop" in said
    assert "give the stream" not in said


def test_only_declared_settings_are_compared() -> None:
    wanted = topics.Topic("t", 1, {"retention.ms": "5"})
    assert topics.changed_config(wanted, topics.Topic("t", 1, {"retention.ms": "5", "segment.ms": "9"})) == {}
    assert topics.changed_config(wanted, topics.Topic("t", 1, {"retention.ms": "4"})) == {"retention.ms": ("4", "5")}


@pytest.mark.parametrize(
    ("included", "reads", "wanted"),
    [
        # The first read of all has not said anything yet, or runs.
        (r"sales\.items,sales\.orders", Reads(frozenset(), "", 0), []),
        (r"sales\.items,sales\.orders", Reads(frozenset({"sales.items"}), "IN_PROGRESS", 1), []),
        (r"sales\.items,sales\.orders", Reads(frozenset({"sales.items", "sales.orders"}), "COMPLETED", 1), []),
        # Killed half-way: the restarted connector skips, orders was never read to its end.
        (r"sales\.items,sales\.orders", Reads(frozenset({"sales.items"}), "SKIPPED", 2), ["sales.orders"]),
        # Added now, even if it was read long ago: there is a gap after that.
        (r"sales\.items", Reads(frozenset({"sales.items", "sales.orders"}), "COMPLETED", 1), ["sales.orders"]),
        (r"sales\.items", Reads(frozenset({"sales.items"}), "IN_PROGRESS", 1), ["sales.orders"]),
    ],
)
def test_which_tables_are_still_to_be_read(included: str, reads: Reads, wanted: list[str]) -> None:
    assert missing(SHOP, reads, {"table.include.list": included}) == wanted


def test_a_table_that_left_the_publication_is_read_again() -> None:
    both = frozenset({"sales.items", "sales.orders"})
    config = {"table.include.list": r"sales\.items,sales\.orders"}
    assert missing(SHOP, Reads(both, "COMPLETED", 1), config, unpublished={"sales.orders"}) == ["sales.orders"]


def test_a_refusal_stops_every_change() -> None:
    done: list[str] = []
    plan = Plan("shop", changes=[Change("topic", "t", "", "new", lambda: done.append("t"))], refusals=["no key"])
    with pytest.raises(PlanRefused, match="no key"):
        apply(plan)
    assert done == []
    plan.refusals.clear()
    assert apply(plan) == 1
    assert done == ["t"]
