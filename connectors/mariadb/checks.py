"""Whether a MariaDB server and its tables are what the contracts say, before anything is built on them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from ipaddress import ip_address

from pymysql.cursors import Cursor

from connectors import field_changes, overrides
from connectors.field_changes import misfits, missing, undeclared
from connectors.finding import Finding
from connectors.mariadb import connector as mariadb_connector
from connectors.mariadb import source as mariadb
from connectors.mariadb.types import CatalogColumn, misfit, statement
from contracts.stream import Pipeline, Stream

STRICT = ("STRICT_TRANS_TABLES", "NO_ZERO_DATE", "NO_ZERO_IN_DATE")
_UNREADABLE = ("inet4", "inet6", "xmltype")
_DATES = ("date", "datetime", "timestamp")
_SHORTEST_BINLOG_S = 24 * 60 * 60


@dataclass(frozen=True, slots=True)
class CatalogTable:
    """One table as information_schema has it. `cascades`: foreign keys that change rows of it, and how."""

    name: str
    columns: Mapping[str, CatalogColumn]
    cascades: Mapping[str, str]

    @property
    def key(self) -> set[str]:
        """The columns of the primary key."""
        return {column.name for column in self.columns.values() if column.in_key}


def check(cursor: Cursor, part: Pipeline, *, server_id: str, captured: Collection[str] = ()) -> list[Finding]:
    """Every finding about the server and each declared table. Changes nothing.

    `server_id`: the connector's own. Rows of tables that are not yet `captured` are searched for what would arrive
    altered; those that are, are guarded by the server's mode.
    """
    findings = [*_server(cursor, server_id), *_unreadable(cursor, mariadb.databases(part))]
    config = mariadb_connector.overrides(part)
    for declared in part.cdc_streams:
        stream, source = declared.at_source, declared.table_source
        table = read_table(cursor, source.schema, source.table)
        if table is None:
            findings.append(_absent(stream))
            continue
        findings += compare(stream, table, overrides.left_out(config, table.name, table.columns))
        if source.qualified not in captured:
            findings += _zero_dates(cursor, stream, table)
    return findings


def changed(cursor: Cursor, part: Pipeline) -> list[Finding]:
    """What of `check` a person changes while data flow: tables that are gone, columns that are not those declared."""
    findings, config = [], mariadb_connector.overrides(part)
    for declared in part.cdc_streams:
        stream = declared.at_source
        table = read_table(cursor, stream.table_source.schema, stream.table_source.table)
        if table is None:
            findings.append(_absent(stream))
        else:
            left_out = overrides.left_out(config, table.name, table.columns)
            findings += _compare_columns(stream, table, left_out)
    return findings


def unfit(cursor: Cursor, stream: Stream) -> list[Finding]:
    """Why a value of the table, as it is now, may not be what the contract declares: another type, a column that is
    gone, or the table. Needs a privilege on the table, whatever it is: others do not see it."""
    table = read_table(cursor, stream.table_source.schema, stream.table_source.table)
    if table is None:
        return [_absent(stream)]
    return [finding for finding in _compare_columns(stream.at_source, table) if finding.level == "refusal"]


def _absent(stream: Stream) -> Finding:
    return Finding(
        "refusal",
        "the table does not exist",
        table=stream.table_source.qualified,
        declared=f"stream {stream.name}",
        fix=f"make it, correct headrace.table in {stream.file} or take the contract away (the lake keeps its rows)",
    )


def _server(cursor: Cursor, server_id: str) -> list[Finding]:
    found = mariadb.variables(
        cursor,
        "log_bin",
        "binlog_format",
        "binlog_row_image",
        "log_bin_compress",
        "server_id",
        "sql_mode",
        "binlog_expire_logs_seconds",
    )
    findings = []

    def refuse(name: str, declared: str, what: str, fix: str) -> None:
        value = str(found.get(name, declared))
        if value.upper() != declared:
            findings.append(Finding("refusal", what, declared=declared, found=f"{name} {value}", fix=fix))

    written = "in the server's configuration, under [mariadbd]; then restart it"
    refuse("log_bin", "ON", "the server writes no binlog", f"log_bin = binlog  -- {written}")
    if findings:
        return findings  # the rest of a server without a binlog means nothing
    lasting = f"-- and the same {written.removesuffix('; then restart it')}"
    refuse("binlog_format", "ROW", "the binlog holds no rows", f"SET GLOBAL binlog_format = ROW;  {lasting}")
    refuse(
        "binlog_row_image", "FULL", "the binlog holds parts of rows", f"SET GLOBAL binlog_row_image = FULL;  {lasting}"
    )
    refuse(
        "log_bin_compress",
        "OFF",
        "Debezium cannot read a compressed binlog",
        f"SET GLOBAL log_bin_compress = OFF;  {lasting}",
    )
    if str(found["server_id"]) in ("0", server_id):
        what = "the server's id must be one of its own, neither 0 nor the connector's"
        findings.append(
            Finding(
                "refusal", what, found=f"server_id {found['server_id']}", fix=f"SET GLOBAL server_id = 1;  {lasting}"
            )
        )
    modes = str(found["sql_mode"]).split(",")
    if absent := [mode for mode in STRICT if mode not in modes]:
        findings.append(
            Finding(
                "refusal",
                "a zero date ('0000-00-00', '2024-00-00') can be stored; it would arrive as NULL or as 1970-01-01",
                declared=f"sql_mode with {', '.join(absent)}",
                found=str(found["sql_mode"]),
                fix=f"SET GLOBAL sql_mode = concat(@@GLOBAL.sql_mode, ',{','.join(absent)}');  {lasting}",
            )
        )
    kept = int(found.get("binlog_expire_logs_seconds", 0))
    if 0 < kept < _SHORTEST_BINLOG_S:
        findings.append(
            Finding(
                "warning",
                "an outage longer than the binlog is kept loses changes",
                found=f"binlog_expire_logs_seconds {kept}",
                fix=f"SET GLOBAL binlog_expire_logs_seconds = 604800;  {lasting}",
            )
        )
    return findings


def unencrypted(config: Mapping[str, str]) -> list[Finding]:
    """Whether Debezium, with this config, reads all rows over a network that others may read, too."""
    host = config["database.hostname"]
    if config.get("database.ssl.mode", "disable") != "disable" or host == "localhost" or _is_loopback(host):
        return []
    return [
        Finding(
            "warning",
            "Debezium's connection to MariaDB is not encrypted",
            why="whoever is on the way reads all rows and can pose as the server",
            fix="settings: mariadb: {sslmode: verify-full, sslrootcert: /path/to/ca.pem}",
        )
    ]


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _unreadable(cursor: Cursor, databases: list[str]) -> list[Finding]:
    """Debezium reads the definition of every table of the databases; one that it cannot read stops it."""
    cursor.execute(
        "SELECT concat(table_schema, '.', table_name), column_name, column_type FROM information_schema.columns "
        "WHERE table_schema IN %s AND data_type IN %s ORDER BY 1, 2",
        (databases, _UNREADABLE),
    )
    return [
        Finding(
            "refusal",
            "Debezium stops at the definition of a table with this type, declared or not",
            table=table,
            column=column,
            found=kind,
            fix=f"ALTER TABLE {quoted(table)} MODIFY {quoted_name(column)} varchar(45);",
        )
        for table, column, kind in cursor.fetchall()
    ]


def read_table(cursor: Cursor, database: str, table: str) -> CatalogTable | None:
    """The table's columns, key and cascading foreign keys; None if there is no such table."""
    cursor.execute(
        """
        SELECT c.column_name, c.data_type, c.column_type, coalesce(c.character_set_name, ''), c.column_key = 'PRI'
        FROM information_schema.columns c JOIN information_schema.tables t USING (table_schema, table_name)
        WHERE c.table_schema = %s AND c.table_name = %s AND t.table_type IN ('BASE TABLE', 'SYSTEM VERSIONED')
        ORDER BY c.ordinal_position
        """,
        (database, table),
    )
    columns = {
        row[0]: CatalogColumn(row[0], row[1].lower(), row[2].lower(), row[3], bool(row[4])) for row in cursor.fetchall()
    }
    if not columns:
        return None
    cursor.execute(
        """
        SELECT constraint_name, concat('ON DELETE ', delete_rule, ' ON UPDATE ', update_rule)
        FROM information_schema.referential_constraints
        WHERE constraint_schema = %s AND table_name = %s
          AND (delete_rule IN ('CASCADE', 'SET NULL') OR update_rule IN ('CASCADE', 'SET NULL'))
        """,
        (database, table),
    )
    return CatalogTable(f"{database}.{table}", columns, dict(cursor.fetchall()))


def _compare_columns(stream: Stream, table: CatalogTable, left_out: Collection[str] = ()) -> list[Finding]:
    findings = []
    for column in stream.columns:
        found = table.columns.get(column.name)
        if found is None:
            findings.append(missing(stream, table.name, column, table.columns))
            continue
        if column.name in left_out:
            findings.append(field_changes.left_out(stream, table.name, column, mariadb_connector.FILE))
            continue
        what, fix = misfit(found, column)
        if what:
            findings.append(
                Finding(
                    "refusal",
                    what,
                    table=table.name,
                    column=column.name,
                    declared=column.source_type or column.spark_type,
                    found=f"{found.type} {found.charset}".strip(),
                    fix=statement(quoted(table.name), quoted_name(column.name), fix) or f"{stream.file}: {fix}",
                    why=misfits(stream) if fix.startswith("physicalType") else "",
                )
            )
        elif column.spark_type == "boolean" and found.base == "tinyint":
            what = "a value other than 0 and 1 is refused; the stream is for columns that are boolean in truth"
            findings.append(Finding("warning", what, table=table.name, column=column.name, found=found.type))
    declared = {column.name for column in stream.columns}
    findings += [
        undeclared(stream, table.name, column.name, column.type, mariadb_connector.FILE)
        for column in table.columns.values()
        if column.name not in declared and column.name not in left_out
    ]
    return findings


def compare(stream: Stream, table: CatalogTable, left_out: Collection[str] = ()) -> list[Finding]:
    """What differs between one contract (`Stream.at_source`) and one table, of which the connector leaves columns out,
    and what of its rows the binlog would not carry."""
    findings = _compare_columns(stream, table, left_out)
    if table.key != set(stream.key):
        findings.append(
            Finding(
                "refusal",
                "a row that changes its key does not say which row it was",
                table=table.name,
                declared=f"key {', '.join(stream.key)}",
                found=f"primary key {', '.join(sorted(table.key)) or 'none'}",
                fix=f"ALTER TABLE {quoted(table.name)} ADD PRIMARY KEY ({', '.join(map(quoted_name, stream.key))});"
                if not table.key
                else f"{stream.file}: primaryKey at {', '.join(sorted(table.key))}",
            )
        )
    findings += [
        Finding(
            "refusal",
            "the server writes rows that a foreign key changes to no binlog",
            table=table.name,
            declared="ON DELETE RESTRICT ON UPDATE RESTRICT",
            found=f"{name} {rules}",
            fix=f"ALTER TABLE {quoted(table.name)} DROP FOREIGN KEY {quoted_name(name)}, ADD CONSTRAINT … ;  "
            f"-- without {rules}",
        )
        for name, rules in table.cascades.items()
    ]
    return findings


def _zero_dates(cursor: Cursor, stream: Stream, table: CatalogTable) -> list[Finding]:
    findings = []
    names = [c.name for c in stream.columns if c.name in table.columns and table.columns[c.name].base in _DATES]
    for name in names:
        zero = f"month({quoted_name(name)}) = 0 OR dayofmonth({quoted_name(name)}) = 0"
        cursor.execute(f"SELECT EXISTS (SELECT 1 FROM {quoted(table.name)} WHERE {zero})")
        row = cursor.fetchone()
        if row and row[0]:
            findings.append(
                Finding(
                    "refusal",
                    "rows hold a zero date, which would arrive as NULL or as 1970-01-01",
                    table=table.name,
                    column=name,
                    fix=f"UPDATE {quoted(table.name)} SET {quoted_name(name)} = … WHERE {zero};",
                )
            )
    return findings


def quoted(qualified: str) -> str:
    """`database.table` as SQL spells it."""
    return ".".join(map(quoted_name, qualified.split(".", 1)))


def quoted_name(name: str) -> str:
    """One name as SQL spells it."""
    return "`" + name.replace("`", "``") + "`"
