"""A MariaDB server changes its tables while data flow, through the real Debezium: what becomes of every row is what the
contract's policy says, none is lost, and both the plan and the status announce it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from uuid import uuid4

import pytest
from kafka import KafkaConsumer, TopicPartition
from pydantic import SecretStr
from pyspark.sql import SparkSession

from connectors.mariadb import ddl as mariadb_ddl
from connectors.mariadb import plan as mariadb_plan
from connectors.plan import Plan, apply
from connectors.postgres.plan import plan
from connectors.removal import remove
from contracts.endpoints import Endpoints, MariadbEndpoint
from contracts.settings import Settings
from contracts.stream import Column, Pipeline, Stream
from headrace.app import App
from headrace.evolution import definitions, source_changes, table_changes
from streaming_jobs.counts import Counts
from streaming_jobs.ingest import ingest
from streaming_jobs.lake import create_derived
from streaming_jobs.ledger import balance, refresh_ledger
from streaming_jobs.positions import describe
from streaming_jobs.ranges import Range
from streaming_jobs.state import create_views, merge_state
from streaming_jobs.stopping import FieldsChanged
from streaming_jobs.tables import create_tables
from tests.services.at_once import at_once
from tests.services.test_mariadb import CONFIGURED, Shop, stream_of
from tests.services.test_schema_changes import MEANWHILE, POLICIES

COLUMNS = (
    Column("id", "bigint", required=True),
    Column("price", "decimal(5,2)"),
    Column("note", "string"),
    Column("size", "int"),
)
TABLE = (
    "CREATE TABLE {{db}}.{0} "
    "(id bigint PRIMARY KEY, price decimal(5,2), note text NOT NULL DEFAULT 'n', size int DEFAULT 9)"
)
# After each change rows come at once: nobody has reacted yet. MariaDB commits each statement.
CHANGES = """INSERT INTO {t} VALUES (1, 1.00, 'a', 1), (2, 2.00, 'b', NULL);
ALTER TABLE {t} DROP COLUMN size;
INSERT INTO {t} VALUES (3, 3.00, 'c');
ALTER TABLE {t} CHANGE COLUMN note remark text NOT NULL;
INSERT INTO {t} VALUES (4, 4.00, 'd');
ALTER TABLE {t} ADD COLUMN discount decimal(5,3) DEFAULT 0.5 AFTER id;
INSERT INTO {t} VALUES (5, 1.250, 5.00, 'e');
ALTER TABLE {t} MODIFY COLUMN price decimal(12,2);
INSERT INTO {t} VALUES (6, NULL, 6.00, 'f'), (7, NULL, 12345678.90, 'g');
UPDATE {t} SET remark = 'A' WHERE id = 1;
DELETE FROM {t} WHERE id = 2;
"""
ARRIVED = {
    1: ("1.00", None, {"remark": "A", "discount": "0.500"}),
    3: ("3.00", "c", None),
    4: ("4.00", None, {"remark": "d"}),
    5: ("5.00", None, {"remark": "e", "discount": "1.250"}),
    6: ("6.00", None, {"remark": "f", "discount": None}),
}
LARGE = {7: ("12345678.90", None, {"remark": "g", "discount": None})}


class Changing(Shop):
    """One table per policy."""

    def looked(self) -> Plan:
        """The plan, with its refusals."""
        found = plan(self.pipeline, self.endpoints, self.settings)
        mariadb_plan.add(found, self.pipeline, self.endpoints, self.settings)
        return found

    def declared(self, stream: Stream) -> Stream:
        """The stream, with what its tables lack for it."""
        pipeline = replace(self.pipeline, streams=(stream,))
        for create in (create_tables, create_derived, create_views):
            create(self.spark, pipeline, self.lake_url)
        return stream

    def ingest(self, stream: Stream, end: int, kind: Any = "batch") -> Counts:
        topic = describe(self.endpoints.kafka, [stream.topic])[stream.topic]
        place = (self.lake_url, self.endpoints.kafka, "run", kind, datetime.now(UTC))
        whole, ask = Range(topic.name, topic.topic_id, 0, 0, end), partial(table_changes, self.endpoints)
        return ingest(self.spark, stream, [whole], *place, table_changes=ask).counts

    def current(self, stream: Stream) -> dict[int, tuple[Any, ...]]:
        merge_state(self.spark, stream, self.lake_url)
        columns = ("id", "cast(price as string)", "note", "_rescued" if stream.rescues else "null")
        rows = self.spark.table(f"{stream.history}_current").selectExpr(*columns).collect()
        return {row[0]: tuple(row[1:]) for row in rows}


@pytest.fixture
def shop(
    spark: SparkSession, endpoints: Endpoints, deployment: Settings, mariadb_owner: MariadbEndpoint, tmp_path: Path
) -> Iterator[Changing]:
    name = f"maria_{uuid4().hex[:8]}"
    role = replace(mariadb_owner, user=f"reader_{name}", password=SecretStr("another's"))
    streams = tuple(
        replace(stream_of(name, f"to_{policy}", COLUMNS, "id"), evolution=policy, file=Path(f"{policy}.yaml"))
        for policy in POLICIES
    )
    reached = replace(endpoints, mariadb=mariadb_owner, mariadb_replicator=role)
    shop = Changing(spark, Pipeline(name, streams, tmp_path, tmp_path, tmp_path), reached, deployment)
    tables = ";\n".join(TABLE.format(f"to_{policy}") for policy in POLICIES)
    shop.run(f"{CONFIGURED}\nCREATE DATABASE {{db}} CHARACTER SET utf8mb4;\n{tables}")
    yield shop
    remove(shop.pipeline, reached, with_topics=True)
    shop.run(f"DROP DATABASE {{db}};\nDROP DATABASE IF EXISTS {{db}}_other;\nDROP USER IF EXISTS {role.user}@'%'")
    spark.sql(f"drop schema if exists {name}_lake cascade")


def told_between_the_rows(shop: Changing, stream: Stream, end: int) -> None:
    """By their places in the binlog."""
    place, rows = TopicPartition(stream.topic, 0), list[tuple[tuple[str, int], str]]()
    with closing(KafkaConsumer(bootstrap_servers=shop.endpoints.kafka, isolation_level="read_committed")) as consumer:
        consumer.assign([place])
        consumer.seek_to_beginning(place)
        while consumer.position(place) < end:
            for records in consumer.poll(timeout_ms=500).values():
                for change in (json.loads(record.value) for record in records):
                    at, row = change["source"], change["after"] or change["before"]
                    rows.append(((at["file"], at["pos"]), f"{change['op']} {row['id']}"))
    told = mariadb_ddl.told(shop.endpoints.kafka, shop.pipeline.of("mariadb"))
    commands = [
        ((one.file, one.position), one.command) for one in told if one.qualified == stream.table_source.qualified
    ]
    altered = "ALTER TABLE"
    assert [what for _, what in sorted(rows + commands)] == (
        ["c 1", "c 2", altered, "c 3", altered, "c 4", altered, "c 5", altered, "c 6", "c 7", "u 1", "d 2"]
    )
    assert [place for place, _ in commands] == sorted(place for place, _ in commands)


def last_told(app: App) -> dict[str, tuple[str, str | None]]:
    """By table, as the status shows it."""
    return {row["table"].split(".")[1]: (row["command"], row["columns"]) for row in definitions(app)}


def test_every_row_around_a_schema_change_is_where_the_policy_puts_it(shop: Changing) -> None:
    app = cast(App, SimpleNamespace(pipeline=shop.pipeline, endpoints=shop.endpoints))
    evolve, quarantine, stop = shop.pipeline.streams

    def create() -> None:
        create_tables(shop.spark, shop.pipeline, shop.lake_url)
        create_derived(shop.spark, shop.pipeline, shop.lake_url)

    at_once(lambda step: step(), (lambda: apply(shop.plan()), create))
    shop.through()  # the first read is over
    assert source_changes(app) == []
    assert definitions(app) == [], "how the tables were at the first read is no DDL"
    for policy in POLICIES:
        shop.run(CHANGES.format(t=f"{shop.pipeline.name}.to_{policy}"))

    # The plan and the status announce it, by policy.
    planned, announced = shop.looked(), source_changes(app)
    assert sorted(announced) == sorted(planned.refusals + planned.warnings)
    for policy in POLICIES:
        table, (gone, came) = f"{shop.pipeline.name}.to_{policy}", MEANWHILE[policy]
        other = f"the table has a column that stream to_{policy} does not declare"
        expected = [
            f"{table}.price: decimal(5,2) cannot hold every value (declared decimal(5,2), found decimal(12,2))",
            f"{table}.note: the column is not in the table: {gone} (declared string, found nothing)",
            f"{table}.size: the column is not in the table: {gone} (declared int, found nothing)",
            f"{table}.discount: {other}: {came} (declared nothing, found decimal(5,3))",
            f"{table}.remark: {other}: {came} (declared nothing, found text)",
        ]
        assert [text.splitlines()[0] for text in announced if text.startswith(f"{table}.")] == expected
        refused = {text.splitlines()[0] for text in planned.refusals} & set(expected)
        assert refused == set(expected[: 1 if policy == "evolve" else 3])

    ends = {stream.topic: end for stream in shop.pipeline.streams for end in [shop.through()[stream.topic, 0]]}
    assert shop.ingest(evolve, ends[evolve.topic]) == Counts(accepted=8, quarantined=1)
    assert shop.current(evolve) == ARRIVED

    assert shop.ingest(quarantine, ends[quarantine.topic]) == Counts(accepted=2, quarantined=7)
    assert shop.current(quarantine).keys() == {1, 2}
    # NULL in a column that has a default is NULL.
    sizes = shop.spark.table(quarantine.history).select("id", "size").collect()
    assert {row["id"]: row["size"] for row in sizes} == {1: 1, 2: None}
    columns = (COLUMNS[0], replace(COLUMNS[1], spark_type="decimal(12,2)"), *COLUMNS[2:])
    wider = shop.declared(replace(quarantine, evolution="evolve", columns=columns))
    assert shop.ingest(wider, ends[wider.topic], "replay") == Counts(accepted=7, duplicate=2)
    assert shop.current(wider) == {**ARRIVED, **LARGE}

    with pytest.raises(FieldsChanged, match=r"(?s)missing: size.*stop\.yaml"):
        shop.ingest(stop, ends[stop.topic])
    assert shop.current(stop).keys() == {1, 2}
    mended = shop.declared(replace(wider, name=stop.name, topic=stop.topic, source=stop.source))
    assert shop.ingest(mended, ends[stop.topic]) == Counts(accepted=7)
    assert shop.current(mended) == {**ARRIVED, **LARGE}
    refresh_ledger(shop.spark, shop.pipeline, shop.lake_url)
    assert [one.findings for one in balance(shop.spark, shop.pipeline)] == [()] * 3
    told_between_the_rows(shop, evolve, ends[evolve.topic])

    # A dropped table is announced, and the others go on.
    shop.run("DROP TABLE {db}.to_stop;\nINSERT INTO {db}.to_evolve VALUES (10, NULL, 10.00, 'j')")
    gone_table = f"{shop.pipeline.name}.to_stop: the table does not exist"
    shop.through()
    assert last_told(app)["to_stop"] == ("DROP TABLE", None)
    for texts in (shop.looked().refusals, source_changes(app)):
        assert [text.split(" (")[0] for text in texts if text.startswith(f"{shop.pipeline.name}.to_stop")] == [
            gone_table
        ]
    assert shop.ingest(evolve, shop.through()[evolve.topic, 0]) == Counts(accepted=1)
    assert shop.current(mended).keys() == {*ARRIVED, 7}

    # Once it is there again its rows come by themselves.
    shop.run(f"{TABLE.format('to_stop')};\nINSERT INTO {{db}}.to_stop VALUES (20, 1.00, 'new', NULL)")
    assert not [text for text in source_changes(app) if text.startswith(f"{shop.pipeline.name}.to_stop")]
    assert shop.looked().changes == []
    assert shop.ingest(mended, shop.through()[stop.topic, 0]) == Counts(accepted=1)
    assert shop.current(mended) == {**ARRIVED, **LARGE, 20: ("1.00", "new", None)}

    # An odd value of a table that is as declared stops nothing: no text in the lake holds U+0000.
    stopping = replace(mended, evolution="stop", file=Path("stop.yaml"))
    shop.run("INSERT INTO {db}.to_stop VALUES (30, 1.00, CONCAT('odd', CHAR(0)), 1), (31, 1.00, 'even', 1)")
    assert shop.ingest(stopping, shop.through()[stop.topic, 0]) == Counts(accepted=1, quarantined=1)

    # Another type stops a stream in front of the first value that does not fit.
    shop.run(
        "ALTER TABLE {db}.to_stop MODIFY COLUMN size bigint;\n"
        "INSERT INTO {db}.to_stop VALUES (21, 1.00, 'fits', 5), (22, 1.00, 'large', 5000000000), (23, 1.00, 'after', 7)"
    )
    end = shop.through()[stop.topic, 0]
    wider = r"to_stop\.size: int cannot hold every value \(declared int, found bigint.*physicalType: bigint"
    with pytest.raises(FieldsChanged, match=f"(?s){wider}"):
        shop.ingest(stopping, end)
    assert shop.current(mended).keys() == {*ARRIVED, 7, 20, 21, 31}
    assert last_told(app)["to_stop"] == ("ALTER TABLE", "id bigint, price decimal(5,2), note text, size bigint")
    following = replace(stopping, columns=(*mended.columns[:3], replace(mended.columns[3], spark_type="bigint")))
    assert shop.ingest(shop.declared(following), end) == Counts(accepted=2)
    refresh_ledger(shop.spark, shop.pipeline, shop.lake_url)
    assert [one.findings for one in balance(shop.spark, shop.pipeline)] == [()] * 3

    # What has another name is told under that alone.
    shop.run("RENAME TABLE {db}.to_quarantine TO {db}.renamed")
    shop.run("CREATE DATABASE {db}_other;\nRENAME TABLE {db}.to_stop TO {db}_other.taken_away")
    shop.through()
    altered = "id bigint, discount decimal(5,3), price decimal(12,2), remark text"
    assert last_told(app) == {
        "renamed": ("ALTER TABLE", altered),
        "taken_away": ("ALTER TABLE", "id bigint, price decimal(5,2), note text, size bigint"),
        "to_evolve": ("ALTER TABLE", altered),
    }
