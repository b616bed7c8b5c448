"""Send files by their contract: the name says which stream, the content whether it was sent before."""

from __future__ import annotations

import os
import stat
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from typing import BinaryIO, Literal

from contracts.errors import Conflict, ServiceUnavailable
from contracts.stream import FILE_UNIT, Pipeline, Stream
from contracts.wire import check_file_name
from producers.chunks import ChunkStore
from producers.scan import Scan, scan
from producers.send import Arrival, send_file, settled
from producers.sending import Outcome, TransactionLimits
from producers.states import FilesTopic
from producers.unpack import ArchiveRefused, UnpackLimits, is_archive, unpacked

ResultState = Literal["sent", "already_sent", "rejected", "would_send", "given_up"]
Progress = Callable[[str, int, int], None]
"""File name, how much is done, how much there is: bytes while a file is fetched, unpacked or read, events while it is
sent."""


@dataclass(frozen=True, slots=True)
class Offender:
    """A row that would be refused."""

    line: int
    rule: str
    column: str
    reason: str


@dataclass(frozen=True, slots=True)
class Judged:
    """What would become of a file's rows, and the first of those that would be refused."""

    accepted: int
    duplicate: int
    conflicting: int
    refused: int
    offenders: tuple[Offender, ...]


Judge = Callable[[BinaryIO, Arrival, Scan, Stream], Judged]
"""Judges a file as the streaming job would, without sending it."""


@dataclass(frozen=True, slots=True)
class FileResult:
    """What became of one file. `rows` are the events in it, `sent` those that Kafka holds now as this content's.

    `given_up`: another sender has it, or it changed under way; pushing again is safe and goes on where it stopped.
    `archive` is what the file was unpacked from, `delimiter` the one that was found in its header; else empty. `judged`
    is what would become of its rows, of a file that was only looked at.
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
    bytes: int = 0
    archive: str = ""
    delimiter: str = ""
    judged: Judged | None = None


@dataclass(frozen=True, slots=True)
class SendOptions:
    """How files are sent. With `dry_run` they are only read, and judged by `judge` if there is one. `batch_date` is for
    contracts that ask for one; without it the day of arrival is. `unpacking` and `reading` are told of bytes read,
    `progress` of events sent. `chunks` takes large files; without it they go row by row. Archives are unpacked below
    `spool`."""

    dry_run: bool = False
    judge: Judge | None = None
    batch_date: date | None = None
    unpacking: Progress | None = None
    reading: Progress | None = None
    progress: Progress | None = None
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    limits: TransactionLimits | None = None
    chunks: ChunkStore | None = None
    spool: Path = Path(tempfile.gettempdir())
    unpack: UnpackLimits | None = None


def push(files: Iterable[Path], pipeline: Pipeline, kafka: str, options: SendOptions | None = None) -> list[FileResult]:
    """Send each file, in this order; one result each, also for those that were refused, and one for each file of an
    archive.

    May be repeated: a content that was sent is not sent again, one that was sent in part is completed.

    Raises:
        ServiceUnavailable: the broker went away, or the disk did not do it; files before stand, the current one goes on
            at the next push.
        Fatal: a topic does not exist.
    """
    with FilesTopic(kafka, pipeline) as known:
        sender = Sender(pipeline, kafka, known, options)
        return [result for path in files for result in sender.push_path(path)]


class Sender:
    """Pushes one file at a time over one connection to the files topic."""

    def __init__(self, pipeline: Pipeline, kafka: str, known: FilesTopic, options: SendOptions | None = None) -> None:
        self._pipeline = pipeline
        self._kafka = kafka
        self._known = known
        self._options = options or SendOptions()

    def push_path(self, path: Path) -> list[FileResult]:
        """Push the file at a path; a path that cannot be opened is a rejected file. Raises as `push`."""
        try:
            if not stat.S_ISREG(path.stat().st_mode):
                return [refused(path.name, "it is not a regular file")]
            source = path.open("rb")
        except OSError as problem:
            return [refused(path.name, f"it cannot be read: {problem.strerror}")]
        with source:
            try:
                return self.push_open(source, path.name)
            except OSError as problem:
                # A full disk below the spool, or one that fails: the file is not to blame.
                raise ServiceUnavailable(
                    f"{path.name} could not be read to its end or unpacked: {problem.strerror}",
                    state="what was committed of it stands; it does not count before it is complete",
                    next_step="make room or mend the disk, then push again; it goes on where it stopped",
                    file=path,
                    spool=self._options.spool,
                ) from problem

    def push_open(self, source: BinaryIO, file_name: str) -> list[FileResult]:
        """Push what an open file holds, under this name. Raises as `push`.

        An archive is unpacked first, and refused as a whole if it is not safe. A name of its own that fits a stream is
        that of the one file in it; otherwise each file's own name says which stream it belongs to.
        """
        if not is_archive(source):
            return [self._push(source, file_name)]
        options = self._options
        told = partial(options.unpacking, file_name) if options.unpacking else None
        try:
            with unpacked(source, file_name, options.spool, options.unpack, told) as members:
                fits = bool(self._streams(file_name))
                if fits and len(members) > 1:
                    return [refused(file_name, f"its name fits a stream, but it holds {len(members)} files")]
                names = [member.name for member in members]
                if twice := sorted({name for name in names if names.count(name) > 1}):
                    # They would state the same unit, and the last of them would replace the others.
                    return [refused(file_name, f"it holds more than one file named {twice[0]}: rename them")]
                results = []
                for member in members:
                    with member.path.open("rb") as content:
                        name = file_name if fits else member.name
                        results.append(self._push(content, name, f"{file_name}: {member.inside}"))
                return results
        except ArchiveRefused as problem:
            return [refused(file_name, str(problem))]

    def _streams(self, file_name: str) -> list[tuple[Stream, Mapping[str, str]]]:
        return [
            (stream, match)
            for stream in self._pipeline.file_streams
            if (match := stream.file_source.match(file_name)) is not None
        ]

    def _push(self, source: BinaryIO, file_name: str, archive: str = "") -> FileResult:
        started = time.monotonic()
        try:
            check_file_name(file_name)
        except ValueError as problem:
            return refused(file_name, str(problem), archive)
        found = self._streams(file_name)
        if len(found) != 1:
            return refused(file_name, _not_one(self._pipeline, [stream for stream, _ in found]), archive)
        stream, groups = found[0]
        arrival = self._arrival(stream, file_name, groups, archive)
        if wrong := _wrong_unit(stream, arrival, self._options.batch_date):
            # Not recorded in the files topic: the same content may come again under a right name.
            return refused(file_name, wrong, archive)
        reading, size = self._options.reading, os.fstat(source.fileno()).st_size
        scanned = scan(source, stream, (lambda done: reading(file_name, done, size)) if reading else None)
        state: ResultState
        judged: Judged | None = None
        if scanned.changed:
            state, sent, reason = "given_up", 0, "it is still being written; nothing of it was sent"
        elif self._options.dry_run:
            state, sent, reason = self._would(stream, arrival, scanned)
            if state == "would_send" and self._options.judge:
                judged = self._options.judge(source, arrival, scanned, stream)
        else:
            try:
                outcome = self._send(source, arrival, scanned, stream)
                state = "given_up" if outcome.state == "changed" else outcome.state
                sent, reason = outcome.sent, outcome.reason
            except Conflict as problem:
                state, sent, reason = "given_up", 0, str(problem)
        return FileResult(
            stream=stream.name,
            file=file_name,
            hash=scanned.hash,
            unit=arrival.unit,
            rows=scanned.rows,
            sent=sent,
            state=state,
            reason=reason,
            seconds=time.monotonic() - started,
            bytes=scanned.bytes,
            archive=archive,
            delimiter=scanned.delimiter,
            judged=judged,
        )

    def _arrival(self, stream: Stream, file_name: str, groups: Mapping[str, str], archive: str) -> Arrival:
        options, column, unit = self._options, stream.batch_date_column, stream.file_source.unit
        day = (options.batch_date or options.clock().date()).isoformat() if column else ""
        given = {FILE_UNIT: file_name} | ({column.name: day} if column else {})
        stated = given.get(unit) or groups.get(unit, "")
        return Arrival(file_name, stated, day, options.batch_date is not None, archive)

    def _would(self, stream: Stream, arrival: Arrival, scanned: Scan) -> tuple[ResultState, int, str]:
        before = self._known.read_to_end().get((stream.name, scanned.hash))
        if before and (found := settled(before, arrival, stream)):
            return "rejected" if found.state == "rejected" else "already_sent", found.sent, found.reason
        sent = before.state.sent if before else 0
        return ("rejected", sent, scanned.wrong) if scanned.wrong else ("would_send", sent, "")

    def _send(self, source: BinaryIO, arrival: Arrival, scanned: Scan, stream: Stream) -> Outcome:
        options, report = self._options, self._options.progress
        return send_file(
            source,
            arrival,
            scanned,
            stream,
            self._pipeline,
            self._kafka,
            self._known,
            clock=options.clock,
            limits=options.limits,
            progress=(lambda done: report(arrival.file, done, scanned.rows)) if report else None,
            chunks=options.chunks,
        )


def refused(file_name: str, reason: str, archive: str = "") -> FileResult:
    """The result of a file that was rejected unread. Bytes of its name that are no UTF-8 are shown escaped."""
    shown = file_name.encode(errors="backslashreplace").decode()
    return FileResult("", shown, "", "", 0, 0, "rejected", reason, 0.0, archive=archive)


def _wrong_unit(stream: Stream, arrival: Arrival, batch_date: date | None) -> str:
    """Why a file cannot state this unit; empty if it can."""
    name, unit = stream.file_source.unit, arrival.unit
    if name and not unit:
        return f"its name has no {name}: rename the file"
    dated = any(column.name == name and column.spark_type == "date" for column in stream.columns)
    if dated and not _is_iso_date(unit):
        return f"its name says {unit}, which is no date: rename the file"
    if dated and batch_date and unit != batch_date.isoformat():
        return f"its name says {unit}, and the batch date {batch_date}"
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
