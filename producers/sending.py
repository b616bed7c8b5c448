"""One attempt at one file: its events, row by row or in chunks, into transactions that say how far they are."""

from __future__ import annotations

import hashlib
import time
from array import array
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import chain
from typing import Literal, get_args

from contracts.stream import Pipeline
from contracts.wire import FileState, RecordFormat, RowKey, SendState, encode_chunk, encode_file_state, encode_row_key
from producers.chunks import Attempt, Cut
from producers.rows import Rows
from producers.scan import FileRows, Scan
from producers.transactions import TransactionalProducer

PART_ROWS = 50_000
"""How many rows are produced between two looks at the limits of a transaction."""

OutcomeState = Literal["sent", "already_sent", "rejected", "changed"]


@dataclass(frozen=True, slots=True)
class TransactionLimits:
    """What ends a transaction once it is reached, whichever comes first. The time, which mostly is, lies well below the
    transaction's time-out, since the records still queued then have to arrive too; at each end the sender waits."""

    rows: int = 1_000_000
    bytes: int = 256 * 1024 * 1024
    seconds: float = 4.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one file. `sent` counts the events that are committed to Kafka as this content's, by this call or
    before. `changed`: the file is no longer what was scanned; it is not complete in Kafka and never counts."""

    state: OutcomeState
    sent: int
    reason: str = ""


class Sending:
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
        self,
        events: FileRows,
        scanned: Scan,
        topic: str,
        limits: TransactionLimits,
        progress: Callable[[int], None] | None,
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
            if sent + len(rows) > scanned.rows:
                break
            self.producer.produce_rows(topic, self.state.partition, rows, *keys.around(rows.format))
            digest.add(rows)
            sent += len(rows)
            chunk_rows += len(rows)
            chunk_bytes += rows.size + keys.size * len(rows)
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
            return self.changed()
        self._record_sent("sent", sent, digest.hexdigest())
        return Outcome("sent", sent)

    def chunks(self, cuts: Iterable[Cut], attempt: Attempt, scanned: Scan, topic: str) -> Outcome:
        """Send the records of chunks that hold all events, and the state `sent`, in one transaction: a reader gets the
        whole file in one piece, and nothing of it before."""
        head, tail = _KeyParts(self.state, scanned.header).around("chunk")
        attempt.keep()
        self.producer.begin()
        for one in cuts:
            key = b"%b%d%b" % (head, one.first_line, tail)
            self.producer.produce(topic, self.state.partition, key, encode_chunk(one.chunk))
        self._record_sent("sent", scanned.rows, "")
        attempt.remove_others()
        return Outcome("sent", scanned.rows)

    def _not_resumed(self, unsent: Iterable[Rows], events: FileRows, scanned: Scan) -> Outcome:
        """Refuse to go on behind rows that are not this content's, unless it is the file that is altered just now."""
        for _ in unsent:
            pass
        if events.reader.hexdigest() != scanned.hash:
            return self.changed()
        reason = (
            f"the first {self.state.sent} rows that Kafka has as this content's are not its own: the file was altered "
            "while it was being sent. They stay booked, in a file that never counts, and nothing was added. Change a "
            "byte (add a last empty line, for instance) and push again: that is a new content, sent as a whole"
            + (f", and replaces {self.state.unit}" if self.state.unit else "")
        )
        self.record_alone("rejected", reason)
        return Outcome("rejected", self.state.sent, reason)

    def changed(self) -> Outcome:
        """Drop what is open, and record that the file is no longer what was scanned."""
        self.producer.abort()
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
        self._values.update(rows.ended())
        self._lines.update(array("Q", rows.lines).tobytes())

    def hexdigest(self) -> str:
        """Of all so far."""
        return hashlib.sha256(self._values.digest() + self._lines.digest()).hexdigest()


def _after(events: Iterable[Rows], skip: int, digest: _Digest) -> Iterator[Rows]:
    """The events after the first `skip`, which are read and put into the digest before this returns."""
    batches = iter(events)
    while skip and (batch := next(batches, None)):
        digest.add(batch.part(0, skip))
        if skip < len(batch):
            return chain([batch.part(skip, len(batch))], batches)
        skip -= len(batch)
    return batches


def _parts(batches: Iterable[Rows], part_rows: int) -> Iterator[Rows]:
    """The same events, at most `part_rows` at once."""
    for batch in batches:
        for start in range(0, len(batch), part_rows):
            yield batch.part(start, start + part_rows)


class _KeyParts:
    """What surrounds the line number in the keys of one file: encoding each key anew would cost more than the row."""

    def __init__(self, state: FileState, header: str) -> None:
        self._head = f"{state.hash}\t".encode()
        self._tails: dict[str, bytes] = {}
        for row_format in get_args(RecordFormat):
            whole = encode_row_key(RowKey(state.hash, 1, row_format, state.file, header, state.batch_date))
            self._tails[row_format] = whole.removeprefix(self._head + b"1")
        self.size = len(whole) + 8

    def around(self, row_format: str) -> tuple[bytes, bytes]:
        """Head and tail of a key."""
        return self._head, self._tails[row_format]
