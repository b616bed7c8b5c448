"""Rows of CSV made of nasty pieces at random: what becomes of each is what a reader says that looks at one character
after the other, row by row and in chunks."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

from pyspark.sql import SparkSession

from contracts.stream import Column, FileSource, Stream
from contracts.wire import decode_row_key
from tests.spark.in_chunks import BY_ROW, IN_CHUNKS, PARTED, chunks_of, judged_each_way
from tests.spark.landing import records_of, scanned_file, to_kafka

SEED = 20261126
ROWS = 2000
COLUMNS = (
    Column("id", "bigint", required=True),
    Column("first", "string"),
    Column("amount", "decimal(6,2)"),
    Column("last", "string"),
)
HEADER = "id,first,amount,last"
PIECES = (
    *("a", "Z", "é", "€", "😀", "e\u0301", "0", "7", "1.5", "-", "NULL", "\\N", "=1+1", "$1", "\\\\", "{", "}", "#"),
    *(
        " ",
        "  ",
        "\t",
        "\u00a0",
        "\u2028",
        "\u3000",
        "\u200b",
        "\x01",
        "\x1f",
        "\x7f",
        "\x85",
        "\x0b",
        "\ufffe",
        "\ud7ff",
    ),
    *(",", ",,", ";", "|", "'", "\\", '"', '""', '"""', '",', ',"', '","', '\\"', '""a'),
)
RARE = ("\n", "\r", "\r\n", "\0", "\uffff", "\ufeff")
NO_TEXT = ("\udcff", "\udcc3", "\udced\udca0\udc80")
"""Bytes that are no UTF-8, as Python's surrogateescape writes them."""
NUMBERS = (
    "1",
    "-2.50",
    "9999.99",
    "10000",
    "1.005",
    "1.0500",
    ".5",
    "5.",
    "+7",
    "1e2",
    "1e-2",
    "x",
    " 1",
    "--1",
    "NaN",
)
IDS = ("", "x", "1.0", "007", "9223372036854775808", "1.5", "-3", " 4", "1e1")


def field(chance: random.Random, odd: Sequence[str]) -> str:
    """A text of some pieces, a few of them `odd`; most often written as CSV asks for it, else as it comes."""
    pieces = chance.choices(PIECES, k=chance.choice((0, 1, 1, 2, 3, 5)))
    if chance.random() < 0.1:
        pieces.insert(chance.randint(0, len(pieces)), chance.choice(odd))
    text = "".join(pieces)
    how = chance.random()
    if how < 0.5:
        return '"' + text.replace('"', '""') + '"'
    return text if how < 0.6 else re.sub('[",\n\r]', "", text)


def row(chance: random.Random, number: int, odd: Sequence[str]) -> str:
    """Mostly with the header's number of fields."""
    first = str(number) if chance.random() < 0.95 else chance.choice(IDS)
    amount = chance.choice(NUMBERS) if chance.random() < 0.3 else f"{number / 100:.2f}"
    fields = [first, field(chance, odd), amount, field(chance, odd)]
    if chance.random() < 0.05:
        fields = fields[: chance.randint(1, 3)] if chance.random() < 0.5 else [*fields, field(chance, odd)]
    if chance.random() < 0.05:
        fields[0] = f'"{fields[0]}"'
    return ",".join(fields)


def read(raw: bytes) -> list[str | None] | None:
    """The fields of a row by RFC 4180, None for what is nothing between two commas; None if it is no row."""
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        return None
    if "\0" in text or ("\uffff" in text and set('"\r\n') & set(text)):
        return None  # refused, though it may be a row
    fields: list[str | None] = []
    at = 0
    while True:
        value = ""
        quoted = text[at : at + 1] == '"'
        if quoted:
            at += 1
            while True:
                if at >= len(text):
                    return None
                if text[at : at + 2] == '""':
                    value, at = value + '"', at + 2
                elif text[at] == '"':
                    at += 1
                    break
                else:
                    value, at = value + text[at], at + 1
            if at < len(text) and text[at] != ",":
                return None
        else:
            while at < len(text) and text[at] != ",":
                value, at = value + text[at], at + 1
        fields.append(value if quoted or value else None)
        if at >= len(text):
            return fields
        at += 1


def whole(text: str | None) -> int | None:
    """A bigint; ValueError if it is none."""
    if text is None:
        return None
    if not re.fullmatch(r"[+-]?[0-9]+(\.0*)?", text):
        raise ValueError
    value = int(text.partition(".")[0])
    if not -(2**63) <= value < 2**63:
        raise ValueError
    return value


def amount(text: str | None) -> Decimal | None:
    """A decimal(6,2), none of whose digits is lost; ValueError if it is none."""
    if text is None:
        return None
    if not re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?", text):
        raise ValueError
    value = Decimal(text)
    if value != round(value, 2) or abs(value) >= 10000:
        raise ValueError
    return value


def expected(form: str, raw: bytes) -> tuple[object, ...] | None:
    """The values of a row; None if it is refused."""
    fields = read(raw) if form == "csv" else None
    if fields is None or len(fields) != len(COLUMNS):
        return None
    try:
        values = whole(fields[0]), fields[1], amount(fields[2]), fields[3]
    except ValueError:
        return None
    return None if values[0] is None else values


def test_random_rows_are_what_a_plain_reader_says(spark: SparkSession, tmp_path: Path) -> None:
    chance = random.Random(SEED)
    stream = Stream("p", "rows", "p.files.rows", FileSource(r".*", "csv"), COLUMNS, ("id",), quarantine_limit=1)
    records: list[tuple[bytes, bytes]] = []
    chunks = []
    for part in range(ROWS // 100):
        odd = NO_TEXT if part % 10 == 0 else RARE
        lines = [row(chance, number, odd) for number in range(part * 100, part * 100 + 100)]
        name, content = f"{part}.file", "\n".join([HEADER, *lines]).encode("utf-8", "surrogateescape")
        scanned = scanned_file(stream, name, content, tmp_path)
        assert not scanned.wrong
        records += records_of(stream, name, content, scanned)
        chunks += chunks_of(stream, name, content, scanned, tmp_path)
    wanted = {}
    for key, raw in records:
        at = decode_row_key(key)
        wanted[at.file_hash, at.line] = (raw, expected(at.format, raw))
    assert len(wanted) == len(records) > 0.9 * ROWS
    frame = judged_each_way(spark, stream, to_kafka(spark, records), chunks, tmp_path)
    names = [column.name for column in COLUMNS]
    found = frame.select("_partition", "_file_hash", "_line", "_raw", "_refusal", "_split", *names).collect()
    assert Counter(one["_partition"] for one in found) == dict.fromkeys((BY_ROW, IN_CHUNKS, PARTED), len(records))
    wrong = []
    for one in found:
        raw, values = wanted[one["_file_hash"], one["_line"]]
        said = None if one["_refusal"] else tuple(one[name] for name in names)
        kept = not one["_refusal"] or bytes(one["_raw"]) == raw
        if said != values or not kept:
            wrong.append((one["_partition"], one["_split"], raw, values, said, one["_refusal"]))
    assert wrong == []
    accepted = sum(values is not None for _, values in wanted.values())
    assert 0.5 * ROWS < accepted < 0.9 * ROWS
    assert sum(one["_split"] for one in found) > 0.5 * ROWS
