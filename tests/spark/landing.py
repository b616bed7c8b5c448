"""What becomes of files: split as the producers do it, judged as the streaming job does it; no Kafka in between."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pyspark.sql import DataFrame, SparkSession

from contracts.stream import Stream
from contracts.wire import RowKey, encode_row_key
from producers.scan import FileRows, Scan, scan
from streaming_jobs.transforms.decode_file_row import decode_file_row, open_records
from streaming_jobs.transforms.key import add_key
from streaming_jobs.transforms.validate import cast_fields, validate

RECORD = "key binary, value binary, topic string, partition int, offset bigint, timestamp timestamp"
SENT = datetime(2026, 1, 5, tzinfo=UTC)
DAY = "2026-01-05"


@dataclass
class Landed:
    """Of one file: why it is wrong as a whole, or by line the values of accepted and the rules of refused rows."""

    wrong: str = ""
    accepted: dict[int, dict[str, Any]] = field(default_factory=dict)
    refused: dict[int, str] = field(default_factory=dict)
    reasons: dict[int, str] = field(default_factory=dict)
    raw: dict[int, bytes] = field(default_factory=dict)


def land(spark: SparkSession, stream: Stream, files: Mapping[str, bytes], folder: Path) -> dict[str, Landed]:
    """All of these files, named apart, in one job."""
    found = {name: Landed() for name in files}
    hashes: dict[str, str] = {}
    records: list[tuple[bytes, bytes]] = []
    for name, content in files.items():
        scanned = scanned_file(stream, name, content, folder)
        found[name].wrong = scanned.wrong
        if not scanned.wrong:
            assert scanned.hash not in hashes, f"{name} holds what {hashes[scanned.hash]} holds"
            hashes[scanned.hash] = name
            records += records_of(stream, name, content, scanned)
    if not records:
        return found
    for row in judged(stream, to_kafka(spark, records)).collect():
        landed = found[hashes[row["_file_hash"]]]
        line = row["_line"]
        if row["_refusal"]:
            landed.raw[line] = bytes(row["_raw"])
            landed.refused[line] = f"{row['_refusal'].rule} {row['_refusal'].column_name}".strip()
            landed.reasons[line] = row["_refusal"].reason
        else:
            landed.accepted[line] = {column.name: row[column.name] for column in stream.columns}
    return found


def scanned_file(stream: Stream, name: str, content: bytes, folder: Path) -> Scan:
    path = folder / name
    path.write_bytes(content)
    with path.open("rb") as source:
        return scan(source, stream)


def records_of(stream: Stream, name: str, content: bytes, scanned: Scan) -> list[tuple[bytes, bytes]]:
    batch_date = DAY if stream.batch_date_column else ""
    records = []
    for rows in FileRows(io.BytesIO(content), stream):
        for line, value in zip(rows.lines, rows.values, strict=True):
            key = RowKey(scanned.hash, line, rows.format, name, scanned.header, batch_date)
            records.append((encode_row_key(key), value))
    assert len(records) == scanned.rows
    return records


def to_kafka(spark: SparkSession, records: list[tuple[bytes, bytes]]) -> DataFrame:
    rows = [(key, value, "t", 0, offset, SENT) for offset, (key, value) in enumerate(records)]
    return spark.createDataFrame(rows, RECORD)


def judged(stream: Stream, kafka: DataFrame) -> DataFrame:
    opened = decode_file_row(open_records(kafka), stream)
    return opened.transform(cast_fields, stream).transform(validate, stream).transform(add_key, stream, 1)
