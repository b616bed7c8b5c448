"""How far a read of tables is, from what the connector tells of it."""

from __future__ import annotations

from typing import Any

import pytest

from connectors.reads.progress import TableRead, under_way
from connectors.reads.table_reads import Note

BOTH = "s.orders,s.items"


def told(kind: str, sent_ms: int = 0, **data: Any) -> Note:
    return {"aggregate_type": "Initial Snapshot", "type": kind, "additional_data": data, "sent_ms": sent_ms}


def reads(table: str, sent_ms: int, tables: str = BOTH) -> Note:
    return told("IN_PROGRESS", sent_ms, current_collection_in_progress=table, data_collections=tables)


def scanned(table: str, status: str = "SUCCEEDED") -> Note:
    return told("TABLE_SCAN_COMPLETED", scanned_collection=table, total_rows_scanned="7", status=status)


WAITS = TableRead("s.items", False, 0)
STARTED, COMPLETED = told("STARTED"), told("COMPLETED")
FIRST = [STARTED, reads("s.orders", 5), scanned("s.orders"), reads("s.items", 9)]
BOTH_READ = [*FIRST, scanned("s.items"), COMPLETED]


@pytest.mark.parametrize(
    ("notes", "found"),
    [
        ([], []),
        ([STARTED], []),  # which tables is told next
        (FIRST[:2], [TableRead("s.orders", False, 5), WAITS]),
        (FIRST, [TableRead("s.items", False, 9)]),
        ([*FIRST[:2], scanned("s.orders", "SQL_EXCEPTION")], [TableRead("s.orders", False, 5), WAITS]),
        (BOTH_READ, []),
        ([*BOTH_READ, STARTED, reads("s.items", 20, "s.items")], [TableRead("s.items", True, 20)]),
        # Killed in the middle and begun again by itself: what was read does not count.
        ([*FIRST[:3], STARTED, reads("s.orders", 30)], [TableRead("s.orders", False, 30), WAITS]),
        ([*FIRST[:2], told("SKIPPED")], []),
        (
            [*BOTH_READ, {"aggregate_type": "headrace", "type": "ALL_ANEW"}, STARTED, reads("s.items", 20, "s.items")],
            [TableRead("s.items", False, 20)],
        ),
    ],
)  # fmt: skip
def test_the_tables_of_a_read_that_has_not_ended(notes: list[Note], found: list[TableRead]) -> None:
    assert under_way(notes) == found


def test_what_a_person_is_told_of_it() -> None:
    first = TableRead("s.orders", False, 5, 120_000)
    assert first.said(400_000) == "first read: 120,000 of about 400,000 rows"
    assert first.said() == "first read: 120,000 rows"
    assert TableRead("s.orders", True, 5, 3).said(9) == "reading again: 3 of about 9 rows"
    assert TableRead("s.orders", False, 0).said() == "first read: waits for the tables before it"
