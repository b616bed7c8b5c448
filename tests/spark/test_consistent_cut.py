"""The rows of one source transaction show together, whatever of it has arrived; judged by what the views hold."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from streaming_jobs.delta_commit import TableTransaction
from tests.conftest import WaitUntil
from tests.spark.cut_bank import Bank

REFUSED = (PySparkException, Py4JJavaError)


@pytest.fixture
def bank(spark: SparkSession, tmp_path: Path) -> Bank:
    return Bank(spark, tmp_path)


def test_a_transaction_shows_when_both_tables_have_it_and_not_before(bank: Bank) -> None:
    bank.move("1", 0)
    bank.take_in("left")
    bank.take_in("right")
    assert bank.sums() is None, "the cut was never moved"
    assert not bank.advance()
    assert bank.sums() == (100, 100)
    bank.merge()
    assert bank.sums() == (100, 100)
    bank.move("2", 30)
    bank.take_in("left")
    assert bank.advance(), "it waits for the other table"
    bank.merge()
    assert bank.sums() == (100, 100)
    bank.take_in("right")
    assert bank.sums() == (100, 100)
    assert not bank.advance()
    assert bank.sums() == (70, 130), "both views moved in the commit of the cut, no state was merged yet"
    bank.merge()
    assert bank.sums() == (70, 130)


def test_without_the_option_half_a_transaction_shows(spark: SparkSession, tmp_path: Path) -> None:
    bank = Bank(spark, tmp_path, cut=False)
    bank.move("1", 0)
    bank.take_in("left")
    bank.take_in("right")
    bank.move("2", 30)
    bank.take_in("left")
    assert bank.sums() == (70, 100)


def test_a_transaction_without_its_end_waits_and_is_passed_by_a_later_one(bank: Bank) -> None:
    bank.move("1", 0)
    bank.move("2", 10, ended=False)
    for name in ("left", "right"):
        bank.take_in(name)
    assert not bank.advance()
    assert bank.bounds() == {"left": 1, "right": 1}
    assert bank.sums() == (100, 100)
    # The slot was lost: a snapshot, which has no transactions, then another one, in one of the tables alone.
    bank.topics["left"].send("r", 2, 5, None)
    bank.begin("3")
    bank.topics["left"].send("c", 3, 5, "3")
    bank.end("3")
    for name in ("left", "right"):
        bank.take_in(name)
    assert not bank.advance()
    assert bank.bounds() == {"left": 4, "right": 2}
    assert bank.sums() == (90, 110), "nobody waits for the END of 2 any more, in no table"


def test_what_was_told_and_deleted_before_a_round_shows_whole_after_the_next_transaction(bank: Bank) -> None:
    bank.move("1", 0)
    for name in ("left", "right"):
        bank.take_in(name)
    bank.advance()
    bank.move("2", 10)
    bank.topics["right"].send("r", 9, 0, None)
    bank.delete_what_was_told()
    for name in ("left", "right"):
        bank.take_in(name)
    bank.advance()
    assert bank.bounds() == {"left": 1, "right": 1}, "it may not have ended"
    # In one of the tables alone. Then one that Kafka knows to have begun.
    bank.begin("3")
    bank.topics["left"].send("c", 3, 5, "3")
    bank.end("3")
    bank.begin("4")
    bank.topics["right"].send("u", 1, 0, "4")
    for name in ("left", "right"):
        bank.take_in(name)
    bank.advance()
    assert (bank.bounds(), bank.sums()) == ({"left": 3, "right": 3}, (90, 110))


def test_refused_rows_and_offsets_without_a_row_hold_nothing_back(bank: Bank) -> None:
    bank.move("1", 0)
    bank.begin("2")
    bank.topics["left"].send("quarantined", None, None, "2")
    bank.topics["right"].send("u", 1, 70, "2")
    bank.end("2")
    bank.topics["right"].send("quarantined", None, None, None)
    for name in ("left", "right"):
        bank.take_in(name)
    assert not bank.advance()
    assert bank.bounds() == {"left": 2, "right": 3}
    assert bank.sums() == (100, 70)
    before = TableTransaction(bank.spark, f"{bank.lake_url}/{bank.pipeline.name}/consistent_cut").read_version
    assert not bank.advance()
    after = TableTransaction(bank.spark, f"{bank.lake_url}/{bank.pipeline.name}/consistent_cut").read_version
    assert after == before, "nothing moved, nothing was written"


def test_a_cut_under_constant_load_is_reached(bank: Bank) -> None:
    for number in range(4):
        bank.move(str(number), 1)
        bank.take_in("left")
        bank.take_in("right", number)  # always one behind
        assert bank.advance()
    assert bank.bounds() == {"left": 3, "right": 3}
    assert bank.sums() == (97, 103)


def test_a_truncate_waits_for_its_transaction(bank: Bank) -> None:
    bank.move("1", 0)
    bank.begin("2")
    bank.topics["left"].send("t", None, None, "2")
    bank.topics["right"].send("t", None, None, "2")
    bank.topics["left"].send("c", 1, 1, "2")
    bank.topics["right"].send("c", 1, 199, "2")
    bank.round()
    assert bank.sums() == (100, 100)
    bank.end("2")
    bank.advance()
    assert bank.sums() == (1, 199)
    bank.merge()
    assert bank.sums() == (1, 199)


def test_a_stream_that_gets_the_option_later_shows_what_it_showed(spark: SparkSession, tmp_path: Path) -> None:
    bank = Bank(spark, tmp_path, cut=False)
    bank.move("1", 0)
    for name in ("left", "right"):
        bank.take_in(name)
    bank.merge()
    bank.declare("left", "right")
    bank.merge()
    assert bank.sums() == (100, 100)
    bank.move("2", 7)
    bank.take_in("left")
    bank.advance()
    bank.merge()
    assert bank.sums() == (100, 100)
    bank.take_in("right")
    bank.advance()
    bank.merge()
    assert bank.sums() == (93, 107)


def test_what_replay_brings_back_shows_by_its_place_before_or_behind_the_cut(bank: Bank) -> None:
    bank.move("1", 0)
    bank.begin("2")
    bank.topics["left"].send("quarantined", 2, 5, "2")
    bank.topics["left"].send("u", 1, 70, "2")
    bank.topics["right"].send("u", 1, 130, "2")
    bank.end("2")
    bank.begin("3")
    bank.topics["left"].send("u", 1, 60, "3")
    bank.topics["left"].send("quarantined", 3, 5, "3")
    bank.round()
    assert bank.sums() == (70, 130)
    for refused in (bank.topics["left"].records[1], bank.topics["left"].records[4]):
        bank.replay("left", replace(refused, op="c"))
    assert not bank.advance()
    bank.merge()
    assert bank.keys("left") == {1, 2}, "the transaction of 3 has not ended"
    bank.topics["right"].send("u", 1, 140, "3")
    bank.end("3")
    bank.take_in("right")
    assert not bank.advance()
    assert (bank.sums(), bank.keys("left")) == ((60, 140), {1, 2, 3})
    bank.merge()
    assert (bank.sums(), bank.keys("left")) == ((60, 140), {1, 2, 3})


def test_a_stream_that_gets_the_option_again_begins_where_it_is_seen(bank: Bank) -> None:
    bank.move("1", 0)
    bank.round()
    bank.move("2", 30)
    bank.take_in("left")
    assert bank.advance()
    bank.declare()
    bank.merge()
    assert bank.sums() == (70, 100), "without the option what is there shows"
    bank.take_in("right")
    bank.move("3", 5)
    bank.take_in("left")
    bank.merge()
    bank.declare("left", "right")
    bank.merge()
    assert bank.sums() == (65, 130)
    bank.move("4", 1)
    bank.take_in("left")
    assert bank.advance()
    assert bank.bounds() == {"left": 3, "right": 2}, "what was merged meanwhile is not held back"
    bank.take_in("right")
    assert not bank.advance()
    bank.merge()
    assert (bank.bounds(), bank.sums()) == ({"left": 4, "right": 4}, (64, 136))


def test_a_stream_that_leaves_the_group_waits_for_nobody(bank: Bank) -> None:
    bank.move("1", 0)
    for name in ("left", "right"):
        bank.take_in(name)
    bank.advance()
    bank.move("2", 30)
    bank.take_in("left")
    assert bank.advance()
    bank.declare("right")
    bank.merge()
    assert bank.sums() == (70, 100)
    bank.take_in("right")
    assert not bank.advance()
    bank.merge()
    assert (bank.sums(), [*bank.cut()]) == ((70, 130), ["right"])
    bank.declare("left", "right")
    bank.move("3", 30)
    bank.take_in("left")
    assert bank.advance()
    bank.merge()
    assert bank.sums() == (70, 130)


def test_a_query_that_meets_tables_of_two_cuts_fails_and_says_so(bank: Bank) -> None:
    bank.move("1", 0)
    bank.round()
    bank.move("2", 30)
    for name in ("left", "right"):
        bank.take_in(name)
    old = bank.spark.read.format("delta").load(f"{bank.lake_url}/{bank.pipeline.name}/consistent_cut").collect()
    bank.advance()
    view = bank.spark.table(f"{bank.pipeline.name}_lake.left_current")  # its text is of the state before
    bank.merge()
    path = f"{bank.lake_url}/{bank.pipeline.name}/consistent_cut"
    schema = bank.spark.read.format("delta").load(path).schema
    bank.spark.createDataFrame(old, schema).write.format("delta").mode("overwrite").save(path)
    with pytest.raises(REFUSED, match="run it again"):
        view.collect()


STEP = st.one_of(
    st.tuples(st.just("move"), st.integers(1, 9)),
    st.tuples(st.just("move"), st.integers(1, 9)),
    st.tuples(st.just("open"), st.integers(1, 9)),
    st.tuples(st.just("take_in"), st.sampled_from(("left", "right")), st.integers(1, 4)),
    st.tuples(st.just("take_in"), st.sampled_from(("left", "right")), st.integers(1, 4)),
    st.tuples(st.just("round")),
)


@settings(
    max_examples=2,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(steps=st.lists(STEP, min_size=8, max_size=12))
def test_whatever_has_arrived_the_views_hold_whole_transactions(
    spark: SparkSession, tmp_path: Path, steps: list[tuple[object, ...]]
) -> None:
    bank = Bank(spark, tmp_path)
    bank.move("first", 0)
    for name in ("left", "right"):
        bank.take_in(name)
    bank.advance()
    number, still_open = count(), ""
    for name, *arguments in steps:
        if name == "take_in":
            table, some = str(arguments[0]), int(str(arguments[1]))
            bank.take_in(table, bank.topics[table].taken + some)
        elif name == "round":
            bank.advance()
            _whole(bank)
        else:
            if still_open:
                bank.end(still_open)
            transaction = f"t{next(number)}"
            still_open = transaction if name == "open" else ""
            bank.move(transaction, int(str(arguments[0])), ended=name != "open")
    if still_open:
        bank.end(still_open)
    for table in ("left", "right"):
        bank.take_in(table)
    assert not bank.advance()
    assert bank.bounds() == {name: len(topic.records) for name, topic in bank.topics.items()}
    bank.merge()
    assert list(bank.sums() or ()) == [topic.records[-1].amount for topic in bank.topics.values()]


def _whole(bank: Bank) -> None:
    """Every bound is in the lake, and each transaction is below both of them or below none."""
    shown = []
    for name, bound in bank.bounds().items():
        assert bound <= bank.topics[name].taken
        shown.append({record.transaction for record in bank.topics[name].records[:bound]})
    assert shown[0] == shown[1]


def test_a_reader_beside_the_rounds_never_sees_half(bank: Bank, wait_until: WaitUntil) -> None:
    bank.move("0", 0)
    for name in ("left", "right"):
        bank.take_in(name)
    bank.advance()
    seen: list[tuple[int, int] | None] = []
    refused: list[str] = []
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            try:
                seen.append(bank.sums())
            except REFUSED as error:
                refused.append(str(error))

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for number in range(1, 4):
            wait_until(lambda number=number: len({*seen}) >= number, 60, "the reader sees what there is")
            bank.move(str(number), 3)
            bank.take_in("left")
            bank.take_in("right")
            bank.advance()
            bank.merge()
    finally:
        stop.set()
        reader.join()
    assert [error for error in refused if "run it again" not in error] == []
    sums: Sequence[int] = [sum(one) for one in seen if one]
    assert len(sums) == len(seen)
    assert {*sums} == {200}
    assert len({*seen}) > 2, "the reader saw nothing move"
