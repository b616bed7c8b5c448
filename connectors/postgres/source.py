"""The source database: the replication role and the publication that a pipeline needs."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import encrypt_password

from connectors import answering
from connectors.postgres.catalog import quoted
from contracts import unreachable
from contracts.endpoints import PostgresEndpoint
from contracts.errors import PlanRefused, ServiceUnavailable
from contracts.stream import Pipeline, TableSource

ROLE_SCRIPT = Path(__file__).parents[1] / "source_role.sql"
# Longer than what a lock of a working database lasts. Whoever waits for an exclusive one makes all others wait behind.
LOCK_WAIT_S = 30
# Classes of SQLSTATE: the connection, resources, an operator's intervention, the system.
_OUTAGES = ("08", "53", "57", "58")
_VARIABLE = re.compile(r""":"(?P<identifier>\w+)"|:'(?P<literal>\w+)'|(?<!:):(?P<raw>[a-z]\w*)""")


@contextmanager
def connected(endpoint: PostgresEndpoint, *, autocommit: bool = False) -> Iterator[Connection]:
    """A connection that commits if the block ends well, rolls back if it raises, and is closed either way.

    ServiceUnavailable if the server does not answer, is not the one that the settings trust, or refuses the role; or as
    `outages`.
    """
    dsn: dict[str, Any] = endpoint.dsn()
    patience = max(1, round(endpoint.answer_s or 10))
    try:
        connection = psycopg2.connect(**dsn, connect_timeout=patience, application_name="headrace")
    except psycopg2.OperationalError as error:
        why = str(error).strip()
        raise ServiceUnavailable(
            f"Postgres did not accept the connection: {why}",
            next_step=unreachable.next_step(why, endpoint)
            or "see that the server runs there and lets this user in, or correct the settings",
            **_where(endpoint),
            user=endpoint.user,
        ) from error
    with outages(connection, endpoint):
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("SELECT set_config('lock_timeout', %s, false)", (f"{LOCK_WAIT_S}s",))
            if endpoint.answer_s:  # whom we no longer listen to need not go on
                cursor.execute(
                    "SELECT set_config('statement_timeout', %s, false)", (f"{endpoint.answer_s * 1000:.0f}",)
                )
        connection.autocommit = autocommit
        yield connection
        if not autocommit:
            connection.commit()


@contextmanager
def outages(connection: Connection, endpoint: PostgresEndpoint) -> Iterator[None]:
    """Closes the connection at the end of the block.

    ServiceUnavailable if the server ends it within the block, answers nobody any more or not within the endpoint's
    time, or somebody keeps what a statement waits for locked.
    """

    def let_in(answer_s: float) -> None:
        dsn: dict[str, Any] = endpoint.dsn()
        psycopg2.connect(**dsn, connect_timeout=int(answer_s), application_name="headrace").close()

    watched = answering.watched(connection.fileno(), let_in, endpoint.answer_s)
    with closing(connection), watched as silence:
        try:
            yield
        except psycopg2.errors.LockNotAvailable as error:
            raise ServiceUnavailable(
                f"what Postgres was asked for is locked by somebody else: {str(error).strip()}",
                next_step="wait for what changes, empties or rewrites a table there (see pg_locks), or end it; "
                "then again",
                **_where(endpoint),
            ) from error
        except psycopg2.OperationalError as error:
            if error.pgcode and error.pgcode[:2] not in _OUTAGES:
                raise
            raise ServiceUnavailable(
                f"Postgres broke off: {answering.said(silence, error)}",
                next_step="see that the server runs there, and what its log says; then again",
                **_where(endpoint),
            ) from error


def _where(endpoint: PostgresEndpoint) -> dict[str, str]:
    return {"host": f"{endpoint.host}:{endpoint.port}", "database": endpoint.database}


def outlast_open_transactions(endpoint: PostgresEndpoint, *, timeout_s: float) -> None:
    """Returns when every transaction that had written something before the call has ended.

    What a transaction wrote to a table before the publication knew the table is never sent, however late it commits;
    so the table may be read only after it. Postgres itself waits like this when it makes a slot.
    ServiceUnavailable, naming the oldest transaction, if one is still open after `timeout_s`.
    """
    with connected(endpoint, autocommit=True) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT pg_current_xact_id()::text::bigint")
        (mine,) = cursor.fetchone() or (0,)
        deadline = time.monotonic() + timeout_s
        while True:
            cursor.execute("SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint")
            (oldest,) = cursor.fetchone() or (0,)
            if oldest > mine:
                return
            if time.monotonic() > deadline:
                raise ServiceUnavailable(
                    f"a transaction that began before the tables were published is open after {timeout_s:.0f} s",
                    state="The tables are published and not read yet.",
                    next_step="end it (see pg_stat_activity.backend_xid), then `headrace apply` again",
                    transaction=oldest,
                )
            time.sleep(0.2)


@dataclass(frozen=True, slots=True)
class Access:
    """What the replication role and the publication are now. `role` None: there is no such role. `published` are the
    tables that are published whole, `partly` those with a row filter or a column list: what they leave out is never
    sent. `all_tables`: the publication is FOR ALL TABLES, which no ALTER changes."""

    role: tuple[bool, bool] | None
    readable: frozenset[str]
    published: frozenset[str] | None
    publishes_all_kinds: bool
    publishes_computed: bool = True
    all_tables: bool = False
    partly: frozenset[str] = frozenset()

    def missing(self, tables: list[TableSource], signals: str = "") -> list[str]:
        """What the script has to bring about, in words; empty if nothing. `signals`: a table that is only published."""
        names = {source.qualified for source in tables}
        found = []
        if self.role is None:
            found.append("create the role")
        elif not all(self.role):
            found.append("the role must be allowed to log in and to replicate")
        if unreadable := sorted(names - self.readable):
            found.append(f"grant SELECT on {', '.join(unreadable)}")
        names |= {signals} if signals else set()
        if self.published is None:
            found.append(f"publish {', '.join(sorted(names))}")
        else:
            if added := sorted(names - self.published - self.partly):
                found.append(f"publish {', '.join(added)}")
            if partly := sorted(names & self.partly):
                found.append(f"publish all rows and columns of {', '.join(partly)}")
            if removed := sorted((self.published | self.partly) - names):
                found.append(f"no longer publish {', '.join(removed)}")
            if not self.publishes_all_kinds:
                found.append("publish insert, update, delete and truncate, of partitioned tables under their own name")
            if not self.publishes_computed:
                found.append("publish generated columns")
        return found


def access(connection: Connection, role: str, publication: str, tables: list[TableSource]) -> Access:
    """Reads the catalog; tables that do not exist are not readable."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT rolcanlogin, rolreplication OR rolsuper FROM pg_roles WHERE rolname = %s", (role,))
        attributes = cursor.fetchone()
        readable = set()
        if attributes is not None:
            cursor.execute(
                """
                SELECT n.nspname || '.' || c.relname
                FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                WHERE has_schema_privilege(%(role)s, n.oid, 'USAGE') AND has_table_privilege(%(role)s, c.oid, 'SELECT')
                  AND (n.nspname, c.relname) IN (SELECT * FROM unnest(%(schemas)s::text[], %(tables)s::text[]))
                """,
                {
                    "role": role,
                    "schemas": [source.schema for source in tables],
                    "tables": [source.table for source in tables],
                },
            )
            readable = {name for (name,) in cursor.fetchall()}
        cursor.execute(
            "SELECT pubinsert AND pubupdate AND pubdelete AND pubtruncate AND pubviaroot, "
            "coalesce(to_jsonb(p) ->> 'pubgencols', 's') = 's', puballtables FROM pg_publication p WHERE pubname = %s",
            (publication,),
        )
        kinds = cursor.fetchone()
        cursor.execute(
            "SELECT schemaname || '.' || tablename FROM pg_publication_tables WHERE pubname = %s", (publication,)
        )
        published = frozenset(name for (name,) in cursor.fetchall()) if kinds else None
        cursor.execute(
            # Postgres before 15 has neither column.
            "SELECT n.nspname || '.' || c.relname FROM pg_publication p JOIN pg_publication_rel r ON r.prpubid = p.oid "
            "JOIN pg_class c ON c.oid = r.prrelid JOIN pg_namespace n ON n.oid = c.relnamespace "
            "WHERE p.pubname = %s AND coalesce(to_jsonb(r) ->> 'prqual', to_jsonb(r) ->> 'prattrs') IS NOT NULL",
            (publication,),
        )
        partly = frozenset(name for (name,) in cursor.fetchall())
    whole = None if published is None else published - partly
    all_kinds, computed, all_tables = kinds or (False, False, False)
    return Access(attributes, frozenset(readable), whole, all_kinds, computed, all_tables, partly)


def grant(
    owner: PostgresEndpoint,
    replicator: PostgresEndpoint,
    publication: str,
    tables: list[TableSource],
    signals: str = "",
) -> None:
    """Runs `source_role.sql`, and publishes `signals`, in one transaction: all of it holds afterwards, or nothing
    changed. May be repeated.

    PlanRefused if the server lets the owner not do it, with the command for somebody whom it lets.
    """
    # Not one of the tables: the role need not read it.
    add = f"ALTER PUBLICATION {quoted(publication)} ADD TABLE {quoted(*signals.split('.'))};" if signals else ""
    with connected(owner) as connection:
        try:
            with connection.cursor() as cursor:
                cursor.execute(role_script(connection, replicator, publication, tables))
                if signals:
                    cursor.execute(add)
        except psycopg2.OperationalError:
            raise
        except psycopg2.Error as error:  # of a right, a server that only reads, a policy for passwords
            names = ", ".join(source.qualified for source in tables)
            schemas = ", ".join(sorted({source.schema for source in tables}))
            raise PlanRefused(
                # Without the statement, in which the role's password stands as its verifier.
                f"{owner.user} may not prepare the source database: {error.diag.message_primary}",
                state="Nothing was changed in it.",
                next_step=(
                    f"let a role that may create roles and owns the tables run: psql -d {owner.database} "
                    f"-v role={replicator.user} -v password= -v publication={publication} -v schemas='{schemas}' "
                    f"-v tables='{names}' -f {ROLE_SCRIPT.name}; then, in psql: \\password {replicator.user}"
                    + (f"; and {add}" if add else "")
                ),
            ) from error


def role_script(
    connection: Connection, replicator: PostgresEndpoint, publication: str, tables: list[TableSource]
) -> sql.Composed:
    """The script with psql's variables bound as identifiers and literals. The password goes as a SCRAM verifier, so
    that no server log can hold it."""
    password = replicator.password.get_secret_value()
    verifier = encrypt_password(password, replicator.user, connection, "scram-sha-256") if password else ""
    values: dict[str, sql.Composable] = {
        "role": sql.Identifier(replicator.user),
        "publication": sql.Identifier(publication),
        "schemas": sql.SQL(", ").join(sql.Identifier(name) for name in sorted({source.schema for source in tables})),
        "tables": sql.SQL(", ").join(sql.Identifier(source.schema, source.table) for source in tables),
    }
    literals = {"role": replicator.user, "publication": publication, "password": verifier}
    # Comments show psql commands, which hold no variable to bind.
    script = re.sub(r"^\s*--.*$", "", ROLE_SCRIPT.read_text(encoding="utf-8"), flags=re.MULTILINE)
    parts: list[sql.Composable] = []
    at = 0
    for found in _VARIABLE.finditer(script):
        parts.append(sql.SQL(script[at : found.start()]))
        name = found["literal"]
        parts.append(sql.Literal(literals[name]) if name else values[found["identifier"] or found["raw"]])
        at = found.end()
    parts.append(sql.SQL(script[at:]))
    return sql.Composed(parts)


def drop_slot(replicator: PostgresEndpoint, slot: str) -> bool:
    """Drops a replication slot, if there is one; an unread slot keeps all WAL from then on. False while somebody still
    reads it. Takes a role that may replicate, which the owner of the tables need not."""
    with connected(replicator) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT active FROM pg_replication_slots WHERE slot_name = %s", (slot,))
        row = cursor.fetchone()
        if row is None:
            return True
        if not row[0]:
            cursor.execute("SELECT pg_drop_replication_slot(%s)", (slot,))
        return not row[0]


def drop_publication(owner: PostgresEndpoint, publication: str) -> None:
    """Drops the publication, if there is one. The role stays: other pipelines may use it."""
    with connected(owner) as connection, connection.cursor() as cursor:
        cursor.execute(sql.SQL("DROP PUBLICATION IF EXISTS {}").format(sql.Identifier(publication)))


def cdc_tables(pipeline: Pipeline) -> list[TableSource]:
    """The declared tables, by name."""
    return sorted((stream.table_source for stream in pipeline.cdc_streams), key=lambda source: source.qualified)
