"""Whether MariaDB still has the changes that a connector has not read, and for how long."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from connectors.mariadb import connected, variables
from connectors.mariadb_position import reached, sequence_numbers
from contracts.endpoints import MariadbEndpoint


@dataclass(frozen=True, slots=True)
class Binlog:
    """`files` from the oldest to the one that is written; `begins`: the GTIDs before the first change of the oldest;
    `kept_s`: how long the server keeps a file that is full, 0: for ever."""

    files: tuple[str, ...]
    begins: str
    kept_s: float


@dataclass(frozen=True, slots=True)
class Unread:
    """What a connector has still to read: `file` and what follows. `gone`: the server has dropped some of it. `age_s`:
    how old the last change is that was read, so how old the next one is at most."""

    file: str
    oldest: str
    gone: bool
    age_s: float
    kept_s: float


def look(role: MariadbEndpoint) -> Binlog:
    """What the server has, asked as the replication role. Raises as `mariadb.connected`."""
    with connected(role) as cursor:
        cursor.execute("SHOW BINARY LOGS")
        files = tuple(str(row[0]) for row in cursor.fetchall())
        cursor.execute("SELECT BINLOG_GTID_POS(%s, 4)", (files[0] if files else "",))
        row = cursor.fetchone()
        kept = variables(cursor, "binlog_expire_logs_seconds", "expire_logs_days")
    # Before 10.6 only days; later both say the same.
    seconds = kept.get("binlog_expire_logs_seconds") or float(kept.get("expire_logs_days") or 0) * 86_400
    return Binlog(files, str(row[0] or "") if row else "", float(seconds))


def unread(offset: Mapping[str, object], log: Binlog, now_s: float) -> Unread | None:
    """What is to be read from a connector's stored `offset` on; None if that is only the file that is written, which is
    never dropped."""
    file = str(offset.get("file", ""))
    held = sequence_numbers(str(offset.get("gtids") or ""))
    # It begins by its GTIDs: a file that was dropped after its last change was read is not missed.
    gone = not reached(sequence_numbers(log.begins), held) if held else file not in log.files
    if not gone and file == log.files[-1]:
        return None
    read_to = offset.get("ts_sec")
    age_s = max(0.0, now_s - int(read_to)) if isinstance(read_to, int | str) else 0.0
    return Unread(file, log.files[0] if log.files else "", gone, age_s, log.kept_s)


def dropped(left: Unread, connector: str) -> str:
    """What happened, in words, if some of it is `gone`."""
    return (
        f"the server has dropped a part of its binlog that connector {connector} has not read: it had come to "
        f"{left.file}, and the oldest that is left is {left.oldest}"
    )
