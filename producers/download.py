"""Fetch one declared download of one day into the raw store: whole, checked, and only if it is new.

What is kept are the bytes of the body as they came over the wire; a server that compresses them unasked (gzip) leaves
a compressed file. Of pages the elements are kept, each as it came, one to a line.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from datetime import UTC, date, datetime

import requests
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential_jitter

from contracts.downloads import Download
from contracts.errors import Fatal
from producers.download_attempt import Attempt, Downloaded, Mismatch, Progress
from producers.download_http import Client, NotNow
from producers.raw_files import RawStore

__all__ = ["Downloaded", "RawStore", "download"]

LONGEST_WAIT_S = 60.0
LONGEST_RETRY_AFTER_S = 300.0

_log = logging.getLogger(__name__)
_backoff = wait_exponential_jitter(initial=1, max=LONGEST_WAIT_S, jitter=1)


def download(
    declared: Download,
    batch_date: date,
    store: RawStore,
    *,
    session: requests.Session | None = None,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    progress: Progress | None = None,
    environment: Mapping[str, str] = os.environ,
    sleep: Callable[[float], None] = time.sleep,
) -> Downloaded:
    """Fetch the file, or find that it has not changed. May be repeated, and killed at any place: the next call goes
    on with what came if the server can (a strong ETag), and a file of the store is never a mixture of two contents.

    A content without Content-Length, chunks or checksum that ends early cannot be told from a whole one.

    Raises:
        ServiceUnavailable: the server did not give it in `attempts`; what came stays as a part.
        Conflict: another download of this name and day is under way.
        Fatal: it refuses, a checksum does not fit, a variable is not set; nothing is kept.
    """
    retrying = Retrying(
        retry=retry_if_exception_type((NotNow, Mismatch)),
        stop=stop_after_attempt(declared.attempts),
        wait=_wait,
        sleep=sleep,
        before_sleep=lambda state: _log_attempt(declared.name, state),
        reraise=True,
    )
    with nullcontext(session) if session else requests.Session() as open_session:
        client = Client(declared, batch_date, open_session, environment, clock)
        with store.open(declared.name, batch_date, declared.file_name(batch_date)) as raw:
            try:
                one = Attempt(declared, batch_date, raw, client, clock, progress)
                return one.pages(retrying) if declared.paging else retrying(one.body)
            except Fatal:
                raw.discard_part()
                raise
            except OSError as problem:
                raise Fatal(
                    f"{declared.name}: the raw store cannot be used: {problem.strerror or problem}",
                    state="The kept file is untouched.",
                    next_step="make room or correct the rights, and repeat the download",
                    file=problem.filename or raw.path,
                ) from problem


def _wait(state: RetryCallState) -> float:
    problem = state.outcome.exception() if state.outcome else None
    wish = problem.retry_after_s if isinstance(problem, NotNow) else 0.0
    return max(_backoff(state), min(wish, LONGEST_RETRY_AFTER_S))


def _log_attempt(name: str, state: RetryCallState) -> None:
    problem = state.outcome.exception() if state.outcome else None
    said = str(problem).splitlines()[0] if problem else ""
    _log.warning("attempt %d failed, next in %.0f s: %s", state.attempt_number, state.upcoming_sleep, said or name)
