"""The rendered connector: its promises hold, its overrides are judged, no password is in it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import SecretStr

from connectors import debezium, overrides, password, topics
from contracts.endpoints import PostgresEndpoint
from contracts.errors import ContractError
from contracts.stream import Column, Pipeline, Stream, TableSource
from contracts.unavailable import is_marker, new_marker

REPLICATOR = PostgresEndpoint("db", 5432, "shop", "replicator", SecretStr("hunter2"))
REFERENCE = "${directory:/data/secrets/shop:replicator_password}"


def pipeline(folder: Path, *, name: str = "shop", topic: str = "shop.sales.orders") -> Pipeline:
    orders = Stream(name, "orders", topic, TableSource("sales", "orders"), (Column("id", "bigint"),), ("id",))
    return Pipeline(name, (orders,), folder, folder, folder)


def render(declared: Pipeline) -> dict[str, str]:
    return debezium.render(declared, REPLICATOR, "kafka:9092", password_reference=REFERENCE, placeholder="__p")


def write(folder: Path, text: str) -> None:
    (folder / "postgres.json").write_text(text)


def test_the_guarantees_settings_are_rendered(tmp_path: Path) -> None:
    config = render(pipeline(tmp_path))
    assert (
        config.items()
        >= {
            "decimal.handling.mode": "string",
            "time.precision.mode": "isostring",
            "skipped.operations": "none",
            "tombstones.on.delete": "false",
            "provide.transaction.metadata": "true",
            "publication.autocreate.mode": "disabled",
            "exactly.once.support": "required",
            "snapshot.mode": "initial",
            "value.converter.schemas.enable": "false",
            "value.converter.replace.null.with.default": "false",
            "topic.prefix": "shop",
            "table.include.list": r"sales\.orders",
            "database.password": REFERENCE,
        }.items()
    )
    assert "hunter2" not in json.dumps(config)


def test_a_table_for_signals_is_heard_beside_kafka_and_its_rows_have_a_topic(tmp_path: Path) -> None:
    declared = pipeline(tmp_path)
    config = render(declared)
    assert config["signal.enabled.channels"] == "kafka"
    assert "signal.data.collection" not in config
    names = {topic.name for topic in topics.declared(declared)}
    write(tmp_path, '{"signal.data.collection": "headrace_signals.shop"}')
    config = render(declared)
    assert config["signal.enabled.channels"] == "source,kafka"
    assert config["signal.data.collection"] == "headrace_signals.shop"
    assert config["table.include.list"] == r"sales\.orders"
    assert {topic.name for topic in topics.declared(declared)} - names == {"shop.headrace_signals.shop"}
    for name in ("headrace_signals", "Headrace.x", "a.b.c", "", "sales.orders"):
        write(tmp_path, json.dumps({"signal.data.collection": name}))
        with pytest.raises(ContractError, match=r"signal_table\.sql"):
            render(declared)


def test_what_only_a_first_read_would_hold_is_excluded_besides_what_the_overrides_exclude(tmp_path: Path) -> None:
    def excluded() -> str | None:
        return debezium.render(
            pipeline(tmp_path),
            REPLICATOR,
            "kafka:9092",
            password_reference=REFERENCE,
            placeholder="__p",
            unsent=["sales.orders.total", "sales.orders.a,b"],
        ).get("column.exclude.list")

    assert excluded() == r"sales\.orders\.total,sales\.orders\.a\,b"
    write(tmp_path, '{"column.exclude.list": "sales\\\\.orders\\\\.note"}')
    assert excluded() == r"sales\.orders\.note,sales\.orders\.total,sales\.orders\.a\,b"
    write(tmp_path, '{"column.include.list": "sales\\\\.orders\\\\.id"}')
    assert excluded() is None
    assert "message.key.columns" not in render(pipeline(tmp_path))


def test_an_override_as_the_documentation_shows_it_is_taken(tmp_path: Path) -> None:
    write(tmp_path, '{"name": "x", "config": {"slot.name": "mine", "heartbeat.interval.ms": 500}}')
    config = render(pipeline(tmp_path))
    assert (config["slot.name"], config["heartbeat.interval.ms"]) == ("mine", "500")


@pytest.mark.parametrize(
    ("config", "names"),
    [
        ({}, []),
        ({"column.exclude.list": r"sales\.orders\.note, SALES\.orders\.a\,b"}, ["note", "a,b"]),
        ({"column.exclude.list": r"sales\..*\.id|note"}, ["id"]),
        ({"column.include.list": r"sales\.orders\.(id|note)"}, ["a,b"]),
        ({"column.exclude.list": r"(, \x{24}, sales\.orders\.id"}, ["id"]),  # Connect says what is wrong with it
    ],
)
def test_what_a_config_leaves_out_of_a_table_is_known(config: dict[str, str], names: list[str]) -> None:
    assert overrides.left_out(config, "sales.orders", ["id", "note", "a,b"]) == names


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("decimal.handling.mode", "double"),
        ("skipped.operations", "t"),
        ("header.converter", "org.apache.kafka.connect.storage.SimpleHeaderConverter"),
        ("unavailable.value.placeholder", "__debezium_unavailable_value"),
        ("exactly.once.support", "requested"),
        ("table.include.list", "other.table"),
        ("database.password", "hunter2"),
        ("s3.secret.key", "hunter2"),
        ("producer.override.sasl.jaas.config", "ScramLoginModule required username=u password='hunter2';"),
        ("value.converter.schema.registry.url", "https://me:hunter2@registry"),
        ("producer.override.ssl.keystore.key", "-----BEGIN ENCRYPTED PRIVATE KEY-----hunter2"),
    ],
)
def test_an_override_that_breaks_a_guarantee_is_refused_with_its_line(tmp_path: Path, name: str, value: str) -> None:
    write(tmp_path, f'{{\n  "slot.name": "mine",\n  "{name}": "{value}"\n}}')
    with pytest.raises(ContractError) as refused:
        render(pipeline(tmp_path))
    assert refused.value.line == 3
    assert name in str(refused.value)
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("database.password", "${file:/etc/secrets:debezium}"),
        (
            "producer.override.sasl.jaas.config",
            "ScramLoginModule required password='${file:/etc/secrets:k}';",
        ),
        ("value.converter.schema.registry.url", "https://registry:8081/a@b"),
    ],
)
def test_a_reference_to_a_secret_is_taken(tmp_path: Path, name: str, value: str) -> None:
    write(tmp_path, json.dumps({name: value}))
    assert render(pipeline(tmp_path))[name] == value


def test_a_topic_that_debezium_would_not_write_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match=r"shop\.sales\.orders"):
        render(pipeline(tmp_path, topic="orders"))


def test_the_placeholder_is_random_once_and_then_kept(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    first = debezium.placeholder(None, kept)
    assert first != debezium.placeholder(None, kept)
    kept.write_text(first + "\n")
    assert debezium.placeholder(None, kept) == first
    running = new_marker()
    assert debezium.placeholder({"unavailable.value.placeholder": running}, kept) == running
    assert debezium.placeholder({"unavailable.value.placeholder": "of somebody else"}, kept) == first
    kept.write_text("older\n")
    assert is_marker(debezium.placeholder(None, kept))


def test_the_password_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    secret = SecretStr("päss'word")
    password.write(tmp_path, "shop", secret)
    file = tmp_path / "secrets" / "shop" / password.FILE
    assert file.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in file.parent.iterdir()] == [password.FILE]
    assert password.is_written(tmp_path, "shop", secret)
    assert not password.is_written(tmp_path, "shop", SecretStr("another"))
    file.chmod(0o644)
    assert not password.is_written(tmp_path, "shop", secret)
