"""A push in a process that does nothing else, so that its memory is the push's."""

from __future__ import annotations

import multiprocessing
import resource
import time
from multiprocessing.queues import Queue
from pathlib import Path
from typing import Any

from contracts.stream import Pipeline
from producers.push import SendOptions, push


def in_a_process(pipeline: Pipeline, kafka: str, path: Path, **options: Any) -> tuple[float, int]:
    """Seconds of a push, and the peak memory in KiB of a process that does nothing else; `options` of `SendOptions`."""
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    process = context.Process(target=_push, args=(pipeline, kafka, path, options, results))
    process.start()
    found: tuple[float, int] = results.get(timeout=3600)
    process.join()
    return found


def _push(
    pipeline: Pipeline, kafka: str, path: Path, options: dict[str, Any], results: Queue[tuple[float, int]]
) -> None:
    began = time.monotonic()
    (result,) = push([path], pipeline, kafka, SendOptions(**options))
    assert result.state == "sent", result
    results.put((time.monotonic() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss))
