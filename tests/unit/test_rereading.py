"""Which streams are read again, and what is said of the others before anything is asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from connectors.mariadb.position import first_read_runs
from contracts.errors import Fatal
from contracts.settings import Settings
from contracts.stream import Column, FileSource, Pipeline, Stream, TableSource
from headrace.app import App
from headrace.rereading import planned_reads, reading

DOCUMENTS = TableSource("shop", "orders", system="mongodb")
FILES = FileSource(r"orders\.csv", "csv")


def app_of(source: TableSource | FileSource) -> App:
    stream = Stream("p", "orders", "p.orders", source, (Column("id", "int", required=True),), ("id",))
    app = App(Settings())
    app.__dict__["pipeline"] = Pipeline("p", (stream,), Path(), Path(), Path())
    return app


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (DOCUMENTS, "orders comes from mongodb: only tables of Postgres and MariaDB are read again so far"),
        (FILES, "orders comes from files, not from a table"),
    ],
)
def test_what_cannot_be_read_again_says_so(source: TableSource | FileSource, said: str) -> None:
    with pytest.raises(Fatal, match=said):
        planned_reads(app_of(source), ["orders"], "")


def test_nothing_is_held_where_no_table_can_be_read_again() -> None:
    with reading(app_of(FILES), "apply") as held:
        assert held is None


@pytest.mark.parametrize(
    ("offset", "runs"),
    [
        ({"snapshot": "INITIAL"}, True),
        ({"snapshot": True}, True),
        ({"snapshot": "BLOCKING", "gtids": "0-7-15"}, False),  # a read on demand, under way or broken off
        ({"gtids": "0-7-15"}, False),
    ],
)
def test_only_a_first_read_has_no_stream_before_it(offset: dict[str, object], runs: bool) -> None:
    assert first_read_runs(offset) is runs
