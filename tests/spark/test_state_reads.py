"""Reads whose rows do not say enough: those of a part delete nothing, those of an empty table delete all."""

from __future__ import annotations

from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from contracts.table_reads import FewRows, Place, TableReads
from streaming_jobs.state import merge_state
from tests.spark.test_state_merge import Table

pytestmark = [pytest.mark.spark, pytest.mark.timeout(400)]


def merge(table: Table, told: TableReads) -> None:
    merge_state(table.spark, table.stream, table.lake_url, lambda _: told)


def test_a_read_of_a_part_deletes_nothing_and_hides_no_whole_read_before_it(
    spark: SparkSession, tmp_path: Path
) -> None:
    table = Table(spark, tmp_path, "people")
    table.add([(0, "c", 1, "a", None), (1, "c", 2, "b", None), (2, "c", 3, "ghost", None)])
    merge(table, TableReads())
    # A whole read without 3, then a part of which only 1 is one, both new to the state.
    table.add([(4, "r", 1, "a", "first"), (5, "r", 2, "b2", "last")])
    table.add([(8, "r", 1, "a3", "last"), (9, "u", 2, "b4", None)])
    merge(table, TableReads(parts=((Place("T", 7), Place("T", 9)),)))
    assert table.current() == {1: "a3", 2: "b4"}
    # One that nobody saw end may still send rows.
    table.add([(12, "r", 1, "a5", "first"), (13, "r", 1, "a6", "last")])
    parts = ((Place("T", 7), Place("T", 9)), (Place("T", 11), None))
    merge(table, TableReads(parts=parts))
    assert table.current() == {1: "a6", 2: "b4"}
    table.add([(20, "r", 2, "b7", "last")])
    merge(table, TableReads(parts=(parts[0], (Place("T", 11), Place("T", 15)), (Place("other topic", 16), None))))
    assert table.current() == {2: "b7"}


def test_a_whole_read_that_found_no_row_deletes_what_lay_before_it(spark: SparkSession, tmp_path: Path) -> None:
    table = Table(spark, tmp_path, "people")
    table.add([(0, "c", 1, "a", None), (1, "c", 2, "b", None), (4, "c", 3, "later", None)])
    merge(table, TableReads())
    found_none = TableReads(few=FewRows(Place("T", 4), 0))
    merge(table, found_none)  # no history has changed
    assert table.current() == {3: "later"}
    assert table.state()[1] == (None, 3, True)
    table.add([(5, "c", 1, "again", None)])
    merge(table, found_none)
    assert table.current() == {1: "again", 3: "later"}
    # Of a topic that the history has not read nothing follows.
    merge(table, TableReads(few=FewRows(Place("other topic", 100), 0)))
    assert table.current() == {1: "again", 3: "later"}


def test_a_whole_read_that_found_one_row_waits_for_it(spark: SparkSession, tmp_path: Path) -> None:
    table = Table(spark, tmp_path, "people")
    table.add([(0, "c", 1, "a", None), (1, "c", 2, "b", None)])
    found_one = TableReads(few=FewRows(Place("T", 3), 1))
    merge(table, found_one)
    assert table.current() == {1: "a", 2: "b"}
    # The first table of several: Debezium marks its only row as a first one alone.
    table.add([(3, "r", 2, "b", "first")])
    merge(table, found_one)
    assert table.current() == {2: "b"}
