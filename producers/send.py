"""Send one file to Kafka so that each of its events stands there exactly once, whoever dies when.

The content's hash picks one of eight transactional ids. Taking the id ends whatever an earlier sender of this content
left open; only then the files topic is read, to its end, so it says for certain how many events are committed. Whether
those are this content's own, the digest beside that number says: a file may be altered while it is sent.
"""

from __future__ import annotations

import hashlib
import os
import socket
import time
from array import array
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import chain
from typing import BinaryIO, Literal

from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential_jitter

from contracts.errors import LedgerMismatch, ServiceUnavailable
from contracts.stream import Pipeline, Stream
from contracts.wire import FileState, RowFormat, RowKey, SendState, encode_file_state, encode_row_key, row_partition
from producers.rows import Rows
from producers.scan import FileRows, Scan
from producers.states import FilesTopic, KnownFile
from producers.transactions import TransactionalProducer

SENDERS = 8
"""How many transactional ids a pipeline has: files that share none are sent side by side."""

PART_ROWS = 20_000
"""How many rows are produced between two looks at the limits of a transaction."""

OutcomeState = Literal["sent", "already_sent", "rejected", "changed"]


@dataclass(frozen=True, slots=True)
class ChunkLimits:
    """What ends a transaction once it is reached, whichever comes first: well below the transaction's time-out, since
    the records still queued then have to arrive too."""

    rows: int = 200_000
    bytes: int = 64 * 1024 * 1024
    seconds: float = 4.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one file. `sent` counts the events that are committed to Kafka as this content's, by this call or
    before. `changed`: the file is no longer what was scanned; it is not complete in Kafka and never counts."""

    state: OutcomeState
    sent: int
    reason: str = ""


class _Sending:
    """One attempt at one file."""

    def __init__(
        self,
        producer: TransactionalProducer,
        pipeline: Pipeline,
        state: FileState,
        clock: Callable[[], datetime],
    ) -> None:
        self.producer = producer
        self.state = state
        self._topic = pipeline.files_topic
        self._clock = clock

    def record(self, state: SendState, reason: str = "") -> None:
        """Add the file's state to the open transaction."""
        now = self._clock().isoformat(timespec="milliseconds")
        self.state = replace(self.state, state=state, reason=reason, at=now)
        key, value = encode_file_state(self.state)
        self.producer.produce(self._topic, 0, key, value)

    def record_alone(self, state: SendState, reason: str = "") -> None:
        """Commit the file's state in a transaction of its own."""
        self.producer.begin()
        self.record(state, reason)
        self.producer.commit(rows=False)

    def _record_sent(self, state: SendState, sent: int, digest: str) -> None:
        """Commit the open transaction with the rows in it: `sent` in all, with this digest."""
        self.state = replace(self.state, sent=sent, sent_digest=digest)
        self.record(state)
        self.producer.commit(rows=True)

    def rows(
        self, events: FileRows, scanned: Scan, topic: str, limits: ChunkLimits, progress: Callable[[int], None] | None
    ) -> Outcome:
        """Send the events after the first `state.sent`, and with the last of them the state `sent`. If those in Kafka
        are others than the first of this content, it is refused."""
        keys = _KeyParts(self.state, scanned.header)
        sent = self.state.sent
        digest = _Digest()
        unsent = _after(events, sent, digest)
        if sent and self.state.sent_digest not in ("", digest.hexdigest()):
            return self._not_resumed(unsent, events, scanned)
        chunk_rows = chunk_bytes = 0
        started = time.monotonic()
        self.producer.begin()
        for rows in _parts(unsent, min(limits.rows, PART_ROWS, limits.bytes // keys.size + 1)):
            if sent + len(rows.values) > scanned.rows:
                break
            self.producer.produce_rows(topic, self.state.partition, rows, *keys.around(rows.format))
            digest.add(rows)
            sent += len(rows.values)
            chunk_rows += len(rows.values)
            chunk_bytes += sum(map(len, rows.values)) + keys.size * len(rows.values)
            if sent < scanned.rows and (
                chunk_rows >= limits.rows or chunk_bytes >= limits.bytes or time.monotonic() - started >= limits.seconds
            ):
                self._record_sent("sending", sent, digest.hexdigest())
                chunk_rows = chunk_bytes = 0
                started = time.monotonic()
                self.producer.begin()
            if progress:
                progress(sent)
        if sent != scanned.rows or events.reader.hexdigest() != scanned.hash:
            self.producer.abort()
            return self._changed()
        self._record_sent("sent", sent, digest.hexdigest())
        return Outcome("sent", sent)

    def _not_resumed(self, unsent: Iterable[Rows], events: FileRows, scanned: Scan) -> Outcome:
        """Refuse to go on behind rows that are not this content's, unless it is the file that is altered just now."""
        for _ in unsent:
            pass
        if events.reader.hexdigest() != scanned.hash:
            return self._changed()
        reason = (
            f"the first {self.state.sent} rows that Kafka has as this content's are not its own: the file was altered "
            "while it was being sent. They stay booked, in a file that never counts, and nothing was added. Change a "
            "byte (add a last empty line, for instance) and push again: that is a new content, sent as a whole"
            + (f", and replaces {self.state.unit}" if self.state.unit else "")
        )
        self.record_alone("rejected", reason)
        return Outcome("rejected", self.state.sent, reason)

    def _changed(self) -> Outcome:
        reason = "the file changed while it was being sent"
        self.record_alone("rejected", reason)
        return Outcome("changed", self.state.sent, reason)


class _Digest:
    """SHA-256 of the rows so far and of their lines, the same however they are cut into batches."""

    def __init__(self) -> None:
        self._values = hashlib.sha256()
        self._lines = hashlib.sha256()

    def add(self, rows: Rows) -> None:
        """Take these in. No step in Python for each row: that would show in the throughput."""
        self._values.update(b"\n".join([*rows.values, b""]))
        self._lines.update(array("Q", rows.lines).tobytes())

    def hexdigest(self) -> str:
        """Of all so far."""
        return hashlib.sha256(self._values.digest() + self._lines.digest()).hexdigest()


def _after(events: Iterable[Rows], skip: int, digest: _Digest) -> Iterator[Rows]:
    """The events after the first `skip`, which are read and put into the digest before this returns."""
    batches = iter(events)
    while skip and (batch := next(batches, None)):
        digest.add(Rows(batch.format, batch.lines[:skip], batch.values[:skip]))
        rest = Rows(batch.format, batch.lines[skip:], batch.values[skip:])
        batches = chain([rest], batches) if rest.values else batches
        skip = max(0, skip - len(batch.values))
    return batches


def _parts(batches: Iterable[Rows], part_rows: int) -> Iterator[Rows]:
    """The same events, at most `part_rows` at once."""
    for batch in batches:
        for start in range(0, len(batch.values), part_rows):
            end = start + part_rows
            yield Rows(batch.format, batch.lines[start:end], batch.values[start:end])


class _KeyParts:
    """What surrounds the line number in the keys of one file: encoding each key anew would cost more than the row."""

    def __init__(self, state: FileState, header: str) -> None:
        self._head = f"{state.hash}\t".encode()
        self._tails: dict[str, bytes] = {}
        formats: tuple[RowFormat, ...] = ("csv", "json", "unsplit")
        for row_format in formats:
            whole = encode_row_key(RowKey(state.hash, 1, row_format, state.file, header))
            self._tails[row_format] = whole.removeprefix(self._head + b"1")
        self.size = len(whole) + 8

    def around(self, row_format: str) -> tuple[bytes, bytes]:
        """Head and tail of a key."""
        return self._head, self._tails[row_format]


def transactional_id(pipeline: str, file_hash: str) -> str:
    """The id that every sender of this content shares."""
    return f"headrace.{pipeline}.files.{int(file_hash[:8], 16) % SENDERS}"


def send_file(
    source: BinaryIO,
    file_name: str,
    scanned: Scan,
    stream: Stream,
    pipeline: Pipeline,
    kafka: str,
    files: FilesTopic,
    *,
    clock: Callable[[], datetime],
    limits: ChunkLimits | None = None,
    progress: Callable[[int], None] | None = None,
) -> Outcome:
    """Send what of this content is not in Kafka yet; a content that `scanned` calls wrong is only recorded.

    May be called again at any time, by any number of processes at once: a content is sent once per stream, whatever
    its name. Chunks that were committed stay when it fails; the next call goes on behind them.

    Raises:
        Conflict: another sender took over; it is not tried again here, or two would fence each other for ever.
        ServiceUnavailable: the broker did not answer, after several tries.
        LedgerMismatch: a former version split this file into another number of events.
        Fatal: a topic is missing or refused.
    """
    topic_partitions = files.require(stream.topic)
    unit = stream.file_source.unit
    state = FileState(
        stream=stream.name,
        hash=scanned.hash,
        file=file_name,
        unit=(stream.file_source.match(file_name) or {}).get(unit, "") if unit else "",
        state="claimed",
        rows=scanned.rows,
        sent=0,
        bytes=scanned.bytes,
        partition=row_partition(scanned.hash, topic_partitions),
        at="",
        by=f"{socket.gethostname()}:{os.getpid()}",
    )

    def attempt() -> Outcome:
        with TransactionalProducer(kafka, transactional_id(pipeline.name, scanned.hash)) as producer:
            known = files.read_to_end().get((stream.name, scanned.hash))
            if known and (settled := _settled(known, state)):
                return settled
            sending = _Sending(producer, pipeline, _resumed(known, state), clock)
            if scanned.wrong:
                if not known or known.state.state != "rejected" or known.state.reason != scanned.wrong:
                    sending.record_alone("rejected", scanned.wrong)
                return Outcome("rejected", sending.state.sent, scanned.wrong)
            sending.record_alone("claimed")
            events = FileRows(source, stream.file_source)
            return sending.rows(events, scanned, stream.topic, limits or ChunkLimits(), progress)

    retrying = Retrying(
        retry=retry_if_exception_type(ServiceUnavailable),
        stop=stop_after_attempt(4),
        wait=wait_exponential_jitter(initial=1.0, max=10.0),
        reraise=True,
    )
    return retrying(attempt)


def _settled(known: KnownFile, new: FileState) -> Outcome | None:
    """What the files topic already says for good about this content, if anything."""
    old = known.state
    if old.unit != new.unit and old.sent:
        return Outcome(
            "rejected",
            old.sent,
            f"the same content was sent as {old.file}, for {old.unit}: it cannot also stand for {new.unit}",
        )
    if old.state == "sent":
        return Outcome("already_sent", old.sent, f"already sent, known as {old.file}")
    return None


def _resumed(known: KnownFile | None, new: FileState) -> FileState:
    """The state to go on from: rows already sent keep their file name and partition."""
    if not known or not known.state.sent:
        return new
    old = known.state
    if old.rows != new.rows:
        raise LedgerMismatch(
            f"{new.file} was begun as {old.rows} events and is split into {new.rows} now",
            stream=new.stream,
            hash=new.hash,
            state=f"{old.sent} events of it are in Kafka; none were added.",
            next_step="send the file with one byte changed (it is a new content then), for instance a last empty line.",
        )
    return replace(new, file=old.file, sent=old.sent, partition=old.partition, sent_digest=old.sent_digest)
