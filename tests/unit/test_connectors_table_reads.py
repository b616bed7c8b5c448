"""What the notifications say of reads, and what of a slot and a server means that changes are lost."""

from __future__ import annotations

from typing import Any

import pytest

from connectors.postgres.lost_slot import Slot, judge
from connectors.reads.reread import _outcome
from connectors.reads.snapshots import reads_now, reads_of, select
from connectors.reads.table_reads import Note, Source, known_source, open_parts, table_reads
from contracts.stream import TableSource
from contracts.table_reads import FewRows, Place, TableReads

TABLE = "sales.orders"


def ours(kind: str, **data: Any) -> Note:
    return {"aggregate_type": "headrace", "type": kind, "additional_data": data}


def told(kind: str, **data: Any) -> Note:
    return {"aggregate_type": "Initial Snapshot", "type": kind, "additional_data": data}


def scanned(rows: int, status: str = "SUCCEEDED", table: str = TABLE) -> Note:
    return told("TABLE_SCAN_COMPLETED", scanned_collection=table, total_rows_scanned=str(rows), status=status)


def ends(offset: int) -> dict[str, Any]:
    return {TABLE: ["T", offset]}


STARTED, COMPLETED = told("STARTED"), told("COMPLETED")
BEFORE = ours("BEFORE_READ", ends=ends(5))
PART = ours("PART_REQUESTED", id="p", table=TABLE, ends=ends(20))
PART_ENDED = ours("PART_ENDED", id="p", ends=ends(30))


def test_a_whole_read_of_no_row_counts_from_where_the_topic_ended_before_it() -> None:
    assert table_reads([BEFORE, STARTED, scanned(0)]) == {TABLE: TableReads(few=FewRows(Place("T", 5), 0))}
    assert table_reads([BEFORE, STARTED, scanned(1)]) == {TABLE: TableReads(few=FewRows(Place("T", 5), 1))}
    assert table_reads([BEFORE, STARTED, scanned(2)]) == {}
    assert table_reads([BEFORE, STARTED, scanned(0, "SQL_EXCEPTION")]) == {}
    assert table_reads([STARTED, scanned(0)]) == {}  # of before this was noted


def test_a_read_that_began_before_a_note_does_not_use_it() -> None:
    later = ours("BEFORE_READ", ends=ends(9))
    assert table_reads([BEFORE, STARTED, later, scanned(0)])[TABLE].few == FewRows(Place("T", 5), 0)


def test_a_read_that_a_kill_broke_off_and_that_began_again_by_itself_is_placed_by_its_time() -> None:
    notes = [BEFORE, STARTED, {**STARTED, "sent_ms": 77}, scanned(0)]
    assert table_reads(notes, lambda table, ms: Place(table, ms))[TABLE].few == FewRows(Place(TABLE, 77), 0)
    assert table_reads(notes, lambda *_: None) == {}


def test_a_read_of_a_part_that_found_nothing_says_nothing() -> None:
    open_part = {TABLE: TableReads(((Place("T", 20), None),))}
    assert table_reads([PART]) == open_part
    assert table_reads([BEFORE, PART, STARTED, scanned(0), COMPLETED, PART_ENDED]) == open_part
    assert open_parts([PART]) == {TABLE: ["p"]}
    assert open_parts([PART, PART_ENDED]) == {}


def test_what_comes_after_a_part_is_of_it_until_the_whole_table_is_asked_for() -> None:
    # A killed connector obeys the newest signals again.
    part = [BEFORE, PART, STARTED, scanned(0), COMPLETED, PART_ENDED]
    again = [*part, told("SKIPPED"), STARTED, scanned(0), COMPLETED]
    assert table_reads(again, lambda table, ms: Place(table, ms)) == {TABLE: TableReads(((Place("T", 20), None),))}
    beside = ours("BEFORE_READ", tables=["sales.other"], ends=ends(40))
    assert table_reads([*again, beside]) == table_reads(again)

    for whole in (ours("BEFORE_READ", tables=[TABLE], ends=ends(41)), ours("BEFORE_READ", ends=ends(41))):
        found = table_reads([*again, whole, STARTED, scanned(0), COMPLETED])
        assert found == {TABLE: TableReads(((Place("T", 20), Place("T", 41)),), FewRows(Place("T", 41), 0))}
        # One that is not known to have ended may still come between.
        assert table_reads([PART, whole, STARTED, scanned(0)]) == table_reads([PART])
    # What was not committed when it ended is not seen a moment later.
    assert table_reads([*part, ours("BEFORE_READ", ends=ends(28))])[TABLE].parts == ((Place("T", 20), Place("T", 30)),)
    for elsewhere in ({TABLE: ["T2", 40]}, {}):
        found = table_reads([*part, ours("BEFORE_READ", ends=elsewhere)])
        assert found[TABLE].parts == ((Place("T", 20), Place("T", 30)),)


@pytest.mark.parametrize(
    ("notes", "state"),
    [
        ([], "waiting"),
        ([told("SKIPPED")], "waiting"),  # it restarted before it saw the request
        ([STARTED], "reading"),
        ([STARTED, scanned(7)], "reading"),  # the last row is sent after the end of the scan is told
        ([STARTED, scanned(7), COMPLETED], "done"),
        ([STARTED, scanned(7, table="sales.other"), COMPLETED], "waiting"),
        ([STARTED, scanned(0, "SQL_EXCEPTION")], "failed"),
        ([STARTED, told("ABORTED")], "broken off"),
        ([STARTED, told("SKIPPED")], "broken off"),
    ],
)
def test_what_became_of_a_read(notes: list[Note], state: str) -> None:
    assert _outcome(notes, TABLE) == (state, 7 if state == "done" else 0)


@pytest.mark.parametrize(
    ("note", "reads"),
    [
        (STARTED, False),  # the tables' columns are taken up after it
        (told("IN_PROGRESS", current_collection_in_progress="s.first", data_collections=f"s.first, {TABLE}"), True),
        (told("IN_PROGRESS", current_collection_in_progress="s.first", data_collections="s.first"), False),
        (scanned(3, "SQL_EXCEPTION"), True),
        (scanned(3, table="s.first"), False),
        (PART, False),
    ],
)
def test_a_table_is_being_read_once_the_connector_is_behind_its_columns(note: Note, reads: bool) -> None:
    assert reads_now([BEFORE, STARTED, note], [TABLE, "s.another"]) is reads


def test_a_part_of_a_table_is_asked_for_in_the_words_of_its_system() -> None:
    assert select(TableSource('s"a', "t"), "x > 1 -- y") == 'SELECT * FROM "s""a"."t" WHERE (\nx > 1 -- y\n)'
    mariadb = TableSource("d", "t`u", system="mariadb")
    assert select(mariadb, "x > 1 # y") == "SELECT * FROM `d`.`t``u` WHERE (\nx > 1 # y\n)"


def test_what_was_read_before_all_begins_anew_does_not_count() -> None:
    anew = ours("ALL_ANEW")
    read = [STARTED, scanned(7), COMPLETED]
    assert reads_of(read).done == {TABLE}
    # Debezium died between the news that it reads and the first row: it never reads by itself then.
    found = reads_of([*read, anew, STARTED, told("SKIPPED")])
    assert (found.done, found.under_way) == (frozenset(), False)
    assert reads_of([*read, anew, *read]).done == {TABLE}


def test_the_server_that_was_noted_last_is_known() -> None:
    first = ours("SOURCE", system_identifier="7", timeline=1)
    assert known_source([]) is None
    assert known_source([first, STARTED, ours("SOURCE", system_identifier="7", timeline=2)]) == Source("7", 2)


HERE = Source("7", 1)


@pytest.mark.parametrize(
    ("slot", "read_to", "wal_end", "known", "said"),
    [
        (Slot(90, ""), 100, 110, HERE, ""),
        (Slot(100, ""), 100, 100, None, ""),
        (None, None, 110, None, ""),  # has read nothing yet
        (None, 100, 110, HERE, "slot s is gone"),
        (Slot(0, "wal_removed"), 100, 110, HERE, "gave up replication slot s (wal_removed)"),
        (Slot(0, "wal_removed"), None, 110, HERE, "gave up replication slot s"),
        (Slot(105, ""), 100, 110, HERE, "somebody else read from replication slot s"),
        (Slot(50, ""), 100, 60, HERE, "set back to an earlier state: its WAL ends at 0/3C"),
        (Slot(90, ""), 100, 110, Source("8", 1), "another server"),
        (Slot(90, ""), 100, 110, Source("7", 2), "another timeline"),
    ],
)
def test_what_means_that_changes_are_lost(
    slot: Slot | None, read_to: int | None, wal_end: int, known: Source | None, said: str
) -> None:
    found = judge("s", slot, read_to, wal_end, known, HERE)
    assert said in found
    assert bool(found) == bool(said)
