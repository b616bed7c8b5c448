"""The guardian of a source: looks, remembers, judges, and restarts what failed. It never takes anything away."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, TypeVar

from connectors import debezium
from connectors.guardian.disk_judgement import judge_disk
from connectors.guardian.facts import Reader, Server, Slot, look_at_notes, look_at_reader, look_at_server
from connectors.guardian.judgement import Concern, Seen, Watched, amount, budget, judge, oldest_s, starts_behind_a_gap
from connectors.guardian.restarts import Restarts
from connectors.reads import snapshots
from connectors.reads.table_reads import Source
from connectors.rest import Connect
from contracts.endpoints import Endpoints
from contracts.errors import HeadraceError
from contracts.settings import GuardSettings
from contracts.stream import Pipeline

# The notifications are read from their beginning: seldom enough to be cheap.
_ASK_READS_EVERY_S = 60.0
_RATE_OVER_S = 300.0
T = TypeVar("T")


@dataclass(frozen=True)
class Kept:
    """What outlives the process: the server that is read, whether the slot was ever there, since when (ms) which
    changes are missing, how often a connector was restarted, and since when (ms) tables may have been read by columns
    of another time."""

    system: str = ""
    timeline: int = 0
    had_slot: bool = False
    gap: str = ""
    gap_ms: int = 0
    restarts_total: int = 0
    misread: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Report:
    """One look at the source. None stands for what did not answer, and for what only Postgres has. Ages in seconds, 0
    where there is nothing: of the read of tables that is under way, of a slot that nobody reads, of the oldest
    transaction that has written. `disk_`: of the file system of WAL or binlog, where the source tells it."""

    slot: str
    connector: str
    concerns: tuple[Concern, ...]
    kept: Kept
    wal_status: str | None = None
    lag_bytes: int | None = None
    kept_wal_bytes: int | None = None
    budget_bytes: int | None = None
    disk_free_bytes: int | None = None
    disk_bytes: int | None = None
    first_read_s: float | None = None
    unread_s: float | None = None
    transaction_s: float | None = None
    connector_state: str | None = None
    task_states: tuple[str, ...] = ()
    restarts: int = 0
    done: tuple[str, ...] = ()

    @property
    def critical(self) -> bool:
        """Whether a person must act now."""
        return any(concern.severity == "critical" for concern in self.concerns)

    def as_json(self) -> dict[str, Any]:
        """Plain values; `report_of` reads them back."""
        return asdict(self)


def report_of(content: dict[str, Any]) -> Report:
    """A report from what `as_json` gave; TypeError or KeyError if it is another version's."""
    concerns = tuple(Concern(**{**one, "steps": tuple(one["steps"])}) for one in content["concerns"])
    lists = {name: tuple(content[name]) for name in ("task_states", "done")}
    return Report(**{**content, **lists, "concerns": concerns, "kept": Kept(**content["kept"])})


@dataclass
class Since:
    """Since when each state lasts, on the monotonic clock."""

    at: dict[str, float] = field(default_factory=dict)

    def s(self, what: str, holds: bool, now: float) -> float:
        """For how many seconds it has held without a break; 0 if it does not."""
        if not holds:
            self.at.pop(what, None)
            return 0.0
        return now - self.at.setdefault(what, now)


class Guardian:
    """Looks after one pipeline's Postgres: slot and connector. Not for several threads at once.

    `look` never raises for a part that does not answer: that is a concern. With `restart=False` it changes nothing;
    else it restarts a failed connector, after a pause that doubles, so often as the settings allow, and never where the
    connector would go on behind a gap, nor while the source does not answer: of a long outage none would be left.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        endpoints: Endpoints,
        settings: GuardSettings,
        kept: Kept | None = None,
        *,
        restart: bool = True,
        patience_s: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        own = debezium.overrides(pipeline)
        self._pipeline, self._endpoints = pipeline, endpoints
        self._watched = Watched(
            pipeline=pipeline.name,
            connector=debezium.connector_name(pipeline),
            slot=own.get("slot.name", debezium.default_name(pipeline)),
            role=own.get("database.user", endpoints.replicator.user),
            connect_url=endpoints.connect_url,
            budget_bytes=settings.retained_wal_bytes,
            transaction_s=settings.transaction_s,
        )
        self._kept = kept or Kept()
        self._patience_s = patience_s
        self._clock, self._wall = clock, wall
        self._since = Since()
        self._reads: snapshots.Reads | None = None
        self._noted: Source | None = None
        self._asked_reads = float("-inf")
        self._still: tuple[int | None, int] = (None, 0)
        self._history: deque[tuple[float, int]] = deque()
        self._restarts = Restarts(settings, allowed=restart)

    def look(self) -> Report:
        """One round; takes well under a second if all is well, a few seconds for each part that does not answer."""
        now, done = self._clock(), []
        server, server_error = answer(lambda: look_at_server(self._endpoints.source, self._watched.slot))
        with Connect(self._endpoints.connect_url, patience_s=self._patience_s, answer_s=self._patience_s) as connect:
            reader, reader_error = answer(lambda: look_at_reader(connect, self._watched.connector))
            self._ask_reads(now, reader)
            seen = self._seen(now, server, server_error, reader, reader_error)
            concerns = sorted([*judge(seen, self._watched), *judge_disk(seen, self._watched)], key=_severity)
            if reader and server and self._is_to_be_restarted(now, reader, concerns) and self._restart(connect, now):
                done.append(f"restarted what had failed of connector {self._watched.connector}")
        slot = server.slot if server else None
        disk = server.disk if server and server.disk.known else None
        status = reader.status if reader else None
        return Report(
            slot=self._watched.slot,
            connector=self._watched.connector,
            concerns=tuple(concerns),
            kept=self._kept,
            wal_status=slot.wal_status if slot else "missing" if server and self._kept.had_slot else None,
            lag_bytes=slot.lag_bytes if slot else None,
            kept_wal_bytes=slot.kept_bytes if slot else None,
            budget_bytes=budget(self._watched, server) if server else None,
            disk_free_bytes=disk.free_bytes if disk else None,
            disk_bytes=disk.total_bytes if disk else None,
            first_read_s=seen.first_read_s if self._reads else None,
            unread_s=seen.unread_s if server else None,
            transaction_s=oldest_s(seen, server) if server else None,
            connector_state=status.connector if status else None,
            task_states=status.tasks if status else (),
            restarts=self._restarts.in_a_row,
            done=tuple(done),
        )

    def _ask_reads(self, now: float, reader: Reader | None) -> None:
        if reader is None or reader.config is None or now - self._asked_reads < _ASK_READS_EVERY_S:
            return
        self._asked_reads = now
        try:
            self._reads, self._noted = look_at_notes(self._endpoints.kafka, self._pipeline)
        except Exception:
            self._reads = None  # Kafka is watched by those who read from it

    def _seen(
        self, now: float, server: Server | None, server_error: str, reader: Reader | None, reader_error: str
    ) -> Seen:
        if server:
            self._remember(server, reader)
        slot = server.slot if server else None
        failed = bool(reader and reader.status and reader.status.failed)
        runs = bool(reader and reader.status and reader.status.running)
        self._restarts.runs_for(self._since.s("runs", runs, now))
        reading = bool(self._reads and self._reads.under_way and self._reads.begun_ms)
        still_s, still_bytes = self._stands_still(now, server, slot)
        return Seen(
            server=server,
            server_error=server_error,
            reader=reader,
            reader_error=reader_error,
            server_away_s=self._since.s("server away", bool(server_error), now),
            connect_away_s=self._since.s("connect away", bool(reader_error), now),
            unread_s=self._since.s("unread", bool(slot and not slot.reader), now),
            halted_s=self._since.s("halted", bool(reader and reader.config is not None and not runs), now),
            still_s=still_s,
            still_bytes=still_bytes,
            first_read_s=max(1.0, self._wall() - self._reads.begun_ms / 1000) if reading and self._reads else 0.0,
            ages=self._ages(now, server),
            grows_per_s=self._growth(now, slot),
            system=self._kept.system,
            timeline=self._kept.timeline,
            had_slot=self._kept.had_slot,
            gap=self._kept.gap,
            misread={
                stream.table_source.qualified: stream.name
                for stream in self._pipeline.cdc_streams
                if self._kept.misread.get(stream.table_source.qualified)
            },
            restarts=self._restarts.in_a_row,
            gave_up=failed and self._restarts.over,
        )

    def _remember(self, server: Server, reader: Reader | None) -> None:
        kept = asdict(self._kept)
        kept |= self._read_until_now(server)
        if _is_another(server, kept["system"], kept["timeline"]) and not kept["gap_ms"]:
            # Unless somebody has seen it and let all tables be read since the last question.
            self._ask_reads_now(reader)
            kept |= self._read_until_now(server)
        slot, lsn = server.slot, reader.lsn if reader else None
        kept["had_slot"] = self._kept.had_slot or slot is not None or lsn is not None
        if self._all_read_since(self._kept.gap_ms):
            # Read again, from a server that is the right one by that.
            kept |= {"gap": "", "gap_ms": 0, "system": server.system, "timeline": server.timeline}
        if slot and slot.confirmed_lsn and lsn is not None and slot.confirmed_lsn > lsn and not self._reads_now(reader):
            # Debezium confirms only what is in Kafka.
            kept["gap"] = (
                f"slot {self._watched.slot} is {amount(slot.confirmed_lsn - lsn)} ahead of what reached Kafka: "
                "somebody else read or moved it, or made it anew"
            )
            kept["gap_ms"] = kept["gap_ms"] or int(self._wall() * 1000)
        if _is_another(server, kept["system"], kept["timeline"]):
            kept["gap_ms"] = kept["gap_ms"] or int(self._wall() * 1000)
        kept["misread"] = self._misread(server)
        self._kept = Kept(**kept)

    def _misread(self, server: Server) -> dict[str, int]:
        """Those of now and of before; 0 for one that was read again while the slot still has what it is told for."""
        read, found = self._reads.since_ms if self._reads else {}, {}
        for table in sorted({stream.table_source.qualified for stream in self._pipeline.cdc_streams}):
            if table in server.misread or self._kept.misread.get(table):
                since = self._kept.misread.get(table, int(self._wall() * 1000))
                found[table] = 0 if read.get(table, 0) > since else since
        return {table: since for table, since in found.items() if since or table in server.misread}

    def _read_until_now(self, server: Server) -> dict[str, Any]:
        """The server as it was noted when the connector began, or else as it was seen first."""
        kept, noted = self._kept, self._noted
        if noted and not kept.gap_ms:
            return {"system": noted.system_identifier, "timeline": noted.timeline}
        return {"system": kept.system or server.system, "timeline": kept.timeline or server.timeline}

    def _ask_reads_now(self, reader: Reader | None) -> None:
        self._asked_reads = float("-inf")
        self._ask_reads(self._clock(), reader)

    def _reads_now(self, reader: Reader | None) -> bool:
        """Also where Kafka does not say: a gap is told of what is known."""
        self._ask_reads_now(reader)
        return self._reads is None or self._reads.under_way

    def _all_read_since(self, ms: int) -> bool:
        if not ms or self._reads is None or self._reads.under_way:
            return False
        tables = [stream.table_source.qualified for stream in self._pipeline.cdc_streams]
        return all(self._reads.since_ms.get(table, 0) > ms for table in tables)

    def _stands_still(self, now: float, server: Server | None, slot: Slot | None) -> tuple[float, int]:
        if server is None:
            return 0.0, 0
        lsn = slot.restart_lsn if slot else None
        same = lsn is not None and lsn == self._still[0]
        if not same:
            self._still = (lsn, server.wal_lsn)
        return self._since.s("still", same, now), max(0, server.wal_lsn - self._still[1])

    def _ages(self, now: float, server: Server | None) -> dict[int, float]:
        if server is None:
            return {}
        hidden = {one.xid for one in server.transactions if one.age_s is None}
        for name in [name for name in self._since.at if name.startswith("xid ") and int(name[4:]) not in hidden]:
            del self._since.at[name]
        return {xid: self._since.s(f"xid {xid}", True, now) for xid in hidden}

    def _growth(self, now: float, slot: Slot | None) -> float:
        if slot is None or slot.kept_bytes is None:
            self._history.clear()
            return 0.0
        self._history.append((now, slot.kept_bytes))
        while now - self._history[0][0] > _RATE_OVER_S:
            self._history.popleft()
        (began, before), (ended, after) = self._history[0], self._history[-1]
        return (after - before) / (ended - began) if ended > began else 0.0

    def _is_to_be_restarted(self, now: float, reader: Reader, concerns: list[Concern]) -> bool:
        failed = bool(reader.status and reader.status.failed)
        return failed and self._restarts.are_due(now) and not starts_behind_a_gap(concerns)

    def _restart(self, connect: Connect, now: float) -> bool:
        if not self._restarts.do(connect, self._watched.connector, now):
            return False
        self._kept = replace(self._kept, restarts_total=self._kept.restarts_total + 1)
        return True


def _severity(concern: Concern) -> str:
    return concern.severity  # "critical" < "warn"


def _is_another(server: Server, system: str, timeline: int) -> bool:
    moved = (system and server.system and server.system != system) or (
        timeline and server.timeline and server.timeline != timeline
    )
    return bool(moved)


def answer(look: Callable[[], T]) -> tuple[T | None, str]:
    """What a part says; None, and why, if it does not answer."""
    try:
        return look(), ""
    except Exception as error:
        return None, _said(error)


def _said(error: Exception) -> str:
    return (error.what if isinstance(error, HeadraceError) else str(error)).strip() or type(error).__name__
