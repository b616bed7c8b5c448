"""The option of a contract, and what it groups."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from connectors import topics
from contracts.errors import ContractError, Fatal
from contracts.loader import load_pipeline
from contracts.spark_types import current_columns, history_columns
from contracts.stream import Pipeline
from streaming_jobs import gaps
from streaming_jobs.cut import Place, _read_to
from streaming_jobs.transactions import one_partition

TABLE = """apiVersion: v3.1.0
kind: DataContract
id: shop.{name}
version: 1.0.0
status: active
customProperties:
  - {{property: headrace.table, value: shop.{name}}}
{more}schema:
  - name: {name}
    properties:
      - {{name: id, physicalType: bigint, primaryKey: true, primaryKeyPosition: 1{of_id}}}
"""
CUT = "  - {property: headrace.consistentCut, value: true}\n"
MARIADB = "  - {property: headrace.source, value: mariadb}\n"
MONGODB = MARIADB.replace("mariadb", "mongodb")
FIELD = ", customProperties: [{property: headrace.field, value: _id}]"


def load(folder: Path, of_id: str = "", **tables: str) -> Pipeline:
    (folder / "contracts").mkdir(exist_ok=True)
    for name, more in tables.items():
        text = TABLE.format(name=name, more=more, of_id=of_id)
        (folder / "contracts" / f"{name}.yaml").write_text(text, encoding="utf-8")
    return load_pipeline("shop", folder)


def test_the_streams_of_one_system_that_say_so_are_a_group(tmp_path: Path) -> None:
    pipeline = load(tmp_path, orders=CUT, lines=CUT, stock=MARIADB + CUT, customers="")
    groups = {system: [s.name for s in streams] for system, streams in pipeline.cut_groups.items()}
    assert groups == {"postgres": ["lines", "orders"], "mariadb": ["stock"]}
    named = {system: pipeline.of(system).transaction_topic for system in pipeline.cut_groups}
    assert named == {"postgres": "shop.transaction", "mariadb": "shop.mariadb.transaction"}
    assert {*named.values()} <= {topic.name for topic in topics.declared(pipeline)}, "with one partition, and kept"


def test_only_their_history_says_which_transaction_wrote_a_row(tmp_path: Path) -> None:
    pipeline = load(tmp_path, orders=CUT, customers="")
    with_cut, without = pipeline.stream("orders"), pipeline.stream("customers")
    assert history_columns(with_cut) == (*history_columns(without), ("_transaction", "string"))
    assert current_columns(with_cut) == current_columns(without)
    assert load(tmp_path, orders=CUT.replace("true", "false")).cut_groups == {}


@pytest.mark.parametrize(
    ("more", "of_id", "said"),
    [
        (MONGODB + CUT, FIELD, "MongoDB's documents come without"),
        (CUT.replace("true", "'yes'"), "", "headrace.consistentCut` is 'yes'"),
        (CUT + CUT, "", "second time"),
    ],
)
def test_what_cannot_be_cut_is_refused(more: str, of_id: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(ContractError, match=said) as refused:
        load(tmp_path, of_id, orders=more)
    assert refused.value.line


def test_what_ended_is_read_anew_where_the_streams_knew_different_topics() -> None:
    one, other = (
        Place("postgres", "a", 9, topic_id="T1", read_to=500),
        Place("postgres", "b", 9, topic_id="T2", read_to=20),
    )
    assert _read_to({"a": one, "b": replace(one, read_to=400)}) == ("T1", 400)
    assert _read_to({"a": one, "b": other}) == ("", 0)


def test_a_stream_may_not_have_the_name_of_its_table(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="no name for a stream"):
        load(tmp_path, consistent_cut="")


def test_a_topic_of_transactions_with_several_partitions_is_no_order() -> None:
    topic = "shop.transaction"
    first, second = (gaps.Place(topic, "T", partition) for partition in (0, 1))
    assert one_partition(topic, {}) is None
    assert one_partition(topic, {first: (3, 9)}) == (first, (3, 9))
    with pytest.raises(Fatal, match=r"topic shop\.transaction, partitions 2") as refused:
        one_partition(topic, {first: (3, 9), second: (0, 4)})
    assert "nothing is lost" in refused.value.state
    assert "headrace plan" in refused.value.next_step
