"""Read exactly the records of given offset ranges from Kafka."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession

from contracts.errors import OffsetsLost, ServiceUnavailable
from streaming_jobs.ranges import Range, check_disjoint, offsets_json, partitions_json

SPLIT_FROM_ROWS = 20_000
_LOST = re.compile(r"data may have been lost|OffsetOutOfRange|failOnDataLoss|DATA_LOSS|data loss", re.IGNORECASE)
_AWAY = re.compile(r"kafka\.common\.errors\.(Timeout|Disconnect|Network)|No resolvable bootstrap|KAFKA.*TIMEOUT")


def read_ranges(
    spark: SparkSession,
    kafka: str,
    ranges: Sequence[Range],
    group: str,
    parallelism: int = 2,
    *,
    headers: bool = False,
    committed: bool = True,
) -> DataFrame:
    """The committed records of these ranges: `key value topic partition offset timestamp`, and `headers` if wanted.

    The same call gives the same records for as long as Kafka keeps them. Aborted and control records are not among
    them, so there may be fewer records than offsets. A range must not reach beyond the last stable offset, or reading
    waits for the open transaction. `group` names the consumer, which executors keep from one call to the next; unless
    `committed`, when all that is written is read, it must be another.
    """
    check_disjoint(ranges)
    reader = (
        spark.read.format("kafka")
        .option("kafka.bootstrap.servers", kafka)
        .option("assign", partitions_json(ranges))
        .option("startingOffsets", offsets_json(ranges, end=False))
        .option("endingOffsets", offsets_json(ranges, end=True))
        .option("kafka.isolation.level", "read_committed" if committed else "read_uncommitted")
        .option("kafka.group.id", group)
        .option("kafka.max.partition.fetch.bytes", str(8 << 20))
        # With each poll Spark also asks the broker where the partition begins and ends.
        .option("kafka.max.poll.records", "2000")
        .option("failOnDataLoss", "true")
        .option("includeHeaders", str(headers).lower())
    )
    if max((len(one) for one in ranges), default=0) > SPLIT_FROM_ROWS:
        reader = reader.option("minPartitions", str(max(parallelism, len(ranges))))
    return reader.load()


@contextmanager
def kafka_errors(ranges: Sequence[Range], stream: str) -> Iterator[None]:
    """Turn what Spark says when Kafka has lost the offsets, or is away, into errors of ours."""
    where = {"stream": stream, "offsets": ", ".join(str(one) for one in ranges)}
    try:
        yield
    except (Py4JJavaError, PySparkException) as error:
        said = str(error)
        if _LOST.search(said):
            raise OffsetsLost(
                "Kafka no longer has offsets that were asked for",
                state="nothing of this batch was committed",
                next_step="`headrace ledger` shows them; take a new snapshot, or push the files again",
                **where,
            ) from error
        if _AWAY.search(said):
            raise ServiceUnavailable(
                "Kafka did not answer while a batch was read",
                state="nothing of this batch was committed",
                next_step="headrace status",
                **where,
            ) from error
        raise
