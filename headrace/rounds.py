"""How the merge rounds of a pipeline go: one small file beside the run's own status, read by `headrace status`."""

from __future__ import annotations

import json
import logging
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from contracts.settings import Settings
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
