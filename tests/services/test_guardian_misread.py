"""Which tables a value of an enum and a dropped column ahead of the slot's reader concern, as the catalog tells it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from connectors.guardian.facts import look_at_server
from connectors.postgres import source
from connectors.postgres.catalog import read_tables
from connectors.postgres.type_checks import check_domains
from contracts.endpoints import PostgresEndpoint
from tests.services.test_guardian_limits import running

SLOT = "headrace_narrow"


@dataclass(frozen=True)
class Site:
    """A server, as its superuser sees it, with a publication and a slot that a test reads when it likes."""

    superuser: PostgresEndpoint

    def do(self, *statements: str) -> None:
        """In one transaction."""
        with source.connected(self.superuser) as connection, connection.cursor() as cursor:
            cursor.execute(";".join(statements))

    def each(self, *statements: str) -> None:
        for one in statements:
            self.do(one)

    def read(self) -> None:
        """Until the slot's horizon, which follows what is confirmed, has passed all of before."""
        options = "NULL, NULL, 'proto_version', '1', 'publication_names', 'ours'"
        with source.connected(self.superuser, autocommit=True) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT pg_current_xact_id()::xid::text")
            (now,) = cursor.fetchone() or ("",)
            for _ in range(50):
                cursor.execute("SELECT pg_log_standby_snapshot()")
                cursor.execute("SELECT pg_logical_emit_message(true, '', '')")  # its end writes the WAL out
                cursor.execute(f"SELECT count(*) FROM pg_logical_slot_get_binary_changes('{SLOT}', {options})")
                passed = f"SELECT age(catalog_xmin) < age('{now}'::xid) FROM pg_replication_slots"
                cursor.execute(passed)
                if cursor.fetchall() == [(True,)]:
                    return
        raise AssertionError("the slot's horizon stands still")

    @property
    def misread(self) -> tuple[str, ...]:
        return look_at_server(self.superuser, SLOT).misread


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with running(tmp_path_factory.mktemp("misread")) as (_, superuser):
        site = Site(superuser)
        site.do("CREATE PUBLICATION ours")
        site.do(f"SELECT pg_create_logical_replication_slot('{SLOT}', 'pgoutput')")
        yield site


@pytest.fixture
def site(server: Site) -> Iterator[Site]:
    """With a published table `t` that has a column of an enum, and all of it read."""
    server.each(
        "CREATE TYPE kind AS ENUM ('a', 'b')",
        "CREATE TABLE t (id int PRIMARY KEY, gone text, kind kind)",
        "ALTER PUBLICATION ours ADD TABLE t",
    )
    server.read()
    yield server
    server.each("DROP TABLE t", "DROP TYPE kind CASCADE")
    server.read()


DROP = "ALTER TABLE t DROP COLUMN gone"


@pytest.mark.parametrize(
    "value",
    [
        "ALTER TYPE kind ADD VALUE 'c'",
        "ALTER TYPE kind RENAME VALUE 'a' TO 'z'",
        "ALTER TYPE kind ADD VALUE 'c'; ALTER TYPE kind OWNER TO source_owner",
    ],
)
def test_a_value_and_then_a_dropped_column_are_told_until_both_were_read(site: Site, value: str) -> None:
    site.do(value)
    assert site.misread == ()
    site.do(DROP)
    assert site.misread == ("public.t",)
    site.read()
    assert site.misread == ()


def test_what_is_over_an_enum_is_told_as_debezium_takes_it(site: Site) -> None:
    """It knows no values of a domain over an enum, so each row has a new one; those in an array it never looks up."""
    site.each(
        "CREATE DOMAIN kinds AS kind",
        "CREATE DOMAIN deep AS kinds CHECK (value::kind <> 'b')",
        "ALTER TABLE t ADD COLUMN of_domain deep",
    )
    site.do("ALTER TABLE t DROP COLUMN kind")
    assert site.misread == ("public.t",)
    with source.connected(site.superuser) as connection:
        (table,) = read_tables(connection, names=["t"])
    (found,) = check_domains(table)
    assert found.headline == "public.t.of_domain: its type deep is a domain over an enum"
    site.do(found.fix)
    assert "CHECK, NOT NULL and DEFAULT no longer hold" in found.fix
    site.do("INSERT INTO t VALUES (1, NULL, 'b')")  # so it is
    with source.connected(site.superuser) as connection:
        (table,) = read_tables(connection, names=["t"])
    assert list(check_domains(table)) == []
    site.read()
    assert site.misread == ()
    site.each("ALTER TABLE t DROP COLUMN of_domain, ADD COLUMN kinds kind[]", "DROP DOMAIN deep", "DROP DOMAIN kinds")
    site.each("ALTER TYPE kind ADD VALUE 'c'", DROP)
    assert site.misread == ()


def test_no_row_with_the_value_is_older_than_a_drop_of_the_same_transaction(site: Site) -> None:
    """As a tool for migrations does both: nobody can use the value before both are there."""
    site.do("ALTER TYPE kind ADD VALUE 'c'", DROP)
    assert site.misread == ()


def test_values_that_a_type_began_with_are_none_that_were_added_whatever_becomes_of_the_type(site: Site) -> None:
    site.do("CREATE TYPE newer AS ENUM ('a', 'b')")
    site.each("ALTER TYPE newer OWNER TO source_owner", "ALTER TABLE t ADD COLUMN newer newer", DROP)
    assert site.misread == ()
    site.do("ALTER TYPE newer ADD VALUE 'c'")
    assert site.misread == ("public.t",), "what is told once too often"
    site.each("ALTER TABLE t DROP COLUMN newer", "DROP TYPE newer")
