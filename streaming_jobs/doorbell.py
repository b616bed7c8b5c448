"""The streaming query: it tells, batch after batch, how far every topic of a pipeline can be read.

One Structured Streaming query subscribes to all topics and hands on the end offsets of each of its micro-batches; it
reads no row. The rows are read per stream from where its *table* stands, so the query's checkpoint says nothing that
matters: every start makes a fresh one. (One query that fans rows out needs all of them cached; a query per stream
plans and commits eight times as often.)
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.streaming.query import StreamingQuery

Ends = Mapping[str, Mapping[int, int]]
POLL_MS = 50


def start_doorbell(
    spark: SparkSession, kafka: str, topics: Sequence[str], checkpoint: Path, ring: Callable[[Ends], None]
) -> StreamingQuery:
    """Call `ring` with the ends of all topics: at once for what is there, then whenever something was committed.

    `ring` runs in the query's own thread; the next batch waits until it returns. Topics that do not exist join
    when they are made. Only records of committed transactions count. `checkpoint` is a folder of this machine and
    is emptied.
    """
    shutil.rmtree(checkpoint, ignore_errors=True)
    checkpoint.mkdir(parents=True)
    location = checkpoint.resolve()

    def batch(_rows: DataFrame, batch_id: int) -> None:
        ring(_ends(location / "offsets" / str(batch_id)))

    spark.conf.set("spark.sql.streaming.pollingDelay", f"{POLL_MS}ms")
    return (
        spark.readStream.format("kafka")
        .option("kafka.bootstrap.servers", kafka)
        .option("subscribePattern", "|".join(re.escape(topic) for topic in topics))
        .option("startingOffsets", "earliest")
        .option("kafka.isolation.level", "read_committed")
        # What is lost is found where rows are read; here a topic that was made again must not stop the others.
        .option("failOnDataLoss", "false")
        .load()
        .writeStream.queryName(f"headrace-{checkpoint.name}")
        .foreachBatch(batch)
        .option("checkpointLocation", location.as_uri())
        .start()
    )


def _ends(offset_log_entry: Path) -> dict[str, dict[int, int]]:
    """The offsets of one source in Spark's offset log: a version line, a metadata line, one line for each source."""
    _version, _metadata, offsets = offset_log_entry.read_text("utf-8").splitlines()
    found: dict[str, dict[str, int]] = json.loads(offsets)
    return {topic: {int(partition): end for partition, end in ends.items()} for topic, ends in found.items()}
