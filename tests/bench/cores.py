"""The two sides of a pipeline on processors of their own, as if each had a machine of its own."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import psutil
from pyspark.sql import SparkSession

from contracts.settings import Settings
from infra.local import deployment
from tests.bench.engine_run import spark_process

SOURCE_SIDE = ("postgres", "kafka", "connect")
PERIOD_US = 20_000


@contextmanager
def a_processor_each(settings: Settings, spark: SparkSession) -> Iterator[None]:
    """Inside the block database, broker and Connect share one processor, and all else that takes part shares another:
    the session, its driver, HDFS and the metastore."""
    usable = os.sched_getaffinity(0)
    first, second, *_ = sorted(usable)
    source_side, lake_side = _sides(settings, spark)
    try:
        _keep(source_side, {first})
        _keep(lake_side, {second})
        yield
    finally:
        _keep([*source_side, *lake_side], usable)


@contextmanager
def two_for_the_lake(settings: Settings, spark: SparkSession) -> Iterator[None]:
    """Inside the block the lake's side may take twice the processor time of the source's, and both together all that
    there is: as on a machine with three processors, each slower by as much as they are more. Linux's control groups
    do that, for root.
    """
    third = len(os.sched_getaffinity(0)) / 3
    with ExitStack() as groups:
        for name, share, side in zip(("source", "lake"), (third, 2 * third), _sides(settings, spark), strict=True):
            groups.enter_context(_group(f"headrace_bench_{name}", share, side))
        yield


@contextmanager
def _group(name: str, processors: float, processes: Collection[int]) -> Iterator[None]:
    top = Path("/sys/fs/cgroup")
    quota_us = round(processors * PERIOD_US)
    if (top / "cgroup.controllers").exists():
        (top / "cgroup.subtree_control").write_text("+cpu")
        limits = {"cpu.max": f"{quota_us} {PERIOD_US}"}
    else:
        top /= "cpu"
        limits = {"cpu.cfs_period_us": str(PERIOD_US), "cpu.cfs_quota_us": str(quota_us)}
    group = top / name
    group.mkdir()
    try:
        for file, limit in limits.items():
            (group / file).write_text(limit)
        for pid in _with_children(processes):
            with suppress(ProcessLookupError):
                (group / "cgroup.procs").write_text(str(pid))
        yield
    finally:
        while left := (group / "cgroup.procs").read_text().split():
            for pid in left:
                with suppress(ProcessLookupError):
                    (top / "cgroup.procs").write_text(pid)
        group.rmdir()


def _sides(settings: Settings, spark: SparkSession) -> tuple[list[int], list[int]]:
    """The source's processes; and this one, the session's, HDFS' and the metastore's."""
    parts = {part.name: part.pid for part in deployment.status(settings) if part.pid}
    others = (parts[name] for name in parts if name not in SOURCE_SIDE)
    return [parts[name] for name in SOURCE_SIDE], [os.getpid(), spark_process(spark).pid, *others]


def _with_children(processes: Collection[int]) -> Iterator[int]:
    for pid in processes:
        # This process' children are the others: it stands for itself alone.
        children = [] if pid == os.getpid() else psutil.Process(pid).children(recursive=True)
        yield from (pid, *(child.pid for child in children))


def _keep(processes: Collection[int], processors: set[int]) -> None:
    """Every thread that there is; those to come inherit it."""
    for pid in _with_children(processes):
        with suppress(psutil.NoSuchProcess, ProcessLookupError):
            for thread in psutil.Process(pid).threads():
                os.sched_setaffinity(thread.id, processors)
