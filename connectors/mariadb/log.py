"""Whether MariaDB still has the changes that a connector has not read, and for how long."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from connectors.mariadb.position import reached, sequence_numbers
from connectors.mariadb.source import connected, variables
from contracts.endpoints import MariadbEndpoint


@dataclass(frozen=True, slots=True)
class Binlog:
    """`files` from the oldest to the one that is written, none if the server writes no binlog; `begins`: the GTIDs
    before the first change of the oldest, `ends`: the newest ones; `kept_s`: how long the server keeps a file that is
    full, 0: for ever."""

    files: tuple[str, ...]
    begins: str
    kept_s: float
    ends: str = ""


@dataclass(frozen=True, slots=True)
class Unread:
    """What a connector has still to read: `file` and what follows. `gone`: the server has dropped some of it, or, if it
    was `set_back`, not even what was read. `age_s`: how old the last change is that was read, so how old the next one
    is at most."""

    file: str
    oldest: str
    gone: bool
    age_s: float
    kept_s: float
    set_back: bool = False


def look(role: MariadbEndpoint) -> Binlog:
    """What the server has, asked as the replication role. Raises as `mariadb.connected`."""
    with connected(role) as cursor:
        said = variables(cursor, "log_bin", "gtid_binlog_state", "binlog_expire_logs_seconds", "expire_logs_days")
        if said.get("log_bin") == "OFF":
            return Binlog((), "", 0.0)
        cursor.execute("SHOW BINARY LOGS")
        files = tuple(str(row[0]) for row in cursor.fetchall())
        cursor.execute("SELECT BINLOG_GTID_POS(%s, 4)", (files[0] if files else "",))
        row = cursor.fetchone()
    begins, ends = str(row[0] or "") if row else "", str(said.get("gtid_binlog_state") or "")
    return Binlog(files, begins, kept_s(said), ends)


def kept_s(said: Mapping[str, Any]) -> float:
    """How long the server keeps a file that is full, by its variables; 0: for ever."""
    # Before 10.6 only days; later both say the same.
    return float(said.get("binlog_expire_logs_seconds") or float(said.get("expire_logs_days") or 0) * 86_400)


def unread(offset: Mapping[str, object], log: Binlog, now_s: float) -> Unread | None:
    """What is to be read from a connector's `offset` on, stored before `log` was looked at; None if that is only the
    file that is written, which is never dropped, or if there is no binlog."""
    if not log.files:
        return None
    file = str(offset.get("file", ""))
    held, ends = sequence_numbers(str(offset.get("gtids") or "")), sequence_numbers(log.ends)
    # A domain that the server knows nothing of may have been taken out of its binlog (DELETE_DOMAIN_ID); but not all.
    set_back = bool(held) and (not ends or any(ends.get(domain, number) < number for domain, number in held.items()))
    # It begins by its GTIDs: a file that was dropped after its last change was read is not missed.
    gone = set_back or (not reached(sequence_numbers(log.begins), held) if held else file not in log.files)
    if not gone and file == log.files[-1]:
        return None
    read_to = offset.get("ts_sec")
    age_s = max(0.0, now_s - int(read_to)) if isinstance(read_to, int | str) else 0.0
    return Unread(file, log.files[0], gone, age_s, log.kept_s, set_back)


def dropped(left: Unread, connector: str) -> str:
    """What happened, in words, if some of it is `gone`."""
    if left.set_back:
        return (
            f"the server's binlog does not come to where connector {connector} has read it: it was made anew (RESET "
            "MASTER), or the server was restored or replaced"
        )
    return (
        f"the server has dropped a part of its binlog that connector {connector} has not read: it had come to "
        f"{left.file}, and the oldest that is left is {left.oldest}"
    )
