"""Fields that a contract does not declare: kept beside the row, refused, or the end of the stream, as it says."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from pyspark.sql import SparkSession

from contracts.errors import ServiceUnavailable
from contracts.stream import Column, Pipeline, Stream
from contracts.wire import RowKey, encode_row_key
from headrace.app import App
from headrace.evolution import other_fields, warnings
from streaming_jobs.counts import Counts
from streaming_jobs.delta_commit import read_positions
from streaming_jobs.lake import create_derived
from streaming_jobs.ledger import refresh_ledger
from streaming_jobs.quarantine import StreamParked
from streaming_jobs.state import merge_state
from streaming_jobs.stopping import FieldsChanged, TableChange
from streaming_jobs.tables import create_history
from tests.spark.test_streaming_ingest_batches import CDC, FILES, Lake, Record


def row(number: int, header: str, text: str, file: str = "a") -> Record:
    key = RowKey(file * 64, number, "csv", "scores_2025-03-01.csv", header)
    return encode_row_key(key), text.encode()


def change(op: str, fields: dict[str, Any]) -> Record:
    before, after = (fields, None) if op == "d" else (None, fields)
    return b"k", json.dumps({"before": before, "after": after, "source": {"ts_us": 1}, "op": op}).encode()


def rescued(lake: Lake) -> list[dict[str, str | None] | None]:
    return [found["_rescued"] for found in lake.history()]


def as_pipeline(lake: Lake, folder: Path) -> Pipeline:
    return Pipeline(lake.stream.pipeline, (lake.stream,), folder, folder, folder)


def test_rows_of_files_keep_what_is_not_declared(spark: SparkSession, tmp_path: Path) -> None:
    before = Lake(spark, FILES, str(tmp_path / "before"))
    before.records = [row(2, "id,score", "x,1"), row(3, "id,score,discount", "y,1,5")]
    assert before.run(before.range(0, 2)).counts == Counts(accepted=1, quarantined=1)
    (undeclared,) = before.quarantined()
    assert (undeclared["rule"], undeclared["reason"]) == ("undeclared_field", "not in the contract: discount")

    lake = Lake(spark, replace(FILES, evolution="evolve"), str(tmp_path / "lake"))
    wide = "id,discount,score,note"
    lake.records = [
        row(2, "id,score", "x,1"),
        row(3, wide, "y,5,1,"),
        row(4, wide, "y,5,1,"),
        row(5, wide, 'y,5,1,""'),
        row(6, "id,score,discount", "z,101,5"),  # a row rule refuses it
        row(7, "id,score,discount", "z,1,5.00"),
    ]
    result = lake.run(lake.range(0, 6))
    assert result.counts == Counts(accepted=3, duplicate=1, conflicting=1, quarantined=1)
    five: dict[str, str | None] = {"discount": "5", "note": None}
    assert rescued(lake) == [None, five, {"discount": "5", "note": ""}, {"discount": "5.00"}]
    assert lake.history()[0]["_hash"] == before.history()[0]["_hash"]
    assert result.version is not None
    assert lake.metadata(result.version)["rescued"] == {"discount": 3, "note": 2}
    assert spark.sql(f"select _rescued['discount'] from {lake.stream.history} where id = 'z'").first() == ("5.00",)


def test_a_field_that_is_declared_later_is_typed_from_then_on_and_a_replay_adds_nothing(
    spark: SparkSession, tmp_path: Path
) -> None:
    lake = Lake(spark, replace(FILES, evolution="evolve"), str(tmp_path))
    wide = "id,score,discount,note"
    # Line 4 only repeats line 2; the replay meets it without line 2.
    lake.records = [row(2, wide, "x,1,5,a"), row(3, wide, "y,1,7,"), row(4, wide, "x,1,5,a")]
    assert lake.run(lake.range(0, 3)).counts == Counts(accepted=2, duplicate=1)
    declared = replace(lake.stream, columns=(*FILES.columns, Column("discount", "decimal(5,2)")))
    create_history(spark, declared, lake.url)
    for first in (0, 2):
        replayed = lake.run(lake.range(first, first + 2 if first == 0 else 3), "replay", declared)
        assert replayed.counts == Counts(duplicate=2 if first == 0 else 1)
    lake.records.append(row(5, wide, "z,1,9,b"))
    assert lake.run(lake.range(3, 4), stream=declared).counts == Counts(accepted=1)
    found = [(one["id"], one["discount"] and str(one["discount"]), one["_rescued"]) for one in lake.history()]
    assert found == [
        ("x", None, {"discount": "5", "note": "a"}),
        ("y", None, {"discount": "7", "note": None}),
        ("z", "9.00", {"note": "b"}),
    ]


def test_changes_of_a_table_keep_them_in_history_state_and_current(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The contract changes to `evolve` while the tables are there.
    lake = Lake(spark, CDC, str(tmp_path))
    create_derived(spark, as_pipeline(lake, tmp_path), lake.url)
    lake.records = [change("c", {"id": 1, "price": "1.00"}), change("c", {"id": 2, "price": "2.00"})]
    lake.run(lake.range(0, 2))
    merge_state(spark, lake.stream, lake.url)
    lake.stream = stream = replace(lake.stream, evolution="evolve")
    pipeline = as_pipeline(lake, tmp_path)
    create_history(spark, stream, lake.url)
    create_derived(spark, pipeline, lake.url)
    lake.records += [
        change("u", {"id": 1, "price": "1.00", "tags": ["a"], "discount": None}),
        change("c", {"id": 3, "discount": "5"}),  # `price` is gone
        change("d", {"id": 2, "price": None, "discount": None}),
    ]
    assert lake.run(lake.range(2, 5)).counts == Counts(accepted=3)

    def current() -> list[tuple[object, ...]]:
        view = spark.table(f"{stream.history}_current").selectExpr("id", "cast(price as string)", "_rescued")
        return sorted(tuple(one) for one in view.collect())

    merge_state(spark, stream, lake.url)
    rows = [(1, "1.00", {"tags": '["a"]', "discount": None}), (3, None, {"discount": "5"})]
    assert current() == rows
    assert rescued(lake) == [None, None, rows[0][2], rows[1][2], None]
    # Two sets of names in one batch: the written files are asked.
    refresh_ledger(spark, pipeline, lake.url)
    ledger = spark.table(f"{pipeline.name}_lake.ledger").where("rescued is not null")
    assert [one["rescued"] for one in ledger.collect()] == [{"discount": 2, "tags": 1}]
    app = cast(App, SimpleNamespace(pipeline=pipeline))
    monkeypatch.setattr("headrace.evolution.rows_of", lambda _, query: [r.asDict() for r in spark.sql(query).collect()])
    told = [(one["stream"], one["fields"], one["rows"], one["rows are"]) for one in other_fields(app)]
    kept = ("things", "not in the contract: discount", 2, "kept in _rescued")
    assert told == [kept, ("things", "not in the contract: tags", 1, "kept in _rescued")]
    # Back again: a newer change of a row does not keep what an older one brought.
    merged = replace(stream, evolution="quarantine")
    lake.records += [change("u", {"id": 1, "price": "3.00"}), change("u", {"id": 3, "price": "1.00", "discount": "5"})]
    assert lake.run(lake.range(5, 7), stream=merged).counts == Counts(accepted=1, quarantined=1)
    merge_state(spark, merged, lake.url)
    merge_state(spark, stream, lake.url)
    assert current() == [(1, "3.00", None), rows[1]]
    # What is declared by now is no news any more; what waits is, until it is replayed.
    wider = replace(stream, columns=(*stream.columns, Column("discount", "int")))
    app = cast(App, SimpleNamespace(pipeline=replace(pipeline, streams=(wider,))))
    waiting, tags = warnings(app)
    assert waiting.startswith("things: 1 rows since")
    assert "not in the contract: discount, in quarantine" in waiting
    assert "not in the contract: tags, kept in _rescued" in tags


def test_stop_parks_the_stream_in_front_of_the_change_until_the_contract_says_it(
    spark: SparkSession, tmp_path: Path
) -> None:
    lake = Lake(spark, replace(CDC, evolution="stop", file=Path("things.yaml")), str(tmp_path))
    lake.records = [
        change("c", {"id": 1, "price": "1.00"}),
        change("c", {"id": 2, "price": "much"}),  # a bad value alone stops nothing
        change("d", {"id": 1}),
        change("c", {"id": 3, "price": "3.00", "discount": "5"}),
        change("c", {"id": 4, "discount": "5"}),
    ]
    for park in (True, False):  # whoever resumes it with the same contract meets it again
        with pytest.raises(StreamParked, match=r"(?s)not in the contract: discount.*things\.yaml.*resume things") as it:
            lake.run(lake.range(0, 5), park=park)
        # What came before the change arrived.
        assert read_positions(spark, lake.history_path)["T1:p.s.things-0"] == 3
        assert [example[:2] for example in it.value.examples] == [(3, "undeclared_field"), (4, "undeclared_field")]
    assert [(one["id"], one["_op"]) for one in lake.history()] == [(1, "c"), (1, "d")]
    assert [one["offset"] for one in lake.quarantined()] == [1]
    wider = replace(lake.stream, columns=(*CDC.columns, Column("discount", "int")))
    create_history(spark, wider, lake.url)
    with pytest.raises(StreamParked, match="missing: price"):
        lake.run(lake.range(3, 5), stream=wider)
    gone = replace(wider, columns=(CDC.columns[0], wider.columns[2]))
    assert lake.run(lake.range(4, 5), stream=gone, park=False).counts == Counts(accepted=1)
    assert [one["discount"] for one in lake.history()] == [None, None, 5, 5]


class Source:
    """What a source's catalog says; a test changes it as somebody changes the table."""

    def __init__(self) -> None:
        self.changes: list[TableChange] = []
        self.answers = True
        self.asked = 0

    def __call__(self, stream: Stream) -> list[TableChange]:
        self.asked += 1
        if not self.answers:
            raise ServiceUnavailable(f"nobody says what the table of {stream.name} is like")
        return self.changes


def test_stop_asks_the_source_whether_values_do_not_fit_because_the_table_was_changed(
    spark: SparkSession, tmp_path: Path
) -> None:
    source, lake = Source(), Lake(spark, replace(CDC, evolution="stop", file=Path("things.yaml")), str(tmp_path))
    prices = ("1.00", "NaN", "2.00", "3.00", "much", "4.00", "cheap")
    lake.records = [change("c", {"id": at, "price": price}) for at, price in enumerate(prices)]

    def position() -> int:
        return read_positions(spark, lake.history_path)["T1:p.s.things-0"]

    # An odd value of a table that is as it was; and where nothing is odd, nobody is asked.
    odd = lake.run(lake.range(0, 2), table_changes=source)
    assert (odd.counts, source.asked) == (Counts(accepted=1, quarantined=1), 1)
    lake.run(lake.range(2, 3), table_changes=source)
    assert (position(), source.asked) == (3, 1)

    # While the source does not answer nothing is committed, also nothing of what would fit.
    source.answers = False
    with pytest.raises(ServiceUnavailable):
        lake.run(lake.range(3, 7), table_changes=source)
    assert (position(), len(lake.quarantined())) == (3, 1)

    # Once it says that the table changed, the stream stands in front of the first value that does not fit.
    source.answers, source.changes = True, [TableChange("s.things.price: numeric became text", "things.yaml: say text")]
    said = (
        r"(?s)numeric became text.*is stop.*offset 4: type price.*from 4 on.*say text; or .*quarantine.*resume things"
    )
    for park in (True, False):
        with pytest.raises(FieldsChanged, match=said) as it:
            lake.run(lake.range(3, 7), park=park, table_changes=source)
        assert position() == 4
        assert [example[:3] for example in it.value.examples] == [(4, "type", "price"), (6, "type", "price")]
    assert len(lake.quarantined()) == 1

    # Other fields in front of such a value stop it by themselves.
    lake.records.insert(4, change("c", {"id": 9, "price": "9.00", "discount": "5"}))
    asked = source.asked
    with pytest.raises(FieldsChanged, match="not in the contract: discount"):
        lake.run(lake.range(4, 8), table_changes=source)
    lake.records.pop(4)

    # Nor is anybody asked under another policy, in a replay, or where no source is known.
    refusing = replace(lake.stream, evolution="quarantine")
    assert lake.run(lake.range(4, 6), stream=refusing, table_changes=source).counts == Counts(accepted=1, quarantined=1)
    assert lake.run(lake.range(3, 6), "replay", table_changes=source).counts == Counts(duplicate=2, quarantined=1)
    assert lake.run(lake.range(6, 7)).counts == Counts(quarantined=1)
    assert source.asked == asked
    assert [(one["_offset"], str(one["price"])) for one in lake.history()] == [
        (0, "1.00"),
        (2, "2.00"),
        (3, "3.00"),
        (5, "4.00"),
    ]
    assert [one["offset"] for one in lake.quarantined()] == [1, 4, 6]


def test_of_the_values_of_a_file_no_source_is_asked(spark: SparkSession, tmp_path: Path) -> None:
    source, lake = Source(), Lake(spark, replace(FILES, evolution="stop"), str(tmp_path))
    source.answers = False
    lake.records = [row(2, "id,score", "x,1"), row(3, "id,score", "y,one")]
    assert lake.run(lake.range(0, 2), table_changes=source).counts == Counts(accepted=1, quarantined=1)
