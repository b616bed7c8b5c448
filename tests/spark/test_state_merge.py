"""State is what the newest change of each key says, whatever order they arrive in."""

from __future__ import annotations

import hashlib
import random
import shutil
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from pyspark.sql import SparkSession

from contracts.spark_types import history_columns
from contracts.stream import Column, Pipeline, Stream, TableSource
from streaming_jobs.delta_commit import TableTransaction
from streaming_jobs.lake import create_derived, create_table, ddl, state_columns, table_path
from streaming_jobs.state import Snapshot, complete_snapshot, create_views, merge_state

pytestmark = [pytest.mark.spark, pytest.mark.timeout(400)]
EPOCH = 10**15
AT = datetime(2026, 1, 1, tzinfo=UTC)
Change = tuple[int, str, int | None, str | None, str | None]
"""(offset, op, id, name, snapshot marker)"""


class Table:
    """A history and a state of one stream, written as the streaming job does."""

    def __init__(self, spark: SparkSession, folder: Path, name: str, id_type: str = "bigint") -> None:
        self.spark, self.lake_url = spark, f"file://{folder}/lake"
        columns = (Column("id", id_type), Column("name", "string"))
        pipeline = f"d{hashlib.md5(str(folder).encode()).hexdigest()[:8]}"
        self.stream = Stream(pipeline, name, f"x.public.{name}", TableSource("public", name), columns, ("id",))
        self.path = table_path(self.lake_url, pipeline, name)
        create_table(spark, self.stream.history, self.path, history_columns(self.stream))
        self._create_state()

    def add(self, changes: Sequence[Change], kind: str = "batch") -> None:
        rows = [
            (key, name, op, EPOCH + offset, *_digests(key, name), "x", 0, offset, AT, AT, marker, None, None)
            for offset, op, key, name, marker in changes
        ]
        offsets = [change[0] for change in changes]
        span = {"topic": "x", "topic_id": "T", "partition": 0, "first": min(offsets), "next": max(offsets) + 1}
        span |= {"rows": len(rows), "accepted": len(rows), "conflicting": 0}
        transaction = TableTransaction(self.spark, self.path)
        transaction.write(self.spark.createDataFrame(rows, ddl(history_columns(self.stream))).coalesce(1))
        position = max(transaction.position("T:x-0") or 0, max(offsets) + 1)
        transaction.commit({"T:x-0": position, "epoch:T": 1}, {"headrace": 1, "kind": kind, "ranges": [span]})

    def merge(self) -> None:
        merge_state(self.spark, self.stream, self.lake_url)

    def forget_state(self) -> None:
        self.spark.sql(f"drop table {self.stream.history}_state")
        shutil.rmtree(urlsplit(f"{self.path}_state").path)
        self._create_state()

    def declare(self, id_type: str) -> None:
        """Another type in the contract, and `headrace apply`."""
        self.stream = replace(self.stream, columns=(Column("id", id_type), self.stream.columns[1]))
        create_table(self.spark, self.stream.history, self.path, history_columns(self.stream))
        pipeline = Pipeline(self.stream.pipeline, (self.stream,), Path(), Path(), Path())
        create_derived(self.spark, pipeline, self.lake_url)
        create_views(self.spark, pipeline, self.lake_url)

    def _create_state(self) -> None:
        name = f"{self.stream.history}_state"
        create_table(self.spark, name, f"{self.path}_state", state_columns(self.stream))

    def state(self) -> dict[int, tuple[str | None, int, bool]]:
        rows = self.spark.table(f"{self.stream.history}_state").collect()
        assert len(rows) == len({bytes(row["_key"]) for row in rows})
        return {row["id"]: (row["name"], row["_version"] - EPOCH, row["_deleted"]) for row in rows}

    def current(self) -> dict[int, str]:
        rows = self.spark.table(f"{self.stream.history}_current").collect()
        assert len(rows) == len({bytes(row["_key"]) for row in rows})
        return {row["id"]: row["name"] for row in rows}


def _digests(key: int | None, name: str | None) -> tuple[bytes | None, bytes | None]:
    return (None, None) if key is None else (str(key).encode(), str(name).encode())


def _expected(changes: Sequence[Change]) -> dict[int, tuple[str | None, int, bool]]:
    newest: dict[int, tuple[str | None, int, bool]] = {}
    for offset, op, key, name, _ in sorted(changes):
        if key is None:
            newest |= dict.fromkeys(newest, (None, offset, True))
        else:
            newest[key] = (name, offset, op == "d")
    return newest


def test_a_column_gets_wider_under_the_rows_that_are_there(spark: SparkSession, tmp_path: Path) -> None:
    table = Table(spark, tmp_path, "people", "int")
    table.add([(0, "c", 1, "a", None), (1, "c", 2, "b", None)])
    table.merge()
    table.add([(2, "c", 3, "c", None)])
    table.declare("bigint")
    assert table.current() == {1: "a", 2: "b", 3: "c"}
    large = 2**40
    table.add([(3, "c", large, "large", None), (4, "u", 1, "a2", None)])
    expected = {1: "a2", 2: "b", 3: "c", large: "large"}
    assert table.current() == expected
    table.merge()
    assert table.current() == expected
    assert table.state().keys() == expected.keys()
    assert spark.table(f"{table.stream.history}_current").schema["id"].dataType.simpleString() == "bigint"


@pytest.mark.parametrize("seed", [1])
def test_any_order_and_split_gives_the_same_state(spark: SparkSession, tmp_path: Path, seed: int) -> None:
    choose = random.Random(seed)
    changes: list[Change] = [
        (offset, choose.choice("ccuud"), choose.randrange(6), f"n{offset}", None) for offset in range(40)
    ]
    changes = [(o, op, key, None if op == "d" else name, m) for o, op, key, name, m in changes]
    table = Table(spark, tmp_path, "people")
    table.add(changes[30:])  # the newest first: everything after it is older than the position
    table.merge()
    rest = changes[:30]
    choose.shuffle(rest)
    table.add(rest[:17], kind="replay")
    table.add(rest[10:], kind="replay")  # an overlap: repeated rows change nothing
    table.merge()
    table.merge()
    assert table.state() == _expected(changes)
    assert table.current() == {key: name for key, (name, _, dead) in _expected(changes).items() if not dead}


def test_a_truncate_deletes_what_is_older_whenever_it_is_merged(spark: SparkSession, tmp_path: Path) -> None:
    changes: list[Change] = [(0, "c", 1, "a", None), (1, "c", 2, "b", None), (3, "t", None, None, None)]
    changes += [(5, "c", 2, "b2", None), (6, "t", None, None, None), (7, "c", 3, "c", None)]
    alive = {3: "c"}
    for number, order in enumerate(([0, 1, 2, 3, 4, 5], [5, 4, 0, 2, 1, 3], [0, 1, 5, 3, 4, 2])):
        table = Table(spark, tmp_path, f"people{number}")
        seen = -1
        for change in (changes[place] for place in order):
            table.add([change], kind="batch" if change[0] > seen else "replay")
            seen = max(seen, change[0])
            table.merge()
        assert table.state() == _expected(changes)
        assert table.current() == alive


def test_current_sees_a_truncate_before_the_merge_and_a_new_state_table_after_it(
    spark: SparkSession, tmp_path: Path
) -> None:
    table = Table(spark, tmp_path, "people")
    table.add([(0, "c", 1, "a", None), (1, "c", 2, "b", None)])
    table.merge()
    table.add([(2, "u", 1, "a2", None), (3, "t", None, None, None), (4, "c", 2, "b2", None)])
    assert table.current() == {2: "b2"}
    table.merge()
    assert table.current() == {2: "b2"}
    table.add([(5, "t", None, None, None)])
    assert table.current() == {}
    before = spark.table(f"{table.stream.history}_state").agg({"_merged": "max"}).first()
    table.merge()
    told = spark.table(f"{table.stream.history}_state").where("id = 2").first()
    assert before
    assert told
    assert (told["_deleted"], told["_version"] - EPOCH, told["_merged"] > before[0]) == (True, 5, True)
    # The history alone says it all: a state table that is made anew is the same.
    held = table.state()
    table.forget_state()
    table.merge()
    assert table.state() == held


def test_a_late_update_does_not_bring_a_deleted_row_back(spark: SparkSession, tmp_path: Path) -> None:
    table = Table(spark, tmp_path, "people")
    table.add([(0, "c", 1, "a", None), (5, "d", 1, None, None)])
    table.merge()
    table.add([(3, "u", 1, "late", None)], kind="replay")
    table.merge()
    assert table.state() == {1: (None, 5, True)}
    assert table.current() == {}


def test_a_key_change_is_a_delete_and_a_create_and_current_sees_it_before_the_merge(
    spark: SparkSession, tmp_path: Path
) -> None:
    table = Table(spark, tmp_path, "people")
    table.add([(0, "c", 1, "a", None), (1, "c", 2, "b", None)])
    table.merge()
    table.add([(2, "d", 1, None, None), (3, "c", 9, "a", None)])
    assert table.current() == {2: "b", 9: "a"}
    table.merge()
    assert table.current() == {2: "b", 9: "a"}
    assert table.state()[1] == (None, 2, True)


def test_ghosts_of_an_interrupted_snapshot_are_swept_by_the_next_complete_one(
    spark: SparkSession, tmp_path: Path
) -> None:
    table = Table(spark, tmp_path, "people")
    table.add([(0, "r", 1, "a", "first"), (1, "r", 2, "ghost", "true"), (2, "r", 3, "c", "true")])
    table.merge()
    assert set(table.current()) == {1, 2, 3}  # interrupted: nothing may be swept yet
    table.add([(3, "r", 1, "a", "first_in_data_collection"), (4, "r", 3, "c", "true")])
    table.merge()
    assert set(table.current()) == {1, 2, 3}  # not complete yet
    table.add([(6, "r", 5, "e", "last_in_data_collection"), (7, "u", 3, "c2", None), (8, "c", 6, "f", None)])
    before = spark.table(f"{table.stream.history}_state").agg({"_merged": "max"}).first()
    table.merge()
    assert table.current() == {1: "a", 3: "c2", 5: "e", 6: "f"}
    assert table.state()[2] == (None, 3, True)  # below the snapshot's other rows, above all that was before
    swept = spark.table(f"{table.stream.history}_state").where("id = 2").first()
    assert before
    assert swept
    assert swept["_merged"] > before[0]  # the warehouse is told
    table.add([(5, "r", 2, "fixed", "true")], kind="replay")  # a row of the snapshot that had been quarantined
    table.merge()
    assert table.current()[2] == "fixed"
    assert table.state()[2] == ("fixed", 5, False)  # newer than its sweep: a reader that goes by versions takes it
    table.add([(1, "r", 2, "ghost", "true")], kind="replay")
    table.merge()
    assert table.current()[2] == "fixed"


def test_a_snapshot_whose_first_row_was_refused_sweeps_when_that_row_is_fixed(
    spark: SparkSession, tmp_path: Path
) -> None:
    table = Table(spark, tmp_path, "people")
    table.add([(0, "c", 1, "a", None), (1, "c", 2, "ghost", None)])
    table.add([(4, "r", 3, "c", "true"), (5, "r", 4, "d", "last")])
    table.merge()
    assert table.current() == {1: "a", 2: "ghost", 3: "c", 4: "d"}  # where it began is not known
    table.add([(3, "r", 1, "a", "first")], kind="replay")
    table.merge()
    assert table.current() == {1: "a", 3: "c", 4: "d"}


def test_a_snapshot_of_one_row_has_a_last_one_only(spark: SparkSession, tmp_path: Path) -> None:
    rows = [(7, "true"), (8, "first"), (9, "last"), (11, "true"), (12, "incremental"), (14, "last")]
    assert _snapshot(spark, rows[:1]) is None
    assert _snapshot(spark, rows[:3]) == Snapshot(8, 9)
    assert _snapshot(spark, rows) is None
    assert _snapshot(spark, [*rows[:3], (20, "last")]) == Snapshot(20, 20)


def _snapshot(spark: SparkSession, rows: Sequence[tuple[int, str]]) -> Snapshot | None:
    return complete_snapshot(spark, spark.createDataFrame(rows, "_version bigint, _snapshot string"))
