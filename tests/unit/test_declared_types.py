"""Which Spark type a Postgres type is declared as, and that `plan` holds what `init` declares."""

from __future__ import annotations

import pytest

from connectors.postgres.catalog import SourceColumn, SourceTable
from connectors.postgres.declared_types import Declared, NotCarried, declare
from connectors.postgres.type_checks import check_types
from connectors.postgres.types import fits
from contracts.stream import Column, Stream, TableSource

CARRIED = [
    ("smallint", "smallint"),
    ("oid", "bigint"),
    ("numeric(10,2)", "decimal(10,2)"),
    ("numeric(5,-2)", "decimal(7,0)"),
    ("numeric(3,5)", "decimal(5,5)"),
    ("numeric(38,10)", "decimal(38,10)"),
    ("numeric(39,10)", "string"),
    ("numeric", "string"),
    ("money", "decimal(19,2)"),
    ("bit(1)", "boolean"),
    ("real", "float"),
    ("character varying(10)", "string"),
    ('"char"', "string"),
    ("timestamp(3) with time zone", "timestamp"),
    ("timestamp without time zone", "timestamp_ntz"),
    ("time(3) without time zone", "string"),
    ("interval year to month", "string"),
    ("interval(3)", "string"),
    ("int4range", "string"),
    ("vector(3)", "array<float>"),
    ("hstore", "map<string,string>"),
    ("citext[]", "array<string>"),
    ("numeric(10,2)[]", "array<decimal(10,2)>"),
    ("character varying(10)[]", "array<string>"),
    ("timestamp with time zone[]", "array<timestamp>"),
]


@pytest.mark.parametrize(("found", "spark"), CARRIED)
def test_what_is_declared_holds_the_type(found: str, spark: str) -> None:
    declared = declare(found, "b")
    assert isinstance(declared, Declared)
    assert declared.spark_type == spark
    assert fits(found, Column("c", spark, json=declared.json))


@pytest.mark.parametrize(
    ("found", "kind", "left_out"),
    [
        ("pair", "c", True),
        ("int4multirange", "m", True),
        ("price[]", "d", True),
        ("money[]", "b", True),
        ("pg_lsn", "b", True),
        ("name", "b", False),
        ("bit(8)", "b", False),
        ("bit varying(1)", "b", False),
        ("bit(1)[]", "b", False),
        ("hstore[]", "b", False),
        ("xml[]", "b", True),
        ("point", "b", False),
        ("sparsevec(5)", "b", False),
    ],
)
def test_what_is_not_carried_says_whether_it_is_left_out(found: str, kind: str, left_out: bool) -> None:
    refused = declare(found, kind)
    assert isinstance(refused, NotCarried)
    assert refused.left_out is left_out


def test_an_enum_and_an_array_of_one_are_texts() -> None:
    assert declare("shop.mood", "e") == Declared("string")
    assert declare("shop.mood[]", "e") == Declared("array<string>")


@pytest.mark.parametrize(("json", "refused"), [(True, 0), (False, 1)])
def test_an_hstore_is_declared_as_what_can_be_compared(json: bool, refused: int) -> None:
    columns = (
        SourceColumn("id", "bigint", "b", True, 1, False, "", ""),
        SourceColumn("tags", "hstore", "b", False, 0, False, "", ""),
    )
    declared = (Column("id", "bigint"), Column("tags", "map<string,string>" if json else "string", json=json))
    stream = Stream("shop", "t", "shop.s.t", TableSource("s", "t"), declared, ("id",))
    findings = list(check_types(stream, SourceTable("s", "t", "r", False, "d", "", columns=columns)))
    assert len(findings) == refused
    assert all(finding.level == "refusal" and "headrace.json" in finding.fix for finding in findings)


@pytest.mark.parametrize("found", ["time without time zone", "time(0) with time zone[]", "interval", "numeric[]"])
def test_what_alters_a_value_unseen_is_named(found: str) -> None:
    declared = declare(found, "b")
    assert isinstance(declared, Declared)
    assert declared.lossy


@pytest.mark.parametrize(
    ("found", "spark", "holds"),
    [
        ("bigint[]", "array<int>", False),
        ("integer[]", "array<bigint>", True),
        ("uuid[]", "array<string>", True),
        ("oid", "int", False),
        ("money", "decimal(18,2)", False),
        ("bit(8)", "boolean", True),  # `_compare_types` refuses it, whatever is declared
    ],
)
def test_whether_it_fits(found: str, spark: str, holds: bool) -> None:
    assert fits(found, Column("c", spark)) is holds
