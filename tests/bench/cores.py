"""The two sides of a pipeline on a processor each, as if each had a machine of its own."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress

import psutil
from pyspark.sql import SparkSession

from contracts.settings import Settings
from infra.local import deployment
from tests.bench.engine_run import spark_process

SOURCE_SIDE = ("postgres", "kafka", "connect")


@contextmanager
def a_processor_each(settings: Settings, spark: SparkSession) -> Iterator[None]:
    """Inside the block database, broker and Connect share one processor, and all else that takes part shares another:
    the session, its driver, HDFS and the metastore."""
    usable = os.sched_getaffinity(0)
    first, second, *_ = sorted(usable)
    parts = {part.name: part.pid for part in deployment.status(settings) if part.pid}
    source_side = [parts[name] for name in SOURCE_SIDE]
    lake_side = [os.getpid(), spark_process(spark).pid, *(parts[name] for name in parts if name not in SOURCE_SIDE)]
    try:
        _keep(source_side, {first})
        _keep(lake_side, {second})
        yield
    finally:
        _keep([*source_side, *lake_side], usable)


def _keep(processes: Collection[int], processors: set[int]) -> None:
    """Every thread that there is; those to come inherit it."""
    for pid in processes:
        # This process' children are the others: it stands for itself alone.
        children = [] if pid == os.getpid() else psutil.Process(pid).children(recursive=True)
        for process in (psutil.Process(pid), *children):
            with suppress(psutil.NoSuchProcess, ProcessLookupError):
                for thread in process.threads():
                    os.sched_setaffinity(thread.id, processors)
