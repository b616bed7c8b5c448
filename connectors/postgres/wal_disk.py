"""How much room the disk of the source's WAL has, if `wal_disk.sql` is installed there: no SQL of Postgres tells it."""

from __future__ import annotations

from pathlib import Path

import psycopg2
from psycopg2.extensions import connection as Connection

from connectors.disk import Disk

SCRIPT = Path(__file__).parents[1] / "wal_disk.sql"
# `df` looks at one file system; it can hang only where the server hangs, too.
_MAY_TAKE_MS = 5000
# A function of that name which somebody else made would run their code with our role's rights.
_INSTALLED = """
SELECT has_schema_privilege(n.oid, 'USAGE') AND has_function_privilege(p.oid, 'EXECUTE')
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace JOIN pg_roles r ON r.oid = p.proowner
WHERE n.nspname = 'headrace_disk' AND p.proname = 'of_wal' AND p.pronargs = 0 AND p.prosecdef AND r.rolsuper
"""


def ask(connection: Connection) -> Disk:
    """Asks within the connection's transaction, which stays usable and unchanged; it may be one that only reads. Raises
    only if the connection is lost."""
    with connection.cursor() as cursor:
        cursor.execute(_INSTALLED)
        installed = cursor.fetchone()
        if installed is None:
            return Disk()
        if not installed[0]:
            return Disk("closed")
        cursor.execute("SAVEPOINT wal_disk")
        try:
            cursor.execute("SET LOCAL statement_timeout = %s", (_MAY_TAKE_MS,))
            cursor.execute("SELECT free_bytes, total_bytes FROM headrace_disk.of_wal()")
            free, total = cursor.fetchone() or (0, 0)
            told = Disk("told", free, total)
        except psycopg2.Error as error:
            if connection.closed:
                raise
            told = Disk("failed", error=(error.diag.message_detail or error.diag.message_primary or str(error)))
        cursor.execute("ROLLBACK TO SAVEPOINT wal_disk")
    return told
