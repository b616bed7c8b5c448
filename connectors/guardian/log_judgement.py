"""What the guardian makes of a server's log that nobody reads: the server drops it after a time of its own."""

from __future__ import annotations

from collections.abc import Iterator

from connectors.guardian import steps
from connectors.guardian.judgement import Concern, Watched, duration
from connectors.mariadb_log import Unread

WARN_AT, CRITICAL_AT = 0.5, 0.8


def judge_log(unread: Unread, watched: Watched) -> Iterator[Concern]:
    """What is lost, or will be."""
    if unread.gone:
        yield Concern(
            "log lost",
            "critical",
            f"the server has dropped a part of its binlog that connector {watched.connector} has not read: it had come "
            f"to {unread.file}, and the oldest that is left is {unread.oldest}",
            "changes are missing from there on; only reading all tables again brings them",
            steps.begin_anew(watched.connector, "", watched.connect_url, has_slot=False),
        )
    elif unread.kept_s and unread.age_s >= WARN_AT * unread.kept_s:
        yield Concern(
            "log in danger",
            "critical" if unread.age_s >= CRITICAL_AT * unread.kept_s else "warn",
            f"nobody reads the server's binlog from {unread.file} on: the last change that connector "
            f"{watched.connector} has read is {duration(unread.age_s)} old, and the server keeps a file for "
            f"{duration(unread.kept_s)}",
            "what is dropped before it was read is lost, and all tables must be read again",
            (
                f"SET GLOBAL binlog_expire_logs_seconds = {2 * unread.kept_s:.0f};  -- if the disk has room for it",
                *steps.APPLY,
            ),
        )
