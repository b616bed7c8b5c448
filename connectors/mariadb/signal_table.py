"""The table of MariaDB in which a connector is asked to read tables: Debezium's `source` channel, if it is named.

A request is a row, so it arrives in the order of the binlog, behind every change that was committed before it. Debezium
obeys it before it hands the row on, and begins to read after that, as of Postgres' (`postgres.signal_table`): no
restart makes it read twice, and one that comes while it reads loses the request.

One row at a time: two threads of Debezium pause for a read, and where another row comes before both have gone on they
wait for ever, as on two requests over Kafka; a restart lets them go, and loses the second (seen with 3.5.0, of two rows
in one transaction and in two). So whoever asks waits until those of before are through and their reads have ended:
`MariadbTable.prepare`, `snapshots.earlier_taken`.
"""

from __future__ import annotations

import shlex

import pymysql
from pymysql.cursors import Cursor

from connectors import signals
from connectors.finding import Finding
from connectors.mariadb import connector as mariadb_connector
from connectors.mariadb import source as mariadb
from connectors.mariadb.checks import quoted, read_table
from contracts.endpoints import Endpoints, MariadbEndpoint
from contracts.stream import Pipeline

_COLUMNS = {"id": "varchar(42)", "type": "varchar(32)", "data": "text"}


def check(cursor: Cursor, name: str, role: MariadbEndpoint) -> list[Finding]:
    """Whether the table is there and has Debezium's columns."""
    database, table = name.split(".")
    values = f"SET @role = {_text(role.user)}, @database = '{database}', @table = '{table}'"
    made = f"mariadb -u root --init-command={shlex.quote(values)} < mariadb_signal_table.sql"
    found = read_table(cursor, database, table)
    if found is None:
        return [signals.absent(name, mariadb_connector.FILE, made)]
    kinds = {column.name: column.type for column in found.columns.values()}
    if list(kinds.items()) != list(_COLUMNS.items()) or found.key != {"id"}:
        drop = f"DROP TABLE {quoted(name)};  -- then {made}"
        return [signals.another(name, _COLUMNS, "key id", kinds, drop)]
    return []


def check_role(name: str, role: MariadbEndpoint) -> list[Finding]:
    """Whether the role may add to the table. Asks as the role itself, and adds nothing."""
    with mariadb.connected(role) as cursor:
        try:
            cursor.execute(f"EXPLAIN INSERT INTO {quoted(name)} VALUES ('', '', '')")
        except pymysql.MySQLError as error:
            if mariadb.is_away(error):
                raise
            what, fix = (
                f"user {role.user} may not add a signal",
                f"GRANT INSERT ON {quoted(name)} TO {_text(role.user)}@'%';",
            )
            if error.args[0] not in mariadb.NOT_ALLOWED:  # read_only, as of a replica
                what = f"the server takes no signal: {error.args[-1]}"
                fix = f"take {signals.TABLE} out of {mariadb_connector.FILE}: then requests go over Kafka"
            return [Finding("refusal", what, table=name, fix=fix)]
    return []


def write(endpoints: Endpoints, part: Pipeline, name: str, request: tuple[str, str, str]) -> None:
    """Adds a request (id, type, data), committed when this returns, as the replication role.

    Fatal if the role may not; ServiceUnavailable if the server does not answer.
    """
    with mariadb.connected(endpoints.mariadb_replicator) as cursor:
        try:
            cursor.execute(f"INSERT INTO {quoted(name)} VALUES (%s, %s, %s)", request)
        except pymysql.MySQLError as error:
            if mariadb.is_away(error):
                raise
            raise signals.not_written(part, name, str(error.args[-1])) from error


def _text(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "''") + "'"
