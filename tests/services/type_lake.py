"""The wide tables of every type: made, read, changed, and in the lake by the contracts that `init` writes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg2
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition
from psycopg2.extensions import connection as PostgresConnection
from pyspark.sql import Row, SparkSession

from connectors.plan import apply
from connectors.postgres import marker, source
from connectors.postgres.catalog import SourceColumn, read_tables
from connectors.postgres.plan import plan
from connectors.removal import remove
from contracts.canonical import content_text_postgres, content_text_spark
from contracts.endpoints import Endpoints, PostgresEndpoint
from contracts.loader import load_pipeline
from contracts.settings import Settings
from contracts.spark_types import parse_type
from contracts.stream import Column, Pipeline, Stream
from headrace.drafts.draft import write_contract
from headrace.drafts.tables import draft_tables
from streaming_jobs.ingest import ingest
from streaming_jobs.lake import create_derived
from streaming_jobs.positions import describe
from streaming_jobs.ranges import Range
from streaming_jobs.state import merge_state
from streaming_jobs.tables import create_tables
from tests.services.type_cases import Cases
from warehouse_sql.copy_text import CopyReader
from warehouse_sql.hive import query

TIMES = "'timestampFormat', \"yyyy-MM-dd'T'HH:mm:ss.SSSSSS'Z'\", 'timestampNTZFormat', \"yyyy-MM-dd'T'HH:mm:ss.SSSSSS\""
# How to make the value again of what the lake holds, where a cast does not.
BACK = {
    "hstore": "select coalesce(hstore(array_agg(key), array_agg(value)), '')::text from json_each_text(%s::json)",
}
WAREHOUSE = {"string": "text", "timestamp": "timestamptz", "timestamp_ntz": "timestamp", "tinyint": "smallint"}
WAREHOUSE |= {"double": "float8", "float": "float4", "binary": "bytea"}
CHANGED = 1000
"""What the first read sent as row n comes as row n + CHANGED in a change."""


@dataclass(frozen=True)
class Value:
    """One value: its row, its column, how Postgres prints it."""

    table: str
    id: int
    column: str
    type: str
    text: str


@dataclass
class Seen:
    """What became of one row."""

    sent: str = ""
    lake: str = ""
    held: bool = False
    refused: str = ""
    equal: bool = False
    back: bool = True


@dataclass
class Types:
    """The wide tables, their contracts and their lake."""

    spark: SparkSession
    endpoints: Endpoints
    settings: Settings
    folder: Path
    cases: Cases
    administrator: PostgresEndpoint
    name: str = field(default_factory=lambda: f"types_{uuid4().hex[:8]}")
    columns: dict[tuple[str, str], SourceColumn] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)

    @cached_property
    def pipeline(self) -> Pipeline:
        return load_pipeline(self.name, self.folder)

    @property
    def lake_url(self) -> str:
        return f"{self.endpoints.hdfs_url}/test_lakes/{self.name}"

    @cached_property
    def connection(self) -> PostgresConnection:
        """One for all questions: there are hundreds."""
        connection = psycopg2.connect(**self.endpoints.source.dsn())
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(f"set search_path = {self.name}, public; set time zone 'UTC'")
        return connection

    def ask(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        with self.connection.cursor() as cursor:
            cursor.execute(statement, values or None)
            return cursor.fetchall() if cursor.description else []

    def make(self) -> None:
        """Tables, first rows, contracts, connector, then the changes, all of it in the lake."""
        with source.connected(self.administrator) as connection, connection.cursor() as cursor:
            for extension in self.cases.extensions:
                cursor.execute(f"create extension if not exists {extension}")
        self.ask(f"create schema {self.name}")
        if self.cases.ddl:
            self.ask(self.cases.ddl)
        for table, types in self.cases.tables.items():
            carried = [kind for kind, values in types.items() if values]
            listed = ", ".join(f"{column_of(kind)} {kind}" for kind in carried)
            self.ask(f"create table {table} (id bigint primary key, {listed})")
            self.ask(f"alter table {table} replica identity full")
            for number, kind in enumerate(kind for kind, values in types.items() if not values):
                self.ask(f"create table {table}_{number} (id bigint primary key, {column_of(kind)} {kind})")
        self.fill(0)
        with source.connected(self.endpoints.source) as connection:
            tables = read_tables(connection, schema=self.name)
        self.columns = {(table.name, one.name): one for table in tables for one in table.columns}
        drafts, refused = draft_tables(tables, self.name)
        self.refused = {one.table.partition(".")[2]: one.why for one in refused}
        for draft in drafts.values():
            write_contract(draft, self.folder / "contracts" / f"{draft.stream}.yaml", self.name)
        planned = plan(self.pipeline, self.endpoints, self.settings)
        assert planned.refusals == []
        apply(planned)
        self.fill(CHANGED)
        create_tables(self.spark, self.pipeline, self.lake_url)
        create_derived(self.spark, self.pipeline, self.lake_url)
        ends = marker.quiesced(self.pipeline, self.endpoints, timeout_s=120)
        topics = describe(self.endpoints.kafka, [stream.topic for stream in self.pipeline.streams])
        for stream in self.pipeline.streams:
            whole = Range(stream.topic, topics[stream.topic].topic_id, 0, 0, ends[stream.topic, 0])
            now = datetime.now(UTC)
            ingest(self.spark, stream, [whole], self.lake_url, self.endpoints.kafka, "run", "batch", now)
            merge_state(self.spark, stream, self.lake_url)

    def fill(self, base: int) -> None:
        for table, types in self.cases.tables.items():
            number = base
            for kind, values in types.items():
                for value in values:
                    number += 1
                    self.ask(f"insert into {table} (id, {column_of(kind)}) values (%s, %s::{kind})", number, value)

    def drop(self) -> None:
        remove(self.pipeline, self.endpoints, with_topics=True)
        self.ask(f"drop schema {self.name} cascade")
        self.connection.close()
        self.spark.sql(f"drop schema if exists {self.name}_lake cascade")

    @cached_property
    def values(self) -> list[Value]:
        """Every value as the source prints it, those of the first read."""
        found = []
        for table, types in self.cases.tables.items():
            number = 0
            for kind, values in types.items():
                for _ in values:
                    number += 1
                    ((text,),) = self.ask(f"select {column_of(kind)}::text from {table} where id = %s", number)
                    found.append(Value(table, number, column_of(kind), kind, text))
        return found

    @cached_property
    def seen(self) -> dict[tuple[str, int], Seen]:
        """By table and row: first reads and changes."""
        found = {(v.table, v.id + base): Seen() for v in self.values for base in (0, CHANGED)}
        for stream in self.pipeline.streams:
            for record in self.records(stream):
                after = json.loads(record)["after"]
                filled = [value for name, value in after.items() if name != "id" and value is not None]
                found[stream.name, after["id"]].sent = (
                    json.dumps(filled[0], ensure_ascii=False) if filled else "nothing"
                )
            there = dict(self.ask(f"select id, {content_text_postgres(stream.columns)} from {stream.name}"))
            for row in self.current[stream.name]:
                one = found[stream.name, row["id"]]
                one.equal = row["content"] == there[row["id"]]
                held = [row[c.name] for c in stream.columns[1:] if row[c.name] is not None]
                one.held, one.lake = bool(held), held[0] if held else "NULL"
        rows = self.spark.table(f"{self.name}_lake.quarantine").collect()
        for row in rows:
            after = json.loads(row["raw"])["after"]
            found[row["stream"], after["id"]].refused = row["reason"]
        for value in self.values:
            for base in (0, CHANGED):
                one = found[value.table, value.id + base]
                if (
                    one.held
                    and "[" not in value.type
                    and value.type not in ("bit(1)", "words", "vector(3)", "halfvec(3)")
                ):
                    ((back,),) = self.ask(BACK.get(value.type, f"select (%s::{value.type})::text"), one.lake)
                    one.back = back == value.text
        return found

    @cached_property
    def current(self) -> dict[str, list[Row]]:
        """The current rows: `id`, each value as text, the texts that `verify` would hash, and the row as JSON."""
        found = {}
        for stream in self.pipeline.streams:
            texts = [f"{_shown(c)} as `{c.name}`" for c in stream.columns[1:]]
            contents = {"content": stream.columns, "flat": flat(stream)}
            spelled = [f"{content_text_spark(columns)} as {name}" for name, columns in contents.items()]
            frame = self.spark.table(f"{stream.history}_current")
            found[stream.name] = frame.selectExpr("id", *texts, *spelled, f"{as_json(stream)} as json").collect()
        return found

    @cached_property
    def over_hive(self) -> dict[str, dict[int, str]]:
        """The current rows by id as JSON, read over HiveServer2."""
        found = {}
        for stream in self.pipeline.streams:
            _, rows = query(self.endpoints, f"select id, {as_json(stream)} from {stream.history}_current")
            found[stream.name] = dict(map(tuple, rows))
        return found

    @cached_property
    def in_warehouse(self) -> dict[str, dict[int, str]]:
        """The texts of the current rows by id after a merge's COPY into Postgres; without nested columns."""
        found = {}
        for stream in self.pipeline.streams:
            plain = flat(stream)
            spelled = {c.name: parse_type(c.spark_type) for c in plain}
            listed = ", ".join(f"{n} {WAREHOUSE.get(t.name, t.simple())}" for n, t in spelled.items())
            warehouse = self.endpoints.warehouse.dsn()
            with closing(psycopg2.connect(**warehouse)) as connection, connection.cursor() as cursor:
                cursor.execute(f"set time zone 'UTC'; create temporary table copied ({listed})")
                reader = CopyReader(self.spark.table(f"{stream.history}_current").select(*spelled), "copied")
                cursor.copy_expert(f"copy copied ({', '.join(spelled)}) from stdin", reader)
                cursor.execute(f"select id, {content_text_postgres(plain)} from copied")
                found[stream.name] = dict(cursor.fetchall())
        return found

    def records(self, stream: Stream) -> Iterator[bytes]:
        end = marker.quiesced(self.pipeline, self.endpoints)[stream.topic, 0]
        settings = {"bootstrap.servers": self.endpoints.kafka, "group.id": "none", "enable.partition.eof": True}
        with closing(Consumer(settings | {"isolation.level": "read_committed"})) as reader:
            reader.assign([TopicPartition(stream.topic, 0, OFFSET_BEGINNING)])
            while (record := reader.poll(30)) and not record.error() and record.offset() < end:
                yield record.value() or b""


def column_of(kind: str) -> str:
    """The name of the type's column."""
    return "c_" + re.sub(r"[^a-z0-9]+", "_", kind.replace("[]", "_array")).strip("_")


def _shown(declared: Column) -> str:
    kind = parse_type(declared.spark_type)
    if kind.is_nested:
        return f"to_json(`{declared.name}`, map({TIMES}))"
    if kind.name == "binary":
        return f"concat('\\\\x', lower(hex(`{declared.name}`)))"
    return f"cast(`{declared.name}` as string)"


def flat(stream: Stream) -> list[Column]:
    """The columns that a warehouse table may have, as it knows them: without the source's types."""
    return [Column(c.name, c.spark_type) for c in stream.columns if not parse_type(c.spark_type).is_nested]


def as_json(stream: Stream) -> str:
    return f"to_json(struct({', '.join(c.name for c in stream.columns)}), map({TIMES}))"
