"""A file that never became whole does not hold up a scheduler for ever: a later one that did may stand for it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from contracts.wire import FileState, SendState
from headrace.overview import is_replaced

FILE = FileState(
    stream="orders",
    hash="a" * 64,
    file="orders_2026-01-05.csv",
    unit="2026-01-05",
    state="rejected",
    rows=10,
    sent=0,
    bytes=100,
    partition=0,
    at="2026-01-05T00:00:00.000+00:00",
    by="host:1",
)
LATER = replace(FILE, hash="b" * 64, state="sent", sent=10)


@pytest.mark.parametrize(
    ("state", "unit", "later", "replaced"),
    [
        ("rejected", "2026-01-05", {}, True),
        ("rejected", "2026-01-05", {"file": "corrected.csv"}, True),
        ("rejected", "2026-01-05", {"unit": "2026-01-06", "file": "orders_2026-01-06.csv"}, False),
        ("rejected", "2026-01-05", {"stream": "visits"}, False),
        ("rejected", "", {"unit": ""}, True),
        ("rejected", "", {"unit": "", "file": "another.csv"}, False),
        ("claimed", "2026-01-05", {}, True),
        ("sending", "2026-01-05", {"file": "corrected.csv"}, True),
        ("sending", "", {"unit": ""}, False),
        ("sent", "2026-01-05", {}, False),
    ],
)
def test_what_a_later_whole_file_stands_for(state: SendState, unit: str, later: dict[str, str], replaced: bool) -> None:
    file = replace(FILE, state=state, unit=unit, sent=FILE.rows if state == "sent" else 0)
    assert is_replaced(file, [replace(LATER, **later)]) is replaced
    assert not is_replaced(file, [])
