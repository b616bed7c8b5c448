"""What Debezium's history of MariaDB's definitions tells of DDL."""

from __future__ import annotations

import json
from typing import Any

import pytest

from connectors.mariadb.ddl import Told, _read, newest


def record(*changes: dict[str, Any], **position: Any) -> bytes:
    place = {"ts_sec": 1795798177, "file": "binlog.000002", "pos": 77, **position}
    return json.dumps(
        {"position": place, "ddl": "ALTER USER a IDENTIFIED BY 's3cret'", "tableChanges": changes}
    ).encode()


def change(kind: str, table: str, *columns: tuple[str, int | None, int | None], **more: str) -> dict[str, Any]:
    listed = [
        {"name": f"c{n}", "typeName": name, "length": length, "scale": scale, "defaultValueExpression": "s3cret"}
        for n, (name, length, scale) in enumerate(columns)
    ]
    return {"type": kind, "id": f'"shop"."{table}"', "table": {"columns": listed}, **more}


def read(value: bytes | None) -> list[Told]:
    return list(_read(value, 5))


def test_each_table_is_told_with_its_columns_and_place_and_never_with_the_statement() -> None:
    types = (
        ("BIGINT UNSIGNED", 20, None),
        ("DECIMAL", 5, 2),
        ("TEXT", None, None),
        ("ENUM", 1, None),
        ("INT UNSIGNED ZEROFILL", 10, None),
        ("BINARY", 3, None),
    )
    (altered, dropped) = read(record(change("ALTER", 'a"".b', *types), {"type": "DROP", "id": '"shop"."gone"'}))
    assert (altered.qualified, altered.command, altered.place, altered.offset) == (
        'shop.a".b',
        "ALTER TABLE",
        "binlog.000002:77",
        5,
    )
    assert [kind for _, kind in altered.columns] == [
        "bigint unsigned",
        "decimal(5,2)",
        "text",
        "enum",
        "int unsigned zerofill",
        "binary(3)",
    ]
    assert (dropped.command, dropped.columns) == ("DROP TABLE", ())
    assert "s3cret" not in repr((altered, dropped))


def test_how_a_table_was_when_one_was_read_is_no_ddl() -> None:
    assert read(record(change("CREATE", "orders"), snapshot="INITIAL")) == []


@pytest.mark.parametrize(
    "value", [None, b"", b"[]", b"{}", record({"type": "ALTER"}), record({"type": "ALTER", "id": "x"})]
)
def test_what_nobody_knows_how_to_read_is_passed_over(value: bytes | None) -> None:
    assert read(value) == []


def test_of_each_table_the_last_is_told_under_the_name_that_it_has() -> None:
    renamed = change("ALTER", "new", ("INT", 11, None), previousId='"shop"."old"')
    told = [one for value in (record(change("ALTER", "old")), record(renamed)) for one in read(value)]
    assert [(one.qualified, one.was) for one in told] == [("shop.old", ""), ("shop.new", "shop.old")]
    assert newest(told) == told[1:]
    again = read(record(change("CREATE", "old")))
    assert newest([*told, *again]) == [told[1], *again]
