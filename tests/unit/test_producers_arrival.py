"""What is told of a file beside its rows: delimiter, day of arrival, size and hash, and how far each commit is."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import cast

import pytest

from contracts.stream import Column, FileSource, Pipeline, Stream
from producers import sending
from producers.push import FileResult, Sender, SendOptions
from producers.sending import TransactionLimits
from producers.states import FilesTopic
from tests.unit.memory_kafka import MemoryKafka

NAME = "register.csv"
CONTENT = b"id;name\n" + b"".join(b"%d;a\n" % number for number in range(100))


def register(delimiter: str = ";", bulk_bytes: int = 0) -> Pipeline:
    """Files without a date in their names: the day of arrival is their unit."""
    day = Column("batch_date", "date", from_batch_date=True)
    source = FileSource(r"register(_again)?\.csv", "csv", unit="batch_date", delimiter=delimiter, bulk_bytes=bulk_bytes)
    columns = (Column("id", "bigint"), Column("name", "string"), day)
    return Pipeline("p", (Stream("p", "register", "p.files.register", source, columns, ("id",)),), *3 * (Path(),))


def push(
    kafka: MemoryKafka, path: Path, options: SendOptions | None = None, pipeline: Pipeline | None = None
) -> FileResult:
    path.write_bytes(CONTENT)
    sender = Sender(pipeline or register(), "", cast(FilesTopic, kafka), options or SendOptions())
    (result,) = sender.push_path(path)
    return result


def at(day: int, hour: int = 12) -> SendOptions:
    return SendOptions(clock=lambda: datetime(2026, 3, day, hour, 59, tzinfo=UTC))


@pytest.mark.parametrize(("declared", "shown"), [("", ";"), (";", "")])
def test_a_delimiter_that_was_found_is_shown(kafka: MemoryKafka, tmp_path: Path, declared: str, shown: str) -> None:
    result = push(kafka, tmp_path / NAME, pipeline=register(declared))
    assert (result.state, result.delimiter) == ("sent", shown)


def test_without_a_batch_date_the_day_of_arrival_is_the_unit_and_the_same_content_is_none_of_the_next(
    kafka: MemoryKafka, tmp_path: Path
) -> None:
    first = push(kafka, tmp_path / NAME, at(7, hour=23))
    assert (first.state, first.unit, kafka.states[-1].batch_date) == ("sent", "2026-03-07", "2026-03-07")
    again = push(kafka, tmp_path / "register_again.csv", at(8))
    assert (again.state, again.sent) == ("already_sent", 100)
    assert kafka.states[-1].unit == "2026-03-07"
    said = push(kafka, tmp_path / NAME, SendOptions(batch_date=date(2026, 3, 8)))
    assert said.state == "rejected"
    assert "it cannot also stand for 2026-03-08" in said.reason


def test_the_state_of_a_file_holds_its_rows_bytes_and_hash(kafka: MemoryKafka, tmp_path: Path) -> None:
    push(kafka, tmp_path / NAME)
    state = kafka.states[-1]
    assert (state.state, state.rows, state.sent, state.bytes) == ("sent", 100, 100, len(CONTENT))
    assert state.hash == hashlib.sha256(CONTENT).hexdigest()


def test_a_file_over_the_contracts_limit_is_rejected_whole_and_recorded_with_the_reason(
    kafka: MemoryKafka, tmp_path: Path
) -> None:
    bad = CONTENT.replace(b"1", b"x")
    path = tmp_path / NAME
    path.write_bytes(bad)
    (stream,) = register().streams
    pipeline = replace(register(), streams=(replace(stream, quarantine_limit=0.05, quarantine_minimum=5),))
    (result,) = Sender(pipeline, "", cast(FilesTopic, kafka)).push_path(path)
    assert (result.state, result.sent, kafka.rows) == ("rejected", 0, [])
    assert [(one.state, one.reason) for one in kafka.states] == [("rejected", result.reason)]
    assert "19 of its 100 rows" in result.reason
    assert 'line 3: id "x"' in result.reason


LIMITS = {
    "seconds": TransactionLimits(seconds=0),
    "bytes": TransactionLimits(bytes=1),
    "rows": TransactionLimits(rows=9),
}


@pytest.mark.parametrize("limits", LIMITS.values(), ids=LIMITS)
def test_each_limit_ends_a_transaction(
    kafka: MemoryKafka, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limits: TransactionLimits
) -> None:
    monkeypatch.setattr(sending, "PART_ROWS", 10)
    push(kafka, tmp_path / NAME, SendOptions(limits=limits))
    states = [(one.state, one.sent) for one in kafka.states]
    assert states[0] == ("claimed", 0)
    assert states[-1] == ("sent", 100)
    commits = [sent for state, sent in states[1:-1] if state == "sending"]
    assert commits == sorted({*commits})
    assert len(commits) >= 9
    assert [value for _, value in kafka.rows] == CONTENT.splitlines()[1:]
