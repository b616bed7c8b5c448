"""Names that state no unit, and files that are altered while they are sent: against a Kafka in memory."""

from __future__ import annotations

import gzip
import json
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import pytest

from contracts.errors import ServiceUnavailable
from contracts.stream import Column, FileSource, Pipeline, Stream
from contracts.wire import decode_file_state
from producers.push import FileResult, Sender, SendOptions
from producers.scan import scan
from producers.send import Arrival, send_file
from producers.sending import Outcome, TransactionLimits
from producers.states import FilesTopic
from tests.unit.memory_kafka import MemoryKafka

ORDERS = Stream(
    "shop",
    "orders",
    "shop.files.orders",
    FileSource(r"orders(_(?P<batch_date>[\d-]*))?\.csv", "csv", unit="batch_date"),
    (Column("id", "bigint"), Column("batch_date", "date", from_file_name=True)),
    ("id",),
)
PIPELINE = Pipeline("shop", (ORDERS,), Path(), Path(), Path())
NAME = "orders_2026-01-05.csv"
LINES = [b"%03d" % number for number in range(100)]
CONTENT = b"\n".join([b"id", *LINES, b""])
CHUNK = TransactionLimits(rows=30)


class Killed(BaseException):
    """As by kill -9: nobody handles it."""


def push(
    kafka: MemoryKafka, folder: Path, name: str = NAME, *, pipeline: Pipeline = PIPELINE, dry_run: bool = False
) -> FileResult:
    path = folder / name
    path.write_bytes(CONTENT)
    options = SendOptions(limits=CHUNK, dry_run=dry_run)
    return Sender(pipeline, "", cast(FilesTopic, kafka), options).push_path(path)[0]


def altered_after_the_scan(kafka: MemoryKafka, folder: Path, content: bytes, *, killed: bool = False) -> Outcome | None:
    """The outcome of a sender that finds another content than it scanned; None if it was killed after a chunk."""
    path = folder / NAME
    path.write_bytes(CONTENT)
    with path.open("rb") as source:
        scanned = scan(source, ORDERS)
        path.write_bytes(content)

        def progress(sent: int) -> None:
            if killed:
                raise Killed

        known, now = cast(FilesTopic, kafka), datetime.now(UTC)
        try:
            arrival = Arrival(NAME, "2026-01-05")
            return send_file(
                source,
                arrival,
                scanned,
                ORDERS,
                PIPELINE,
                "",
                known,
                clock=lambda: now,
                limits=CHUNK,
                progress=progress,
            )
        except Killed:
            return None


@pytest.mark.parametrize("dry_run", [False, True])
@pytest.mark.parametrize("unit", ["2026-02-30", "0000-00-00", "20260105", "2026-1-5"])
def test_a_unit_that_is_no_date_is_refused_and_its_content_goes_under_a_right_name(
    kafka: MemoryKafka, tmp_path: Path, unit: str, dry_run: bool
) -> None:
    refused = push(kafka, tmp_path, f"orders_{unit}.csv", dry_run=dry_run)
    assert (refused.state, refused.reason) == (
        "rejected",
        f"its name says {unit}, which is no date: rename the file",
    )
    assert kafka.states == []
    sent = push(kafka, tmp_path)
    assert (sent.state, sent.unit, sent.sent) == ("sent", "2026-01-05", 100)


def test_digits_of_other_scripts_are_none_of_a_pattern(kafka: MemoryKafka, tmp_path: Path) -> None:
    arabic = str.maketrans({str(digit): chr(0x660 + digit) for digit in range(10)})
    refused = push(kafka, tmp_path, "orders_2026-01-05.csv".translate(arabic))
    assert (refused.state, kafka.states) == ("rejected", [])
    assert "fits no stream" in refused.reason


@pytest.mark.parametrize("name", ["orders.csv", "orders_.csv"])
def test_a_name_without_the_unit_is_refused(kafka: MemoryKafka, tmp_path: Path, name: str) -> None:
    refused = push(kafka, tmp_path, name)
    assert (refused.state, refused.reason) == ("rejected", "its name has no batch_date: rename the file")
    assert kafka.states == []


def test_a_unit_that_is_text_may_be_any(kafka: MemoryKafka, tmp_path: Path) -> None:
    texts = tuple(replace(column, spark_type="string") for column in ORDERS.columns)
    pipeline = replace(PIPELINE, streams=(replace(ORDERS, columns=texts),))
    assert push(kafka, tmp_path, "orders_2026-02-30.csv", pipeline=pipeline).state == "sent"


def test_a_name_that_is_no_utf8_has_a_result_that_can_be_printed(kafka: MemoryKafka, tmp_path: Path) -> None:
    refused = push(kafka, tmp_path, "orders_\udcff.csv")
    assert (refused.state, refused.file) == ("rejected", r"orders_\udcff.csv")
    json.dumps(asdict(refused), ensure_ascii=False).encode()


ALTERED = {
    "values": CONTENT.replace(b"007", b"xxx"),
    "lines": b"id\n\n" + CONTENT.removeprefix(b"id\n")[: 4 * 60] + CONTENT.removeprefix(b"id\n")[4 * 60 : -1],
}


@pytest.mark.parametrize("killed", [False, True])
@pytest.mark.parametrize("altered", ALTERED.values(), ids=ALTERED)
def test_a_content_is_not_completed_behind_rows_of_another(
    kafka: MemoryKafka, tmp_path: Path, altered: bytes, killed: bool
) -> None:
    assert len(altered) == len(CONTENT)
    outcome = altered_after_the_scan(kafka, tmp_path, altered, killed=killed)
    assert outcome is None if killed else outcome and outcome.state == "changed"
    of_another = list(kafka.rows)
    assert 30 <= len(of_another) < 100
    for _ in range(2):
        refused = push(kafka, tmp_path)
        assert (refused.state, refused.sent) == ("rejected", len(of_another))
        assert f"first {len(of_another)} rows" in refused.reason
        assert "Change a byte" in refused.reason
        assert kafka.rows == of_another
        assert (kafka.states[-1].state, kafka.states[-1].reason) == ("rejected", refused.reason)


@pytest.mark.parametrize("killed", [False, True])
def test_rows_of_its_own_are_gone_on_from(kafka: MemoryKafka, tmp_path: Path, killed: bool) -> None:
    content = CONTENT if killed else CONTENT.replace(b"099", b"xxx")
    altered_after_the_scan(kafka, tmp_path, content, killed=killed)
    begun = len(kafka.rows)
    assert 30 <= begun < 100
    found = altered_after_the_scan(kafka, tmp_path, CONTENT.replace(b"007", b"xxx"))
    assert found is not None
    assert (found.state, found.sent) == ("changed", begun)
    result = push(kafka, tmp_path)
    assert (result.state, result.sent) == ("sent", 100)
    assert kafka.rows == list(enumerate(LINES, start=2))


def test_a_state_without_a_digest_is_gone_on_from_as_before(kafka: MemoryKafka, tmp_path: Path) -> None:
    altered_after_the_scan(kafka, tmp_path, CONTENT, killed=True)
    value = {name: field for name, field in asdict(kafka.states[-1]).items() if name != "sent_digest"}
    kafka.states[-1] = decode_file_state(json.dumps(value).encode())
    assert kafka.states[-1].sent_digest == ""
    assert push(kafka, tmp_path).state == "sent"
    assert kafka.rows == list(enumerate(LINES, start=2))


def test_a_spool_that_cannot_be_written_is_no_fault_of_the_archive(tmp_path: Path) -> None:
    packed = tmp_path / f"{NAME}.gz"
    packed.write_bytes(gzip.compress(CONTENT))
    spool = tmp_path / "spool"
    spool.write_text("a file where the folder should be")
    kafka = MemoryKafka()
    sender = Sender(PIPELINE, "", cast(FilesTopic, kafka), SendOptions(spool=spool))
    with pytest.raises(ServiceUnavailable, match="push again"):
        sender.push_path(packed)
    assert kafka.states == []


def test_each_step_of_an_archive_is_told(kafka: MemoryKafka, tmp_path: Path) -> None:
    path = tmp_path / f"{NAME}.gz"
    path.write_bytes(gzip.compress(CONTENT, mtime=0))
    told: dict[str, tuple[str, int, int]] = {}
    options = SendOptions(
        limits=CHUNK,
        unpacking=lambda *step: told.update(unpacking=step),
        reading=lambda *step: told.update(reading=step),
        progress=lambda *step: told.update(sending=step),
    )
    assert [one.sent for one in Sender(PIPELINE, "", cast(FilesTopic, kafka), options).push_path(path)] == [len(LINES)]
    packed = path.stat().st_size
    assert told == {
        "unpacking": (f"{NAME}.gz", packed, packed),
        "reading": (NAME, len(CONTENT), len(CONTENT)),
        "sending": (NAME, len(LINES), len(LINES)),
    }
