"""The quick ways through a file give what the slow ones give, on any text."""

from __future__ import annotations

import csv
import io

import pyarrow as pa
import pyarrow.parquet as pq
from confluent_kafka import Message, Producer
from hypothesis import example, given, settings
from hypothesis import strategies as st

from contracts.stream import Column, FileSource, Stream
from producers.chunks import Cut, cut
from producers.dialect import Dialect, LineRows, fields_of
from producers.misfits import Misfits
from producers.rows import Rows
from producers.split_csv import _RowScan, _State, split_csv
from producers.split_json import split_json
from producers.transactions import TransactionalProducer

DIALECTS = st.builds(Dialect, st.sampled_from([",", "|", "^", "\t"]), st.sampled_from(['"', "'", "]"]), st.booleans())
PIECES = [b'"', b'""', b"'", b"]", b"\\", b",", b"|", b"^", b"\t", b"\n", b"\r\n", b"\r", b"a", b"5 in", b"\xff", b"\0"]
TEXT = st.lists(st.sampled_from(PIECES), max_size=60).map(b"".join)
READS = st.sampled_from([3, 64, 1 << 20])


def fields_by_scan(row: bytes, dialect: Dialect) -> tuple[int | None, bool]:
    """How many fields one line has, None if a quote stays open; and whether text follows a closing one."""
    scan, fields, stray = _RowScan(dialect), 1, False
    for at, byte in enumerate(row):
        closed = scan.state not in (_State.QUOTED, _State.ESCAPED)
        fields += closed and byte == ord(dialect.delimiter)
        after_quote = scan.state is _State.AFTER_QUOTE
        scan.end(row[: at + 1], at)
        stray |= after_quote and byte != ord(dialect.delimiter) and scan.state is not _State.QUOTED
    return None if scan.state in (_State.QUOTED, _State.ESCAPED) else fields, stray


@settings(max_examples=150, deadline=None)
@given(TEXT, DIALECTS, st.integers(1, 4))
@example(b'"a""b,c"\n"d"e,"f"\n', Dialect(), 2)
@example(b'"a""b,c\n', Dialect(), 2)
@example(b'"a\\""b,c\n', Dialect(backslash=True), 2)
def test_one_look_at_a_text_says_what_the_scan_of_each_row_says(text: bytes, dialect: Dialect, fields: int) -> None:
    lines = text.split(b"\n")[:-1]
    found = [fields_by_scan(line, dialect) for line in lines]
    whole = b"".join(line + b"\n" for line in lines)
    assert LineRows(dialect).match(whole) == all(count is not None for count, _ in found)
    assert LineRows(dialect, fields).match(whole) == all(each == (fields, False) for each in found)
    among = LineRows(dialect, fields).among(pa.array(lines, pa.binary()))
    assert among.to_pylist() == [each == (fields, False) for each in found]


def by_scan(content: bytes, dialect: Dialect) -> list[tuple[str, int, bytes]]:
    """The rows of a text, one after the other."""
    found, at, line = [], 0, 1
    while at < len(content):
        scan = _RowScan(dialect)
        end = scan.end(content, at)
        row = content[at:] if end < 0 else content[at:end]
        is_open = scan.state in (_State.QUOTED, _State.ESCAPED)
        found.append(("unsplit", line, row) if is_open else ("csv", line, row.removesuffix(b"\r")))
        line += row.count(b"\n") + 1
        at += len(row) + 1
    return [event for event in found if event[2]]


@settings(max_examples=80, deadline=None)
@given(TEXT, DIALECTS, READS)
@example(b'a\n"b\nc"\nd\n\ne,"f\r\n"\r\ng\n' * 9, Dialect(), 64)
@example(b'a\n"b\nc"\nd\n"open\n' * 9, Dialect(), 64)
def test_rows_of_any_dialect_are_those_of_the_scan(content: bytes, dialect: Dialect, chunk_bytes: int) -> None:
    content = b"h" + content
    assert events(split_csv(io.BytesIO(content), dialect, chunk_bytes=chunk_bytes)) == by_scan(content, dialect)


def events(batches: object) -> list[tuple[str, int, bytes]]:
    return [(rows.format, *one) for rows in batches for one in zip(rows.lines, rows.values, strict=True)]  # type: ignore[attr-defined]


@settings(max_examples=80, deadline=None)
@given(TEXT, st.booleans(), READS, st.integers(0, 9), st.integers(0, 9))
@example(b'""\n""\n', False, 3, 1, 0)
def test_rows_kept_as_text_are_the_rows(content: bytes, is_json: bool, chunk_bytes: int, start: int, end: int) -> None:
    def split() -> list[Rows]:
        source = io.BytesIO(content)
        return list(split_json(source, chunk_bytes=chunk_bytes) if is_json else split_csv(source))

    for rows, twin in zip(split(), split(), strict=True):
        lines, values = rows.arrays()
        assert (lines.to_pylist(), values.to_pylist()) == (list(twin.lines), twin.values)
        assert (len(rows), rows.size) == (len(twin.values), sum(map(len, twin.values)))
        assert rows.ended() == b"".join(value + b"\n" for value in twin.values)
        part = rows.part(start, end)
        assert (list(part.lines), part.values) == (list(twin.lines[start:end]), twin.values[start:end])
        assert part.arrays()[1].to_pylist() == twin.values[start:end]


@settings(max_examples=80, deadline=None)
@given(st.lists(st.sampled_from([b'"', b",", b"\n", b"a", b'"b,c"', b"1,2,3\n"]), max_size=40).map(b"".join), READS)
def test_misfits_are_the_rows_with_another_number_of_fields(content: bytes, chunk_bytes: int) -> None:
    stream = Stream("p", "s", "t", FileSource(".*", "csv"), (Column("a", "string"),), ("a",))
    counted = Misfits(stream, "a,b,c", Dialect())
    expected = 0
    for rows in split_csv(io.BytesIO(content), chunk_bytes=chunk_bytes):
        counted.add(rows)
        for value in rows.values:
            alike = value.count(b",") == 2 or len(fields_of(value.decode(), Dialect())) == 3
            expected += rows.format == "unsplit" or not alike
    assert counted.misfits == expected


class Kept:
    """Chunks in memory."""

    cut_bytes = 40

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}

    def path(self, number: int) -> str:
        return f"_chunks/p/s/{'0' * 64}/{'0' * 32}/{number:012d}.parquet"

    def put(self, path: str, content: bytes) -> None:
        self.files[path] = content


@settings(max_examples=40, deadline=None)
@given(TEXT)
@example(b"a,b\n" * 40 + b'"c\nd",e\n' + b"f\n" * 40)
def test_chunks_hold_the_rows_in_order(content: bytes) -> None:
    kept = Kept()
    cuts: list[Cut] = list(cut(split_csv(io.BytesIO(content)), kept))
    tables = [pq.read_table(io.BytesIO(kept.files[one.chunk.path])) for one in cuts]
    found = [tuple(row[name] for name in ("format", "line", "value")) for table in tables for row in table.to_pylist()]
    assert found == events(split_csv(io.BytesIO(content)))
    assert [one.first_line for one in cuts] == [table["line"][0].as_py() for table in tables]
    assert [one.chunk.rows for one in cuts] == [table.num_rows for table in tables]


def test_a_full_queue_changes_neither_number_nor_order_of_the_rows() -> None:
    """A queue of seven records before a broker that never comes: each is given up in turn, and told with key."""
    told: list[tuple[bytes | None, bytes | None]] = []

    def delivered(_: object, message: Message) -> None:
        told.append((message.key(), message.value()))

    sender = object.__new__(TransactionalProducer)  # without a broker there is no transaction to begin
    sender._producer = Producer(
        {
            "bootstrap.servers": "127.0.0.1:1",
            "queue.buffering.max.messages": 7,
            "message.timeout.ms": 30,
            "on_delivery": delivered,
            "log_level": 0,
        }
    )
    rows = Rows("csv", range(5, 21), [b"%d" % number for number in range(16)])
    sender.produce_rows("topic", 0, rows, b"100% of\t", b"\tcsv\t%d\t")
    assert sender._producer.flush(20) == 0
    sender._producer.close()
    assert told == [(b"100%% of\t%d\tcsv\t%%d\t" % line, b"%d" % (line - 5)) for line in range(5, 21)]


def test_many_columns_and_large_fields_are_counted_row_by_row() -> None:
    header = ",".join(f"c{number}" for number in range(300))
    stream = Stream("p", "s", "t", FileSource(".*", "csv"), (Column("c1", "string"),), ("c1",))
    counted = Misfits(stream, header, Dialect())
    quoted = b'"x,y"' + b"," * 299
    text = header.encode() + b"\n" + quoted + b"\n" + b"1,2\n" + b'"' + b"z," * (csv.field_size_limit() // 4) + b'",1\n'
    for rows in split_csv(io.BytesIO(text)):
        counted.add(rows)
    assert (counted.rows, counted.misfits) == (4, 2)


def test_a_long_quoted_field_is_one_field() -> None:
    assert fields_of('1,"' + "é," * 400_000 + '",2', Dialect()) == ["1", "é," * 400_000, "2"]
