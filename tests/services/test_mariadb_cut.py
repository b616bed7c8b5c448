"""Transactions of a real MariaDB over three tables, of which the lake has read the one further than the other: what a
reader sees is always what the server held after some transaction, and never half of one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pymysql
import pytest
from kafka import TopicPartition
from pydantic import SecretStr
from pyspark.sql import SparkSession

from connectors import topics
from connectors.broker import Offsets
from connectors.mariadb import position as mariadb_position
from connectors.plan import apply
from connectors.removal import remove
from contracts.endpoints import Endpoints, MariadbEndpoint
from contracts.settings import Settings
from contracts.stream import Column, Pipeline, Stream
from headrace.app import App
from headrace.cut_overview import nothing_is_held_back
from streaming_jobs.cut import move_cut
from streaming_jobs.gaps import stable_ends
from streaming_jobs.ingest import ingest
from streaming_jobs.lake import create_derived
from streaming_jobs.positions import describe
from streaming_jobs.ranges import Range
from streaming_jobs.state import merge_state
from streaming_jobs.tables import create_tables
from tests.conftest import WaitUntil
from tests.services.at_once import at_once
from tests.services.test_mariadb import CONFIGURED, Shop, stream_of

COLUMNS = (Column("id", "bigint", required=True), Column("amount", "bigint"))
ACCOUNTS = ("checking", "savings")
TABLES = (*ACCOUNTS, "notes")
Held = dict[str, list[tuple[int, int]]]


@dataclass(frozen=True)
class Bank(Shop):
    """Two tables of accounts, and one of notes that is emptied now and then."""

    taken: dict[str, int] = field(default_factory=dict)

    def connection(self) -> pymysql.Connection[Any]:
        at = self.endpoints.mariadb
        assert at.password
        password = at.password.get_secret_value()
        return pymysql.connect(host=at.host, port=at.port, user=at.user, password=password, database=self.pipeline.name)

    def move(self, first: int, last: int) -> None:
        """Transactions that change one table, note it, and change the other; some of them never were."""
        with closing(self.connection()) as connection, connection.cursor() as cursor:
            for move in range(first, last):
                source, target = ACCOUNTS if move % 2 else ACCOUNTS[::-1]
                cursor.execute(f"UPDATE {source} SET amount = amount - {move} WHERE id = {move % 5 + 1}")
                cursor.execute(f"INSERT INTO notes VALUES ({2 * move}, -{move})")
                if move % 4 == 1:
                    cursor.execute("SAVEPOINT before_a_mistake")
                    cursor.execute(f"DELETE FROM {target} WHERE id > 2")
                    cursor.execute("ROLLBACK TO before_a_mistake")
                cursor.execute(f"UPDATE {target} SET amount = amount + {move} WHERE id = {5 - move % 5}")
                cursor.execute(f"INSERT INTO notes VALUES ({2 * move + 1}, {move})")
                if move % 4 == 2:
                    connection.rollback()
                else:
                    connection.commit()

    def create_tables(self) -> None:
        create_tables(self.spark, self.pipeline, self.lake_url)
        create_derived(self.spark, self.pipeline, self.lake_url)
        self.spark.sql(f"create schema {self.pipeline.name}")

    def source(self) -> Held:
        """What the server holds."""
        with closing(self.connection()) as connection:
            return held(connection)

    def seen(self) -> Held:
        """What a reader sees, in one query over all tables."""
        lake = f"{self.pipeline.name}_lake"
        each = " union all ".join(f"select '{table}' as t, id, amount from {lake}.{table}_current" for table in TABLES)
        found: Held = {table: [] for table in TABLES}
        for row in self.spark.sql(f"{each} order by t, id").collect():
            found[row["t"]].append((row["id"], row["amount"]))
        return found

    def arrived(self) -> int:
        """The sum of both tables of accounts as a reader would see it who takes what has arrived."""
        lake = f"{self.pipeline.name}_lake"
        newest = "select id, max_by(amount, _version) as amount from {t} group by id"
        each = [f"(select sum(amount) from ({newest.format(t=f'{lake}.{table}')}))" for table in ACCOUNTS]
        return int(self.spark.sql(f"select {' + '.join(each)} as n").collect()[0]["n"])

    def ends(self) -> Offsets:
        """How far each table's topic is written, once all that was committed is."""
        return mariadb_position.quiesced(self.pipeline.of("mariadb"), self.endpoints)

    def take_up_to(self, ends: Mapping[str, int]) -> None:
        """The tables' topics into the lake, each up to its own offset, and a round as `headrace.merging` does it."""
        topics = describe(self.endpoints.kafka, [stream.topic for stream in self.pipeline.streams])

        def take(stream: Stream) -> None:
            topic = topics[stream.topic]
            whole = Range(topic.name, topic.topic_id, 0, 0, ends[stream.name])
            ingest(self.spark, stream, [whole], self.lake_url, self.endpoints.kafka, "run", "batch", datetime.now(UTC))

        at_once(take, [one for one in self.pipeline.streams if self.taken.get(one.name) != ends[one.name]])
        self.taken.update(ends)
        self.round()

    def round(self) -> None:
        move_cut(self.spark, self.pipeline, self.lake_url, self.endpoints.kafka, datetime.now(UTC))
        at_once(lambda stream: merge_state(self.spark, stream, self.lake_url), self.pipeline.streams)

    def delete_what_was_told(self) -> None:
        """As if it were older than Kafka keeps it."""
        topic = self.pipeline.of("mariadb").transaction_topic
        ((_, (_, end)),) = stable_ends(self.endpoints.kafka, [topic]).items()
        with topics.admin(self.endpoints.kafka) as client:
            client.delete_records({TopicPartition(topic, 0): end})

    def held_back(self) -> bool:
        app = App(self.settings)
        app.__dict__ |= {"pipeline": self.pipeline, "endpoints": self.endpoints}
        return not all(finding.equal for finding in nothing_is_held_back(app))

    def by_stream(self, ends: Offsets) -> dict[str, int]:
        return {stream.name: ends[stream.topic, 0] for stream in self.pipeline.streams}


def held(connection: pymysql.Connection[Any]) -> Held:
    """What the server holds, as this connection's transaction sees it."""
    found: Held = {}
    with connection.cursor() as cursor:
        for table in TABLES:
            cursor.execute(f"SELECT id, amount FROM {table} ORDER BY id")
            found[table] = list(cursor.fetchall())
    return found


@pytest.fixture
def bank(
    spark: SparkSession, endpoints: Endpoints, deployment: Settings, mariadb_owner: MariadbEndpoint, tmp_path: Path
) -> Iterator[Bank]:
    name = f"cut_{uuid4().hex[:8]}"
    role = replace(mariadb_owner, user=f"reader_{name}", password=SecretStr("another's"))
    streams = tuple(replace(stream_of(name, table, COLUMNS, "id"), consistent_cut=True) for table in TABLES)
    reached = replace(endpoints, mariadb=mariadb_owner, mariadb_replicator=role)
    bank = Bank(spark, Pipeline(name, streams, tmp_path, tmp_path, tmp_path), reached, deployment)
    bank.run(f"{CONFIGURED}\nCREATE DATABASE {{db}}")
    for table in TABLES:
        bank.run(f"CREATE TABLE {{db}}.{table} (id bigint PRIMARY KEY, amount bigint)")
    for table in ACCOUNTS:
        bank.run(f"INSERT INTO {{db}}.{table} VALUES (1, 100), (2, 100), (3, 100), (4, 100), (5, 100)")
    at_once(lambda step: step(), (bank.create_tables, lambda: apply(bank.plan())))
    yield bank
    remove(bank.pipeline, reached, with_topics=True)
    bank.run(f"DROP DATABASE {{db}};\nDROP USER IF EXISTS {role.user}@'%'")
    for schema in (name, f"{name}_lake"):
        spark.sql(f"drop schema {schema} cascade")


@pytest.mark.timeout(600)
def test_no_reader_sees_half_a_transaction_of_mariadb(bank: Bank, wait_until: WaitUntil) -> None:
    # The first read has no transactions.
    begun = bank.by_stream(bank.ends())
    bank.take_up_to(begun)
    first = bank.seen()
    assert first == bank.source()

    # One table's topic is read to its end, another's half, the third's not at all, while a transaction is open.
    bank.move(1, 8)
    bank.run("TRUNCATE TABLE {db}.notes")
    bank.move(8, 12)
    with closing(bank.connection()) as connection, connection.cursor() as cursor:
        cursor.execute("UPDATE checking SET amount = 0")
        then = bank.source()
        ends = bank.by_stream(bank.ends())
        half = begun | {"checking": ends["checking"], "savings": (begun["savings"] + ends["savings"]) // 2}
        bank.take_up_to(half)
        assert bank.arrived() != 1000, "the lake does not have half a transaction"
        assert bank.seen() == first
        assert bank.held_back()
        connection.rollback()

    # The cut that waited is reached, though the source and the lake's part of it are further.
    bank.move(12, 16)
    bank.run("TRUNCATE TABLE {db}.notes")
    bank.move(16, 18)
    later = bank.by_stream(bank.ends())
    bank.take_up_to(ends | {"checking": later["checking"]})
    assert bank.arrived() != 1000
    assert bank.seen() == then
    bank.take_up_to(later)
    whole = bank.seen()
    assert whole == bank.source()
    assert not bank.held_back()

    # What Kafka has deleted before a round read it holds back no half of it.
    bank.move(18, 20)
    bank.run("UPDATE {db}.checking SET amount = amount + 1 WHERE id = 1")
    read = bank.by_stream(bank.ends())
    bank.delete_what_was_told()
    bank.take_up_to(read)
    assert bank.seen() == whole, "whether the last of them has ended nobody knows"
    bank.run("UPDATE {db}.checking SET amount = amount + 1 WHERE id = 1")
    bank.take_up_to(bank.by_stream(bank.ends()))
    assert bank.seen() == bank.source()

    # A transaction that Debezium sends in several pieces, looked at again and again.
    with closing(bank.connection()) as connection, connection.cursor() as cursor:
        cursor.execute("INSERT INTO checking SELECT seq, 1 FROM seq_1001_to_4000")
        cursor.execute("INSERT INTO savings SELECT seq, -1 FROM seq_1001_to_4000")
        cursor.execute("DELETE FROM notes")
        before, after = bank.source(), held(connection)
        connection.commit()

    def shown() -> bool:
        written = stable_ends(bank.endpoints.kafka, [stream.topic for stream in bank.pipeline.streams])
        by_topic = {place.topic: end for place, (_, end) in written.items()}
        bank.take_up_to({stream.name: by_topic[stream.topic] for stream in bank.pipeline.streams})
        seen = bank.seen()
        assert seen in (before, after)
        return seen == after

    wait_until(shown, 180, "the large transaction, whole")
    emptied = bank.spark.sql(f"select count(*) as n from {bank.pipeline.name}_lake.notes where _op = 't'").collect()
    assert emptied[0]["n"] == 2
