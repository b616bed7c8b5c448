"""From the bytes of a sample file to a contract that loads, says what is a guess, and holds no value of the file."""

from __future__ import annotations

import csv
import gzip
import io
import re
import stat
from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow as pa
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contracts.errors import Fatal
from contracts.loader import load_stream
from contracts.settings import Settings
from contracts.stream import Stream
from headrace.app import App
from headrace.commands.init import init
from headrace.drafts.draft import check_draft, draft_contract, write_contract
from tests.unit.archives import zipped
from tests.unit.sample_csv import CSV, ORDERS, Case
from tests.unit.sample_other import OTHER, parquet

SAMPLES = {**CSV, **OTHER}
_DEFAULTS = {
    "format": "csv",
    "unit": "batch_date",
    "delimiter": ",",
    "quote": '"',
    "backslash": False,
    "header": True,
    "skip_lines": 0,
    "encoding": "utf-8",
    "nulls": (),
    "decimal": ".",
    "thousands": "",
}


def _draft(folder: Path, name: str, content: bytes, **options: object) -> tuple[str, Stream]:
    file = folder / name
    file.write_bytes(content)
    draft = draft_contract(file, "shop", **options)  # type: ignore[arg-type]
    written = folder / f"{draft.stream}.yaml"
    write_contract(draft, written, "shop")
    assert written.read_text(encoding="utf-8") == draft.text
    return draft.text, load_stream(written, "shop")


@pytest.mark.parametrize("case", SAMPLES.values(), ids=SAMPLES.keys())
def test_a_sample_becomes_a_contract_that_loads(case: Case, tmp_path: Path) -> None:
    options = {"header": True} if case.source.get("header") is True else {}
    text, stream = _draft(tmp_path, case.file_name, case.content, stream="sample", **options)
    source = stream.file_source
    assert {column.name: column.spark_type for column in stream.sent_columns} == dict(case.types)
    assert [column.name for column in stream.sent_columns] == list(case.types)
    assert stream.key == case.key
    assert {name: getattr(source, name) for name in _DEFAULTS} == {**_DEFAULTS, **case.source}
    assert {c.name: c.format for c in stream.columns if c.format} == case.formats
    assert {c.name for c in stream.columns if c.json} == case.json
    assert {c.name for c in stream.columns if c.pii} == case.pii
    if case.required is not None:
        assert {c.name for c in stream.columns if c.required} | {"batch_date"} == case.required | {"batch_date"}
    for what in case.guesses:
        assert any(what in line and "# guess: " in line for line in text.splitlines()), what


@pytest.mark.parametrize(
    ("name", "pattern", "stream_name", "origin"),
    [
        ("orders_2026-01-05.csv", r"orders_(?P<batch_date>\d{4}-\d{2}-\d{2})\.csv", "orders", "name"),
        ("orders.csv", r"orders\.csv", "orders", "push"),
        ("Orders 20260105 (final).csv", r"Orders\ \d{8}\ \(final\)\.csv", "orders_final", "push"),
        ("a_20261345.csv", r"a_20261345\.csv", "a", "push"),
        (
            "2026-01-05_2026-01-06_x-7.csv",
            r"(?P<batch_date>\d{4}-\d{2}-\d{2})_\d{4}-\d{2}-\d{2}_x\-7\.csv",
            "x",
            "name",
        ),
        ("a_2026-02-30.csv", r"a_2026\-02\-30\.csv", "a", "push"),
    ],
)
def test_a_file_name_becomes_a_pattern_for_its_like(
    name: str, pattern: str, stream_name: str, origin: str, tmp_path: Path
) -> None:
    _, stream = _draft(tmp_path, name, ORDERS)
    assert stream.file_source.pattern == pattern
    assert stream.file_source.match(name) is not None
    assert stream.name == stream_name
    unit = stream.column("batch_date")
    assert (unit.from_file_name, unit.from_batch_date) == (origin == "name", origin == "push")
    assert stream.partition_by == "batch_date"


@pytest.mark.parametrize(
    ("name", "content", "options", "told"),
    [
        ("a.csv", b"Order ID,b\n1,2\n", {}, "'Order ID'"),
        ("a.csv", b"id,Id\n1,2\n", {}, "'Id'"),
        ("a.csv", b"id,id\n1,2\n", {}, "names id twice"),
        ("a.json", b'{"userId": 1}\n', {}, "'userId'"),
        ("a.json", b'{"id": \n 1}\n', {}, "neither an array of objects nor one object a line"),
        ("a.json", b"[]", {}, "no JSON object"),
        ("a.parquet", parquet(pa.table({"ID": [1]})), {}, "'ID'"),
        ("a.parquet", b"PAR1 and no more", {}, "cannot be read as Parquet"),
        ("a.csv", b"", {}, "is empty"),
        ("a.csv", b"\xef\xbb\xbf\n\n", {}, "is empty"),
        ("a.csv", b"id,v\n1,\x00\x01\n", {}, "is no text"),
        ("a.csv", b"id,v\r1,2\r", {}, "carriage return"),
        ("a.gz", gzip.compress(ORDERS)[:-9], {}, "cannot be unpacked"),
        ("a.zip", zipped({"a.csv": ORDERS, "b.csv": ORDERS}), {}, "a zip of 2 files"),
        ("a.bz2", b"BZh91AY&SY", {}, "is bzip2"),
        ("files.csv", ORDERS, {}, "no name for the stream"),
        ("2026.csv", ORDERS, {}, "no name for the stream"),
        ("a.csv", ORDERS, {"stream": "../a"}, "may not name a stream"),
        ("a.csv", ORDERS, {"key": ["nothing"]}, "--key names nothing"),
    ],
)
def test_what_cannot_be_a_stream_is_refused_and_nothing_is_written(
    name: str, content: bytes, options: dict[str, object], told: str, tmp_path: Path
) -> None:
    with pytest.raises(Fatal, match=re.escape(told)):
        _draft(tmp_path, name, content, **options)
    assert [file.name for file in tmp_path.iterdir()] == [name]


def test_no_value_of_the_sample_stands_in_the_contract(tmp_path: Path) -> None:
    values = ["Zaphod", "z4ph@example.org", "4711.0815", "1979-10-12", "SECRET-9", "+44 20 7946 0000"]
    nested = '{"inner_text": "Marvin", "n": 424242}'
    rows = io.StringIO()
    csv.writer(rows).writerows([["a", "b", "c", "d", "e", "f", "g"], [*values, nested], [*values, nested]])
    for name, content in (("x.csv", rows.getvalue()), ("y.json", '{"s": "Zaphod", "m": {"Marvin 424242": 4711}}')):
        text, _ = _draft(tmp_path, name, content.encode())
        assert not [value for value in (*values, "Marvin", "424242", "4711") if value in text]


def test_the_end_of_a_file_is_read_as_well(tmp_path: Path) -> None:
    rows = "".join(f"{i},{i}\n" for i in range(400_000))
    _, stream = _draft(tmp_path, "big.csv", f"id,v\n{rows}400000,late text\n".encode(), rows=1000)
    assert [column.spark_type for column in stream.sent_columns] == ["bigint", "string"]
    _, small = _draft(tmp_path, "small.csv", b"id,v\n1,1\n2,2\n3,3\n4,late text\n", rows=2)
    assert [column.spark_type for column in small.sent_columns] == ["bigint", "string"]


def test_a_file_cut_within_a_row_loses_only_that_row(tmp_path: Path) -> None:
    rows = b"".join(b'{"id": %d, "v": {"w": "%s"}}\n' % (i, b"x" * 200) for i in range(10_000))
    text, stream = _draft(tmp_path, "big.json", rows, rows=500)
    assert "sample of 500 rows" in text
    assert "no JSON objects" not in text
    assert stream.column("v").spark_type == "struct<w:string>"


def test_a_file_with_blank_lines_is_cut_without_a_broken_row(tmp_path: Path) -> None:
    rows = b"".join(b'{"id": %d, "v": "%s"}\n\n' % (i, b"x" * 1000) for i in range(5_000))
    text, stream = _draft(tmp_path, "big.json", rows, rows=4_000)
    assert "no JSON objects" not in text
    assert stream.key == ("id",)


def test_an_object_with_very_many_names_is_a_map_and_names_none(tmp_path: Path) -> None:
    members = ", ".join(f'"user_{i}": {i}' for i in range(150))
    text, stream = _draft(tmp_path, "a.json", f'{{"id": 1, "v": {{{members}}}}}\n'.encode())
    assert stream.column("v").spark_type == "map<string,bigint>"
    assert "user_" not in text


def test_a_few_odd_values_make_a_string_and_the_contract_says_how_many(tmp_path: Path) -> None:
    rows = "".join(f"{i},{i}\n" for i in range(200))
    text, stream = _draft(tmp_path, "a.csv", f"id,v\n{rows}200,odd\n200,1,2\n".encode())
    assert stream.column("v").spark_type == "string"
    assert "1 of 201 values are no whole numbers" in text
    assert "1 sampled rows have another number of fields" in text


def test_a_named_key_is_no_guess_and_its_repetitions_are_told(tmp_path: Path) -> None:
    content = b"a,b\nx,1\nx,2\nx,2\n"
    text, stream = _draft(tmp_path, "a.csv", content, key=["b", "a"])
    assert stream.key == ("b", "a")
    assert "primaryKey: true\n" in text
    assert "1 of 3 sampled rows have that of another row" in text
    _, lined = _draft(tmp_path, "b.csv", content, key=["batch_date", "a", "line_no"])
    assert lined.key == ("batch_date", "a", "line_no")


def test_a_column_that_is_nearly_a_key_is_named_but_not_taken(tmp_path: Path) -> None:
    rows = "".join(f"{i},x\n" for i in range(100))
    text, stream = _draft(tmp_path, "a.csv", f"order_id,v\n{rows}7,x\n".encode())
    assert stream.key == ("batch_date", "line_no")
    assert "order_id is one but for 1 of 101 sampled rows (--key)" in text


def test_a_first_line_that_only_looks_like_names_is_to_be_checked(tmp_path: Path) -> None:
    texts, _ = _draft(tmp_path, "a.csv", b"city,country\nBerlin,DE\n")
    typed, _ = _draft(tmp_path, "b.csv", b"city,people\nBerlin,7\n")
    assert ("only their look" in texts, "only their look" in typed) == (True, False)


def test_a_key_that_the_loader_refuses_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(Fatal, match="does not load"):
        _draft(tmp_path, "a.json", b'{"id": 1, "v": {"w": 1}}', key=["v"])
    assert [file.name for file in tmp_path.iterdir()] == ["a.json"]


def test_the_command_writes_a_private_file_once_unless_it_is_forced(tmp_path: Path) -> None:
    sample = tmp_path / "orders_2026-01-05.csv"
    sample.write_bytes(ORDERS)
    app = App(Settings(pipeline="shop", pipeline_dir=tmp_path))
    arguments = ["--from-file", str(sample)]
    written = tmp_path / "contracts" / "orders.yaml"

    shown = CliRunner().invoke(init, [*arguments, "--dry-run"], obj=app)
    assert shown.exit_code == 0, shown.output
    assert not written.exists()

    done = CliRunner().invoke(init, arguments, obj=app)
    assert done.exit_code == 0, done.output
    assert written.read_text() == shown.stdout
    assert stat.S_IMODE(written.stat().st_mode) == 0o600
    assert [stream.name for stream in app.pipeline.streams] == ["orders"]

    again = CliRunner().invoke(init, [*arguments, "--key", "amount"], obj=app)
    assert isinstance(again.exception, Fatal)
    assert written.read_text() == shown.stdout
    forced = CliRunner().invoke(init, [*arguments, "--key", "amount", "--force"], obj=app)
    assert forced.exit_code == 0, forced.output
    assert load_stream(written, "shop").key == ("amount",)
    assert [file.name for file in written.parent.iterdir()] == ["orders.yaml"]

    lone = tmp_path / "elsewhere" / "b.yaml"
    other = CliRunner().invoke(init, [*arguments, "--stream", "b", "--out", str(lone), "--no-header"], obj=app)
    assert other.exit_code == 0, other.output
    assert not load_stream(lone, "shop").file_source.header


_TEXT = st.text("abcXYZ é,\"'\n", max_size=8).map(lambda text: f"T{text}")
_VALUES = {
    "bigint": st.integers(-(2**63), 2**63 - 1).map(str),
    "decimal": st.decimals(-(10**9), 10**9, places=2, allow_nan=False).map(lambda number: f"{number:.2f}"),
    "boolean": st.sampled_from(["true", "false"]),
    "date": st.dates(min_value=date(1000, 1, 1)).map(date.isoformat),
    "timestamp": st.datetimes(datetime(1000, 1, 1), timezones=st.just(UTC)).map(datetime.isoformat),
    "string": _TEXT,
}


@st.composite
def _tables(draw: st.DrawFn) -> tuple[list[str], list[str], list[list[str]], str, int]:
    names = draw(st.lists(st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True), min_size=2, max_size=6, unique=True))
    kinds = [draw(st.sampled_from(sorted(_VALUES))) for _ in names]
    rows = draw(st.lists(st.tuples(*(_VALUES[kind] for kind in kinds)).map(list), min_size=1, max_size=20))
    delimiter, quoting = draw(st.sampled_from(",;\t|")), draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
    return names, kinds, rows, delimiter, quoting


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(table=_tables())
def test_any_csv_of_typed_columns_becomes_a_contract_that_loads(
    table: tuple[list[str], list[str], list[list[str]], str, int], tmp_path: Path
) -> None:
    names, kinds, rows, delimiter, quoting = table
    file = tmp_path / "typed.csv"
    with file.open("w", encoding="utf-8", newline="") as target:
        writer = csv.writer(target, delimiter=delimiter, quoting=quoting, lineterminator="\n")
        writer.writerows([names, *rows])
    stream = check_draft(draft_contract(file, "shop", header=True), "shop")
    assert stream.file_source.delimiter == delimiter
    assert [column.name for column in stream.sent_columns] == names
    assert [column.spark_type.split("(")[0] for column in stream.sent_columns] == kinds


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=200) | st.text("a1,;\t\"'\n\\[{}]:-. ", max_size=80).map(str.encode))
def test_any_bytes_become_a_contract_that_loads_or_a_refusal(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "any.csv"
    file.write_bytes(content)
    try:
        draft = draft_contract(file, "shop")
    except Fatal:
        return
    check_draft(draft, "shop")
