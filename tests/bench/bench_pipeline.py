"""A pipeline of eight tables for the benchmarks: its streams, its source tables, its changes."""

from __future__ import annotations

import json
import time
from pathlib import Path

from confluent_kafka import Producer

from contracts.stream import Column, Pipeline, Stream, TableSource

TABLES = 8
COLUMNS = (
    Column("id", "bigint", required=True, source_type="int8"),
    Column("name", "string", source_type="text"),
    Column("price", "decimal(10,2)", source_type="numeric(10,2)"),
    Column("amount", "int", source_type="int4"),
    Column("updated_at", "timestamp", source_type="timestamptz"),
)
DDL = (
    "create table {schema}.{table} (id bigint primary key, name text, price numeric(10,2), amount integer, "
    "updated_at timestamptz); "
    "alter table {schema}.{table} replica identity default"
)


def bench_pipeline(name: str, folder: Path, schema: str) -> Pipeline:
    """Eight table streams."""
    streams = tuple(
        Stream(name, table, f"{name}.{schema}.{table}", TableSource(schema, table), COLUMNS, ("id",), freshness_s=5.0)
        for table in (f"t{number}" for number in range(TABLES))
    )
    return Pipeline(name, streams, folder, folder, folder)


def change(number: int) -> bytes:
    """One change as Debezium writes it, about 330 bytes."""
    micros = 1_760_000_000_000_000 + number
    after = {
        "id": number,
        "name": f"name of {number % 10_000}",
        "price": f"{number % 1000}.50",
        "amount": number % 97,
        "updated_at": "2026-01-02T03:04:05.678901Z",
    }
    source = {"ts_us": micros, "snapshot": "false", "schema": "public", "table": "t", "txId": number, "lsn": number * 8}
    return json.dumps(
        {"before": None, "after": after, "source": source, "op": "c", "ts_ms": micros // 1000}, separators=(",", ":")
    ).encode()


def fill_topics(kafka: str, pipeline: Pipeline, first: int, rows: int) -> float:
    """Put `rows` changes into the topics, evenly; returns the seconds it took."""
    began = time.monotonic()
    topics = [stream.topic for stream in pipeline.streams]
    producer = Producer({"bootstrap.servers": kafka, "enable.idempotence": True, "linger.ms": 20})
    for number in range(first, first + rows):
        while True:
            try:
                producer.produce(topics[number % len(topics)], change(number), key=str(number))
                break
            except BufferError:
                producer.poll(0.1)
    producer.flush()
    return time.monotonic() - began
