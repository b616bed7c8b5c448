"""The source tells of its DDL by the script that we ship: in its place between the rows, and shown by the status."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import psycopg2
from kafka import KafkaConsumer, TopicPartition

from connectors import debezium
from connectors.plan import apply
from connectors.postgres import ddl_messages
from contracts.endpoints import PostgresEndpoint
from headrace.app import App
from headrace.evolution import definitions
from infra.local.layout import open_layout
from infra.local.postgres import bin_dir, endpoint
from streaming_jobs.counts import Counts
from streaming_jobs.ledger import balance, refresh_ledger
from tests.services.at_once import at_once
from tests.services.test_schema_changes import TABLE, Shop, shop

__all__ = ["shop"]

SCRIPT = Path(ddl_messages.__file__).parents[1] / "ddl_capture.sql"


@contextmanager
def installed(superuser: PostgresEndpoint) -> Iterator[None]:
    """The script, run as it says, and taken away as it says."""
    dsn = superuser.dsn()
    program = [str(bin_dir() / "psql"), "-v", "ON_ERROR_STOP=1", "-h", superuser.host, "-p", str(superuser.port)]
    program += ["-U", superuser.user, "-d", superuser.database]

    def psql(*arguments: str) -> None:
        done = subprocess.run(
            [*program, *arguments], env={"PGPASSWORD": str(dsn["password"])}, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr

    uninstall = re.findall(r"^--   (DROP .*;)$", SCRIPT.read_text(encoding="utf-8"), re.MULTILINE)
    try:
        for _ in range(2):  # safe to run again
            psql("-f", str(SCRIPT))
        yield
    finally:
        for statement in uninstall:
            psql("-c", statement)


def test_the_source_tells_of_its_ddl_between_the_rows(shop: Shop) -> None:
    superuser = endpoint(open_layout(shop.settings), shop.endpoints.source.database, "postgres")
    evolve, name = shop.pipeline.streams[0], shop.pipeline.name
    app = cast(App, SimpleNamespace(pipeline=shop.pipeline, endpoints=shop.endpoints))
    at_once(lambda step: step(), (lambda: apply(shop.plan()), shop.create_tables))
    shop.arrived()
    shop.run("alter table to_evolve alter column size set default 8")
    with installed(superuser):
        # By the tables' owner, who is no superuser. What one call runs is one transaction.
        shop.run("insert into to_evolve values (1, 1.00, 'a', 1)")
        shop.run("alter table to_evolve add column discount numeric(5,3) default 0.125")
        shop.run("insert into to_evolve values (2, 2.00, 'b', 2, 0.5)")
        shop.run(
            "insert into to_evolve values (3, 3.00, 'c', 3); alter table to_evolve drop column size;"
            "insert into to_evolve values (4, 4.00, 'd')"
        )
        shop.run("create table beside (id int primary key); alter table beside add n int; drop table beside")
        shop.run(
            f"create schema {name}_2; create table {name}_2.other (id int); alter table {name}_2.other add n int;"
            f"drop schema {name}_2 cascade; create temp table passing (id int); alter table passing add n int"
        )
        shop.run("select pg_logical_emit_message(true, 'headrace.ddl', 'no JSON')")
        shop.run("alter table to_evolve rename column note to remark")
        shop.run("insert into to_evolve values (5, 5.00, 'e')")
        shop.run(f"drop table to_stop; {TABLE.format('to_stop')}; alter table to_quarantine rename to renamed")
        shop.run(f"alter publication {debezium.default_name(shop.pipeline)} add table to_stop")
        # What cannot be told does not stop the DDL; and of what is rolled back nothing is told.
        with closing(psycopg2.connect(**superuser.dsn())) as connection, connection.cursor() as cursor:
            cursor.execute("select oid::regprocedure::text from pg_proc where proname = 'pg_logical_emit_message'")
            functions = ", ".join(function for (function,) in cursor.fetchall())
            cursor.execute(
                f"revoke execute on function {functions} from public;"
                f"alter function headrace_ddl.tell_command() owner to {shop.endpoints.source.user};"
                f"alter function headrace_ddl.tell_drop() owner to {shop.endpoints.source.user};"
                f"alter table {name}.to_evolve add column more int; alter table {name}.to_evolve drop column more"
            )
            assert [notice.count("headrace did not capture this ALTER TABLE") for notice in connection.notices] == [
                1
            ] * 3
            connection.rollback()
        shop.arrived()
    shop.run("alter table to_evolve alter column price type numeric(12,2)")
    shop.run("insert into to_evolve values (6, 12345678.90, 'f')")
    shop.arrived()

    told = ddl_messages.told(shop.endpoints.kafka, shop.pipeline)
    place = TopicPartition(evolve.topic, 0)
    rows: list[tuple[int, str]] = []
    with closing(
        KafkaConsumer(
            bootstrap_servers=shop.endpoints.kafka,
            isolation_level="read_committed",
            group_id=None,
            request_timeout_ms=9000,
        )
    ) as consumer:
        consumer.assign([place])
        consumer.seek_to_beginning(place)
        while consumer.position(place) < shop.ends[evolve.topic]:
            for records in consumer.poll(timeout_ms=500).values():
                changes = [json.loads(record.value) for record in records]
                rows += [(change["source"]["lsn"], f"row {change['after']['id']}") for change in changes]
    commands = [(one.lsn, f"{one.command} {one.identity}") for one in told]
    assert [what for _, what in sorted(rows + commands)] == [
        "row 1",
        f"ALTER TABLE {name}.to_evolve",
        "row 2",
        "row 3",
        f"ALTER TABLE {name}.to_evolve.size",
        f"ALTER TABLE {name}.to_evolve",
        "row 4",
        f"CREATE TABLE {name}.beside",
        f"DROP TABLE {name}.beside",
        f"ALTER TABLE {name}.to_evolve.remark",
        "row 5",
        f"DROP TABLE {name}.to_stop",
        f"CREATE TABLE {name}.to_stop",
        f"ALTER TABLE {name}.renamed",
        f"ALTER PUBLICATION {name}.to_stop in publication headrace_{name}",
        "row 6",
    ]
    assert commands == sorted(commands), "the topic has the order of the WAL"
    assert [columns for one in told if one.table == "to_evolve" and (columns := [name for name, _ in one.columns])] == [
        ["id", "price", "note", "size", "discount"],
        *[["id", "price", "note", "discount"]] * 2,
        ["id", "price", "remark", "discount"],
    ]

    # The status tells each table's last one.
    assert {row["table"].split(".")[1]: (row["command"], row["columns"]) for row in definitions(app)} == {
        "beside": ("DROP TABLE", None),
        "to_evolve": ("ALTER TABLE", "id bigint, price numeric(5,2), remark text, discount numeric(5,3)"),
        "to_stop": ("ALTER PUBLICATION", "id bigint, price numeric(5,2), note text, size integer"),
        "renamed": ("ALTER TABLE", "id bigint, price numeric(5,2), note text, size integer"),
    }

    # No message is a row, and each row is where it belongs.
    assert shop.ingest(evolve) == Counts(accepted=5, quarantined=1)
    assert shop.current(evolve).keys() == {1, 2, 3, 4, 5}
    only = replace(shop.pipeline, streams=(evolve,))
    refresh_ledger(shop.spark, only, shop.lake_url)
    assert [one.findings for one in balance(shop.spark, only)] == [()]
