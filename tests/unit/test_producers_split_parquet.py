"""Parquet rows as JSON objects: each value exactly, each row once, and a broken file never a shorter one."""

from __future__ import annotations

import base64
import datetime as dt
import io
import json
import struct
import uuid
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.parquet.encryption as pe
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.stream import Column, FileSource, Stream
from producers.rows import PIECE_BYTES, ROW_LIMIT_BYTES, UnreadableFile
from producers.split_parquet import parquet_wrong, split_parquet

COLUMNS = (Column("id", "bigint"), Column("name", "string"))
STREAM = Stream("shop", "orders", "shop.files.orders", FileSource(".*", "csv"), COLUMNS, ("id",))
SMALL = pa.table({"id": range(40), "name": [f"row {i} é" for i in range(40)]})


def parquet(table: pa.Table, **options: Any) -> io.BytesIO:
    file = io.BytesIO()
    pq.write_table(table, file, **options)
    return file


def texts(file: io.BytesIO, batch_rows: int = 8192) -> list[bytes]:
    found: list[bytes] = []
    for rows in split_parquet(file, batch_rows=batch_rows):
        assert rows.format == "json"
        assert list(rows.lines) == list(range(len(found) + 1, len(found) + 1 + len(rows.values)))
        found += rows.values
    return found


def objects(file: io.BytesIO, batch_rows: int = 8192) -> list[dict[str, Any]]:
    return [json.loads(text, parse_float=Decimal) for text in texts(file, batch_rows)]


def spelled(values: pa.Array) -> list[str]:
    """The JSON text of each value, as it stands in the row."""
    return [text.decode().removeprefix('{"v":')[:-1] for text in texts(parquet(pa.table({"v": values})))]


def counted(numbers: list[int | None], kind: pa.DataType) -> pa.Array:
    return pa.array(numbers, pa.int32() if kind.bit_width == 32 else pa.int64()).view(kind)


SPELLINGS: list[tuple[pa.Array, list[str]]] = [
    (pa.array([True, False, None]), ["true", "false", "null"]),
    (pa.array([-128, 127, None], pa.int8()), ["-128", "127", "null"]),
    (pa.array([-(1 << 63), (1 << 63) - 1]), ["-9223372036854775808", "9223372036854775807"]),
    (pa.array([(1 << 64) - 1], pa.uint64()), ["18446744073709551615"]),
    (pa.array([0.1, 1, -0.0, 1e300, 5e-324]), ["0.1", "1.0", "-0.0", "1e+300", "5e-324"]),
    (pa.array([float("nan"), float("inf"), float("-inf"), None]), ['"NaN"', '"Infinity"', '"-Infinity"', "null"]),
    (pa.array([0.1, 16777216, 1e-45], pa.float32()), ["0.1", "16777216.0", "1e-45"]),
    (pa.array([0.5, 65504, None], pa.float16()), ["0.5", "65504.0", "null"]),
    (pa.array([Decimal("12.30"), Decimal("-0.05"), None], pa.decimal128(9, 2)), ['"12.30"', '"-0.05"', "null"]),
    (pa.array([Decimal("1E-9"), Decimal(0), None], pa.decimal128(38, 9)), ['"0.000000001"', '"0.000000000"', "null"]),
    (pa.array([Decimal("9" * 60 + "." + "1" * 16)], pa.decimal256(76, 16)), [f'"{"9" * 60}.{"1" * 16}"']),
    (pa.array([Decimal("1.5")], pa.decimal32(5, 1)), ['"1.5"']),
    (pa.array([Decimal("1.5")], pa.decimal64(15, 1)), ['"1.5"']),
    (pa.array(["", "é\U0001f600", None]), ['""', '"é\U0001f600"', "null"]),
    (pa.array(['say "no"\\', "\0\n\x1f\x7f"], pa.large_string()), [r'"say \"no\"\\"', '"\\u0000\\n\\u001f\x7f"']),
    (pa.array(["a", None], pa.string_view()), ['"a"', "null"]),
    (pa.array(["a", None, "a"]).dictionary_encode(), ['"a"', "null", '"a"']),
    (pa.array([b"\xff\x00", b"", None]), ['"/wA="', '""', "null"]),
    (pa.array([b"abc"], pa.binary(3)), ['"YWJj"']),
    (pa.array([b"abc"], pa.large_binary()), ['"YWJj"']),
    (pa.array([uuid.UUID(int=1).bytes], pa.uuid()), [f'"{uuid.UUID(int=1)}"']),
    (pa.array(['{"a": 1.50}'], pa.json_()), [r'"{\"a\": 1.50}"']),
    (pa.nulls(2), ["null", "null"]),
    (counted([0, -719_162, 2_932_896, None], pa.date32()), ['"1970-01-01"', '"0001-01-01"', '"9999-12-31"', "null"]),
    (counted([-719_163, 2_932_897], pa.date32()), ['"+000000-12-31"', '"+010000-01-01"']),
    (counted([-(1 << 31), (1 << 31) - 1], pa.date32()), ['"-5877641-06-23"', '"+5881580-07-11"']),
    (counted([86_400_000], pa.date64()), ['"1970-01-02"']),
    (counted([1500, -1], pa.timestamp("s")), ['"1970-01-01T00:25:00.000"', '"1969-12-31T23:59:59.000"']),
    (counted([1500, None], pa.timestamp("ms")), ['"1970-01-01T00:00:01.500"', "null"]),
    (counted([1500], pa.timestamp("us")), ['"1970-01-01T00:00:00.001500"']),
    (counted([1501, 1000], pa.timestamp("ns")), ['"1970-01-01T00:00:00.000001501"', '"1970-01-01T00:00:00.000001"']),
    (counted([1500], pa.timestamp("us", "Europe/Zurich")), ['"1970-01-01T00:00:00.001500Z"']),
    (
        counted([-1, -1000], pa.timestamp("ns", "+02:00")),
        ['"1969-12-31T23:59:59.999999999Z"', '"1969-12-31T23:59:59.999999Z"'],
    ),
    (
        counted([253_402_300_800_000_001, -62_135_596_800_000_001], pa.timestamp("us", "UTC")),
        ['"+010000-01-01T00:00:00.000001Z"', '"+000000-12-31T23:59:59.999999Z"'],
    ),
    (counted([(1 << 63) - 1], pa.timestamp("ms")), ['"+292278994-08-17T07:12:55.807"']),
    (counted([86_399_999], pa.time32("ms")), ['"23:59:59.999"']),
    (counted([86_399_999_999, None], pa.time64("us")), ['"23:59:59.999999"', "null"]),
    (counted([1001, 86_399_999_999_000], pa.time64("ns")), ['"00:00:00.000001001"', '"23:59:59.999999"']),
    (counted([1_500_000, -1, 0, None], pa.duration("us")), ['"PT1.5S"', '"PT-0.000001S"', '"PT0S"', "null"]),
    (pa.array([[1, None], [], None]), ["[1,null]", "[]", "null"]),
    (pa.array([["a"], None, []], pa.large_list(pa.string())), ['["a"]', "null", "[]"]),
    (pa.array([[1, 2], None, [3, 4]], pa.list_(pa.int8(), 2)), ["[1,2]", "null", "[3,4]"]),
    (pa.array([[[Decimal("0.10")], None], [[]]]), ['[["0.10"],null]', "[[]]"]),
    (pa.array([{"a": 1, "b": None}, None]), ['{"a":1,"b":null}', "null"]),
    (pa.array([{"a": [{'"': "x"}]}]), [r'{"a":[{"\"":"x"}]}']),
    (
        pa.array([[("a", 1), ('"', None)], [], None, [("a", 1), ("a", 2)]], pa.map_(pa.string(), pa.int8())),
        [r'{"a":1,"\"":null}', "{}", "null", '[["a",1],["a",2]]'],
    ),
    (pa.array([[(1, "x")], [], None], pa.map_(pa.int8(), pa.string())), ['[[1,"x"]]', "[]", "null"]),
]


@pytest.mark.parametrize(("values", "expected"), SPELLINGS, ids=[f"{i} {v.type}" for i, (v, _) in enumerate(SPELLINGS)])
def test_every_type_has_one_exact_spelling_alone_in_a_list_and_in_a_struct(
    values: pa.Array, expected: list[str]
) -> None:
    assert spelled(values) == expected
    if values.type == pa.string_view() or pa.types.is_dictionary(values.type):
        return  # pyarrow cannot build these inside others from an array
    offsets = pa.array([0, len(values), len(values)])
    assert spelled(pa.ListArray.from_arrays(offsets, values)) == ["[" + ",".join(expected) + "]", "[]"]
    inside = pa.StructArray.from_arrays([values, values], ["x", "é y"])
    assert spelled(inside) == [f'{{"x":{text},"é y":{text}}}' for text in expected]


def test_rows_keep_their_order_over_row_groups_and_batches_and_the_same_file_gives_the_same_rows_again() -> None:
    table = pa.table({"id": range(1000), "tags": [[str(i)] * (i % 4) for i in range(1000)]})
    file = parquet(table, row_group_size=77)
    assert objects(file, batch_rows=10) == table.to_pylist()
    assert texts(file, batch_rows=10) == texts(file, batch_rows=333) == texts(file)
    assert not file.closed


def test_a_row_too_long_for_a_record_goes_out_as_pieces_and_its_neighbours_as_rows() -> None:
    long = "x" * (ROW_LIMIT_BYTES + 1)
    file = parquet(pa.table({"id": [1, 2, 3], "name": ["a", long, "b"]}))
    found = [(r.format, line, v) for r in split_parquet(file) for line, v in zip(r.lines, r.values, strict=True)]
    assert found[0] == ("json", 1, b'{"id":1,"name":"a"}')
    assert found[-1] == ("json", 3, b'{"id":3,"name":"b"}')
    pieces = found[1:-1]
    assert {piece[:2] for piece in pieces} == {("unsplit", 2)}
    assert max(len(piece[2]) for piece in pieces) <= PIECE_BYTES
    assert json.loads(b"".join(piece[2] for piece in pieces)) == {"id": 2, "name": long}


def test_memory_does_not_grow_with_the_row_group() -> None:
    table = pa.table({"id": range(300_000), "name": [f"{i * 7919:050d}" for i in range(300_000)]})
    file = parquet(table, row_group_size=300_000, use_dictionary=False, compression="none")
    whole = table.nbytes
    del table
    before, most = pa.total_allocated_bytes(), 0
    for _ in split_parquet(file):
        most = max(most, pa.total_allocated_bytes() - before)
    assert 0 < most < whole / 3


WHEN = st.datetimes(dt.datetime(1, 1, 1), dt.datetime(9999, 12, 31, 23, 59, 59, 999999))
CELLS: dict[str, tuple[pa.DataType, st.SearchStrategy[Any], Callable[[Any], Any]]] = {
    "whole": (pa.int64(), st.integers(-(1 << 63), (1 << 63) - 1), int),
    "amount": (
        pa.decimal128(38, 12),
        st.decimals(-(10**20), 10**20, places=12),
        lambda value: f"{value:.12f}",
    ),
    'te"xt': (pa.string(), st.text(), str),
    "yes": (pa.bool_(), st.booleans(), bool),
    "at": (pa.timestamp("us"), WHEN, lambda value: value.isoformat(timespec="microseconds")),
    "instant": (
        pa.timestamp("us", "America/New_York"),
        WHEN.map(lambda value: value.replace(tzinfo=dt.UTC)),
        lambda value: value.isoformat(timespec="microseconds").replace("+00:00", "Z"),
    ),
    "day": (pa.date32(), st.dates(), lambda value: value.isoformat()),
    "hour": (pa.time64("us"), st.times(), lambda value: value.isoformat(timespec="microseconds")),
    "raw": (pa.binary(), st.binary(max_size=9), lambda value: base64.b64encode(value).decode()),
    "list": (
        pa.list_(pa.string()),
        st.lists(st.none() | st.text(max_size=3), max_size=3),
        list,
    ),
    "struct": (
        pa.struct([("a", pa.int32()), ("b", pa.list_(pa.struct([("c", pa.string())])))]),
        st.fixed_dictionaries(
            {
                "a": st.none() | st.integers(-(1 << 31), (1 << 31) - 1),
                "b": st.none() | st.lists(st.none() | st.fixed_dictionaries({"c": st.text(max_size=2)}), max_size=2),
            }
        ),
        dict,
    ),
    "map": (pa.map_(pa.string(), pa.int32()), st.dictionaries(st.text(max_size=3), st.integers(0, 9)), dict),
}


@settings(max_examples=150, deadline=None)
@given(
    rows=st.lists(st.fixed_dictionaries({name: st.none() | cell for name, (_, cell, _) in CELLS.items()}), max_size=8),
    batch_rows=st.integers(1, 9),
    group_rows=st.integers(1, 9),
)
def test_every_value_of_a_table_comes_back_from_its_json(
    rows: list[dict[str, Any]], batch_rows: int, group_rows: int
) -> None:
    given_rows = [
        {key: list(value.items()) if key == "map" and value is not None else value for key, value in row.items()}
        for row in rows
    ]
    schema = pa.schema([(name, kind) for name, (kind, _, _) in CELLS.items()])
    file = parquet(pa.Table.from_pylist(given_rows, schema), row_group_size=group_rows)
    expected = [
        {name: None if row[name] is None else say(row[name]) for name, (_, _, say) in CELLS.items()} for row in rows
    ]
    assert objects(file, batch_rows) == expected


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1),
    st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1),
)
def test_each_finite_float_comes_back_bit_for_bit_from_as_few_digits_as_the_job_accepts(
    doubles: list[float], singles: list[float]
) -> None:
    for text, value in zip(spelled(pa.array(doubles)), doubles, strict=True):
        assert struct.pack("d", json.loads(text)) == struct.pack("d", value)
        assert len(Decimal(text).normalize().as_tuple().digits) <= 17
    for text, value in zip(spelled(pa.array(singles, pa.float32())), singles, strict=True):
        assert struct.pack("f", json.loads(text)) == struct.pack("f", value)
        assert len(Decimal(text).normalize().as_tuple().digits) <= 9


@pytest.mark.parametrize("compression", ["none", "snappy", "zstd"])
def test_a_file_cut_at_any_byte_is_wrong_or_unreadable_and_never_shorter(compression: str) -> None:
    content = parquet(SMALL, row_group_size=15, compression=compression).getvalue()
    assert parquet_wrong(io.BytesIO(content), STREAM) == ""
    for length in range(len(content)):
        cut = content[:length]
        assert parquet_wrong(io.BytesIO(cut), STREAM)
        with pytest.raises(UnreadableFile):
            list(split_parquet(io.BytesIO(cut)))


def test_a_file_that_lost_a_byte_between_its_ends_is_unreadable() -> None:
    content = parquet(SMALL, row_group_size=15).getvalue()
    for lost in range(4, len(content) - 8):
        with pytest.raises(UnreadableFile):
            list(split_parquet(io.BytesIO(content[:lost] + content[lost + 1 :])))


def test_a_flipped_bit_under_a_page_checksum_is_unreadable() -> None:
    table = pa.table({"id": [i * 0x9E3779B97F4A7C15 % (1 << 62) for i in range(500)]})
    content = bytearray(parquet(table, compression="none", use_dictionary=False, write_page_checksum=True).getvalue())
    content[2000] ^= 1
    assert parquet_wrong(io.BytesIO(content), STREAM) == ""
    with pytest.raises(UnreadableFile, match=r"(?i)crc|checksum"):
        list(split_parquet(io.BytesIO(content)))


def test_text_that_is_not_utf_8_makes_the_file_unreadable() -> None:
    bytes_in_text = pa.StringArray.from_buffers(1, pa.py_buffer(struct.pack("ii", 0, 2)), pa.py_buffer(b"\xff\xfe"))
    with pytest.raises(UnreadableFile, match="UTF8"):
        list(split_parquet(parquet(pa.table({"name": bytes_in_text}))))


def test_a_column_name_that_is_not_utf_8_makes_the_footer_unreadable() -> None:
    for table in (pa.table({"qqq": [1]}), pa.table({"id": [{"qqq": 1}]})):
        content = parquet(table, store_schema=False).getvalue().replace(b"qqq", b"q\xffq")
        assert parquet_wrong(io.BytesIO(content), STREAM).startswith("its footer cannot be read")
        with pytest.raises(UnreadableFile):
            list(split_parquet(io.BytesIO(content)))


class FailingDisk(io.BytesIO):
    def read(self, size: int | None = -1, /) -> bytes:
        raise OSError(5, "Input/output error")


def test_an_error_of_the_disk_is_no_error_of_the_file() -> None:
    with pytest.raises(OSError, match="Input/output") as problem:
        list(split_parquet(FailingDisk(parquet(SMALL).getvalue())))
    assert not isinstance(problem.value, UnreadableFile)


def test_int96_times_are_exact_in_any_year_and_refused_below_a_microsecond() -> None:
    when = [dt.datetime(9999, 12, 31, 23, 59, 59, 999999), dt.datetime(1, 1, 1), None]
    table = pa.table(
        {"at": pa.array(when, pa.timestamp("us")), "all": pa.array([[w] for w in when], pa.list_(pa.timestamp("us")))}
    )
    file = parquet(table, use_deprecated_int96_timestamps=True, row_group_size=2)
    texts_of = [None if w is None else w.isoformat(timespec="microseconds") for w in when]
    assert objects(file, batch_rows=1) == [{"at": text, "all": [text]} for text in texts_of]
    fine = pa.table({"at": counted([1000, 1001], pa.timestamp("ns"))})
    with pytest.raises(UnreadableFile, match="column at holds INT96 times finer than a microsecond"):
        list(split_parquet(parquet(fine, use_deprecated_int96_timestamps=True)))


def wrong(table: pa.Table, **options: Any) -> str:
    return parquet_wrong(parquet(table, **options), STREAM)


def test_a_file_that_is_no_parquet_says_what_it_is() -> None:
    assert parquet_wrong(io.BytesIO(b""), STREAM) == "it is empty"
    assert parquet_wrong(io.BytesIO(b"id,name\n1,a\n"), STREAM).startswith("it is no Parquet file")
    assert parquet_wrong(io.BytesIO(b"PAR1"), STREAM).startswith("it is cut short")
    assert parquet_wrong(io.BytesIO(b"PAR1" + bytes(20) + b"PAR1"), STREAM).startswith("its footer cannot be read")


def test_a_file_that_is_not_the_streams_says_why() -> None:
    assert wrong(SMALL) == ""
    assert wrong(SMALL.slice(0, 0)) == "it holds no row"
    assert list(split_parquet(parquet(SMALL.slice(0, 0)))) == []
    assert wrong(SMALL.rename_columns(["x", "y"])) == "its columns (x, y) share none with stream orders: id, name"
    assert wrong(SMALL.rename_columns(["id", "id"])) == "its schema names id twice"
    assert "holds bytes" in wrong(pa.table({"name": [b"a"]}))
    assert "holds bytes" in wrong(pa.table({"name": pa.array([b"a"]).dictionary_encode()}))
    assert wrong(pa.table({"id": [b"a"]})) == ""


def test_a_type_without_text_form_is_refused_at_any_depth() -> None:
    unknown = pa.field("x", pa.int64(), metadata={"ARROW:extension:name": "acme.money"})
    for kind in (unknown.type, pa.list_(unknown), pa.struct([unknown]), pa.map_(pa.string(), unknown)):
        metadata = unknown.metadata if kind == unknown.type else None
        schema = pa.schema([pa.field("id", pa.int64()), pa.field("x", kind, metadata=metadata)])
        assert "unknown type acme.money, which has no text form" in wrong(pa.Table.from_pylist([{"id": 1}], schema))
    tensor = pa.fixed_shape_tensor(pa.int8(), [2])
    table = pa.table(
        {"id": [1], "x": pa.ExtensionArray.from_storage(tensor, pa.array([[1, 2]], pa.list_(pa.int8(), 2)))}
    )
    assert "arrow.fixed_shape_tensor" in wrong(table)
    twice = pa.StructArray.from_arrays([pa.array([1]), pa.array([2])], ["a", "a"])
    assert "two fields of one name" in wrong(pa.table({"id": [1], "x": twice}))


class OpenKeys(pe.KmsClient):  # type: ignore[misc]
    """Wraps keys in nothing: the file is encrypted all the same."""

    def wrap_key(self, key_bytes: bytes, master_key_identifier: str) -> bytes:
        return base64.b64encode(key_bytes)

    def unwrap_key(self, wrapped_key: bytes, master_key_identifier: str) -> bytes:
        return base64.b64decode(wrapped_key)


@pytest.mark.parametrize("plaintext_footer", [False, True])
def test_an_encrypted_file_is_refused(plaintext_footer: bool) -> None:
    factory = pe.CryptoFactory(lambda config: OpenKeys())
    config = pe.EncryptionConfiguration("footer", column_keys={"key": ["name"]}, plaintext_footer=plaintext_footer)
    keys = factory.file_encryption_properties(pe.KmsConnectionConfig(), config)
    file = parquet(SMALL, encryption_properties=keys)
    if not plaintext_footer:
        assert parquet_wrong(file, STREAM) == "it is encrypted: send it decrypted"
    with pytest.raises(UnreadableFile):
        list(split_parquet(file))
