"""A broker that is not there, asked for what connectors and proof need of it: a real refusal of a real port."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from kafka import KafkaConsumer, KafkaProducer
from kafka.admin import KafkaAdminClient
from pydantic import SecretStr

from connectors import broker, topics
from connectors.mariadb import ddl as mariadb_ddl
from connectors.postgres import ddl_messages, marker
from connectors.reads import snapshots, table_reads
from contracts.endpoints import PostgresEndpoint
from contracts.errors import ServiceUnavailable
from contracts.settings import KafkaSettings, Settings
from contracts.stream import Column, Pipeline, Stream, TableSource
from headrace.app import App
from headrace.proof import postgres_side, proof

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
    monkeypatch.setattr(broker, "KafkaConsumer", partial(KafkaConsumer, **short))
    monkeypatch.setattr(snapshots, "KafkaConsumer", partial(KafkaConsumer, **short))
    monkeypatch.setattr(marker, "KafkaConsumer", partial(KafkaConsumer, **short))
    monkeypatch.setattr(table_reads, "KafkaConsumer", partial(KafkaConsumer, **short))
    monkeypatch.setattr(topics, "KafkaAdminClient", partial(KafkaAdminClient, **short))


@pytest.mark.parametrize(
    ("call", "failed", "left"),
    [
        (lambda: snapshots.signal(AWAY, SHOP, ["sales.orders"]), "read sales.orders", "asking twice reads twice"),
        (lambda: table_reads.all_anew(AWAY, SHOP), "ALL_ANEW", "one too many does no harm"),
        (lambda: list(proof(App(Settings(kafka=KafkaSettings(bootstrap_servers=AWAY))))), "nothing is proven", ""),
        (lambda: table_reads.ends_before_read(AWAY, SHOP), "Kafka did not answer", ""),
        (lambda: table_reads.Notes(AWAY, SHOP).end(), "what the connector has read", "Nothing was changed"),
        (lambda: ddl_messages.told(AWAY, SHOP), "which DDL the source told of", "Nothing was changed"),
        (lambda: mariadb_ddl.told(AWAY, SHOP), "which DDL MariaDB's binlog told of", "Nothing was changed"),
        (lambda: snapshots.never_to_be_obeyed(AWAY, SHOP), "requests of before still stand", "was not started"),
    ],
    ids=["signal", "note", "proof", "ends", "notes", "messages", "binlog", "requests"],
)
def test_what_is_left_and_what_to_do_next_is_said(call: Callable[[], None], failed: str, left: str) -> None:
    with pytest.raises(ServiceUnavailable) as refused:
        call()
    assert failed in refused.value.what
    assert left in refused.value.state
    assert "headrace status" in refused.value.next_step
    assert AWAY in str(refused.value)


def test_a_broker_that_says_nothing_is_known_in_time() -> None:
    began = time.monotonic()
    assert not broker.answers(AWAY, 30)
    assert not broker.answers("broker:none", 30)
    with socket.create_server(("127.0.0.1", 0)) as silent:  # the system accepts for it
        port = silent.getsockname()[1]
        assert not broker.answers(f"127.0.0.1:{port},[::1]:1,127.0.0.1:{port}", 0.5)
    assert time.monotonic() - began < 5


def test_a_broker_that_says_nothing_leaves_time_for_the_next_one() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, socket.create_server(("127.0.0.1", 0)) as speaking:
        ports = [one.getsockname()[1] for one in (silent, speaking)]
        answer = threading.Thread(target=lambda: speaking.accept()[0].sendall(b"0"))
        answer.start()
        assert broker.answers(",".join(f"127.0.0.1:{port}" for port in ports), 2)
        answer.join()


def test_a_postgres_that_is_away_is_named_while_it_is_compared() -> None:
    away = PostgresEndpoint(host="127.0.0.1", port=1, database="shop", user="reader", password=SecretStr(""))
    with pytest.raises(ServiceUnavailable, match="did not accept the connection") as refused:
        postgres_side(away, ("sales", "orders"), ORDERS.columns)
    assert "127.0.0.1:1" in str(refused.value)
