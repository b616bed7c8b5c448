"""Any order, repetition and split of a table's changes gives what the source holds: compared with plain Python."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pyspark.sql import SparkSession

from contracts.canonical import hash_python, key_python
from contracts.spark_types import history_columns
from contracts.stream import Column, Stream, TableSource
from streaming_jobs.delta_commit import TableTransaction
from streaming_jobs.lake import create_table, ddl, state_columns, table_path
from streaming_jobs.state import merge_state

EXAMPLES = int(os.environ.get("HEADRACE_CHAOS_SEEDS", "8"))
pytestmark = [pytest.mark.spark, pytest.mark.timeout(max(600, 30 * EXAMPLES))]
EPOCH = 10**15
AT = datetime(2026, 1, 1, tzinfo=UTC)
COLUMNS = (Column("id", "bigint"), Column("n", "int"), Column("note", "string"), Column("data", "binary"))
TABLE_NUMBER = count()
Row = tuple[int, str, bytes]
"""n, note, data: the last two may be large."""


@dataclass(frozen=True)
class Change:
    """One record of a topic; `row` as the source holds it, `unsent` the columns that the record lacks of it."""

    offset: int
    op: str
    key: int | None = None
    row: Row | None = None
    unsent: tuple[str, ...] = ()
    moved: int | None = None
    snapshot: str | None = None


@dataclass
class Source:
    """A table and its topic, as Postgres and Debezium keep them."""

    rows: dict[int, Row] = field(default_factory=dict)
    topic: list[Change] = field(default_factory=list)

    def send(self, op: str, key: int | None = None, row: Row | None = None, **more: object) -> None:
        self.topic.append(Change(len(self.topic), op, key, row, **more))  # type: ignore[arg-type]

    def put(self, key: int, same: int) -> None:
        """Insert, or an update that leaves note (same & 1) and data (same & 2) as they are."""
        serial = len(self.topic)
        new: Row = (serial, f"note {serial}", b"data %d" % serial)
        old = self.rows.get(key)
        if old is None:
            self.rows[key] = new
            self.send("c", key, new)
            return
        self.rows[key] = (serial, old[1] if same & 1 else new[1], old[2] if same & 2 else new[2])
        self.send("u", key, self.rows[key], unsent=_unsent(same))

    def move(self, key: int, to: int, same: int) -> None:
        """Change a primary key, and what `same` does not keep."""
        if key not in self.rows or to in self.rows:
            return self.put(key, same)
        serial, old = len(self.topic), self.rows.pop(key)
        note, data = old[1] if same & 1 else f"moved {serial}", old[2] if same & 2 else b"moved %d" % serial
        self.rows[to] = (serial, note, data)
        self.send("d", key, moved=to)
        self.send("c", to, self.rows[to], unsent=_unsent(same), moved=key)
        return None

    def delete(self, key: int) -> None:
        if self.rows.pop(key, None):
            self.send("d", key)

    def truncate(self) -> None:
        self.rows.clear()
        self.send("t")

    def snapshot(self, lost: int) -> None:
        """Read everything again, after the delete of one row was lost."""
        self.rows.pop(lost, None)
        for number, (key, row) in enumerate(self.rows.items(), start=1):
            marker = "last" if number == len(self.rows) else "first" if number == 1 else "true"
            self.send("r", key, row, snapshot=marker)
        if not self.rows:
            self.send("t")


def _unsent(same: int) -> tuple[str, ...]:
    return tuple(name for bit, name in ((1, "note"), (2, "data")) if same & bit)


class Lake:
    """History, state and view of one stream, written as the streaming job does."""

    def __init__(self, spark: SparkSession, folder: Path) -> None:
        self.spark, self.lake_url = spark, f"file://{folder}/lake"
        name, pipeline = f"t{next(TABLE_NUMBER)}", f"d{hashlib.md5(str(folder).encode()).hexdigest()[:8]}"
        self.stream = Stream(pipeline, name, f"x.public.{name}", TableSource("public", name), COLUMNS, ("id",))
        self.path = table_path(self.lake_url, pipeline, name)
        create_table(spark, self.stream.history, self.path, history_columns(self.stream))
        create_table(spark, f"{self.stream.history}_state", f"{self.path}_state", state_columns(self.stream))
        self.key, self.hash = key_python(COLUMNS[:1]), hash_python(COLUMNS)
        self.seen = -1

    def add(self, changes: Sequence[Change]) -> None:
        """Those past the position as a batch, the others as a replay that found them missing."""
        for kind in ("batch", "replay"):
            some = [change for change in changes if (change.offset > self.seen) == (kind == "batch")]
            if some:
                self._commit(some, kind)
        self.seen = max([self.seen, *(change.offset for change in changes)])

    def _commit(self, changes: Sequence[Change], kind: str) -> None:
        first, end = min(c.offset for c in changes), max(c.offset for c in changes) + 1
        span = {"topic": "x", "topic_id": "T", "partition": 0, "first": first, "next": end}
        span |= {"rows": len(changes), "accepted": len(changes), "conflicting": 0}
        transaction = TableTransaction(self.spark, self.path)
        rows = self.spark.createDataFrame([self._row(change) for change in changes], ddl(history_columns(self.stream)))
        transaction.write(rows.coalesce(1))
        position = max(transaction.position("T:x-0") or 0, end)
        transaction.commit({"T:x-0": position, "epoch:T": 1}, {"headrace": 1, "kind": kind, "ranges": [span]})

    def _row(self, change: Change) -> tuple[object, ...]:
        n, note, data = change.row or (None, None, None)
        note, data = (None if "note" in change.unsent else note), (None if "data" in change.unsent else data)
        values = {"id": change.key, "n": n, "note": note, "data": data}
        key = None if change.key is None else self.key(values)
        moved = None if change.moved is None else self.key({"id": change.moved})
        content = None if key is None or change.unsent else self.hash(values)
        own = (change.op, EPOCH + change.offset, key, content, "x", 0, change.offset, AT, AT)
        return (*values.values(), *own, change.snapshot, list(change.unsent) or None, moved)

    def merge(self) -> None:
        merge_state(self.spark, self.stream, self.lake_url)

    def current(self) -> dict[int, Row]:
        rows = self.spark.table(f"{self.stream.history}_current").collect()
        for row in rows:
            assert bytes(row["_hash"]) == self.hash(row.asDict()), "the hash is of something else"
        found = {row["id"]: (row["n"], row["note"], bytes(row["data"])) for row in rows}
        assert len(found) == len(rows)
        return found

    def pending(self) -> dict[int, list[str]]:
        rows = self.spark.table(f"{self.stream.history}_state").where("_unavailable is not null").collect()
        return {row["id"]: row["_unavailable"] for row in rows}


KEYS = st.integers(1, 4)
SAME = st.integers(0, 3)
DEED = st.one_of(
    st.tuples(st.just("put"), KEYS, SAME),
    st.tuples(st.just("put"), KEYS, SAME),
    st.tuples(st.just("move"), KEYS, KEYS, SAME),
    st.tuples(st.just("delete"), KEYS),
    st.tuples(st.just("truncate")),
    st.tuples(st.just("snapshot"), KEYS),
)


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],  # every step towards a smaller example would take seconds
    suppress_health_check=list(HealthCheck),
)
@given(deeds=st.lists(DEED, min_size=12, max_size=28), data=st.data())
def test_any_order_gives_what_the_source_holds(
    spark: SparkSession, tmp_path: Path, deeds: list[tuple[object, ...]], data: st.DataObject
) -> None:
    source, lake = Source(), Lake(spark, tmp_path)
    for name, *arguments in deeds:
        getattr(source, str(name))(*arguments)
    parts: list[list[Change]] = [[], []]
    for change in source.topic:
        where = data.draw(st.sampled_from(((0,), (0,), (1,), (0, 1))), label=f"{change}")
        for part in where:
            parts[part].append(change)
    for part in parts:
        lake.add(part)
        lake.merge()
    assert lake.current() == source.rows
    assert lake.pending() == {}


def test_in_order_current_is_right_before_every_merge_and_after_it(spark: SparkSession, tmp_path: Path) -> None:
    source, lake = Source(), Lake(spark, tmp_path)
    lake.merge()  # makes the view
    rounds: list[list[tuple[object, ...]]] = [
        [("put", 1, 0), ("put", 2, 0), ("put", 1, 3)],
        [("put", 1, 1), ("put", 1, 2), ("move", 2, 3, 3)],  # the value of 3 is in the state, under 2
        [("put", 3, 3), ("move", 1, 2, 1), ("put", 1, 0)],  # 1 is somebody else now
        [("truncate",), ("put", 2, 3)],
        [("move", 2, 4, 3), ("delete", 4), ("put", 4, 0), ("put", 4, 3)],
    ]
    for deeds in rounds:
        before = len(source.topic)
        for name, *arguments in deeds:
            getattr(source, str(name))(*arguments)
        lake.add(source.topic[before:])
        assert lake.current() == source.rows
        lake.merge()
        assert lake.current() == source.rows
        assert lake.pending() == {}


def test_what_cannot_be_known_is_pending_and_never_null(spark: SparkSession, tmp_path: Path) -> None:
    source, lake = Source(), Lake(spark, tmp_path)
    source.put(1, 0)
    source.put(2, 0)
    source.put(1, 1)
    source.move(2, 3, 3)
    source.put(3, 2)
    refused = [change for change in source.topic if change.op == "c" and not change.moved]
    lake.add([change for change in source.topic if change not in refused])
    lake.merge()
    assert lake.current() == {}
    assert lake.pending() == {1: ["note"], 3: ["data"]}
    lake.add(refused[:1])
    lake.merge()
    assert lake.current() == {1: source.rows[1]}
    lake.add(refused[1:])
    lake.merge()
    assert lake.current() == source.rows
    assert lake.pending() == {}


def test_a_value_that_a_replay_brings_reaches_the_rows_that_kept_it(spark: SparkSession, tmp_path: Path) -> None:
    source, lake = Source(), Lake(spark, tmp_path)
    source.put(1, 0)
    source.put(1, 0)  # refused at first: what follows keeps the older value, as far as anybody knows
    source.put(1, 3)
    source.move(1, 2, 3)
    source.put(2, 3)
    late = source.topic[1]
    lake.add([change for change in source.topic if change is not late])
    lake.merge()
    stale = source.topic[0].row
    assert stale
    assert lake.current() == {2: (source.rows[2][0], *stale[1:])}
    version = spark.table(f"{lake.stream.history}_state").agg({"_merged": "max"}).first()
    lake.add([replace(late)])
    lake.merge()
    assert lake.current() == source.rows
    told = spark.table(f"{lake.stream.history}_state").where("id = 2").first()
    assert version
    assert told
    assert told["_merged"] > version[0]  # the warehouse is told, in the same version
