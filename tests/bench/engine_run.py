"""An engine in a thread, and what it reported."""

from __future__ import annotations

import json
import os
import platform
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from pyspark.sql import SparkSession

from contracts.endpoints import Endpoints
from contracts.settings import Settings
from contracts.stream import Pipeline
from streaming_jobs.doorbell import Ends, start_doorbell
from streaming_jobs.positions import describe
from streaming_jobs.stream_edges import lake_edges
from streaming_jobs.stream_status import read_status
from streaming_jobs.stream_worker import StreamReport, StreamWorker
from streaming_jobs.streams import AT_ONCE, SystemClock, parking_of, run_streams

OUT = Path(__file__).parent / "out"


@dataclass
class Run:
    """Every batch with the time it was readable, and everything that is no batch."""

    status_file: Path
    batches: list[tuple[float, StreamReport]] = field(default_factory=list)
    others: list[StreamReport] = field(default_factory=list)
    failure: BaseException | None = None

    def reported(self, report: StreamReport) -> None:
        if report.event == "batch":
            self.batches.append((time.time(), report))
        else:
            self.others.append(report)

    @property
    def rows(self) -> int:
        return sum(report.rows for _, report in self.batches)

    def wait_until_ready(self, timeout_s: float) -> None:
        """Returns when every stream knows where its table stands."""
        deadline = time.monotonic() + timeout_s
        while not (found := read_status(self.status_file)) or any(one.position is None for one in found[1]):
            if self.failure:
                raise self.failure
            if time.monotonic() > deadline:
                raise TimeoutError(f"not ready after {timeout_s:g} s: {found}")
            time.sleep(0.1)

    def wait_for_rows(self, rows: int, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        while self.rows < rows:
            if self.failure:
                raise self.failure
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.rows} of {rows} rows after {timeout_s:g} s; {self.others[-3:]}")
            time.sleep(0.02)


def query_per_stream(
    spark: SparkSession,
    pipeline: Pipeline,
    endpoints: Endpoints,
    settings: Settings,
    stop: threading.Event,
    report: Callable[[StreamReport], None],
    *,
    status_file: Path,
) -> None:
    """A design that was not chosen: a streaming query for each stream, which takes in its batch itself."""
    del status_file
    queries = []
    for worker in _workers(spark, pipeline, endpoints, settings, report):

        def take(ends: Ends, worker: StreamWorker = worker) -> None:
            worker.ends_are(ends[worker.stream.topic])
            worker.step()

        checkpoint = settings.data_dir / "checkpoints" / f"{pipeline.name}-{worker.stream.name}"
        queries.append(start_doorbell(spark, endpoints.kafka, [worker.stream.topic], checkpoint, take))
    stop.wait()
    for query in queries:
        query.stop()


def one_query(
    spark: SparkSession,
    pipeline: Pipeline,
    endpoints: Endpoints,
    settings: Settings,
    stop: threading.Event,
    report: Callable[[StreamReport], None],
    *,
    status_file: Path,
) -> None:
    """Another one: one streaming query whose batch is over when every stream has committed its own, in parallel."""
    del status_file
    workers = _workers(spark, pipeline, endpoints, settings, report)
    with ThreadPoolExecutor(AT_ONCE) as pool:

        def step(worker: StreamWorker) -> None:
            spark.sparkContext.setLocalProperty("spark.scheduler.pool", worker.stream.name)
            worker.step()

        def take(ends: Ends) -> None:
            for worker in workers:
                worker.ends_are(ends[worker.stream.topic])
            list(pool.map(step, [worker for worker in workers if worker.behind()]))

        topics = [worker.stream.topic for worker in workers]
        checkpoint = settings.data_dir / "checkpoints" / f"{pipeline.name}-one"
        query = start_doorbell(spark, endpoints.kafka, topics, checkpoint, take)
        stop.wait()
        query.stop()


def _workers(
    spark: SparkSession,
    pipeline: Pipeline,
    endpoints: Endpoints,
    settings: Settings,
    report: Callable[[StreamReport], None],
) -> list[StreamWorker]:
    clock = SystemClock()
    edges = lake_edges(spark, pipeline, endpoints, "bench", clock)
    topics = describe(endpoints.kafka, [stream.topic for stream in pipeline.streams])
    parking = parking_of(settings, pipeline)
    workers = [StreamWorker(stream, settings.run, edges, parking, report, clock) for stream in pipeline.streams]
    for worker in workers:
        worker.topic_is(topics[worker.stream.topic])
    return workers


ENGINES = {"chosen": run_streams, "query_per_stream": query_per_stream, "one_query": one_query}


@contextmanager
def running(
    spark: SparkSession, pipeline: Pipeline, endpoints: Endpoints, settings: Settings, engine: str = "chosen"
) -> Iterator[Run]:
    """The streams of a pipeline flow inside the block."""
    stop, run = threading.Event(), Run(settings.data_dir / f"{pipeline.name}.status.json")

    def target() -> None:
        try:
            ENGINES[engine](spark, pipeline, endpoints, settings, stop, run.reported, status_file=run.status_file)
        except BaseException as error:
            run.failure = error

    thread = threading.Thread(target=target, name="engine")
    thread.start()
    try:
        yield run
    finally:
        stop.set()
        thread.join(timeout=120)
    if run.failure:
        raise run.failure


def quantile(values: list[float], share: float) -> float:
    """The value below which this share lies."""
    ordered = sorted(values)
    return round(ordered[min(len(ordered) - 1, int(len(ordered) * share))], 3)


def spark_process(spark: SparkSession) -> psutil.Process:
    """The JVM of this session."""
    assert spark._jvm is not None
    return psutil.Process(spark._jvm.java.lang.ProcessHandle.current().pid())


def cpu_s(process: psutil.Process) -> float:
    """Processor seconds used so far."""
    times = process.cpu_times()
    return float(times.user + times.system)


def write_figures(name: str, figures: dict[str, object]) -> None:
    """Keep the figures of one run beside what they were measured on, and print them."""
    OUT.mkdir(parents=True, exist_ok=True)
    machine = {"cores": os.cpu_count(), "load_1m": round(os.getloadavg()[0], 1), "python": platform.python_version()}
    text = json.dumps({"benchmark": name, **figures, "machine": machine}, indent=1)
    (OUT / f"{name}.json").write_text(text + "\n", encoding="utf-8")
    print(text)
