"""Send one file to Kafka so that each of its events stands there exactly once, whoever dies when.

The content's hash picks one of eight transactional ids. Taking the id ends whatever an earlier sender of this content
left open; only then the files topic is read, to its end, so it says for certain how many events are committed. Whether
those are this content's own, the digest beside that number says: a file may be altered while it is sent.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import BinaryIO

from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential_jitter

from contracts.errors import Conflict, HeadraceError, ServiceUnavailable
from contracts.stream import FILE_UNIT, Pipeline, Stream
from contracts.wire import FileState, row_partition
from producers.chunks import Attempt, ChunkStore, Cut, cut
from producers.rows import UnreadableFile
from producers.scan import FileRows, Scan
from producers.sending import Outcome, Sending, TransactionLimits
from producers.states import FilesTopic, KnownFile
from producers.transactions import TransactionalProducer

SENDERS = 8
"""How many transactional ids a pipeline has: files that share none are sent side by side."""


def transactional_id(pipeline: str, file_hash: str) -> str:
    """The id that every sender of this content shares."""
    return f"headrace.{pipeline}.files.{int(file_hash[:8], 16) % SENDERS}"


@dataclass(frozen=True, slots=True)
class Arrival:
    """What is known of a file beside its content. `unit` is the part of the data that it states, `batch_date` the date
    for which it was pushed, both empty if its contract asks for none; with `dated` somebody said that date, else it is
    the day of arrival. `archive` is what it was unpacked from."""

    file: str
    unit: str = ""
    batch_date: str = ""
    dated: bool = False
    archive: str = ""


def send_file(
    source: BinaryIO,
    arrival: Arrival,
    scanned: Scan,
    stream: Stream,
    pipeline: Pipeline,
    kafka: str,
    files: FilesTopic,
    *,
    clock: Callable[[], datetime],
    limits: TransactionLimits | None = None,
    progress: Callable[[int], None] | None = None,
    chunks: ChunkStore | None = None,
) -> Outcome:
    """Send what of this content is not in Kafka yet; a content that `scanned` calls wrong is only recorded.

    May be called again at any time, by any number of processes at once: a content is sent once per stream, whatever
    its name. Rows that were committed stay when it fails; the next call goes on behind them. With `chunks` a file of
    the contract's `bulk_bytes` or more goes there, and only its chunks' records to Kafka, all at once; of several that
    write chunks of one content the first to have them all sends it.

    Raises:
        Conflict: another sender took over; rows are not tried again here, or two would fence each other for ever.
        ServiceUnavailable: the broker or the chunks' file system did not answer, after several tries.
        Fatal: a topic is missing or refused.
    """
    topic_partitions = files.require(stream.topic)
    state = FileState(
        stream=stream.name,
        hash=scanned.hash,
        file=arrival.file,
        unit=arrival.unit,
        state="claimed",
        rows=scanned.rows,
        sent=0,
        bytes=scanned.bytes,
        partition=row_partition(scanned.hash, topic_partitions),
        at="",
        by=f"{socket.gethostname()}:{os.getpid()}",
        batch_date=arrival.batch_date,
        archive=arrival.archive,
    )
    large = 0 < stream.file_source.bulk_bytes <= scanned.bytes
    own_id = transactional_id(pipeline.name, scanned.hash)

    def left(producer: TransactionalProducer) -> Sending | Outcome:
        """What is to be sent, now that no earlier holder of the id can commit; an outcome if nothing is."""
        known = files.read_to_end().get((stream.name, scanned.hash))
        if known and (found := settled(known, arrival, stream)):
            return found
        sending = Sending(producer, pipeline, _resumed(known, state), clock)
        if sending.state.rows != scanned.rows:
            return Outcome("rejected", sending.state.sent, _split_anew(sending.state, scanned))
        if scanned.wrong:
            if not known or known.state.state != "rejected" or known.state.reason != scanned.wrong:
                sending.record_alone("rejected", scanned.wrong)
            return Outcome("rejected", sending.state.sent, scanned.wrong)
        return sending

    def by_row_or_in_chunks() -> Outcome:
        with TransactionalProducer(kafka, own_id) as producer:
            sending = left(producer)
            if isinstance(sending, Outcome):
                return sending
            sending.record_alone("claimed")
            if not chunks or not large or sending.state.sent:
                try:
                    events = FileRows(source, stream)
                    return sending.rows(events, scanned, stream.topic, limits or TransactionLimits(), progress)
                except UnreadableFile:
                    return sending.changed()
        # Nobody holds the id while chunks are written, for minutes: senders of other files share it, and who took it
        # for this one would lose all to the next. Whoever has all chunks first takes it and commits.
        with chunks.attempt(stream.name, scanned.hash) as place:
            cuts = _written(source, stream, scanned, place, progress)
            found = _trying(ServiceUnavailable, Conflict)(partial(commit, cuts, place))
        return found or by_row_or_in_chunks()

    def commit(cuts: list[Cut] | None, place: Attempt) -> Outcome | None:
        """None: it was begun row by row meanwhile, and so it goes on."""
        with TransactionalProducer(kafka, own_id) as producer:
            sending = left(producer)
            if isinstance(sending, Outcome):
                return sending
            if sending.state.sent:
                return None
            return sending.changed() if cuts is None else sending.chunks(cuts, place, scanned, stream.topic)

    return _trying(ServiceUnavailable)(by_row_or_in_chunks)


def _trying(*errors: type[HeadraceError]) -> Retrying:
    return Retrying(
        retry=retry_if_exception_type(errors),
        stop=stop_after_attempt(4),
        wait=wait_exponential_jitter(initial=1.0, max=10.0),
        reraise=True,
    )


def _written(
    source: BinaryIO, stream: Stream, scanned: Scan, place: Attempt, progress: Callable[[int], None] | None
) -> list[Cut] | None:
    """All events in chunks; None if the file is no longer what was scanned."""
    cuts, done = [], 0
    try:
        events = FileRows(source, stream)
        for one in cut(events, place, events.cells()):
            cuts.append(one)
            done += one.chunk.rows
            if progress:
                progress(min(done, scanned.rows))
    except UnreadableFile:
        return None
    return cuts if done == scanned.rows and events.reader.hexdigest() == scanned.hash else None


def settled(known: KnownFile, arrival: Arrival, stream: Stream) -> Outcome | None:
    """What the files topic already says for good about this content, if anything."""
    old, unit, column = known.state, stream.file_source.unit, stream.batch_date_column
    # The day of arrival is no claim, and a name is only one of those that a content may have.
    claims = unit != FILE_UNIT and not (column and unit == column.name and not arrival.dated)
    if old.sent and claims and old.unit != arrival.unit:
        change = "change a byte (add a last empty line, for instance), and it is a content of its own"
        finish = f"push it with --batch-date {old.batch_date} to complete it" if old.batch_date else change
        return Outcome(
            "rejected",
            old.sent,
            f"the same content was sent as {old.file}, for {old.unit}: it cannot also stand for {arrival.unit}; "
            f"{change if old.state == 'sent' else finish}",
        )
    if old.state == "sent":
        return Outcome("already_sent", old.sent, f"already sent, known as {old.file}")
    return None


def _resumed(known: KnownFile | None, new: FileState) -> FileState:
    """The state to go on from: rows already sent keep their file name and partition."""
    if not known or not known.state.sent:
        return new
    old = known.state
    return replace(
        new,
        file=old.file,
        rows=old.rows,
        unit=old.unit,
        batch_date=old.batch_date,
        sent=old.sent,
        partition=old.partition,
        sent_digest=old.sent_digest,
    )


def _split_anew(begun: FileState, scanned: Scan) -> str:
    return (
        f"it was begun as {begun.rows} events and is split into {scanned.rows} now, by another version or another "
        "contract. Those sent stay booked, in a file that never counts. Change a byte and push it again: that is a new "
        "content, sent as a whole"
    )
