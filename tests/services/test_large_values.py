"""Large values that nobody touched, changed keys and TRUNCATE, through the real Debezium: the lake is the source."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg2
import pytest
from confluent_kafka import Consumer, TopicPartition
from pyspark.sql import SparkSession

from connectors.plan import apply
from connectors.postgres import marker
from connectors.postgres.plan import plan
from connectors.reads.snapshots import signal
from connectors.removal import remove
from contracts.canonical import table_fingerprint_postgres, table_fingerprint_spark
from contracts.endpoints import Endpoints
from contracts.settings import Settings
from contracts.stream import Column, Pipeline, Stream, TableSource
from streaming_jobs.ingest import ingest
from streaming_jobs.lake import create_derived
from streaming_jobs.positions import describe
from streaming_jobs.ranges import Range
from streaming_jobs.state import create_views, merge_state
from streaming_jobs.tables import create_tables
from tests.services.at_once import at_once

DDL = """
create schema {name}; set search_path = {name};
create function large() returns text language sql volatile as
  $$ select string_agg(md5(random()::text), '') from generate_series(1, 400) $$;
create table docs (id bigint primary key, n int not null, note text not null, doc jsonb, data bytea);
create table notes (id bigint primary key, doc_id bigint references docs on update cascade);
create table lists (id bigint primary key, n int, tags text[], nums int[]);
insert into docs select i, i, large(), jsonb_build_object('k', large()), decode(large(), 'hex')
  from generate_series(1, 3) i;
insert into notes select i, i from generate_series(1, 3) i;
insert into lists select i, i, array[large(), null], array(select generate_series(1, 4000))
  from generate_series(1, 2) i;
"""
COLUMNS = {
    "docs": (
        Column("id", "bigint", required=True),
        Column("n", "int", required=True),
        Column("note", "string", required=True),
        Column("doc", "struct<k:string>", json=True),
        Column("data", "binary"),
    ),
    "notes": (Column("id", "bigint", required=True), Column("doc_id", "bigint")),
    "lists": (
        Column("id", "bigint", required=True),
        Column("n", "int"),
        Column("tags", "array<string>"),
        Column("nums", "array<int>"),
    ),
}


class Library:
    """Three tables of a source, their topics and their lake."""

    def __init__(self, spark: SparkSession, endpoints: Endpoints, settings: Settings, folder: Path) -> None:
        self.name = f"lib_{uuid4().hex[:8]}"
        self.spark, self.endpoints, self.settings = spark, endpoints, settings
        self.lake_url = f"{endpoints.hdfs_url}/lake"
        streams = tuple(
            Stream(
                self.name, table, f"{self.name}.{self.name}.{table}", TableSource(self.name, table), columns, ("id",)
            )
            for table, columns in COLUMNS.items()
        )
        self.pipeline = Pipeline(self.name, streams, folder, folder, folder)

    def run(self, statements: str) -> None:
        options = f"-c search_path={self.name}"
        with closing(psycopg2.connect(**self.endpoints.source.dsn(), options=options)) as connection:
            with connection.cursor() as cursor:
                cursor.execute(statements)
            connection.commit()

    def create_tables(self) -> None:
        for create in (create_tables, create_derived, create_views):
            create(self.spark, self.pipeline, self.lake_url)

    def apply(self) -> None:
        apply(plan(self.pipeline, self.endpoints, self.settings))

    def take_in(self) -> None:
        """Read what the topics have, in one batch each."""
        ends = marker.quiesced(self.pipeline, self.endpoints, timeout_s=120)
        topics = describe(self.endpoints.kafka, [stream.topic for stream in self.pipeline.streams])

        def take(stream: Stream) -> None:
            topic = topics[stream.topic]
            whole = Range(topic.name, topic.topic_id, 0, 0, ends[topic.name, 0])
            ingest(self.spark, stream, [whole], self.lake_url, self.endpoints.kafka, "run", "batch", datetime.now(UTC))

        at_once(take, self.pipeline.streams)
        refused = self.spark.table(f"{self.name}_lake.quarantine").select("rule", "column_name", "reason").collect()
        assert refused == []

    def merge(self) -> None:
        at_once(lambda stream: merge_state(self.spark, stream, self.lake_url), self.pipeline.streams)

    def source(self) -> dict[str, tuple[int, int]]:
        found = {}
        with closing(psycopg2.connect(**self.endpoints.source.dsn())) as connection, connection.cursor() as cursor:
            for table, columns in COLUMNS.items():
                # The canonical text of an array is that of its JSON.
                read = ", ".join(
                    f'to_jsonb("{c.name}") as "{c.name}"' if "<" in c.spark_type else c.name for c in columns
                )
                rows = f"(select {read} from {self.name}.{table}) as t"
                cursor.execute(f"select {table_fingerprint_postgres(columns)} from {rows}")
                number, fingerprint = cursor.fetchone() or (0, 0)
                found[table] = (int(number), int(fingerprint))
        return found

    def lake(self) -> dict[str, tuple[int, int]]:
        def fingerprint(stream: Stream) -> tuple[str, tuple[int, int]]:
            query = f"select {table_fingerprint_spark(stream.columns)} from {stream.history}_current"
            row = self.spark.sql(query).collect()[0]
            return stream.name, (int(row["row_count"]), int(row["fingerprint"]))

        return dict(at_once(fingerprint, self.pipeline.streams))

    def committed(self, stream: Stream) -> int:
        """The end of a stream's topic as it is."""
        at = TopicPartition(stream.topic, 0)
        with closing(Consumer({"bootstrap.servers": self.endpoints.kafka, "group.id": "none"})) as reader:
            return int(reader.get_watermark_offsets(at, timeout=10)[1])

    def lacking(self, table: str) -> list[tuple[str, list[str]]]:
        rows = self.spark.table(f"{self.name}_lake.{table}").where("_unavailable is not null").orderBy("_version")
        return [(row["_op"], sorted(row["_unavailable"])) for row in rows.collect()]


@pytest.fixture
def library(spark: SparkSession, endpoints: Endpoints, deployment: Settings, tmp_path: Path) -> Iterator[Library]:
    library = Library(spark, endpoints, deployment, tmp_path)
    library.run(DDL.format(name=library.name))
    yield library
    remove(library.pipeline, endpoints, with_topics=True)
    library.run(f"drop schema {library.name} cascade")
    spark.sql(f"drop schema if exists {library.name}_lake cascade")


def test_untouched_large_values_changed_keys_and_truncates_arrive_as_they_are(library: Library) -> None:
    refused = plan(library.pipeline, library.endpoints, library.settings).refusals
    alter = f"ALTER TABLE {library.name}.lists REPLICA IDENTITY FULL;"
    assert [alter in text for text in refused] == [True, True]  # tags and nums
    library.run(alter)
    at_once(lambda step: step(), (library.create_tables, library.apply))

    library.run("insert into docs values (4, 4, large(), null, ''); update docs set n = n + 10 where id in (1, 4)")
    library.run("update docs set n = 11, doc = null where id = 1; update lists set n = n + 10")
    library.take_in()
    assert library.lake() == library.source()  # before the merge
    library.merge()
    assert library.lake() == library.source()
    assert library.lacking("docs") == [("u", ["data", "doc", "note"]), ("u", ["note"]), ("u", ["data", "note"])]

    # Changed keys, of which one is given to another row at once; notes follow.
    library.run("update docs set id = 20, n = 0 where id = 2; insert into docs values (2, 2, large(), null, null)")
    library.run("update docs set id = 30, note = large() where id = 3; update docs set id = 300, n = 3 where id = 30")
    library.take_in()
    library.merge()
    assert library.lake() == library.source()
    moved = [("c", ["data", "doc", "note"]), ("c", ["data", "doc"]), ("c", ["data", "doc", "note"])]
    assert library.lacking("docs")[3:] == moved

    library.run("truncate lists; insert into lists values (9, 9, '{a}', '{1}'); update docs set n = 12 where id = 1")
    library.take_in()
    assert library.lake() == library.source()
    library.merge()
    library.run("truncate docs cascade; insert into docs values (1, 1, large(), null, null); update docs set n = 2")
    library.take_in()
    before_the_merge, source = library.lake(), library.source()
    assert before_the_merge == source
    assert {table: rows for table, (rows, _) in source.items()} == {"docs": 1, "notes": 0, "lists": 1}
    library.merge()
    assert library.lake() == source


@pytest.mark.timeout(600)
def test_a_table_that_is_read_again_while_it_changes_keeps_its_large_values(
    library: Library, wait_until: Any, tmp_path: Path
) -> None:
    """An update that leaves a large value as it was, sent while the table is read, holds a marker. Next to an older row
    of the read it would have nothing to stand for: the read stops the stream instead, so all of them come after it."""
    # Slow enough to be met in the middle.
    settings = {"max.batch.size": "10", "max.queue.size": "20", "snapshot.fetch.size": "10"}
    (tmp_path / "postgres.json").write_text(json.dumps(settings))
    library.run(f"alter table {library.name}.lists replica identity full")
    library.run(
        "insert into docs select i, i, large(), jsonb_build_object('k', large()), decode(large(), 'hex') "
        "from generate_series(4, 1500) i"
    )
    at_once(lambda step: step(), (library.create_tables, library.apply))
    marker.quiesced(library.pipeline, library.endpoints, timeout_s=120)

    docs = library.pipeline.stream("docs")
    read_before = library.committed(docs)
    signal(library.endpoints.kafka, library.pipeline, [docs.table_source.qualified])
    wait_until(lambda: library.committed(docs) > read_before, 90, "the first rows of the second read")
    # Newer than the read's snapshot, whose rows are still being sent.
    library.run("update docs set n = -n where id % 3 = 0")
    library.run("update docs set id = id + 10000, n = 0 where id % 7 = 1; delete from docs where id % 10 = 5")
    library.run("update docs set note = large(), n = 1 where id % 11 = 0; update docs set n = 2 where id % 22 = 0")
    within = library.committed(docs) - read_before
    assert within < 1500, "the race did not happen: the read was done before the changes were made"
    library.take_in()
    assert [op for op, _ in library.lacking("docs")].count("u") > 100
    library.merge()
    assert library.lake() == library.source()

    # And a TRUNCATE in the middle of one: what the read sends of the table as it was before is gone with it.
    signal(library.endpoints.kafka, library.pipeline, [docs.table_source.qualified])
    read_before = library.committed(docs)
    wait_until(lambda: library.committed(docs) > read_before, 90, "the first rows of the third read")
    truncating = threading.Thread(
        target=library.run,
        args=("truncate docs cascade; insert into docs values (1, 1, large(), null, ''); update docs set n = 5",),
    )
    truncating.start()  # it waits for the reader's lock
    truncating.join(timeout=120)
    assert not truncating.is_alive()
    library.take_in()
    library.merge()
    source = library.source()
    assert library.lake() == source
    assert source["docs"][0] == 1
