"""Send files by their contract: the name says which stream, the content whether it was sent before."""

from __future__ import annotations

import stat
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import BinaryIO, Literal

from contracts.errors import Conflict
from contracts.stream import Pipeline, Stream
from contracts.wire import check_file_name
from producers.scan import scan
from producers.send import ChunkLimits, send_file
from producers.states import FilesTopic

ResultState = Literal["sent", "already_sent", "rejected", "would_send", "given_up"]
Progress = Callable[[str, int, int], None]
"""File name, events sent so far, events in the file."""


@dataclass(frozen=True, slots=True)
class FileResult:
    """What became of one file. `rows` are the events in it, `sent` those that Kafka holds now as this content's.

    `given_up`: another sender has it, or it changed under way; pushing again is safe and goes on where it stopped.
    """

    stream: str
    file: str
    hash: str
    unit: str
    rows: int
    sent: int
    state: ResultState
    reason: str
    seconds: float


def push(
    files: Iterable[Path],
    pipeline: Pipeline,
    kafka: str,
    *,
    dry_run: bool = False,
    progress: Progress | None = None,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    limits: ChunkLimits | None = None,
) -> list[FileResult]:
    """Send each file, in this order; one result each, also for those that were refused.

    May be repeated: a content that was sent is not sent again, one that was sent in part is completed. `dry_run`
    reads the files and the files topic, and writes nothing.

    Raises:
        ServiceUnavailable: the broker went away; files before stand, the current one goes on at the next push.
        Fatal: a topic does not exist.
    """
    with FilesTopic(kafka, pipeline) as known:
        sender = Sender(pipeline, kafka, known, dry_run=dry_run, progress=progress, clock=clock, limits=limits)
        return [sender.push_path(path) for path in files]


class Sender:
    """Pushes one file at a time over one connection to the files topic."""

    def __init__(
        self,
        pipeline: Pipeline,
        kafka: str,
        known: FilesTopic,
        *,
        dry_run: bool = False,
        progress: Progress | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        limits: ChunkLimits | None = None,
    ) -> None:
        self._pipeline = pipeline
        self._kafka = kafka
        self._known = known
        self._dry_run = dry_run
        self._progress = progress
        self._clock = clock
        self._limits = limits

    def push_path(self, path: Path) -> FileResult:
        """Push the file at a path; a path that cannot be read is a rejected file."""
        try:
            if not stat.S_ISREG(path.stat().st_mode):
                return refused(path.name, "it is not a regular file")
            with path.open("rb") as source:
                return self.push_open(source, path.name)
        except OSError as problem:
            return refused(path.name, f"it cannot be read: {problem.strerror}")

    def push_open(self, source: BinaryIO, file_name: str) -> FileResult:
        """Push what an open file holds, under this name. Raises as `push`."""
        started = time.monotonic()
        try:
            check_file_name(file_name)
        except ValueError as problem:
            return refused(file_name, str(problem))
        found = [
            (stream, match)
            for stream in self._pipeline.file_streams
            if (match := stream.file_source.match(file_name)) is not None
        ]
        if len(found) != 1:
            return refused(file_name, _not_one(self._pipeline, [stream for stream, _ in found]))
        stream, groups = found[0]
        unit = groups[stream.file_source.unit] if stream.file_source.unit else ""
        if wrong := _wrong_unit(stream, unit):
            # Not recorded in the files topic: the same content may come again under a right name.
            return refused(file_name, wrong)
        scanned = scan(source, stream)
        state: ResultState
        if scanned.changed:
            state, sent, reason = "given_up", 0, "it is still being written; nothing of it was sent"
        elif self._dry_run:
            before = self._known.read_to_end().get((stream.name, scanned.hash))
            sent = before.state.sent if before else 0
            if scanned.wrong:
                state, reason = "rejected", scanned.wrong
            elif before and before.state.state == "sent":
                state, reason = "already_sent", f"already sent, known as {before.state.file}"
            else:
                state, reason = "would_send", ""
        else:
            report = self._progress
            try:
                outcome = send_file(
                    source,
                    file_name,
                    scanned,
                    stream,
                    self._pipeline,
                    self._kafka,
                    self._known,
                    clock=self._clock,
                    limits=self._limits,
                    progress=(lambda done: report(file_name, done, scanned.rows)) if report else None,
                )
                state = "given_up" if outcome.state == "changed" else outcome.state
                sent, reason = outcome.sent, outcome.reason
            except Conflict as problem:
                state, sent, reason = "given_up", 0, str(problem)
        seconds = time.monotonic() - started
        return FileResult(stream.name, file_name, scanned.hash, unit, scanned.rows, sent, state, reason, seconds)


def refused(file_name: str, reason: str) -> FileResult:
    """The result of a file that was rejected unread. Bytes of its name that are no UTF-8 are shown escaped."""
    shown = file_name.encode(errors="backslashreplace").decode()
    return FileResult("", shown, "", "", 0, 0, "rejected", reason, 0.0)


def _wrong_unit(stream: Stream, unit: str) -> str:
    """Why a file cannot state this unit; empty if it can."""
    name = stream.file_source.unit
    if name and not unit:
        return f"its name has no {name}: rename the file"
    dated = any(column.name == name and column.spark_type == "date" for column in stream.columns)
    if dated and not _is_iso_date(unit):
        return f"its name says {unit}, which is no date: rename the file"
    return ""


def _is_iso_date(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def _not_one(pipeline: Pipeline, found: list[Stream]) -> str:
    if found:
        return f"its name fits more than one stream: {', '.join(stream.name for stream in found)}"
    known = "; ".join(f"{stream.name}: {stream.file_source.pattern}" for stream in pipeline.file_streams)
    return f"its name fits no stream of pipeline {pipeline.name} ({known})"
