"""How much room the disk of MariaDB's binlog has, if `binlog_disk.sql` is installed there; what the binlog may take."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pymysql
from pymysql.cursors import Cursor

from connectors.disk import Disk
from connectors.mariadb.log import kept_s
from connectors.mariadb.source import connected, variables
from contracts.endpoints import MariadbEndpoint

SCRIPT = Path(__file__).parents[1] / "binlog_disk.sql"
# What a server that has just started has written says little: as if it had been an hour.
_AT_LEAST_S = 3600.0
_DAY_S = 86_400.0
_OF_THE_CONNECTION = 2000
_LIMITS = (
    *("binlog_expire_logs_seconds", "expire_logs_days", "max_binlog_total_size", "max_binlog_size"),
    "slave_connections_needed_for_purge",
)


@dataclass(frozen=True, slots=True)
class Room:
    """What the binlog has and may take. `held_bytes`: all its files; `per_s`: what was written since the server's
    start; `kept_s`: how long a file is kept, `limit_bytes`: how much at most, 0 without either; `file_bytes`: how large
    one file grows. Both limits are without effect while fewer than `readers_needed` read the binlog; `readers`: who was
    seen to, at least."""

    disk: Disk
    held_bytes: int
    per_s: float
    kept_s: float
    limit_bytes: int = 0
    file_bytes: int = 0
    readers_needed: int = 0
    readers: int = 0

    @property
    def held_back(self) -> bool:
        """Whether nothing is dropped now, as far as its readers are seen."""
        return self.readers < self.readers_needed

    @property
    def to_come_bytes(self) -> float | None:
        """What it takes beyond what it has, if writing goes on as since the server's start; None: without an end. At
        least a file, before the oldest goes, or what is written in a day."""
        ends = [self.kept_s * self.per_s] if self.kept_s else []
        ends += [float(self.limit_bytes)] if self.limit_bytes else []
        return max(min(self.file_bytes, self.per_s * _DAY_S), min(ends) - self.held_bytes) if ends else None

    @property
    def ends_by_size(self) -> bool:
        """Whether the limit of the size comes before the time."""
        return bool(self.limit_bytes) and (not self.kept_s or self.limit_bytes < self.kept_s * self.per_s)


def look(role: MariadbEndpoint) -> Room | None:
    """Asked as the replication role; None of a server that writes no binlog. Raises as `mariadb.connected`."""
    with connected(role) as cursor:
        if variables(cursor, "log_bin").get("log_bin") == "OFF":
            return None
        cursor.execute("SHOW BINARY LOGS")
        held = sum(int(row[1]) for row in cursor.fetchall())
        cursor.execute(
            "SHOW GLOBAL STATUS WHERE Variable_name IN ('Binlog_bytes_written', 'Uptime', 'Slaves_connected')"
        )
        status = {str(name).lower(): float(value) for name, value in cursor.fetchall()}
        said = variables(cursor, *_LIMITS)
        # Of others' threads the role sees none, and those that register are no more than some of them.
        cursor.execute("SELECT count(*) FROM information_schema.PROCESSLIST WHERE COMMAND LIKE 'Binlog Dump%'")
        ours = int((cursor.fetchone() or (0,))[0])
        disk = _ask(cursor)
    # A limit of the size, and readers that are needed, are there from 11.4 on.
    return Room(
        disk,
        held,
        status.get("binlog_bytes_written", 0.0) / max(_AT_LEAST_S, status.get("uptime", 0.0)),
        kept_s(said),
        int(said.get("max_binlog_total_size") or 0),
        int(said.get("max_binlog_size") or 0),
        int(said.get("slave_connections_needed_for_purge") or 0),
        max(ours, int(status.get("slaves_connected", 0))),
    )


def _ask(cursor: Cursor) -> Disk:
    # A procedure of that name which somebody else made would run their code, perhaps with our role's rights.
    cursor.execute(
        "SELECT count(*) FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = 'headrace_disk' "
        "AND ROUTINE_NAME = 'of_binlog' AND SECURITY_TYPE = 'DEFINER' AND DEFINER = 'headrace_disk@localhost'"
    )
    if not (cursor.fetchone() or (0,))[0]:
        return Disk()
    try:
        cursor.execute("CALL headrace_disk.of_binlog()")
        row = cursor.fetchone()
        while cursor.nextset():
            pass
    except pymysql.MySQLError as error:
        if error.args[0] >= _OF_THE_CONNECTION:
            raise
        return Disk("failed", error=str(error.args[-1]))
    if row is None or row[0] is None:
        return Disk("failed", error="its plugin DISKS knows no disk of the binlog")
    return Disk("told", int(row[0]), int(row[1]))
