"""What the tests of large files share: a stream of them, a file with every kind of row, and the stream that gets the
same rows one by one."""

from __future__ import annotations

from dataclasses import replace

from contracts.stream import Column, FileSource, Rule, Stream
from tests.services.file_lake import FileLake

STREAM = Stream(
    "p",
    "orders",
    "p.files.orders",
    FileSource(r"orders_(?P<day>\d{4}-\d\d-\d\d)\.csv", "csv", unit="day", bulk_bytes=1),
    (
        Column("id", "bigint", required=True),
        Column("amount", "decimal(8,2)"),
        Column("note", "string"),
        Column("day", "date", required=True, from_file_name=True),
    ),
    ("id",),
    rules=(Rule("amount_not_negative", "amount >= 0", "amount"),),
    partition_by="day",
    quarantine_minimum=1_000_000,
)
BY_ROW = replace(
    STREAM,
    name="by_row",
    source=replace(STREAM.file_source, pattern=r"rows_(?P<day>[0-9-]{10})\.csv", bulk_bytes=0),
)
FILE, TWIN = "orders_2026-01-05.csv", "rows_2026-01-05.csv"
ROWS = 25_000


def content(rows: int = ROWS) -> bytes:
    """So many rows and 5 more: of one line and of two, refused, repeated, conflicting, ragged, one that never ends."""
    lines = [b"id,amount,note"]
    for number in range(rows):
        note = b'"a\nb, ""c"""' if number % 7 == 0 else b"plain %d" % number
        amount = b"x" if number % 501 == 3 else b"-1" if number % 500 == 4 else b"%d.%02d" % (number, number % 100)
        lines.append(b"%d,%b,%b" % (number, amount, note))
    lines += [b"17,17.17,plain 17", b"17,17.17,plain 17", b"18,1,other", b"19", b'5,"open']
    return b"\n".join(lines)


def assert_the_same_as_by_row(lake: FileLake) -> None:
    """Both streams have the same rows, see the same of them, and have refused the same; book first."""
    dropped = {"_topic", "_partition", "_offset", "_event_time", "_ingested_at", "_file"}
    both = [
        sorted(
            (tuple((name, str(value)) for name, value in row.items() if name not in dropped))
            for row in lake.table(table)
        )
        for table in ("orders", "by_row")
    ]
    assert both[0] == both[1]
    views = [
        sorted((row["id"], row["amount"], row["note"], row["_line"]) for row in lake.table(f"{name}_current"))
        for name in ("orders", "by_row")
    ]
    assert views[0] == views[1]
    refused = {
        name: sorted(
            (row["line"], row["rule"], row["column_name"], bytes(row["raw"]))
            for row in lake.table("quarantine")
            if row["stream"] == name
        )
        for name in ("orders", "by_row")
    }
    assert refused["orders"] == refused["by_row"]
    assert {row["complete"] for row in lake.table("files")} == {True}
