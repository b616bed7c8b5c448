"""Every Postgres type through the real parts: `docs/types.md` is what this test sees, and nothing is altered unseen.

The contracts are those that `init` writes; each value is a row, once read by the first read, once sent as a change.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import SecretStr
from pyspark.sql import SparkSession

from connectors import debezium
from connectors.postgres import source
from connectors.postgres.declared_types import Declared, NotCarried, declare
from connectors.postgres.plan import plan
from contracts.endpoints import Endpoints
from contracts.settings import Settings
from contracts.spark_types import parse_type
from contracts.stream import Column, Stream
from infra.local import postgres
from infra.local.layout import open_layout
from tests.services.type_cases import DEBIAN, WHEEL, Values
from tests.services.type_lake import CHANGED, Types, column_of

pytestmark = pytest.mark.timeout(800)  # the wide tables' code is compiled by the first test

DOCUMENT = Path(__file__).parents[2] / "docs" / "types.md"


@pytest.fixture(scope="module", params=["wheel", "debian"])
def types(
    request: pytest.FixtureRequest,
    spark: SparkSession,
    endpoints: Endpoints,
    deployment: Settings,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Types]:
    """The types that the wheel's server has, then those that only Debian's has, over TLS from end to end."""
    cases, owner = WHEEL, postgres.endpoint(open_layout(deployment), endpoints.source.database, "postgres")
    if request.param == "debian":
        cases, owner = DEBIAN, request.getfixturevalue("contrib_owner")
        replicator = replace(owner, user="replicator", password=SecretStr("theirs"))
        endpoints = replace(endpoints, source=owner, replicator=replicator)
    types = Types(spark, endpoints, deployment, tmp_path_factory.mktemp("types"), cases, owner)
    try:
        types.make()
        yield types
    finally:
        types.drop()


def test_every_value_arrives_as_it_is_or_is_refused_or_its_loss_is_declared(types: Types) -> None:
    wrong = []
    for value in types.values:
        found = types.columns[value.table, value.column]
        carried = declare(found.type, found.kind)
        for base, way in ((0, "first read"), (CHANGED, "change")):
            one = types.seen[value.table, value.id + base]
            if isinstance(carried, NotCarried):
                good = one.sent == "nothing" and one.lake == "NULL"
            else:
                good = bool(one.refused) or (one.equal and one.back) or bool(carried.lossy)
            if not good:
                wrong.append((value, way, one))
    assert not wrong, "\n".join(map(str, wrong))


def test_the_rows_were_streamed_over_tls_where_the_settings_ask_for_it(types: Types) -> None:
    """Debian's server lets nobody in without; the wheel's is built without."""
    with source.connected(types.administrator) as connection, connection.cursor() as cursor:
        cursor.execute(
            "select ssl from pg_stat_replication join pg_stat_ssl using (pid) "
            "join pg_replication_slots on active_pid = pid where slot_name = %s",
            (debezium.default_name(types.pipeline),),
        )
        assert cursor.fetchall() == [(types.endpoints.replicator.sslmode == "verify-full",)]


def test_plan_refuses_the_types_that_init_refuses(types: Types) -> None:
    kinds = {
        f"{table}_{number}": kind
        for table, each in types.cases.tables.items()
        for number, kind in enumerate(kind for kind, values in each.items() if not values)
    }
    assert set(types.refused) == set(kinds)
    first = types.pipeline.streams[0]
    streams = []
    for table, kind in kinds.items():
        declared = (Column("id", "bigint", required=True), Column(column_of(kind), "string"))
        table_source = replace(first.table_source, table=table)
        topic = f"{types.name}.{table_source.qualified}"
        streams.append(Stream(types.name, table, topic, table_source, declared, ("id",)))
    planned = plan(replace(types.pipeline, streams=tuple(streams)), types.endpoints, types.settings)
    refused = [text for text in planned.refusals if "the column cannot be declared" in text]
    assert len(refused) == len(kinds)
    for table, kind in kinds.items():
        assert any(text.startswith(f"{types.name}.{table}.{column_of(kind)}: ") for text in refused), kind


def test_hiveserver2_reads_the_same(types: Types) -> None:
    for stream in types.pipeline.streams:
        assert types.over_hive[stream.name] == {row["id"]: row["json"] for row in types.current[stream.name]}


def test_the_postgres_warehouse_holds_the_same(types: Types) -> None:
    for stream in types.pipeline.streams:
        assert types.in_warehouse[stream.name] == {row["id"]: row["flat"] for row in types.current[stream.name]}


def test_the_document_is_what_was_seen(types: Types, tmp_path: Path) -> None:
    """Its head, and the sections of this server's types."""
    there = DOCUMENT.read_text(encoding="utf-8")
    _, *sections = re.split(r"^(?=## )", there, flags=re.MULTILINE)
    found = {one.splitlines()[0]: one.strip() + "\n" for one in sections}
    for table, kinds in types.cases.tables.items():
        lines = [f"## {table.capitalize()}", *_section(types, table, kinds)]
        found[lines[0]] = "\n".join(lines)
    written = tmp_path / "types.md"
    written.write_text("\n".join([HEAD, *found.values()]), encoding="utf-8")
    assert there == written.read_text(encoding="utf-8"), f"docs/types.md is not what was seen: cp {written} {DOCUMENT}"


HEAD = """# Postgres types

Written by `tests/services/test_types.py`, which sends every value below through the real parts twice (first read and
change) and fails if this file is not what it saw. The contract is the one that `headrace init --from-postgres` writes.

- **exact**: what the lake holds, cast back to the column's type at the source, prints as the column does, and `verify`
  gives both sides one hash (for arrays, `vector` and `bit(1)` the hash alone). Where the lake's text is not letter by
  letter that of `column::text`, it says so.
- **lossy as declared**: the values named arrive as others. `plan` refuses the column until the contract says
  `headrace.lossy: true`; `verify` sees the difference, but for the zone of `timetz`.
- **quarantined**: a value that the Spark type cannot hold, or that Debezium sends as another value's text, is refused
  with its row; the others of the column are exact.
- **left out**: Debezium does not send the column; `init` leaves it out of the contract, `plan` refuses it there.
- **refused**: `init` and `plan` refuse the column: Debezium would send something else than the value.

**Delta** is the lake's own table; **Hive** the same rows as the SQL endpoint (HiveServer2) reads them; **warehouse** as
a merge's COPY writes them into Postgres. A star schema has no nested columns: its SQL makes texts or rows of them.
A date BC is looked for by `plan` before a table's first read, which would send it as the same day AD, and is refused
there; in a change it is quarantined. The types of "Contrib" are those of Debian's server, version 15.
"""


def _section(types: Types, table: str, kinds: Values) -> Iterator[str]:
    yield ""
    yield (
        "| Postgres | in the contract | Delta | Hive | warehouse "
        "| Debezium sends | the lake holds | values that do not arrive |"
    )
    yield "| --- | --- | --- | --- | --- | --- | --- | --- |"
    number = 0
    for kind, values in kinds.items():
        if values:
            yield _line(types, table, kind)
        else:
            why = types.refused[f"{table}_{number}"].partition(": ")[2]
            yield f"| {_code(kind)} | | refused | refused | refused | | | {why} |"
            number += 1
    yield ""


def _line(types: Types, table: str, kind: str) -> str:
    found = types.columns[table, column_of(kind)]
    carried = declare(found.type, found.kind)
    if isinstance(carried, NotCarried):
        return f"| {_code(kind)} | | left out | left out | left out | | | {carried.why} |"
    ours = [value for value in types.values if value.table == table and value.type == kind]
    first, notes, arrived, other = types.seen[table, ours[0].id], [], False, False
    for value in ours:
        ways = [types.seen[table, value.id + base] for base in (0, CHANGED)]
        if ways[0].refused or ways[1].refused:
            where = (
                "" if all(way.refused for way in ways) else " in a first read" if ways[0].refused else " in a change"
            )
            notes.append(f"{_code(value.text)} quarantined{where}")
        elif not all(way.equal and way.back for way in ways):
            notes.append(f"{_code(value.text)} arrives as {_code(ways[0].lake)}")
        else:
            arrived = True
            other = other or any(way.lake != value.text for way in ways)
    assert isinstance(carried, Declared)
    verdict = "lossy as declared" if carried.lossy else "exact" if arrived else "quarantined"
    spelled = f"{_code(first.lake)}{' for ' + _code(ours[0].text) if first.lake != ours[0].text else ''}"
    delta = f"{verdict}, other text" if other else verdict
    ids = [value.id + base for value in ours for base in (0, CHANGED)]
    current = {row["id"]: row for row in types.current[table]}
    hive = all(types.over_hive[table].get(one) == (current[one]["json"] if one in current else None) for one in ids)
    copied = all(
        types.in_warehouse[table].get(one) == (current[one]["flat"] if one in current else None) for one in ids
    )
    in_warehouse = "nested" if parse_type(carried.spark_type).is_nested else verdict if copied else "differs"
    cells = (delta, verdict if hive else "differs", in_warehouse, _code(first.sent), spelled, "; ".join(notes))
    return f"| {_code(kind)} | {_code(carried.spark_type)} | {' | '.join(cells)} |"


def _code(text: str) -> str:
    short = text if len(text) <= 60 else f"{text[:40]}…"
    plain = short.replace("|", "\\|").replace("\n", "\\n").replace("\t", "\\t").replace("`", "'")
    return f"`{plain}`" if plain else "empty"
