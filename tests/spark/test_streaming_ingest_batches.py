"""A batch commits rows, position and counts together: twice is once, order does not matter, nothing is left out."""

from __future__ import annotations

import json
import random
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyspark.sql import DataFrame, Row, SparkSession

from contracts.errors import Conflict, LedgerMismatch
from contracts.stream import Column, FileSource, Rule, Stream, TableSource
from contracts.wire import RowKey, encode_row_key
from streaming_jobs import quarantine
from streaming_jobs.counts import Counts, GroupCounter
from streaming_jobs.delta_commit import TableTransaction, read_positions
from streaming_jobs.ingest import BatchResult, Kind, ingest
from streaming_jobs.lake import table_path
from streaming_jobs.quarantine import StreamParked
from streaming_jobs.ranges import Range
from streaming_jobs.tables import create_history, create_quarantine

RECORD = "key binary, value binary, topic string, partition int, offset bigint, timestamp timestamp"
NOW = datetime(2025, 3, 1, 12, tzinfo=UTC)
Record = tuple[bytes | None, bytes | None]

CDC = Stream(
    "p",
    "things",
    "p.s.things",
    TableSource("s", "things"),
    (Column("id", "bigint", required=True), Column("price", "decimal(5,2)")),
    ("id",),
    quarantine_limit=0.5,
    quarantine_minimum=10,
)
FILES = Stream(
    "p",
    "scores",
    "p.files.scores",
    FileSource(r"scores_(?P<day>\d{4}-\d{2}-\d{2})\.csv", "csv", unit="day"),
    (Column("id", "string", required=True), Column("score", "int"), Column("day", "date", from_file_name=True)),
    ("id",),
    rules=(Rule("in_range", "score between 0 and 100", "score"),),
    partition_by="day",
    quarantine_limit=1.0,
)


class Lake:
    """A topic as a list of records, and the tables that it goes into."""

    def __init__(self, spark: SparkSession, stream: Stream, url: str) -> None:
        # A pipeline of its own: the session's catalog outlives a test.
        self.stream = stream = replace(stream, pipeline=f"p{uuid.uuid4().hex[:12]}")
        self.spark, self.url = spark, url
        self.records: list[Record] = []
        create_quarantine(spark, stream.pipeline, url)
        create_history(spark, stream, url)

    @property
    def history_path(self) -> str:
        return table_path(self.url, self.stream.pipeline, self.stream.name)

    def range(self, first: int, following: int, topic_id: str = "T1") -> Range:
        return Range(self.stream.topic, topic_id, 0, first, following)

    def frame(self) -> DataFrame:
        rows = [(key, value, self.stream.topic, 0, offset, NOW) for offset, (key, value) in enumerate(self.records)]
        return self.spark.createDataFrame(rows, RECORD)

    def run(self, one: Range, kind: Kind = "batch", stream: Stream | None = None, **options: Any) -> BatchResult:
        frame = self.frame()
        return ingest(
            self.spark, stream or self.stream, [one], self.url, "", "run", kind, NOW, records=frame, **options
        )

    def history(self) -> list[Row]:
        return self.spark.read.format("delta").load(self.history_path).orderBy("_version", "_offset").collect()

    def quarantined(self) -> list[Row]:
        path = table_path(self.url, self.stream.pipeline, "quarantine")
        rows = self.spark.read.format("delta").load(path).where(f"stream = '{self.stream.name}'")
        return rows.orderBy("topic_id", "offset").collect()

    def metadata(self, version: int) -> Mapping[str, object]:
        lines = Path(self.history_path, "_delta_log", f"{version:020d}.json").read_text().splitlines()
        commit = next(json.loads(line)["commitInfo"] for line in lines if '"commitInfo"' in line)
        found: Mapping[str, object] = json.loads(commit["userMetadata"])
        return found


@pytest.fixture
def things(spark: SparkSession, tmp_path: Path) -> Lake:
    return Lake(spark, CDC, str(tmp_path))


@pytest.fixture
def scores(spark: SparkSession, tmp_path: Path) -> Lake:
    return Lake(spark, FILES, str(tmp_path))


def change(op: str, key: int, price: str | None = "1.00") -> Record:
    row = {"id": key, "price": price}
    before, after = (row, None) if op == "d" else (None, row)
    body = {"before": before, "after": after, "source": {"ts_us": 1_700_000_000_000_000}, "op": op, "ts_ms": 1}
    return b"k", json.dumps(body).encode()


def line(file: str, number: int, text: str, day: str = "2025-03-01") -> Record:
    key = RowKey((file * 64)[:64], number, "csv", f"scores_{day}.csv", "id,score")
    return encode_row_key(key), text.encode()


def test_a_batch_twice_is_once(things: Lake) -> None:
    things.records = [change("c", 1), change("u", 1, "2.00"), change("c", 2, "1.005"), (b"k", None), change("d", 1)]
    first = things.run(things.range(0, 7))  # two offsets hold nothing that Spark can see
    assert first.counts == Counts(accepted=3, quarantined=1, no_row=1)
    before = things.history()
    again = things.run(things.range(0, 7))
    assert (again.version, again.below_position) == (None, 7)
    assert things.history() == before
    assert [(r._op, r.id, r.price, r._version) for r in before] == [
        ("c", 1, Decimal("1.00"), 10**15),
        ("u", 1, Decimal("2.00"), 10**15 + 1),
        ("d", 1, None, 10**15 + 4),
    ]
    assert read_positions(things.spark, things.history_path) == {"T1:p.s.things-0": 7, "epoch:T1": 1}
    assert first.version is not None
    assert things.metadata(first.version)["ranges"] == [
        {"topic": "p.s.things", "topic_id": "T1", "partition": 0, "first": 0, "next": 7, "rows": 5, "accepted": 3}
        | {"duplicate": 0, "conflicting": 0, "quarantined": 1, "no_row": 1, "gap": 2, "records": 5}
    ]
    refused = things.quarantined()
    assert [(r.offset, r.rule, r.column_name, r.state, bytes(r.raw)) for r in refused] == [
        (2, "type", "price", "open", things.records[2][1])
    ]


def test_a_batch_without_rows_commits_its_position(things: Lake) -> None:
    result = things.run(things.range(0, 3))
    assert (result.version, result.counts) == (1, Counts())
    assert read_positions(things.spark, things.history_path)["T1:p.s.things-0"] == 3


def test_what_lies_below_the_position_is_not_read_and_nothing_may_be_left_out(things: Lake) -> None:
    things.records = [change("c", n) for n in range(6)]
    things.run(things.range(0, 4))
    overlapping = things.run(things.range(2, 6))
    assert (overlapping.below_position, overlapping.counts.accepted) == (2, 2)
    assert len(things.history()) == 6
    with pytest.raises(LedgerMismatch, match="begins at 8, the table stands at 6"):
        things.run(things.range(8, 9))


def test_a_topic_made_again_starts_a_newer_epoch(things: Lake) -> None:
    things.records = [change("c", 1), change("c", 2)]
    things.run(things.range(0, 2))
    things.records = [change("c", 1, "9.00")]
    things.run(things.range(0, 1, topic_id="T2"))
    assert [r._version for r in things.history()] == [10**15, 10**15 + 1, 2 * 10**15]


def test_of_two_writers_one_gets_a_conflict(things: Lake) -> None:
    things.records = [change("c", 1), change("c", 2)]
    slow = TableTransaction(things.spark, things.history_path)
    things.run(things.range(0, 2))
    with pytest.raises(Conflict):
        slow.commit({things.range(0, 2).app_id: 2}, {})
    assert len(things.history()) == 2


def test_an_intact_range_is_replayed_without_a_trace_and_a_damaged_one_is_healed(things: Lake) -> None:
    things.records = [change("c", 1), change("u", 1, "2.00"), change("d", 1), change("c", 2)]
    things.run(things.range(0, 4))
    before = things.history()
    intact = things.run(things.range(0, 4), kind="replay")
    assert intact.counts == Counts(duplicate=4)
    assert things.history() == before
    things.spark.sql(f"delete from delta.`{things.history_path}` where _offset in (1, 2)")
    healed = things.run(things.range(0, 9), kind="replay")
    assert healed.counts == Counts(accepted=2, duplicate=2)
    assert things.history() == before
    assert read_positions(things.spark, things.history_path)["T1:p.s.things-0"] == 4


def test_a_replay_accepts_what_a_corrected_contract_allows(things: Lake) -> None:
    things.records = [change("c", 1), change("c", 2, "50.00"), change("c", 3, "1.005")]
    strict = replace(things.stream, rules=(Rule("small", "price < 10", "price"),))
    assert things.run(things.range(0, 3), stream=strict).counts == Counts(accepted=1, quarantined=2)
    assert [(r.offset, r.rule, r.state) for r in things.quarantined()] == [(1, "small", "open"), (2, "type", "open")]
    replayed = things.run(things.range(0, 3), kind="replay")
    assert replayed.counts == Counts(accepted=1, duplicate=1, quarantined=1)
    assert [(r.offset, r.state) for r in things.quarantined()] == [(1, "fixed"), (2, "open")]
    healed = things.history()
    assert [(r.id, r._version, r._offset) for r in healed] == [(1, 10**15, 0), (2, 10**15 + 1, 1)]
    # What is there stays, also under a contract that would refuse it now.
    again = things.run(things.range(0, 3), kind="replay", stream=strict)
    assert again.counts == Counts(duplicate=2, quarantined=1)
    assert things.history() == healed
    assert [(r.offset, r.state) for r in things.quarantined()] == [(1, "fixed"), (2, "open")]


def test_leftovers_of_an_unfinished_batch_are_removed(things: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    things.records = [change("c", 1), change("c", 2, "1.005")]
    with monkeypatch.context() as patch:
        patch.setattr(TableTransaction, "commit", _commit_of_quarantine_only)
        with pytest.raises(Conflict):
            things.run(things.range(0, 2))
    assert len(things.quarantined()) == 1
    assert things.history() == []
    quarantine._settled.clear()  # what a new process knows
    things.records[1] = change("c", 2)
    assert things.run(things.range(0, 2)).counts == Counts(accepted=2)
    assert things.quarantined() == []


_real_commit = TableTransaction.commit


def _commit_of_quarantine_only(
    self: TableTransaction, positions: Mapping[str, int], metadata: Mapping[str, object]
) -> int:
    if not self.path.endswith("/quarantine"):
        raise Conflict("as if killed here")
    return _real_commit(self, positions, metadata)


def test_a_stream_with_too_many_bad_rows_is_parked(things: Lake) -> None:
    things.records = [change("c", 1, "bad")] + [change("c", n) for n in range(8)] + [change("c", 9, "bad")] * 12
    first = things.run(things.range(0, 1)).counts
    assert (first.quarantined, first.rows) == (1, 1)  # below the minimum
    things.run(things.range(1, 9))
    with pytest.raises(StreamParked, match="12 of the last 12 rows") as parked:
        things.run(things.range(9, 21))
    assert [offset for offset, *_ in parked.value.examples] == [9, 10, 11]
    assert read_positions(things.spark, things.history_path)["T1:p.s.things-0"] == 9
    assert len(things.quarantined()) == 1
    assert things.run(things.range(9, 21), park=False).counts.quarantined == 12
    # What was accepted then does not count later, in this process or the next.
    things.records += [change("c", 1, "bad"), change("c", 2, "bad")]
    assert things.run(things.range(21, 22)).counts.quarantined == 1
    quarantine._recent.clear()
    assert things.run(things.range(22, 23)).counts.quarantined == 1


def test_rows_of_files_are_duplicates_conflicts_or_new(scores: Lake) -> None:
    scores.records = [
        line("a", 2, "x,1"),
        line("a", 3, "x,1"),
        line("a", 4, "x,2"),
        line("a", 5, "y,101"),
        line("b", 2, "x,1"),
        line("a", 6, "x,1"),
        line("a", 7, "x,2"),
        line("a", 8, "z,3"),
        line("c", 2, "x,1", day="2025-03-02"),
        (b"no key", b"x,1"),
    ]
    first = scores.run(scores.range(0, 5))
    second = scores.run(scores.range(5, 10))
    assert first.files == {
        "a" * 64: Counts(accepted=1, duplicate=1, conflicting=1, quarantined=1),
        "b" * 64: Counts(accepted=1),
    }
    assert second.files["a" * 64] == Counts(accepted=1, duplicate=2)
    assert second.files["c" * 64] == Counts(accepted=1)
    assert second.counts == Counts(accepted=2, duplicate=2, quarantined=1)
    assert [(r.id, r.score, r._line, str(r.day)) for r in scores.history()] == [
        ("x", 1, 2, "2025-03-01"),
        ("x", 2, 4, "2025-03-01"),
        ("x", 1, 2, "2025-03-01"),
        ("z", 3, 8, "2025-03-01"),
        ("x", 1, 2, "2025-03-02"),
    ]
    before = scores.history()
    replayed = scores.run(scores.range(0, 10), kind="replay")
    assert replayed.counts == Counts(duplicate=8, quarantined=2)
    assert len(scores.quarantined()) == 2
    # Lines that are there stay under a contract that refuses them now; line 7 was only a repetition of line 4.
    stricter = replace(scores.stream, rules=(Rule("in_range", "score between 0 and 1", "score"),))
    judged_again = scores.run(scores.range(0, 10), kind="replay", stream=stricter)
    assert judged_again.counts == Counts(duplicate=7, quarantined=3)
    assert scores.history() == before
    # A column more gives every row another hash. Line 7 repeats a line that is in another chunk.
    wider = replace(scores.stream, columns=(*scores.stream.columns, Column("note", "string")), evolution="evolve")
    create_history(scores.spark, wider, scores.url)
    chunks = [scores.run(one, "replay", wider).counts for one in (scores.range(0, 5), scores.range(5, 10))]
    assert sum(chunks, Counts()) == Counts(duplicate=8, quarantined=2)
    assert len(scores.history()) == len(before)


def test_many_groups_are_counted_during_the_write_by_every_task(
    spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups = [(partition, name * 64) for partition in (0, 1) for name in "abcdef"]
    number = "cast(id % 12 as int)"
    frame = spark.range(0, 5000, numPartitions=7).selectExpr(
        f"{number} div 6 as _partition",
        f"repeat(substr('abcdef', {number} % 6 + 1, 1), 64) as _file_hash",
        "cast(if(id % 7 = 0, 1, 0) as int) as _outcome",
    )
    wanted = {
        (int(r[0]), str(r[1])): Counts(accepted=int(r[2]), duplicate=int(r[3]))
        for r in frame.groupBy("_partition", "_file_hash")
        .agg({"*": "count", "_outcome": "sum"})
        .selectExpr("_partition", "_file_hash", "`count(1)` - `sum(_outcome)`", "`sum(_outcome)`")
        .collect()
    }
    counter = GroupCounter(groups)
    counter.observe(frame).write.format("noop").mode("overwrite").save()
    monkeypatch.setattr(type(frame), "groupBy", lambda *_: pytest.fail("counted a second time"))
    found = counter.of(frame, sum(counts.accepted for counts in wanted.values()), None)
    assert found == wanted


Row3 = tuple[str, int, str]
file_rows = st.lists(
    st.tuples(st.sampled_from("xyz"), st.integers(0, 3), st.sampled_from("ab")), min_size=1, max_size=12
)


@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=file_rows, seed=st.integers(0, 2**16))
def test_order_and_repetition_of_file_rows_do_not_matter(
    spark: SparkSession, tmp_path_factory: pytest.TempPathFactory, rows: list[Row3], seed: int
) -> None:
    records = [line(file, number, f"{key},{score}") for number, (key, score, file) in enumerate(rows, 2)]
    chance = random.Random(seed)
    sent = records + [chance.choice(records) for _ in range(3)]
    chance.shuffle(sent)
    lake = Lake(spark, FILES, str(tmp_path_factory.mktemp("order")))
    lake.records = sent
    cut = chance.randint(0, len(sent))
    lake.run(lake.range(0, cut))
    lake.run(lake.range(cut, len(sent)))
    found = {(r._file_hash[0], r.id, r.score) for r in lake.history()}
    assert found == {(file, key, score) for key, score, file in rows}
    assert len(lake.history()) == len(found)


@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    changes=st.lists(st.tuples(st.sampled_from("cud"), st.integers(1, 3), st.integers(0, 9)), min_size=1, max_size=10),
    seed=st.integers(0, 2**16),
)
def test_any_split_and_repetition_of_batches_gives_the_last_change(
    spark: SparkSession,
    tmp_path_factory: pytest.TempPathFactory,
    changes: Sequence[tuple[str, int, int]],
    seed: int,
) -> None:
    chance = random.Random(seed)
    lake = Lake(spark, CDC, str(tmp_path_factory.mktemp("split")))
    lake.records = [change(op, key, str(price)) for op, key, price in changes]
    end = 0
    while end < len(changes):
        first, end = chance.randint(0, end), chance.randint(end + 1, len(changes))
        lake.run(lake.range(first, end))
    model: dict[int, int | None] = {key: None if op == "d" else price for op, key, price in changes}
    newest: dict[int, int | None] = {r.id: None if r._op == "d" else int(r.price) for r in lake.history()}
    assert newest == model
    assert len(lake.history()) == len(changes)
