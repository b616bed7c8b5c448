"""Whatever the producer counts as certainly bad, the streaming job refuses too: a good file is never rejected whole."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterator

import pytest
from pyspark.sql import SparkSession

from contracts.spark_types import INTEGERS
from contracts.stream import Column, FileSource, Stream
from contracts.wire import RowFormat, RowKey, encode_row_key
from producers.dialect import Dialect
from producers.values import RowJudge
from tests.spark.landing import judged, to_kafka

TYPES = (*INTEGERS, "decimal(5,2)", "decimal(38,0)", "double", "float", "boolean", "date", "timestamp", "timestamp_ntz")
FORMATS = {
    "day": ("date", "dd.MM.yyyy"),
    "digits": ("date", "yyyyMMdd"),
    "month": ("date", "d-MMM-yyyy"),
    "clock": ("timestamp", "M/d/yyyy h:mm:ss a"),
    "zone": ("timestamp", "yyyy-MM-dd'T'HH:mm:ss.SSSXXX"),
}
VALID = (
    *("127", "-128", "128", "32767", "2147483647", "-2147483648", "9223372036854775807", "9223372036854775808"),
    *("999.99", "1000.00", ".5", "1.", "1.230", "1.239", "00012", "1e2", "1.5E-3", "9" * 38, "1" + "0" * 38, "0" * 45),
    *(
        "NaN",
        "Infinity",
        "-Infinity",
        "3.4e39",
        "true",
        "False",
        "2026-02-28",
        "2026-02-29",
        "0000-01-01",
        "9999-12-31Z",
    ),
    *("2026-01-02T03:04:05", "2026-01-02 03:04:05.123456000+02:00", "2026-01-02T24:00:00Z", "2026-01-02T03:04:05+02"),
    *("28.02.2026", "20260102", "2-Jan-2026", "1/2/2026 3:04:05 PM", "2026-01-02T03:04:05.678+01:00"),
    *("1.234,5", "1.234.567", "12.34,5", "1,5", ",5", "NA"),
)
PIECES = (
    *(
        "0",
        "7",
        "12",
        "99",
        "2026",
        "00",
        "+",
        "-",
        ".",
        ",",
        ":",
        "/",
        "e",
        "E+4",
        " ",
        "T",
        "Z",
        "+02:00",
        "am",
        "Mar",
    ),
    *("x", "'", "\u0661", "\u00a0", "\uff11", "\n", "true", "null", "{", "[1]"),
)


def texts(chance: random.Random, number: int) -> Iterator[str]:
    """Valid values of every type, the same with something changed, and what nobody would write."""
    yield from VALID
    for _ in range(number):
        text = (
            chance.choice(VALID) if chance.random() < 0.6 else "".join(chance.choices(PIECES, k=chance.randint(1, 4)))
        )
        for _ in range(chance.choice((0, 1, 1, 2))):
            at = chance.randint(0, len(text))
            text = text[:at] + chance.choice((*PIECES, "")) + text[at + chance.randint(0, 1) :]
        yield text


def stream_of(source: FileSource) -> Stream:
    columns = [Column(kind.translate(str.maketrans("(),", "___")), kind) for kind in TYPES]
    columns += [Column(name, kind, format=pattern) for name, (kind, pattern) in FORMATS.items()]
    columns += [Column("needed", "string", required=True), Column("nested", "array<int>"), Column("text", "string")]
    return Stream("p", "s", "p.files.s", source, (Column("id", "bigint"), *columns), ("id",), evolution="evolve")


def rows_of(stream: Stream, form: RowFormat, chance: random.Random, number: int) -> Iterator[bytes]:
    """Each with one odd value, but for some that lack a needed one or are no row."""
    names = [column.name for column in stream.sent_columns if column.name != "id"]
    delimiter = stream.file_source.delimiter
    for text in texts(chance, number):
        for name in chance.sample(names, 4):
            values = {"id": "1", "needed": "x", name: text}
            if chance.random() < 0.03:
                values.pop(chance.choice(("id", "needed")), None)
            if form == "json":
                row = json.dumps(values, ensure_ascii=chance.random() < 0.5)
                if chance.random() < 0.5:
                    row = row.replace(json.dumps(text), text)  # as a number, or as nothing that JSON knows
            else:
                quoted = ('"' + value.replace('"', '""') + '"' for value in values.values())
                shown = dict(zip(values, quoted, strict=True)) if chance.random() < 0.5 else values
                row = delimiter.join(shown.get(one.name, "") for one in stream.sent_columns)
            yield row.encode()


@pytest.mark.parametrize(
    "source",
    [
        FileSource(".*", "csv"),
        FileSource(".*", "csv", delimiter=";", decimal=",", thousands=".", nulls=("NA", "null")),
        FileSource(".*", "json", nulls=("NA",)),
    ],
    ids=["csv", "local", "json"],
)
def test_what_is_certainly_bad_is_refused(spark: SparkSession, source: FileSource) -> None:
    stream = stream_of(source)
    form: RowFormat = source.row_format
    header = source.delimiter.join(column.name for column in stream.sent_columns) if form == "csv" else ""
    judge = RowJudge(stream, header, Dialect(source.delimiter))
    rows = list(rows_of(stream, form, random.Random(20261125), 400))
    records = [
        (encode_row_key(RowKey("a" * 64, number, form, "file", header)), row) for number, row in enumerate(rows, 1)
    ]
    refused = {
        found["_line"]: found["_refusal"].rule if found["_refusal"] else ""
        for found in judged(stream, to_kafka(spark, records)).select("_line", "_refusal").collect()
    }
    assert len(refused) == len(rows)
    bad = {number: found for number, row in enumerate(rows, 1) if (found := judge.findings(form, row))}
    assert [(rows[number - 1], found) for number, found in bad.items() if not refused[number]] == []
    # It sees most of what is refused, and every type is among it.
    assert len(bad) > 0.8 * sum(map(bool, refused.values())) > 0.2 * len(rows)
    columns = Counter(column for found in bad.values() for column, _, _ in found)
    assert {column.name for column in stream.columns} - columns.keys() <= {"nested", "text"}
