"""What was read before, read again in a Spark application of its own: a range of a stream, or the ledger."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from contracts.stream import Stream
from headrace.app import App
from headrace.lease import Lease
from headrace.running import start_spark
from headrace.tables import lake_url
from streaming_jobs.ledger import rebuild_ledger, refresh_ledger
from streaming_jobs.replay import plan_replay, replay

Progress = Callable[[str, str, int, int], None]
"""The step, the stream, offsets done and in all (0: the step has none)."""


def replay_range(
    app: App,
    stream: Stream,
    *,
    first: int | datetime,
    end: int | datetime | None,
    dry_run: bool,
    progress: Progress = lambda *_: None,
) -> list[dict[str, Any]]:
    """Replay the offsets or times from `first` up to but not including `end`; one row with what became of the records.

    `headrace run` may work meanwhile. `dry_run` resolves the range and reads nothing.
    """
    spark = start_spark(app, "replay")
    try:
        kafka = app.endpoints.kafka
        ranges = plan_replay(spark, stream, lake_url(app), kafka, first, end)
        in_all = sum(one.next - one.first for one in ranges)
        places = ", ".join(f"{one.partition}: {one.first}-{one.next - 1}" for one in ranges)
        if dry_run or not ranges:
            return [
                {
                    "stream": stream.name,
                    "offsets": places,
                    "records at most": in_all,
                }
            ]
        read = 0

        def told(offsets: int) -> None:
            nonlocal read
            read += offsets
            progress("reading again", stream.name, read, in_all)

        told(0)
        done = replay(spark, stream, lake_url(app), kafka, ranges, now=datetime.now(UTC), progress=told)
        progress("booking", stream.name, 0, 0)
        refresh_ledger(spark, app.pipeline, lake_url(app))
        return [{"stream": stream.name, "offsets": places, **asdict(done.counts)}]
    finally:
        spark.stop()


def rebuild(app: App) -> int:
    """Book the histories' commits again, see `rebuild_ledger`; returns the number of ledger rows. May be repeated.

    Raises:
        LeaseHeld: `headrace run` or `headrace merge` books at this moment.
    """
    name = app.pipeline.name
    with (
        Lease(app.endpoints.warehouse, f"{name} run", "ledger"),
        Lease(app.endpoints.warehouse, f"{name} merge", "ledger"),
    ):
        spark = start_spark(app, "ledger")
        try:
            return rebuild_ledger(spark, app.pipeline, lake_url(app))
        finally:
            spark.stop()
