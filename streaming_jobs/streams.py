"""The long-lived engine: every stream of a pipeline flows from Kafka into its history, each at its own pace.

A streaming query (`doorbell`) says how far the topics can be read; a few threads take the streams forward, one batch
of one stream at a time (`stream_worker`). There is no barrier: a stream that lags, fails or is parked holds up nobody.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

from pyspark.errors import PySparkException
from pyspark.sql import SparkSession
from pyspark.sql.streaming.query import StreamingQuery

from contracts.endpoints import Endpoints
from contracts.errors import ServiceUnavailable
from contracts.settings import Settings
from contracts.stream import Pipeline
from streaming_jobs.doorbell import Ends, start_doorbell
from streaming_jobs.pacing import Backoff
from streaming_jobs.parking import Parking
from streaming_jobs.positions import describe
from streaming_jobs.stopping import TableChanges
from streaming_jobs.stream_edges import lake_edges
from streaming_jobs.stream_status import write_status
from streaming_jobs.stream_worker import Clock, Edges, StreamReport, StreamWorker

AT_ONCE = 4
LOOK_AROUND_EVERY_S = 1.0
LONGEST_RING_S = 1.0

log = logging.getLogger(__name__)


class SystemClock:
    """The real time."""

    def now(self) -> datetime:
        """Wall clock in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds that only grow."""
        return time.monotonic()


class Engine:
    """One run over the streams of one pipeline. `run` blocks until `stop` is set; an Engine runs once."""

    def __init__(
        self,
        spark: SparkSession,
        pipeline: Pipeline,
        kafka: str,
        settings: Settings,
        edges: Edges,
        stop: threading.Event,
        report: Callable[[StreamReport], None],
        *,
        run: str,
        status_file: Path,
        clock: Clock,
    ) -> None:
        self._spark = spark
        self._pipeline = pipeline
        self._kafka = kafka
        self._stop = stop
        self._run = run
        self._status_file = status_file
        self._clock = clock
        self._trigger_s = settings.run.trigger_s
        self._checkpoint = settings.data_dir / "checkpoints" / pipeline.name
        parking = parking_of(settings, pipeline)
        self._workers = [
            StreamWorker(stream, settings.run, edges, parking, report, clock) for stream in pipeline.streams
        ]
        self._busy: dict[str, Future[None]] = {}
        self._changed = threading.Condition()
        self._backoff = Backoff()
        self._ends_are_stale = False

    def run(self) -> None:
        """Take the streams forward until `stop` is set; batches under way are finished first."""
        looked = float("-inf")
        query: StreamingQuery | None = None
        retry_query_at = 0.0
        pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="stream")
        try:
            while not self._stop.is_set():
                now = self._clock.monotonic()
                if now - looked >= LOOK_AROUND_EVERY_S:
                    self._look_around()
                    looked = now
                if query is not None and self._ends_are_stale:
                    query.stop()
                    query, self._ends_are_stale = None, False
                if (query is None or not query.isActive) and now >= retry_query_at:
                    if query is not None:
                        log.warning("the streaming query ended and is started again: %s", query.exception())
                        retry_query_at = now + self._backoff.failed()
                    query = self._start_query()
                with self._changed:
                    next_due = self._submit_due(pool)
                    self._changed.wait(timeout=max(0.0, min(next_due, looked + LOOK_AROUND_EVERY_S) - now))
        finally:
            self._stop.set()
            pool.shutdown(wait=True)
            if query is not None:
                query.stop()
            self._write_status()

    def _submit_due(self, pool: ThreadPoolExecutor) -> float:
        """Hand every due stream that is not under way to a thread; returns the moment the next one is due."""
        now = self._clock.monotonic()
        next_due = now + LOOK_AROUND_EVERY_S
        due = sorted(
            (at, worker.stream.name, worker)
            for worker in self._workers
            if worker.stream.name not in self._busy and (at := worker.due_at()) is not None
        )
        for at, name, worker in due:
            if at > now:
                next_due = min(next_due, at)
            else:
                self._busy[name] = pool.submit(self._step, worker)
        return next_due

    def _step(self, worker: StreamWorker) -> None:
        name = worker.stream.name
        try:
            if not self._stop.is_set():
                self._spark.sparkContext.setLocalProperty("spark.scheduler.pool", name)
                worker.step()
        except BaseException:
            log.exception("stream %s: its worker failed; it is tried again", name)
            raise
        finally:
            with self._changed:
                self._busy.pop(name, None)
                self._changed.notify_all()

    def _ring(self, ends: Ends) -> None:
        """New ends are known: wake the workers, and hold the query back until they are there, a second at most."""
        began = self._clock.monotonic()
        self._backoff.succeeded()
        with self._changed:
            for worker in self._workers:
                if worker.stream.topic in ends:
                    worker.ends_are(ends[worker.stream.topic])
            self._changed.notify_all()
            while not self._stop.is_set():
                waited = self._clock.monotonic() - began
                if waited >= LONGEST_RING_S:
                    return
                if waited < self._trigger_s / 2:
                    self._changed.wait(timeout=self._trigger_s / 2 - waited)
                elif any(worker.flows and worker.behind() for worker in self._workers):
                    self._changed.wait(timeout=LONGEST_RING_S - waited)
                else:
                    return

    def _look_around(self) -> None:
        """Once a second: topics' ids, streams that were resumed, the status file."""
        try:
            found = describe(self._kafka, [worker.stream.topic for worker in self._workers])
        except ServiceUnavailable as error:
            log.warning("%s", error)
        else:
            replaced = [worker.topic_is(found.get(worker.stream.topic)) for worker in self._workers]
            self._ends_are_stale |= any(replaced)
        for worker in self._workers:
            worker.look_at_parking()
        self._write_status()

    def _start_query(self) -> StreamingQuery | None:
        topics = [worker.stream.topic for worker in self._workers]
        try:
            return start_doorbell(self._spark, self._kafka, topics, self._checkpoint, self._ring)
        except PySparkException as error:
            log.warning("the streaming query did not start; it is tried again: %s", error)
            return None

    def _write_status(self) -> None:
        at = self._clock.now().isoformat()
        try:
            write_status(self._status_file, self._pipeline.name, self._run, at, [one.status() for one in self._workers])
        except OSError as error:
            # A full disk here must not stop what flows to another one.
            log.warning("the status file cannot be written: %s", error)


def parking_of(settings: Settings, pipeline: Pipeline) -> Parking:
    """Where the parked streams of a pipeline are kept; `headrace resume` uses the same."""
    return Parking(settings.data_dir / "parked" / pipeline.name)


def run_streams(
    spark: SparkSession,
    pipeline: Pipeline,
    endpoints: Endpoints,
    settings: Settings,
    stop: threading.Event,
    report: Callable[[StreamReport], None],
    *,
    status_file: Path,
    clock: Clock | None = None,
    table_changes: TableChanges | None = None,
) -> None:
    """Keep every stream of a pipeline flowing until `stop` is set; blocks, and finishes the batches under way.

    The history and quarantine tables must exist. Every run starts where the tables stand: a missing, stale or
    foreign checkpoint changes nothing, a topic that does not exist is waited for. A Fatal error of one stream (too
    many bad rows, offsets lost, counts that do not balance) parks that stream alone, with its position unmoved; any
    other error is repeated with back-off, for ever. `report` is called from several threads.
    `status_file` is replaced about every second (`stream_status.read_status`). `table_changes` asks a table's source
    when a stream whose policy is `stop` meets values that do not fit; it is called from several threads. Without it, as
    where no source is known, they go to the quarantine.
    """
    run = uuid.uuid4().hex
    clock = clock or SystemClock()
    edges = lake_edges(
        *(spark, pipeline, endpoints, run, clock, parking_of(settings, pipeline).accepts_loss),
        max_chunk_rows=settings.run.max_chunk_rows_per_batch,
        table_changes=table_changes,
    )
    engine = Engine(
        spark, pipeline, endpoints.kafka, settings, edges, stop, report, run=run, status_file=status_file, clock=clock
    )
    engine.run()
