"""A broker that is not there, asked for what the connectors need of it: a real refusal of a real port."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from kafka import KafkaConsumer, KafkaProducer
from kafka.admin import KafkaAdminClient

from connectors import broker, snapshots, table_reads, topics
from contracts.errors import ServiceUnavailable
from contracts.stream import Column, Pipeline, Stream, TableSource

ORDERS = Stream(
    "shop", "orders", "shop.sales.orders", TableSource("sales", "orders"), (Column("id", "bigint"),), ("id",)
)
SHOP = Pipeline("shop", (ORDERS,), Path(), Path(), Path())
AWAY = "127.0.0.1:1"


@pytest.fixture(autouse=True)
def less_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same clients; only that half a minute is a long time in a test."""
    short = {"bootstrap_timeout_ms": 200}
    monkeypatch.setattr(broker, "KafkaProducer", partial(KafkaProducer, **short))
    monkeypatch.setattr(table_reads, "KafkaConsumer", partial(KafkaConsumer, **short))
    monkeypatch.setattr(topics, "KafkaAdminClient", partial(KafkaAdminClient, **short))


@pytest.mark.parametrize(
    ("call", "failed", "left"),
    [
        (lambda: snapshots.signal(AWAY, SHOP, ["sales.orders"]), "read sales.orders", "asking twice reads twice"),
        (lambda: table_reads.all_anew(AWAY, SHOP), "ALL_ANEW", "one too many does no harm"),
        (lambda: table_reads.ends_before_read(AWAY, SHOP), "Kafka did not answer", ""),
    ],
    ids=["signal", "note", "ends"],
)
def test_what_is_left_and_what_to_do_next_is_said(call: Callable[[], None], failed: str, left: str) -> None:
    with pytest.raises(ServiceUnavailable) as refused:
        call()
    assert failed in refused.value.what
    assert left in refused.value.state
    assert "headrace status" in refused.value.next_step
    assert AWAY in str(refused.value)
