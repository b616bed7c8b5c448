"""`plan` tells a table that is not there from an endpoint that does not answer."""

from __future__ import annotations

from pathlib import Path

import pytest

from contracts.errors import Fatal, ServiceUnavailable
from contracts.settings import Settings
from headrace import planning
from headrace.app import App


def answering(monkeypatch: pytest.MonkeyPatch, error: Exception) -> App:
    def rows_of(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(planning, "rows_of", rows_of)
    return App(Settings(data_dir=Path("nowhere")))


def test_a_schema_that_is_not_there_has_no_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    refused = Fatal("the statement was refused: [SCHEMA_NOT_FOUND] The schema `edtech_lake` cannot be found.")
    missing, refusals = planning.tables_to_make(answering(monkeypatch, refused))
    assert "edtech_lake.ledger" in missing
    assert not refusals


@pytest.mark.parametrize("error", [ServiceUnavailable("away"), Fatal("the statement was refused: no permission")])
def test_what_is_not_known_is_not_taken_for_missing(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    app = answering(monkeypatch, error)
    with pytest.raises(type(error)):
        planning.tables_to_make(app)


@pytest.mark.parametrize(
    ("declared", "found", "same"),
    [
        ("decimal(5, 2)", "decimal(5,2)", True),
        ("string", "int", False),
        ("struct<a:int,b:int>", "struct<a:int,...1morefields>", True),
    ],
)
def test_types_are_compared_as_far_as_spark_tells_them(declared: str, found: str, same: bool) -> None:
    assert planning._same(declared, found) is same
