"""How the merge rounds of a pipeline go: one small file beside the run's own status, read by `headrace status`."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from contracts.settings import Settings
from headrace.findings import Finding, until_equal
from streaming_jobs.parking import write_atomically

log = logging.getLogger("headrace.run")


@dataclass(frozen=True, slots=True)
class Rounds:
    """When the last good and the last failed round began, ISO 8601, empty for never: what was in the lake when the good
    one began is merged. `error` is the newest round's, empty if that was good."""

    good_at: str = ""
    failed_at: str = ""
    error: str = ""


def rounds_file(settings: Settings) -> Path:
    """Where it stands; `reset` deletes what is named so."""
    return settings.data_dir / f"{settings.pipeline}.rounds.status.json"


def read_rounds(file: Path) -> Rounds | None:
    """None if there was no round yet, or the file is broken: the next round replaces it."""
    with suppress(FileNotFoundError, ValueError, TypeError):
        return Rounds(**json.loads(file.read_text("utf-8")))
    return None


def note_round(file: Path, at: str, error: Exception | None = None) -> None:
    """Replace the file in one step; a disk that refuses it stops no round."""
    try:
        before = read_rounds(file) or Rounds()
        if error is None:
            now = replace(before, good_at=at, error="")
        else:
            now = replace(before, failed_at=at, error=str(error).strip() or type(error).__name__)
        write_atomically(file, json.dumps(asdict(now), indent=1))
    except OSError as problem:
        log.warning("the rounds' status file cannot be written: %s", problem)


def settled(settings: Settings, check: Callable[[], Iterable[Finding]], *, timeout_s: float) -> list[Finding]:
    """What `check` finds, as soon as all is equal or the time is over.

    Asks for nothing before a round that began after this call: on two cores, what asks takes the processor from what it
    waits for.
    """
    began, deadline = datetime.now(UTC).isoformat(), time.monotonic() + timeout_s
    while _newest(settings) < began and time.monotonic() < deadline:
        time.sleep(0.5)
    return until_equal(check, timeout_s=max(0.0, deadline - time.monotonic()))


def _newest(settings: Settings) -> str:
    found = read_rounds(rounds_file(settings))
    return max(found.good_at, found.failed_at) if found else ""
