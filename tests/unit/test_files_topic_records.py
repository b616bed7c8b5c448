"""A record of the files topic that is not a file's state is passed over by both of its readers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from contracts.wire import FileState, encode_file_state
from producers.states import FilesTopic
from streaming_jobs.files import _row

HASH = "a" * 64
RIGHT = encode_file_state(
    FileState("events", HASH, "e.csv", "", "sent", 2, 2, 1, 0, "2026-01-01T00:00:00+00:00", "test")
)[1]
WRONG = {
    "no JSON": b"junk",
    "no UTF-8": b"\xff",
    "a list": b"[]",
    "nothing in it": b"{}",
    "stream": RIGHT.replace(b'"events"', b"[1]"),
    "rows": RIGHT.replace(b'"rows":2,"sent":2', b'"rows":2.5,"sent":2.5'),
    "too many rows": RIGHT.replace(b'"rows":2,"sent":2', b'"rows":%d,"sent":%d' % (2**63, 2**63)),
}


def test_a_files_state_is_a_row() -> None:
    found = _row(RIGHT, 7)
    assert found is not None
    assert found[:6] == ("events", HASH, "e.csv", "", 2, 7)
    assert _row(None, 7) is None
    assert _row(RIGHT.replace(b'"sent","rows"', b'"sending","rows"'), 7) is None


@pytest.mark.parametrize("value", [*WRONG.values(), RIGHT.replace(b"+00:00", b" o'clock")])
def test_what_is_not_a_files_state_is_no_row(value: bytes) -> None:
    with pytest.raises(ValueError, match=r".*"):
        _row(value, 7)


def test_the_producers_pass_it_over_and_name_its_offset(caplog: pytest.LogCaptureFixture) -> None:
    values = [WRONG["no JSON"], RIGHT, WRONG["stream"]]
    messages = [
        SimpleNamespace(error=lambda: None, offset=lambda n=offset: n, value=lambda v=value: v)
        for offset, value in enumerate(values)
    ]
    topic = cast(Any, object.__new__(FilesTopic))
    topic.topic, topic._timeout_s, topic._next, topic._known = "shop.files", 1.0, 0, {}
    topic._consumer = SimpleNamespace(poll=lambda _: messages.pop(0))
    topic._end_offset = lambda: len(values)
    assert list(topic.read_to_end()) == [("events", HASH)]
    (warning,) = [record.getMessage() for record in caplog.records]
    assert "shop.files: the records at offsets 0, 2 are not" in warning
    topic.read_to_end()
    assert len(caplog.records) == 1
