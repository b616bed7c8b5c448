"""The source is read with the least privilege, and judged before."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import psycopg2
import pytest
from psycopg2.errors import InsufficientPrivilege
from pydantic import SecretStr

from connectors.plan import Plan, apply
from connectors.postgres import rows, source
from connectors.postgres.catalog import read_tables
from connectors.postgres.checks import Finding, check
from connectors.postgres.plan import _plan_source
from contracts.endpoints import Endpoints, PostgresEndpoint
from contracts.errors import PlanRefused, ServiceUnavailable
from contracts.settings import GuardSettings, Settings
from contracts.stream import Column, Pipeline, Stream, TableSource
from headrace.proof import postgres_side
from infra.local.layout import open_layout
from infra.local.postgres import endpoint
from tests.conftest import WaitUntil
from tests.services.test_connectors_plan import new_shop, remove_shop


@pytest.fixture(scope="module")
def administrator(endpoints: Endpoints, deployment: Settings) -> PostgresEndpoint:
    return endpoint(open_layout(deployment), endpoints.source.database, "postgres")


@contextmanager
def as_role(role: PostgresEndpoint) -> Iterator[psycopg2.extensions.cursor]:
    with closing(psycopg2.connect(**role.dsn())) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        yield cursor


def test_the_role_of_the_script_reads_what_is_declared_and_nothing_else(administrator: PostgresEndpoint) -> None:
    name = f"least_{uuid4().hex[:8]}"
    role = replace(administrator, user=name, password=SecretStr("päss'word"))
    with as_role(administrator) as cursor:
        cursor.execute(f"CREATE SCHEMA {name}")
        for table in ("declared", "other"):
            cursor.execute(f"CREATE TABLE {name}.{table} AS SELECT 1 AS id")
        try:
            source.grant(administrator, role, name, [TableSource(name, "declared")])
            source.grant(administrator, role, name, [TableSource(name, "declared")])
            with as_role(role) as cursor_of_role:
                cursor_of_role.execute(f"SELECT id FROM {name}.declared")
                assert cursor_of_role.fetchall() == [(1,)]
                for refused in (
                    f"SELECT * FROM {name}.other",
                    f"INSERT INTO {name}.declared VALUES (2)",
                    f"UPDATE {name}.declared SET id = 2",
                    f"DELETE FROM {name}.declared",
                    f"TRUNCATE {name}.declared",
                    f"CREATE TABLE {name}.mine (id int)",
                    "CREATE TABLE public.mine (id int)",
                    "CREATE ROLE mine",
                    "ALTER SYSTEM SET wal_level = minimal",
                    "SELECT pg_read_file('postgresql.conf')",
                    "COPY (SELECT 1) TO PROGRAM 'true'",
                ):
                    with pytest.raises(InsufficientPrivilege):
                        cursor_of_role.execute(refused)
            cursor.execute(
                "SELECT rolsuper, rolcreatedb, rolcreaterole, rolbypassrls, rolreplication FROM pg_roles "
                "WHERE rolname = %s",
                (name,),
            )
            assert cursor.fetchone() == (False, False, False, False, True)
        finally:
            cursor.execute(f"DROP PUBLICATION IF EXISTS {name}; DROP SCHEMA {name} CASCADE; DROP OWNED BY {name}")
            cursor.execute(f"DROP ROLE {name}")


def found_in(
    administrator: PostgresEndpoint, role: str, statements: str, connectors_dir: Path = Path()
) -> list[Finding]:
    """What is found of a table `t` that these statements make and that is gone afterwards."""
    name = f"judged_{uuid4().hex[:8]}"
    columns = (Column("id", "string", lossy=True), Column("note", "string"))
    stream = Stream(name, "t", f"{name}.{name}.t", TableSource(name, "t"), columns, ("id",), file=Path("t.yaml"))
    pipeline = Pipeline(name, (stream,), Path(), connectors_dir, Path())
    with closing(psycopg2.connect(**administrator.dsn())) as connection, connection.cursor() as cursor:
        cursor.execute(f"CREATE SCHEMA {name}; SET LOCAL search_path = {name}; {statements}")
        described = read_tables(connection, names=[f"{name}.t"])
        return [
            finding
            for finding in check(connection, pipeline, described, slot=name, role=role)
            if finding.table or "role" in finding.what
        ]


TABLE = "CREATE TABLE t (id text PRIMARY KEY, note varchar(9));"


@pytest.mark.parametrize(
    ("statements", "level", "what", "fix"),
    [
        ("CREATE UNLOGGED TABLE t (id text PRIMARY KEY, note varchar(9))", "refusal", "unlogged", "SET LOGGED;"),
        (f"{TABLE} ALTER TABLE t ENABLE ROW LEVEL SECURITY", "refusal", "row security", "BYPASSRLS;"),
        (f"{TABLE} GRANT INSERT ON t TO debezium", "warning", "may write", "replicator"),
        (
            # Made so by hand, as this server is built without ICU.
            f'CREATE COLLATION loose FROM "C"; {TABLE.replace("id text", "id text COLLATE loose")} '
            "UPDATE pg_collation SET collisdeterministic = false WHERE collname = 'loose'",
            "warning",
            "equal at the source",
            'COLLATE "C";',
        ),
        ("CREATE TABLE t (id interval PRIMARY KEY, note varchar(9))", "warning", "equal at the source", ""),
    ],
)
def test_what_would_lose_rows_is_found_before(
    administrator: PostgresEndpoint, endpoints: Endpoints, statements: str, level: str, what: str, fix: str
) -> None:
    role = endpoints.replicator.user
    assert [finding for finding in found_in(administrator, role, TABLE) if "2 kB" not in finding.what] == []
    (finding,) = [one for one in found_in(administrator, role, statements) if "2 kB" not in one.what]
    assert (finding.level, what in finding.what, fix in finding.fix) == (level, True, True), finding
    assert finding.why


def test_a_column_that_the_connector_leaves_out_is_no_news(
    administrator: PostgresEndpoint, endpoints: Endpoints, tmp_path: Path
) -> None:
    role = endpoints.replicator.user
    statements = "CREATE TABLE t (id text PRIMARY KEY, note varchar(9), tags int[])"
    found = [one.what for one in found_in(administrator, role, statements, tmp_path) if one.column == "tags"]
    assert len(found) == 2, found  # it is not declared, and an unchanged value of it would arrive as another
    (tmp_path / "postgres.json").write_text(json.dumps({"column.exclude.list": r".*\.t\.tags"}))
    assert [one for one in found_in(administrator, role, statements, tmp_path) if one.column == "tags"] == []


def test_partitions_arrive_under_the_name_of_their_table(
    endpoints: Endpoints, deployment: Settings, tmp_path: Path
) -> None:
    shop = new_shop(endpoints, deployment, tmp_path)
    shop.run(
        """
        CREATE TABLE orders (id bigint PRIMARY KEY, price numeric(10,2), paid_at timestamptz) PARTITION BY RANGE (id);
        CREATE TABLE orders_1 PARTITION OF orders FOR VALUES FROM (0) TO (10);
        CREATE TABLE orders_2 PARTITION OF orders FOR VALUES FROM (10) TO (20);
        INSERT INTO orders VALUES (1, 1, NULL), (11, 1, NULL);
        """
    )
    shop = replace(shop, pipeline=shop.with_streams(shop.stream("orders")))
    try:
        apply(shop.plan())
        assert shop.plan().changes == []
        shop.run("INSERT INTO orders VALUES (2, 1, NULL), (12, 1, NULL); DELETE FROM orders WHERE id = 11")
        told = [(change["op"], (change["after"] or change["before"])["id"]) for change, _ in shop.changes("orders")]
        assert sorted(told[:2]) == [("r", 1), ("r", 11)]
        assert told[2:] == [("c", 2), ("c", 12), ("d", 11)]
    finally:
        remove_shop(shop)


def test_a_server_that_ends_a_comparison_is_named(administrator: PostgresEndpoint, wait_until: WaitUntil) -> None:
    name = f"slow_{uuid4().hex[:8]}"
    end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND query LIKE %s"

    def ended() -> bool:
        cursor.execute(end, (f'%"{name}"%',))
        return bool(cursor.fetchall())

    with as_role(administrator) as cursor, ThreadPoolExecutor(1) as pool:
        cursor.execute(f"CREATE SCHEMA {name}; CREATE VIEW {name}.t AS SELECT pg_sleep(60)::text AS id")
        try:
            compared = pool.submit(postgres_side, administrator, (name, "t"), (Column("id", "string"),))
            wait_until(ended, 30, "the comparison runs")
            with pytest.raises(ServiceUnavailable, match=rf"did not finish the comparison of {name}\.t"):
                compared.result(timeout=30)
        finally:
            cursor.execute(f"DROP SCHEMA {name} CASCADE")


def test_a_table_that_somebody_keeps_locked_holds_nothing_up(
    administrator: PostgresEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "LOCK_WAIT_S", 1)
    monkeypatch.setattr(rows, "LOOK_MS", 500)
    name = f"locked_{uuid4().hex[:8]}"
    columns = (Column("id", "int"), Column("note", "string"))
    stream = Stream(name, "t", f"{name}.{name}.t", TableSource(name, "t"), columns, ("id",), file=Path("t.yaml"))
    pipeline = Pipeline(name, (stream,), Path(), Path(), Path())
    with as_role(administrator) as cursor, closing(psycopg2.connect(**administrator.dsn())) as other:
        cursor.execute(
            f"CREATE SCHEMA {name}; CREATE TABLE {name}.t (id int PRIMARY KEY, note text) PARTITION BY RANGE (id); "
            f"CREATE TABLE {name}.t_1 PARTITION OF {name}.t FOR VALUES FROM (0) TO (9); "
            f"CREATE PUBLICATION {name} FOR TABLE {name}.t"
        )
        try:
            other.cursor().execute(f"LOCK TABLE {name}.t")
            with source.connected(administrator) as connection:
                described = read_tables(connection, names=[f"{name}.t"])
                found = check(connection, pipeline, described, slot="none", role=administrator.user)
            assert "could not be searched" in "".join(one.what for one in found if one.table)
            with pytest.raises(ServiceUnavailable, match="locked by somebody else"):
                source.grant(administrator, administrator, name, [stream.table_source])
        finally:
            other.rollback()
            cursor.execute(f"DROP PUBLICATION {name}; DROP SCHEMA {name} CASCADE")


def test_a_connection_that_the_server_ends_is_an_outage(administrator: PostgresEndpoint) -> None:
    with (
        pytest.raises(ServiceUnavailable, match="Postgres broke off"),
        source.connected(administrator) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")


WHOLE = "WITH (publish_via_partition_root = true, publish_generated_columns = stored)"


def test_a_publication_that_somebody_made_of_parts_is_made_whole(administrator: PostgresEndpoint) -> None:
    name = f"parts_{uuid4().hex[:8]}"
    tables = [TableSource(name, "t")]
    with as_role(administrator) as cursor:
        cursor.execute(f"CREATE SCHEMA {name}; CREATE TABLE {name}.t (id int PRIMARY KEY, note text)")
        try:
            for part in ("WHERE (id > 3)", "(id)"):
                cursor.execute(f"CREATE PUBLICATION {name} FOR TABLE {name}.t {part} {WHOLE}")
                with source.connected(administrator) as connection:
                    found = source.access(connection, administrator.user, name, tables)
                    assert found.missing(tables) == [f"publish all rows and columns of {name}.t"]
                    assert found.published == frozenset(), "so that it is read again"
                source.grant(administrator, administrator, name, tables)
                with source.connected(administrator) as connection:
                    assert source.access(connection, administrator.user, name, tables).missing(tables) == []
                cursor.execute(f"DROP PUBLICATION {name}")
        finally:
            cursor.execute(f"DROP PUBLICATION IF EXISTS {name}; DROP SCHEMA {name} CASCADE")


def test_a_publication_for_all_tables_is_refused_before_apply_fails(
    administrator: PostgresEndpoint, endpoints: Endpoints
) -> None:
    name = f"all_{uuid4().hex[:8]}"
    stream = Stream(name, "t", f"{name}.{name}.t", TableSource(name, "t"), (Column("id", "int"),), ("id",))
    pipeline = Pipeline(name, (stream,), Path(), Path(), Path())
    superuser = replace(endpoints, source=administrator, replicator=administrator)
    with as_role(administrator) as cursor:
        cursor.execute(f"CREATE SCHEMA {name}; CREATE TABLE {name}.t (id int PRIMARY KEY)")
        cursor.execute(f"CREATE PUBLICATION {name} FOR ALL TABLES {WHOLE}")
        try:
            with source.connected(administrator) as connection:
                described = read_tables(connection, names=[f"{name}.t"])
            planned = Plan(name)
            _plan_source(
                planned, pipeline, superuser, described, {"publication.name": name, "slot.name": name}, GuardSettings()
            )
            assert [change.kind for change in planned.changes] == []
            assert f'  DROP PUBLICATION "{name}";' in "\n".join(planned.refusals)
        finally:
            cursor.execute(f"DROP PUBLICATION {name}; DROP SCHEMA {name} CASCADE")


def test_what_an_owner_may_not_do_is_told_without_the_passwords_verifier(endpoints: Endpoints) -> None:
    role = replace(endpoints.replicator, user=f"new_{uuid4().hex[:8]}", password=SecretStr("its own"))
    with pytest.raises(PlanRefused, match="permission denied to create role") as refused:
        source.grant(endpoints.source, role, role.user, [TableSource("public", "none")])
    assert "SCRAM" not in str(refused.value)
