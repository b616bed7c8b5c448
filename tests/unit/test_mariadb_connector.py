"""The MariaDB connector's config, and what a pipeline with both kinds of tables declares."""

from __future__ import annotations

import json
import socket
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from connectors import debezium, topics
from connectors.mariadb import connector as mariadb_connector
from connectors.mariadb import source as mariadb
from connectors.mariadb.checks import unencrypted
from connectors.mariadb.position import reached, sequence_numbers
from connectors.mariadb.source import Access, role_statements
from contracts.endpoints import MariadbEndpoint
from contracts.errors import ContractError, ServiceUnavailable
from contracts.loader import load_pipeline
from contracts.settings import MariadbSettings, Settings
from contracts.stream import Column, Pipeline, Stream, TableSource
from infra.local.deployment import endpoints

SECRET = "not in the config"
REPLICATOR = MariadbEndpoint("maria", 3307, "debezium", SecretStr(SECRET))
ID = Column("id", "bigint", required=True)


def stream(name: str, source: TableSource, topic: str) -> Stream:
    return Stream("shop", name, topic, source, (ID,), ("id",))


@pytest.fixture
def pipeline(tmp_path: Path) -> Pipeline:
    return Pipeline(
        "shop",
        (
            stream("customers", TableSource("public", "customers"), "shop.public.customers"),
            stream("orders", TableSource("sales", "orders", system="mariadb"), "shop.mariadb.sales.orders"),
            stream("stock", TableSource("inv.2", "stock", system="mariadb"), "shop.mariadb.inv.2.stock"),
        ),
        tmp_path,
        tmp_path,
        tmp_path,
    )


def render(pipeline: Pipeline, role: MariadbEndpoint = REPLICATOR) -> dict[str, str]:
    return mariadb_connector.render(
        pipeline.of("mariadb"), role, "broker:9092", password_reference="${directory:/s:p}", truststore="/t.jks"
    )


def test_a_table_for_signals_is_heard_beside_kafka_and_its_rows_have_a_topic(pipeline: Pipeline) -> None:
    assert render(pipeline)["signal.enabled.channels"] == "kafka"
    names, own = {topic.name for topic in topics.declared(pipeline)}, pipeline.connectors_dir / "mariadb.json"
    own.write_text('{"signal.data.collection": "sales.requests"}')
    config = render(pipeline)
    assert config["signal.enabled.channels"] == "source,kafka"
    assert config["signal.data.collection"] == "sales.requests"
    assert config["table.include.list"] == r"inv\.2\.stock,sales\.orders"
    assert {topic.name for topic in topics.declared(pipeline)} - names == {"shop.mariadb.sales.requests"}
    for name in ("requests", "sales.Requests", "inv.2.requests", "elsewhere.requests", "", "sales.orders"):
        own.write_text(json.dumps({"signal.data.collection": name}))
        with pytest.raises(ContractError, match=r"mariadb_signal_table\.sql"):
            render(pipeline)


def test_the_config_says_what_the_contracts_and_the_design_say(pipeline: Pipeline) -> None:
    config = render(pipeline)
    assert config["table.include.list"] == r"inv\.2\.stock,sales\.orders"
    assert config["database.include.list"] == r"inv\.2,sales"
    assert config["topic.prefix"] == "shop.mariadb"
    assert config["bigint.unsigned.handling.mode"] == "precise"
    assert config["enable.time.adjuster"] == "false"
    assert config["exactly.once.support"] == "required"
    assert config["schema.history.internal.kafka.topic"] == "shop.mariadb.schema_history"
    assert config["database.server.id"] == render(pipeline)["database.server.id"] != "0"
    assert not [value for value in config.values() if SECRET in value]


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("", {}),
        ("disable", {"database.ssl.mode": "disable"}),
        ("require", {"database.ssl.mode": "trust"}),
        ("verify-ca", {"database.ssl.mode": "verify-ca", "database.ssl.truststore": "/t.jks"}),
        ("verify-full", {"database.ssl.mode": "verify-full", "database.ssl.truststore": "/t.jks"}),
    ],
)
def test_what_the_settings_say_of_tls_is_said_to_debezium(
    pipeline: Pipeline, said: str, expected: dict[str, str]
) -> None:
    config = render(pipeline, replace(REPLICATOR, sslmode=said, sslrootcert="/ca.pem"))
    assert {name: value for name, value in config.items() if ".ssl." in name} == expected


def test_tls_of_the_settings_reaches_both_users_of_mariadb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    said = MariadbSettings(host="maria", sslmode="verify-full", sslrootcert=Path("ca.pem"))
    found = endpoints(Settings(data_dir=tmp_path, mariadb=said))
    for one in (found.mariadb, found.mariadb_replicator):
        assert (one.sslmode, one.sslrootcert) == ("verify-full", str(tmp_path / "ca.pem"))
    plain = endpoints(Settings(data_dir=tmp_path, mariadb=MariadbSettings(host="maria"))).mariadb
    assert (plain.sslmode, plain.sslrootcert) == ("", "")
    with pytest.raises(ValidationError, match="needs sslrootcert"):
        MariadbSettings(host="maria", sslmode="verify-ca")


def test_each_system_has_a_connector_and_topics_of_its_own(pipeline: Pipeline) -> None:
    declared = {topic.name: topic for topic in topics.declared(pipeline)}
    assert len(declared) == len(topics.declared(pipeline))
    assert {"shop.transaction", "shop.message", "shop.mariadb.transaction"} <= set(declared)
    assert "shop.mariadb.message" not in declared, "MariaDB has no messages"
    history = declared["shop.mariadb.schema_history"]
    assert (history.partitions, history.config["retention.ms"], history.config["cleanup.policy"]) == (1, "-1", "delete")
    assert {debezium.connector_name(pipeline.of(system)) for system in ("postgres", "mariadb")} == {
        "shop",
        "shop.mariadb",
    }
    assert [stream.name for stream in pipeline.of("postgres").streams] == ["customers"]


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ({"enable.time.adjuster": True}, "must stay 'false'"),
        ({"table.include.list": "a.b"}, "comes from the contracts"),
        ({"database.password": "plain"}, "is written out"),
        ({"a": {"b": 1}}, "one flat JSON object"),
    ],
)
def test_an_override_that_breaks_a_guarantee_is_refused(pipeline: Pipeline, written: object, told: str) -> None:
    (pipeline.connectors_dir / "mariadb.json").write_text(json.dumps(written))
    with pytest.raises(ContractError, match=told):
        render(pipeline)


def test_other_overrides_are_taken(pipeline: Pipeline) -> None:
    (pipeline.connectors_dir / "mariadb.json").write_text(
        json.dumps({"database.server.id": 5, "connect.keep.alive": True})
    )
    assert render(pipeline)["database.server.id"] == "5"
    assert render(pipeline)["connect.keep.alive"] == "true"


def test_a_topic_that_debezium_does_not_name_so_is_refused(pipeline: Pipeline) -> None:
    renamed = replace(pipeline, streams=(replace(pipeline.streams[1], topic="orders"),))
    with pytest.raises(ContractError, match=r"shop\.mariadb\.sales\.orders"):
        render(renamed)


def test_gtids_are_compared_by_domain() -> None:
    assert sequence_numbers("0-7-15,1-7-3") == {"0": 15, "1": 3}
    assert sequence_numbers("") == {}
    assert reached({"0": 15}, {"0": 16, "1": 1})
    assert not reached({"0": 15, "1": 2}, {"0": 16, "1": 1})
    assert not reached({"2": 1}, {"0": 16})


def test_what_a_role_lacks_is_said() -> None:
    assert Access(True, frozenset({"ALL PRIVILEGES"})).missing(["sales"]) == []
    held = Access(
        True,
        frozenset({"RELOAD", "SHOW DATABASES", "BINLOG MONITOR"}),
        (("sales", frozenset({"SELECT", "LOCK TABLES"})),),
    )
    assert held.missing(["sales", "stock"]) == ["grant REPLICATION SLAVE", "grant SELECT, LOCK TABLES on stock"]
    assert len(role_statements()) == 3


CONTRACT = """apiVersion: v3.1.0
kind: DataContract
id: shop.orders
name: Orders
version: 1.0.0
status: active
customProperties:
  - {{property: headrace.source, value: {system}}}
  - {{property: {what}, value: {value}}}
schema:
  - name: orders
    properties:
      - {{name: id, logicalType: integer, physicalType: bigint, primaryKey: true, required: true}}
"""


def written(folder: Path, system: str, what: str, value: str) -> Path:
    (folder / "contracts").mkdir()
    (folder / "contracts" / "orders.yaml").write_text(CONTRACT.format(system=system, what=what, value=value))
    return folder


def test_a_contract_says_which_system_its_table_is_in(tmp_path: Path) -> None:
    pipeline = load_pipeline("shop", written(tmp_path, "mariadb", "headrace.table", "sales.orders"))
    (found,) = pipeline.streams
    assert found.table_source == TableSource("sales", "orders", system="mariadb")
    assert found.topic == "shop.mariadb.sales.orders"


@pytest.mark.parametrize(
    ("system", "what", "value", "told"),
    [
        ("oracle", "headrace.table", "sales.orders", "headrace.source"),
        ("mariadb", "headrace.filePattern", "'x'", "files come from no database"),
    ],
)
def test_a_source_that_cannot_be_is_refused(tmp_path: Path, system: str, what: str, value: str, told: str) -> None:
    with pytest.raises(ContractError, match=told):
        load_pipeline("shop", written(tmp_path, system, what, value))


@pytest.mark.parametrize(
    ("host", "sslmode", "own", "warned"),
    [
        ("maria", "", {}, True),
        ("10.0.0.7", "disable", {}, True),
        ("maria", "require", {}, False),
        ("maria", "verify-full", {}, False),
        ("maria", "", {"database.ssl.mode": "required"}, False),
        ("localhost", "", {}, False),
        ("127.0.0.1", "", {}, False),
        ("::1", "", {}, False),
    ],
)
def test_a_connection_over_a_network_that_is_not_encrypted_is_told(
    pipeline: Pipeline, host: str, sslmode: str, own: dict[str, str], warned: bool
) -> None:
    (pipeline.connectors_dir / "mariadb.json").write_text(json.dumps(own))
    found = unencrypted(render(pipeline, replace(REPLICATOR, host=host, sslmode=sslmode)))
    assert ["sslmode: verify-full" in one.fix and one.level == "warning" for one in found] == [True] * warned


def test_a_server_that_says_nothing_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mariadb, "CONNECT_S", 1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent_one = MariadbEndpoint("127.0.0.1", silent.getsockname()[1], "owner", SecretStr("its own"))
        with pytest.raises(ServiceUnavailable, match="did not accept the connection") as refused:
            mariadb.connected(silent_one).__enter__()
        with pytest.raises(ServiceUnavailable):
            mariadb.access(silent_one)
    assert "its own" not in str(refused.value)
