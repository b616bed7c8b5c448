"""The streams of a pipeline, or one merge of its state, after its cut has moved or not, in a process of its own, for
tests that kill it: `streams_process.py <pickle> run|merge|round`. With `gateway_of` in its environment it works in the
JVM of the process that started it, which a kill leaves as it is: half a minute less of two processors."""

from __future__ import annotations

import os
import pickle
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from pyspark import SparkConf, SparkContext
from pyspark.java_gateway import launch_gateway
from pyspark.sql import SparkSession

from contracts.endpoints import Endpoints
from contracts.settings import Settings
from contracts.stream import Pipeline
from infra.jars import spark_jars
from infra.local.deployment import spark_conf
from streaming_jobs.cut import move_cut
from streaming_jobs.session import build_session
from streaming_jobs.state import merge_states
from streaming_jobs.stream_worker import StreamReport
from streaming_jobs.streams import run_streams

ENDS_IN_S = 180.0


def gateway_of(spark: SparkSession) -> dict[str, str]:
    """What a child's environment needs to work in this session's JVM."""
    parameters = spark.sparkContext._gateway.java_parameters
    return {"PYSPARK_GATEWAY_PORT": str(parameters.port), "PYSPARK_GATEWAY_SECRET": parameters.auth_token}


def command(pipeline: Pipeline, endpoints: Endpoints, settings: Settings, status_file: Path, what: str) -> list[str]:
    """Another process that does `what` with this pipeline."""
    arguments = settings.data_dir / "arguments.pickle"
    arguments.write_bytes(pickle.dumps((pipeline, endpoints, settings, status_file)))
    return [sys.executable, __file__, str(arguments), what]


@contextmanager
def flowing(
    spark: SparkSession, pipeline: Pipeline, endpoints: Endpoints, settings: Settings, status_file: Path
) -> Iterator[list[StreamReport]]:
    """The streams run in this process inside the block, which gets what they report."""
    stop, reports, failures = threading.Event(), list[StreamReport](), list[BaseException]()

    def target() -> None:
        try:
            run_streams(spark, pipeline, endpoints, settings, stop, reports.append, status_file=status_file)
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=target)
    thread.start()
    try:
        yield reports
    finally:
        stop.set()
        thread.join(timeout=ENDS_IN_S)
    assert not thread.is_alive()
    assert not failures


def _joined() -> SparkSession:
    gateway = launch_gateway()
    context = gateway.jvm.JavaSparkContext(gateway.jvm.org.apache.spark.SparkContext.getOrCreate())
    conf = SparkConf(_jvm=gateway.jvm, _jconf=context.getConf())
    return SparkSession(SparkContext(gateway=gateway, jsc=context, conf=conf))


def main(arguments: Path, command: str) -> None:
    """`run` until SIGTERM, another once. The pickle holds pipeline, endpoints, settings, the status file's path."""
    pipeline, endpoints, settings, status_file = pickle.loads(arguments.read_bytes())
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    if "PYSPARK_GATEWAY_PORT" in os.environ:
        spark = _joined()
    else:
        spark = build_session(endpoints, settings.spark, spark_jars(), "streams to kill", conf=spark_conf(settings))
    if command == "round":
        move_cut(spark, pipeline, f"{endpoints.hdfs_url}/lake", endpoints.kafka, datetime.now(UTC))
    if command in ("merge", "round"):
        merge_states(spark, pipeline, f"{endpoints.hdfs_url}/lake")
    else:
        run_streams(spark, pipeline, endpoints, settings, stop, print, status_file=status_file)
    spark.stop()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
