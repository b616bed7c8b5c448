"""The streams of a pipeline in a process of their own, for tests that kill it: `streams_process.py <pickle>`."""

from __future__ import annotations

import pickle
import signal
import sys
import threading
from pathlib import Path

from infra.jars import spark_jars
from infra.local.deployment import spark_conf
from streaming_jobs.session import build_session
from streaming_jobs.streams import run_streams


def main(arguments: Path) -> None:
    """Run until SIGTERM. The pickle holds pipeline, endpoints, settings and the status file's path."""
    pipeline, endpoints, settings, status_file = pickle.loads(arguments.read_bytes())
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    spark = build_session(endpoints, settings.spark, spark_jars(), "streams to kill", conf=spark_conf(settings))
    run_streams(spark, pipeline, endpoints, settings, stop, print, status_file=status_file)
    spark.stop()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
