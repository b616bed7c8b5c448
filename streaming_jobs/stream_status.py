"""What `headrace run` says of each stream while it runs: one small file, read by `headrace status`."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from streaming_jobs.parking import write_atomically

State = Literal["waiting", "flowing", "retrying", "parked"]


@dataclass(frozen=True, slots=True)
class StreamStatus:
    """One stream at one moment. `waiting`: its topic does not exist yet.

    `position` is the table's (next offset to read, over all partitions), `end` the topic's as last seen, both as
    sums; `lag` counts offsets, control records included. `reason` explains `retrying` and `parked`.
    """

    stream: str
    state: State
    position: int | None
    end: int | None
    lag: int | None
    batches: int
    rows: int
    last_commit_at: str | None
    reason: str = ""


def write_status(path: Path, pipeline: str, run: str, at: str, streams: list[StreamStatus]) -> None:
    """Replace the file in one step."""
    content = {"pipeline": pipeline, "run": run, "at": at, "streams": [asdict(one) for one in streams]}
    write_atomically(path, json.dumps(content, indent=1))


def read_status(path: Path) -> tuple[str, list[StreamStatus]] | None:
    """When it was written (ISO 8601) and each stream; None if no run has written there, or none of this version."""
    try:
        content = json.loads(path.read_text("utf-8"))
        return str(content["at"]), [StreamStatus(**one) for one in content["streams"]]
    except (FileNotFoundError, ValueError, TypeError, KeyError):
        return None
