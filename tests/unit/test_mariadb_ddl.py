"""What Debezium's history of MariaDB's definitions, and messages of Postgres, tell of DDL."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from connectors import debezium
from connectors.mariadb import ddl
from connectors.mariadb.ddl import Told, _read, newest
from connectors.postgres import ddl_messages


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
    return _read(value, 5)


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


def of_table(**table: Any) -> bytes:
    return record({"type": "ALTER", "id": '"shop"."orders"', **table})


@pytest.mark.parametrize(
    "value",
    [
        *(None, b"", b"[]", b"{}", b"\xff", record()[:-5], b"[" * 5_000),
        *(record({"type": "ALTER"}), record({"type": "ALTER", "id": "x"}), b'{"position": []}', b'{"position": null}'),
        *(of_table(table=[1]), of_table(table={"columns": None}), of_table(table={"columns": [{"name": "c"}]})),
        *(
            of_table(table={"columns": [{"name": "c", "typeName": ""}]}),
            of_table(previousId="x"),
            of_table(previousId=5),
        ),
        *(record(change("ALTER", "orders"), ts_sec=10**18), record(change("ALTER", "orders"), ts_sec=float("inf"))),
    ],
)
def test_what_nobody_knows_how_to_read_is_passed_over(value: bytes | None) -> None:
    assert read(value) == []


def message(content: bytes, **more: Any) -> bytes:
    said = {"prefix": debezium.DDL_PREFIX, "content": base64.b64encode(content).decode()}
    return json.dumps({"message": said, "source": {"ts_ms": 1795798177000, "lsn": 26, **more}}).encode()


SAID = {"schema": "shop", "table": "orders", "command": "ALTER TABLE", "identity": "shop.orders", "oid": 16384}


@pytest.mark.parametrize(
    "value",
    [
        *(None, b"", b"[]", b"\xff", message(b"")[:-5], message(b"[]"), message(b"[" * 5_000)),
        *(message(json.dumps({**SAID, "oid": float("inf")}).encode()), message(b"{}", ts_ms=float("inf"))),
        *(message(json.dumps(SAID).encode(), ts_ms=10**21), message(json.dumps({**SAID, "columns": [1]}).encode())),
    ],
)
def test_whoever_writes_a_message_with_our_prefix_into_postgres_cannot_stop_the_status(value: bytes | None) -> None:
    assert ddl_messages._read(value, 5) is None


def test_a_message_is_read_as_postgres_sends_it() -> None:
    told = ddl_messages._read(message(json.dumps(SAID).encode()), 5)
    assert told
    assert (told.qualified, told.place, told.offset) == ("shop.orders", "0/1A", 5)


def test_of_each_table_the_last_is_told_under_the_name_that_it_has() -> None:
    renamed = change("ALTER", "new", ("INT", 11, None), previousId='"shop"."old"')
    told = [one for value in (record(change("ALTER", "old")), record(renamed)) for one in read(value)]
    assert [(one.qualified, one.was) for one in told] == [("shop.old", ""), ("shop.new", "shop.old")]
    assert newest(told) == told[1:]
    # Also of one that goes to a database of which we know nothing else.
    gone = read(record({**renamed, "id": '"elsewhere"."new"'}))
    assert [ddl._concerns(one, {database}) for one in gone for database in ("shop", "elsewhere", "third")] == (
        [True, True, False]
    )
    assert [one.qualified for one in newest([told[0], *gone])] == ["elsewhere.new"]
    again = read(record(change("CREATE", "old")))
    assert newest([*told, *again]) == [told[1], *again]
