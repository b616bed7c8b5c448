"""What the guardian makes of what it saw: concerns, each with the reason and the steps to type. Pure: time comes in."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from connectors.guardian import steps
from connectors.guardian.facts import Reader, Server, Slot, Transaction

Severity = Literal["warn", "critical"]

AWAY_S = 60.0
UNREAD_S = 60.0
STILL_S = 600.0
STILL_BYTES = 64 * 2**20  # four segments: less is no news
FIRST_READ_S = 3600.0


@dataclass(frozen=True, slots=True)
class Concern:
    """One thing that is wrong. `kind` stays the same while it lasts; `steps` are done in their order, SQL at the
    source, the rest in a shell. Nothing of it is done by headrace itself."""

    kind: str
    severity: Severity
    what: str
    why: str = ""
    steps: tuple[str, ...] = ()

    def __str__(self) -> str:
        lines = [self.what, *([self.why] if self.why else [])]
        return "\n".join([*lines, *(f"  {number}. {step}" for number, step in enumerate(self.steps, start=1))])


@dataclass(frozen=True, slots=True)
class Watched:
    """What is looked after, and its limits; without a `slot` the connector alone."""

    pipeline: str
    connector: str
    slot: str
    role: str
    connect_url: str
    budget_bytes: int
    transaction_s: float


@dataclass(frozen=True, slots=True)
class Seen:
    """One look. A part that did not answer is None, and its error says why.

    What began earlier comes as seconds: `server_away_s`, `connect_away_s`, `unread_s` (nobody reads the slot),
    `halted_s` (the connector does not run), `still_s` and `still_bytes` (the slot's restart_lsn has not moved while so
    much WAL was written), `silent_s` (the connector says it runs, and nobody reads the server's log), `first_read_s` (a
    snapshot is under way). `ages`: of open transactions by xid, for servers that hide it. `grows_per_s`: how fast kept
    WAL becomes more. `system`, `timeline`: the server that was read until now. `had_slot`: whether the slot was ever
    there. `gap`: what was missed, empty if nothing. `misread`: by table the stream whose values may have been taken for
    those of other columns.
    `restarts`: how often a failed connector was restarted in a row,
    `gave_up` whether that was the last time.
    """

    server: Server | None = None
    server_error: str = ""
    reader: Reader | None = None
    reader_error: str = ""
    server_away_s: float = 0.0
    connect_away_s: float = 0.0
    unread_s: float = 0.0
    halted_s: float = 0.0
    still_s: float = 0.0
    still_bytes: int = 0
    silent_s: float = 0.0
    first_read_s: float = 0.0
    ages: Mapping[int, float] = field(default_factory=dict)
    grows_per_s: float = 0.0
    system: str = ""
    timeline: int = 0
    had_slot: bool = False
    gap: str = ""
    misread: Mapping[str, str] = field(default_factory=dict)
    restarts: int = 0
    gave_up: bool = False


def judge(seen: Seen, watched: Watched) -> list[Concern]:
    """Every concern: the critical ones first, and causes before what they cause."""
    found = [*_away(seen, watched), *_gaps(seen, watched), *_misread(seen, watched), *_connector(seen, watched)]
    if seen.server:
        if seen.server.slot:
            found += _slot(seen, seen.server, seen.server.slot, watched)
        found += _transactions(seen, seen.server, watched)
    return sorted(found, key=lambda concern: concern.severity)  # "critical" < "warn"


def starts_behind_a_gap(concerns: list[Concern]) -> bool:
    """Whether a connector that is started now would go on behind changes that it never read."""
    return bool({concern.kind for concern in concerns} & {"server changed", "slot missing", "slot lost", "gap"})


def budget(watched: Watched, server: Server) -> int:
    """How much WAL the slot may keep: the setting's, or half of what the server allows if that is less."""
    return min(watched.budget_bytes, server.limit_bytes // 2) if server.limit_bytes else watched.budget_bytes


def oldest_s(seen: Seen, server: Server) -> float:
    """The age of the oldest open transaction that has written something; 0 if there is none."""
    return max((_age(one, seen) for one in server.transactions), default=0.0)


def amount(number: float) -> str:
    """Bytes as one says them."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(number) < 1024:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1024
    return f"{number:.1f} TiB"


def duration(seconds: float) -> str:
    """Seconds as one says them."""
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def _away(seen: Seen, watched: Watched) -> Iterator[Concern]:
    unseen = ", and nobody sees how its WAL grows" if watched.slot else ""
    for name, error, for_s, why in (
        ("source", seen.server_error, seen.server_away_s, f"changes are not read{unseen}"),
        ("connect", seen.reader_error, seen.connect_away_s, "changes are not read: they wait at the source"),
    ):
        if error:
            severity: Severity = "critical" if for_s >= AWAY_S else "warn"
            next_steps = ("headrace status", f"curl -fsS {steps.address(watched.connect_url)}/connectors")
            yield Concern(f"{name} away", severity, error, why, next_steps if name == "connect" else next_steps[:1])


def _connector(seen: Seen, watched: Watched) -> Iterator[Concern]:
    if seen.reader is None:
        return
    config, status = seen.reader.config, seen.reader.status
    if config is None:
        why = "its replication slot keeps WAL at the source" if seen.server and seen.server.slot else ""
        yield Concern("connector absent", "warn", f"Connect has no connector {watched.connector}", why, steps.APPLY)
        return
    if watched.slot and not _beats(config):
        yield Concern(
            "no heartbeat",
            "warn",
            f"connector {watched.connector} has no heartbeat that writes to the source's WAL",
            "while only other tables or databases write, its slot does not move and keeps all their WAL",
            ("remove heartbeat.* from connectors/postgres.json of the pipeline", *steps.APPLY),
        )
    if status and status.failed:
        tried = f"; restarted {seen.restarts} times in a row" if seen.restarts else ""
        cause = next((line for line in status.trace.strip().splitlines() if line), "no trace")
        roots = re.findall(r"^Caused by: (.*)$", status.trace, flags=re.MULTILINE)
        yield Concern(
            "connector failed",
            "critical" if seen.gave_up or starts_behind_a_gap(_gaps(seen, watched)) else "warn",
            f"{watched.connector}: {status}{tried}: {(roots[-1] if roots else cause)[:300]}",
            _what_becomes_of_it(seen),
            ("remove the cause above", *steps.APPLY),
        )
    elif (status is None or not status.running) and seen.halted_s >= UNREAD_S:
        yield Concern(
            "connector not running",
            "warn",
            f"{watched.connector} has not run for {duration(seen.halted_s)}: {status or 'no status'}",
            "changes wait at the source meanwhile",
            steps.APPLY,
        )
    elif seen.silent_s >= UNREAD_S:
        yield Concern(
            "log unread",
            "critical",
            f"connector {watched.connector} says that it runs, and nobody has read the server's log for "
            f"{duration(seen.silent_s)}",
            "Debezium may try to connect again for ever without a word: changes wait until the server drops them",
            (
                "see that the role may log in from where Connect runs",
                *steps.start_anew(watched.connector, watched.connect_url),
            ),
        )
    if seen.first_read_s >= FIRST_READ_S:
        yield Concern(
            "first read",
            "warn",
            f"tables have been read for {duration(seen.first_read_s)}",
            "until it ends the slot keeps all WAL from its beginning on",
            ("let it end; give the source's disk room meanwhile",),
        )


def _what_becomes_of_it(seen: Seen) -> str:
    if seen.gave_up:
        return "it is not restarted any more"
    if seen.server_error and not seen.gap:
        return "it is restarted once the source answers"
    return "changes wait at the source meanwhile"


def _beats(config: Mapping[str, str]) -> bool:
    every = config.get("heartbeat.interval.ms", "0")
    return every.isdecimal() and int(every) > 0 and bool(config.get("heartbeat.action.query", "").strip())


def _gaps(seen: Seen, watched: Watched) -> list[Concern]:
    return list(_server(seen, seen.server, watched)) if seen.server else []


def _server(seen: Seen, server: Server, watched: Watched) -> Iterator[Concern]:
    if seen.system and server.system and server.system != seen.system:
        yield Concern(
            "server changed",
            "critical",
            f"the source is another server: system identifier {server.system}, not {seen.system}",
            "a copy or a new server may lack changes that were read, or have others; the slot does not move with it",
            (
                "see that the settings name the right server; if they do not, correct them and stop here",
                *steps.read_again(),
            ),
        )
    elif seen.timeline and server.timeline and server.timeline != seen.timeline:
        yield Concern(
            "server changed",
            "critical",
            f"the source is on another timeline ({seen.timeline} -> {server.timeline}): a replica was promoted, or it "
            "was restored to a point in time",
            "it may lack changes that were read, and the connector skips new ones until its WAL is as long as that was",
            steps.read_again(),
        )
    removed = seen.reader is not None and seen.reader.config is None
    if server.slot is None and seen.had_slot and not removed:
        yield Concern(
            "slot missing",
            "critical",
            f"replication slot {watched.slot} is gone: somebody dropped it, or the server is a copy without it",
            "changes since then were not kept for it; only reading all tables again brings them",
            steps.read_again(),
        )
    elif server.slot and server.slot.wal_status == "lost":
        yield Concern(
            "slot lost",
            "critical",
            f"replication slot {watched.slot} is lost: {server.slot.invalidation or 'the WAL it needs was removed'}",
            "changes are missing from there on; only reading all tables again brings them",
            steps.read_again(),
        )
    elif seen.gap:
        yield Concern(
            "gap",
            "critical",
            seen.gap,
            "changes between the two were never read; only reading all tables again brings them",
            steps.begin_anew(watched.connector, watched.slot, watched.connect_url, has_slot=bool(server.slot)),
        )


def _misread(seen: Seen, watched: Watched) -> Iterator[Concern]:
    if seen.misread:
        yield Concern(
            "misread",
            "critical",
            f"{', '.join(seen.misread)}: a column was dropped ahead of the connector, and an enum got a value or a "
            "domain is over one",
            "at the first row with a new value of an enum, and at each with a value of a domain over one, Debezium "
            "takes the table's columns as they are now: rows of before the drop may have values in other columns, and "
            "nothing else says so",
            (
                # Who begins anew knows an enum's value, and takes each row by the columns of its time; of a domain over
                # one it knows none, and only reading again helps.
                *steps.start_anew(watched.connector, watched.connect_url),
                "wait until the lag in `headrace status` is small",
                f"headrace resnapshot {' '.join(seen.misread.values())}  # --where false, if before the "
                "drop all was read or no row had the value: nothing is wrong then",
            ),
        )


def _slot(seen: Seen, server: Server, slot: Slot, watched: Watched) -> Iterator[Concern]:
    allowed, kept = budget(watched, server), slot.kept_bytes or 0
    room = steps.more_room(server.limit_bytes)
    last_resort = () if is_read(slot) else steps.give_up(watched.connector, watched.slot, watched.connect_url)
    if slot.wal_status == "unreserved":
        yield Concern(
            "slot in danger",
            "critical",
            f"replication slot {watched.slot} keeps {amount(kept)} of WAL, more than the server allows",
            "the next checkpoint may remove it: the slot is lost then, and all tables must be read again",
            (*room, *steps.APPLY),
        )
    if kept >= allowed / 2 and slot.wal_status != "lost":
        over = kept >= allowed
        until = (allowed - kept) / seen.grows_per_s if seen.grows_per_s > 0 and not over else 0
        yield Concern(
            "wal kept",
            "critical" if over else "warn",
            f"the source keeps {amount(kept)} of WAL for slot {watched.slot}; {amount(allowed)} is the budget"
            + (f", reached in {duration(until)} as it grows now" if until else ""),
            "a disk that is full of WAL stops the server",
            (*causes(seen, slot), *last_resort),
        )
    elif slot.wal_status == "extended":
        yield Concern(
            "wal kept",
            "warn",
            f"slot {watched.slot} keeps more WAL than max_wal_size: {amount(kept)}",
            "the disk of the source fills while its reader is behind",
            causes(seen, slot),
        )
    if slot.reader and (slot.reader_role != watched.role or not slot.reader.startswith("Debezium")):
        yield Concern(
            "slot read by another",
            "critical",
            f"slot {watched.slot} is read by {slot.reader} as {slot.reader_role}, not by Debezium as {watched.role}",
            "what it confirms never reaches Kafka",
            (f"SELECT pg_terminate_backend({slot.reader_pid});", "give that program a slot of its own", *steps.APPLY),
        )
    elif not slot.reader and seen.unread_s >= UNREAD_S and slot.wal_status != "lost":
        yield Concern(
            "slot unread",
            "warn",
            f"nobody has read slot {watched.slot} for {duration(seen.unread_s)}",
            f"it keeps {amount(kept)} of WAL at the source, and more with every change",
            steps.APPLY,
        )
    if slot.reader and seen.still_s >= STILL_S and seen.still_bytes >= STILL_BYTES and not seen.first_read_s:
        yield Concern(
            "slot stands still",
            "warn",
            f"slot {watched.slot} has stood still for {duration(seen.still_s)} and {amount(seen.still_bytes)} of WAL",
            "all of it is kept at the source",
            causes(seen, slot),
        )


def is_read(slot: Slot) -> bool:
    """Whether nearly all that is kept has reached Kafka: the server only has not noticed yet, or may not free it."""
    return bool(slot.reader and slot.kept_bytes and (slot.lag_bytes or 0) < slot.kept_bytes / 10)


def causes(seen: Seen, slot: Slot) -> tuple[str, ...]:
    """What to do about WAL that is kept, before anything is taken away."""
    if not slot.reader:
        return steps.APPLY
    if is_read(slot):
        return ("wait a minute: all is read, and freed once the transactions of that time have ended",)
    if seen.first_read_s:
        return ("let the first read end; give the source's disk room meanwhile",)
    return ("see `SELECT * FROM pg_stat_replication;` and the Connect worker's log for what holds the reader up",)


def _transactions(seen: Seen, server: Server, watched: Watched) -> Iterator[Concern]:
    aged = [(_age(one, seen), one) for one in server.transactions]
    old = [pair for pair in aged if pair[0] >= watched.transaction_s]
    if not old:
        return
    age_s, oldest = max(old, key=lambda pair: pair[0])
    more = f", and {len(old) - 1} more" if len(old) > 1 else ""
    if oldest.gid:
        gid = oldest.gid.replace("'", "''")
        end = f"ROLLBACK PREPARED '{gid}';  -- or COMMIT PREPARED, in the database where it was prepared"
    else:
        end = f"SELECT pg_terminate_backend({oldest.pid});"
    yield Concern(
        "old transaction",
        "warn",
        f"a transaction of {oldest.role or 'a hidden role'} is open for {duration(age_s)} (xid {oldest.xid}){more}",
        "every slot keeps the WAL from its beginning on, and what it wrote is not sent before it ends",
        ("let it end; if it is forgotten, end it:", end),
    )


def _age(one: Transaction, seen: Seen) -> float:
    return one.age_s if one.age_s is not None else seen.ages.get(one.xid, 0.0)
