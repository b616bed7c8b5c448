"""What a change says in bytes that are no text, wherever in it that stands."""

from __future__ import annotations

from pyspark.sql import SparkSession

from contracts.stream import Column, Stream, TableSource
from tests.spark.test_streaming_decode import envelope, judged, records, refusals

COLUMNS = (Column("id", "string", required=True), Column("note", "string"), Column("tags", "array<string>"))
STREAM = Stream("p", "notes", "p.s.notes", TableSource("s", "notes"), COLUMNS, ("id",))
ROW: dict[str, object] = {"id": "a", "note": "x", "tags": None}


def changed(**values: object) -> bytes:
    return envelope("c", None, ROW | values)


def test_half_of_a_pair_is_refused_wherever_a_value_or_a_name_is_read(spark: SparkSession) -> None:
    halves = [
        changed(note="\ud83d"),
        changed(note="why? \ude00"),
        changed(id="\ud83d"),
        changed(tags=["\ud83d"]),
        changed(**{"\ude00": "x"}),
        envelope("d", ROW | {"id": "\ud83d"}, None),
        envelope("r", None, ROW, snapshot="\ud83d"),
        envelope("u", None, ROW | {"note": "\ude00\ud83d"}),
    ]
    assert refusals(judged(STREAM, records(spark, [(b"k", one) for one in halves]))) == [("encoding", "")] * len(halves)


def test_what_only_looks_like_half_of_a_pair_comes_through(spark: SparkSession) -> None:
    notes = ["why?", "\\ud83d", "\U0001f600", "?\U0001f600?", "C:\\users", "\ufffd"]
    found = judged(STREAM, records(spark, [(b"k", changed(note=one)) for one in notes]))
    assert (refusals(found), [one.note for one in found]) == ([None] * len(notes), notes)


def test_bytes_that_are_no_utf8_are_refused_and_kept(spark: SparkSession) -> None:
    broken = [changed().replace(b'"x"', b'"\xff"'), b"\xff", b"", b"{", changed(note="?") + b"\xff"]
    found = judged(STREAM, records(spark, [(b"k", one) for one in broken]))
    assert refusals(found) == [("encoding", ""), ("encoding", ""), ("json", ""), ("json", ""), ("encoding", "")]
    assert [bytes(one._raw) for one in found] == broken


def test_whatever_follows_the_value_is_refused(spark: SparkSession) -> None:
    seal = b',{"end":"0"}'
    tails = [b"{}", b"x", b",", b"]", b"] x", b",{}", b",{}]", b",null]", seal, seal + b"]", seal + b"] x", b"\x00"]
    found = judged(STREAM, records(spark, [(b"k", changed() + tail) for tail in tails]))
    assert refusals(found) == [("json", "")] * len(tails)
    around = [b" " + changed() + b"\n", changed().replace(b'"op"', b'"end":"0","op"')]
    assert refusals(judged(STREAM, records(spark, [(b"k", one) for one in around]))) == [None] * len(around)
