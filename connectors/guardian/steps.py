"""The steps that a person types when the source is in trouble, in the only order that loses nothing."""

from __future__ import annotations

import re

APPLY = ("headrace apply",)
VERIFY = "headrace verify --wait 600"


def address(connect_url: str) -> str:
    """Connect's address without the login that may stand in it."""
    return re.sub(r"(?<=://)[^/@]*@", "", connect_url.rstrip("/"))


def read_again() -> tuple[str, ...]:
    """`apply` sees that changes are lost, and begins with a first read of all tables: rows that are gone meanwhile are
    swept, nothing else is lost."""
    return (*APPLY, VERIFY)


def begin_anew(connector: str, slot: str, connect_url: str, *, has_slot: bool) -> tuple[str, ...]:
    """As `read_again`, also where nothing but what the guardian remembers tells any more that changes are lost."""
    drop = (f"SELECT pg_drop_replication_slot('{slot}');",) if has_slot else ()
    return (*_stop(connector, connect_url), *drop, *read_again())


def start_anew(connector: str, connect_url: str) -> tuple[str, ...]:
    """A connector that runs and does nothing begins where it stood."""
    return (f"curl -fsS -X POST '{address(connect_url)}/connectors/{connector}/restart?includeTasks=true'",)


def give_up(connector: str, slot: str, connect_url: str) -> tuple[str, ...]:
    """The last resort while the disk of the source fills: it frees the WAL, and all tables are read again later."""
    first, *others = _stop(connector, connect_url)
    return (
        f"only if the disk is about to be full, free the WAL; all tables are read again afterwards: {first}",
        *others,
        f"SELECT pg_drop_replication_slot('{slot}');",
        "headrace apply, once there is room",
    )


def more_room(limit_bytes: int | None) -> tuple[str, ...]:
    """Raises the server's limit, if its disk has the room."""
    if limit_bytes is None:
        return ()
    more = f"{max(2, 2 * limit_bytes // 2**20)}MB"
    return (
        f"ALTER SYSTEM SET max_slot_wal_keep_size = '{more}';  -- if the disk of pg_wal has room for it",
        "SELECT pg_reload_conf();",
    )


def bound(kept_bytes: int, free_bytes: int, limit_bytes: int | None) -> tuple[str, ...]:
    """Lets the server give the slot up before its disk is full, and not at once; nothing if it does so already."""
    most = max(2**20, kept_bytes + free_bytes // 2)
    if limit_bytes is not None and limit_bytes <= most:
        return ()
    return (
        f"ALTER SYSTEM SET max_slot_wal_keep_size = '{megabytes(most)}';  -- the slot is lost then, not the server",
        "SELECT pg_reload_conf();",
    )


def megabytes(number: int) -> str:
    """A size as Postgres' settings are written; never 0, which is no limit to some."""
    return f"{max(1, number // 2**20)}MB"


def _stop(connector: str, connect_url: str) -> tuple[str, ...]:
    where = f"{address(connect_url)}/connectors/{connector}"
    return (
        f"curl -fsS -X PUT {where}/stop",
        # Refused until every task has ended.
        f"curl -fsS --retry 20 --retry-delay 1 --retry-all-errors -X DELETE {where}/offsets",
    )
