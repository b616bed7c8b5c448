"""Files into an existing table of the source database, and DDL files."""

from __future__ import annotations

import codecs
import csv
from collections.abc import Callable
from io import FileIO
from pathlib import Path

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import connection as Connection

from connectors.postgres.source import connected
from contracts.endpoints import PostgresEndpoint
from contracts.errors import Fatal

_READ_BYTES = 1 << 16
Progress = Callable[[int, int], None]
"""Bytes sent so far, bytes in all."""


def load(
    file: Path,
    table: str,
    endpoint: PostgresEndpoint,
    *,
    delimiter: str = ",",
    progress: Progress = lambda *_: None,
) -> int:
    """Copies a CSV file with a header line into `table` (`name` or `schema.name`) and returns the number of rows.

    The header's names choose the columns, in any order; columns it does not name get their default. An empty unquoted
    field is NULL, `""` an empty text; JSON goes into a column as it stands, quoted as CSV asks. All rows are added or
    none: Fatal says the line and column of the first that Postgres refused. Not idempotent: a second call adds the rows
    again, or is refused by the primary key.
    """
    names = header(file, delimiter)
    with connected(endpoint) as connection:
        identifier = _existing(connection, table, names, file)
        copy = sql.SQL("COPY {} ({}) FROM STDIN WITH (FORMAT csv, HEADER true, DELIMITER {}, ENCODING 'UTF8')").format(
            identifier, sql.SQL(", ").join(map(sql.Identifier, names)), sql.Literal(delimiter)
        )
        with connection.cursor() as cursor, _Told(file, progress) as content:
            if content.read(len(codecs.BOM_UTF8)) != codecs.BOM_UTF8:
                content.seek(0)
            try:
                cursor.copy_expert(copy, content, _READ_BYTES)
            except psycopg2.Error as error:
                raise Fatal(
                    f"{file.name} could not be loaded into {table}: {_said(error)}",
                    state="No row of the file was added.",
                    next_step="correct the line and load the file again",
                    file=file,
                ) from error
            return int(cursor.rowcount)


class _Told(FileIO):
    """The file, which tells how far it is read."""

    def __init__(self, file: Path, progress: Progress) -> None:
        super().__init__(file)
        self._progress, self._size = progress, file.stat().st_size

    def read(self, size: int | None = -1, /) -> bytes:
        """As any file's."""
        piece = super().read(size)
        self._progress(self.tell(), self._size)
        return piece


def header(file: Path, delimiter: str = ",") -> list[str]:
    """The names in a CSV file's header; Fatal if there is none, a name stands twice, or it is no CSV in UTF-8."""
    if not file.is_file():
        raise Fatal(f"no file {file}")
    try:
        with file.open(encoding="utf-8-sig", newline="") as text:
            names = next(csv.reader(text, delimiter=delimiter), [])
    except UnicodeDecodeError as error:
        raise Fatal(f"{file.name} is not UTF-8: {error}", next_step="convert the file to UTF-8", file=file) from error
    except csv.Error as error:
        raise Fatal(
            f"{file.name} does not begin with a line of CSV: {error}", next_step="correct the first line", file=file
        ) from error
    if not names or not all(names) or len(set(names)) != len(names):
        raise Fatal(
            f"{file.name} does not begin with a header of different column names: {names}",
            next_step="write the column names in the first line",
            file=file,
        )
    return names


def run_sql_file(endpoint: PostgresEndpoint, path: Path) -> None:
    """Runs a file of plain SQL statements in one transaction: all of it, or Fatal with the line and nothing changed."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise Fatal(
            f"{path.name} is not UTF-8: {error}",
            state="None of its statements was run.",
            next_step="convert the file to UTF-8",
            file=path,
        ) from error
    with connected(endpoint) as connection, connection.cursor() as cursor:
        try:
            cursor.execute(text)
        except psycopg2.Error as error:
            position = error.diag.statement_position
            # Postgres counts characters over the whole text that was sent.
            line = text.count("\n", 0, int(position)) + 1 if position else None
            raise Fatal(
                f"{path.name} failed: {_said(error)}",
                state="None of its statements took effect.",
                file=f"{path}:{line}" if line else path,
            ) from error


def _existing(connection: Connection, table: str, names: list[str], file: Path) -> sql.Identifier:
    """The table as an identifier, after comparing the header with its columns."""
    schema, _, bare = table.rpartition(".")
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT n.nspname, array_agg(a.attname::text ORDER BY a.attnum)
            FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
            JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
            WHERE c.relname = %(table)s AND c.relkind IN ('r', 'p')
              AND CASE WHEN %(schema)s = '' THEN pg_table_is_visible(c.oid) ELSE n.nspname = %(schema)s END
            GROUP BY n.nspname
            """,
            {"table": bare, "schema": schema},
        )
        row = cursor.fetchone()
        if row is None:
            cursor.execute(
                "SELECT schemaname || '.' || tablename FROM pg_tables "
                "WHERE schemaname NOT IN ('pg_catalog', 'information_schema') ORDER BY 1"
            )
            there = ", ".join(name for (name,) in cursor.fetchall())
            raise Fatal(f"there is no table {table}", next_step=f"name one of these: {there or '(no table yet)'}")
    found_schema, columns = row
    if unknown := [name for name in names if name not in columns]:
        raise Fatal(
            f"{file.name} has columns that {table} lacks: {', '.join(unknown)}",
            state="No row of the file was added.",
            next_step=f"rename them in the header; the table has {', '.join(columns)}",
            file=f"{file}:1",
        )
    return sql.Identifier(found_schema, bare)


def _said(error: psycopg2.Error) -> str:
    parts = (error.diag.message_primary, error.diag.message_detail, error.diag.context)
    return "; ".join(part.splitlines()[0] for part in parts if part) or str(error).strip()
