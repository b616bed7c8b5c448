"""A restatement in Delta takes its number when it is announced, not before its rows are staged."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any, cast

import pytest

from warehouse_sql import delta_target
from warehouse_sql.declaration import Table
from warehouse_sql.delta_target import DeltaTarget
from warehouse_sql.reading import FactPlan


def test_the_number_is_above_every_one_that_was_given_while_the_rows_were_staged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = [1_000_000]
    announced: list[int] = []
    target = cast(Any, object.__new__(DeltaTarget))
    target.warehouse = SimpleNamespace(sql=lambda *_: ["replace"])
    target.pipeline, target.spark = None, SimpleNamespace(sql=lambda _: None)
    target.position = lambda _: 7
    target._infer = target._check_written = lambda *_: None
    target._transaction = lambda _: nullcontext()
    target._announce = lambda table, plan, before, number: announced.append(number)

    class Staged:
        createOrReplaceTempView = unpersist = lambda *_: None  # Spark's name

        def persist(self) -> Staged:
            return self

        def count(self) -> int:
            clock[0] += 9_000_000
            return 1

    monkeypatch.setattr(delta_target.time, "time_ns", lambda: clock[0])
    monkeypatch.setattr(delta_target.reading, "fact_rows", lambda *_: Staged())
    table = cast(Table, SimpleNamespace(name="fact", staging="staging_fact"))
    target.restate_fact(table, FactPlan({"2026-01-05": 4}, ("2026-01-05",)))
    assert announced == [10_000]
