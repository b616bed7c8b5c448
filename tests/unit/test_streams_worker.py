"""One stream's worker: where it starts, what holds it back, how often it commits. Edges are plain functions."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from contracts.errors import LedgerMismatch, ServiceUnavailable
from contracts.settings import RunSettings
from contracts.stream import Stream, TableSource
from streaming_jobs.pacing import LONGEST_PAUSE_S, Pace
from streaming_jobs.parking import Parking
from streaming_jobs.positions import TopicIdentity
from streaming_jobs.ranges import Range, app_id
from streaming_jobs.stream_worker import Edges, StreamReport, StreamWorker, Taken

STREAM = Stream("shop", "orders", "shop.orders", TableSource("public", "orders"), (), ("id",), freshness_s=60)
TOPIC = TopicIdentity("shop.orders", "id-1", (0,))


@dataclass
class Bench:
    """A worker with a table that is a dictionary."""

    folder: Path
    table: dict[str, int] = field(default_factory=dict)
    taken: list[tuple[int, int, bool]] = field(default_factory=list)
    lost: list[tuple[int, int]] = field(default_factory=list)
    reports: list[StreamReport] = field(default_factory=list)
    beginning: int = 0
    most: int = 10**9
    error: Exception | None = None
    time: float = 100.0

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.time, UTC)

    def monotonic(self) -> float:
        return self.time

    def ingest(self, _: Stream, ranges: tuple[Range, ...], accept_bad: bool) -> Taken:
        if self.error and not accept_bad:
            raise self.error
        ranges = tuple(replace(one, next=min(one.next, one.first + self.most)) for one in ranges)
        for one in ranges:
            assert one.first == self.table.get(one.app_id, 0)
            self.table[one.app_id] = one.next
            self.taken.append((one.first, one.next, accept_bad))
        return Taken(sum(map(len, ranges)), ranges)

    def write_off(self, _: Stream, ranges: tuple[Range, ...]) -> None:
        for one in ranges:
            assert one.first == self.table.get(one.app_id, 0)
            self.table[one.app_id] = one.next
            self.lost.append((one.first, one.next))

    def worker(self, max_rows: int = 1000) -> StreamWorker:
        edges = Edges(
            self.ingest,
            lambda _: dict(self.table),
            lambda _, partitions: dict.fromkeys(partitions, self.beginning),
            self.write_off,
        )
        settings = RunSettings(trigger_s=0.5, max_rows_per_batch=max_rows)
        return StreamWorker(STREAM, settings, edges, Parking(self.folder), self.reports.append, self)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def started(bench: Bench, end: int, max_rows: int = 1000) -> StreamWorker:
    worker = bench.worker(max_rows)
    worker.ends_are({0: end})
    worker.topic_is(TOPIC)
    return worker


def test_starts_where_its_table_stands_and_takes_bounded_batches(bench: Bench) -> None:
    bench.table[app_id("id-1", "shop.orders", 0)] = 40
    worker = started(bench, end=100, max_rows=25)
    while worker.due_at() is not None:
        worker.step()
    assert [(first, last) for first, last, _ in bench.taken] == [(40, 65), (65, 90), (90, 100)]
    assert worker.status().lag == 0


def test_goes_on_where_a_batch_that_was_cut_short_ended(bench: Bench) -> None:
    worker = started(bench, end=100)
    bench.most = 40
    worker.step()
    assert worker.due_at() == bench.time, "more is waiting: it goes on at once"
    assert worker.status().lag == 60
    assert [one.ranges[0].next for one in bench.reports] == [40]
    while worker.due_at() is not None:
        worker.step()
    assert [(first, last) for first, last, _ in bench.taken] == [(0, 40), (40, 80), (80, 100)]


def test_a_resumed_stream_accepts_what_waited_in_as_many_batches_as_it_takes(bench: Bench) -> None:
    worker = started(bench, end=100)
    bench.error = LedgerMismatch("counts do not balance")
    worker.step()
    Parking(bench.folder).resume("orders")
    worker.look_at_parking()
    bench.most = 60
    worker.step()
    worker.step()
    assert bench.taken == [(0, 60, True), (60, 100, True)]


def test_a_resumption_holds_until_it_is_known_what_waited(bench: Bench) -> None:
    worker, bench.error = started(bench, end=100), LedgerMismatch("counts do not balance")
    worker.step()
    Parking(bench.folder).resume("orders")
    again = bench.worker()
    again.topic_is(TOPIC)
    again.step()
    again.ends_are({0: 100})
    again.step()
    assert bench.taken == [(0, 100, True)]


def test_a_topic_made_again_starts_at_its_own_position(bench: Bench) -> None:
    worker = started(bench, end=100)
    worker.step()
    assert worker.topic_is(TopicIdentity("shop.orders", "id-2", (0,)))
    worker.step()
    assert len(bench.taken) == 1, "the old topic's end says nothing about the new one"
    worker.ends_are({0: 7})
    worker.step()
    assert bench.table == {app_id("id-1", "shop.orders", 0): 100, app_id("id-2", "shop.orders", 0): 7}


def test_what_was_not_read_of_a_topic_that_was_made_again_is_lost(bench: Bench) -> None:
    worker = started(bench, end=100, max_rows=60)
    worker.step()
    worker.topic_is(None)
    worker.topic_is(TopicIdentity("shop.orders", "id-2", (0,)))
    worker.ends_are({0: 7})
    worker.step()
    assert worker.status().state == "parked"
    assert "[60,100)" in bench.reports[-1].message
    Parking(bench.folder).resume("orders", accept_loss=True)
    worker.look_at_parking()
    worker.step()
    assert bench.lost == [(60, 100)]
    assert bench.table[app_id("id-2", "shop.orders", 0)] == 7


def test_waits_for_a_topic_that_does_not_exist(bench: Bench) -> None:
    worker = bench.worker()
    worker.ends_are({0: 5})
    worker.topic_is(None)
    assert worker.due_at() is None
    assert worker.status().state == "waiting"


@pytest.mark.parametrize("error", [ServiceUnavailable("Kafka is away"), RuntimeError("a bug")])
def test_other_errors_back_off_and_repeat_from_the_table(bench: Bench, error: Exception) -> None:
    worker = started(bench, end=10)
    bench.error = error
    waits = []
    for _ in range(9):
        worker.step()
        due = worker.due_at()
        assert due is not None
        waits.append(due - bench.time)
        bench.time = due
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert worker.status().state == "retrying"
    assert str(error) in worker.status().reason
    bench.error = None
    worker.step()
    assert worker.status().state == "flowing"
    assert bench.table == {app_id("id-1", "shop.orders", 0): 10}


def test_fatal_parks_also_over_a_restart_until_somebody_resumes(bench: Bench) -> None:
    worker = started(bench, end=10)
    bench.error = LedgerMismatch("counts do not balance")
    worker.step()
    assert worker.due_at() is None
    assert [one.event for one in bench.reports] == ["parked"]
    again = started(bench, end=20)
    assert again.due_at() is None
    assert "counts do not balance" in again.status().reason

    Parking(bench.folder).resume("orders")
    again.look_at_parking()
    again.step()
    assert bench.taken == [(0, 20, True)], "what waited is taken in, bad or not"
    bench.error = None
    bench.time += 60
    again.ends_are({0: 30})
    again.step()
    assert bench.taken[-1] == (20, 30, False), "afterwards the limit holds again"


@pytest.mark.parametrize(("position", "said"), [(40, "[40,45)"), (0, "[0,45)")])
def test_offsets_that_expired_park_with_their_range(bench: Bench, position: int, said: str) -> None:
    """Also those of a topic that was never read: its first rows would be missing without a word."""
    if position:
        bench.table[app_id("id-1", "shop.orders", 0)] = position
    bench.beginning = 45
    worker = started(bench, end=100)
    worker.step()
    assert f"shop.orders-0{said}" in worker.status().reason
    assert "--accept-loss" in worker.status().reason
    assert (bench.taken, bench.lost) == ([], [])


def test_lost_offsets_are_written_off_only_when_somebody_says_so(bench: Bench) -> None:
    bench.table[app_id("id-1", "shop.orders", 0)] = 40
    bench.beginning = 45
    worker = started(bench, end=100)
    worker.step()
    for accept_loss in (False, True):
        Parking(bench.folder).resume("orders", accept_loss=accept_loss)
        worker.look_at_parking()
        worker.step()
        assert bench.lost == ([(40, 45)] if accept_loss else [])
    assert bench.taken == [(45, 100, True)]


def test_an_error_while_offsets_expire_parks(bench: Bench) -> None:
    worker = started(bench, end=10)
    worker.step()
    bench.beginning, bench.error = 15, RuntimeError("out of range")
    worker.ends_are({0: 20})
    bench.time += 60
    worker.step()
    assert worker.status().state == "parked"
    assert "[10,15)" in worker.status().reason


def test_a_trickle_makes_few_commits_and_a_flow_many() -> None:
    assert commits_in_a_minute(rows_per_s=1) < 15
    assert commits_in_a_minute(rows_per_s=125) > 100


def test_a_row_after_silence_is_taken_at_once() -> None:
    pace = Pace(0.5, freshness_s=60)
    for start in range(0, 100, 10):
        pace.committed(1, float(start), lags=False)
    assert pace.not_before <= 90 + LONGEST_PAUSE_S


def commits_in_a_minute(rows_per_s: float) -> int:
    pace, time, last, commits = Pace(0.5, freshness_s=60), 0.0, 0.0, 0
    while time < 60:
        pace.committed(int((time - last) * rows_per_s), time, lags=False)
        last, time, commits = time, max(pace.not_before, time + 0.05), commits + 1
    return commits


def test_a_lagging_stream_does_not_pause() -> None:
    pace = Pace(0.5, freshness_s=60)
    pace.committed(500_000, 10.0, lags=True)
    assert pace.not_before <= 10.0


def test_where_the_table_stands_is_found_out_before_rows_come(bench: Bench) -> None:
    worker = bench.worker()
    worker.topic_is(TOPIC)
    assert worker.due_at() == 0.0
    worker.step()
    assert (worker.due_at(), bench.taken) == (None, [])
