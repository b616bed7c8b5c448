"""The guardian of a connector alone: MariaDB's and MongoDB's, whose servers keep their logs for a time of their own and
are in no danger from a reader that is behind. But its changes are."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from connectors import debezium
from connectors.guardian.facts import look_at_reader
from connectors.guardian.guard import Kept, Report, Since, answer
from connectors.guardian.judgement import Seen, Watched, judge
from connectors.guardian.log_judgement import judge_log, judge_room
from connectors.guardian.restarts import Restarts
from connectors.mariadb.binlog_disk import Room
from connectors.mariadb.log import Binlog, Unread, unread
from connectors.mariadb.position import first_read_runs
from connectors.rest import Connect
from contracts.endpoints import Endpoints
from contracts.settings import GuardSettings
from contracts.stream import Pipeline


class ReaderGuardian:
    """As Guardian, for the connector of a pipeline's part; where nothing asks the server (MongoDB's), its outages are
    not known and use the restarts up. Not for several threads at once.

    `is_read` asks the server whether somebody reads its log: Debezium's binlog client tries to connect again for ever
    (https://github.com/debezium/debezium/pull/7897), and says RUNNING meanwhile. `log` asks it what it still has: it
    drops nothing that somebody reads. `room` asks what its log may still take, and what its disk has.
    """

    def __init__(
        self,
        part: Pipeline,
        endpoints: Endpoints,
        settings: GuardSettings,
        kept: Kept | None = None,
        *,
        is_read: Callable[[], bool] | None = None,
        log: Callable[[], Binlog] | None = None,
        room: Callable[[], Room | None] | None = None,
        restart: bool = True,
        patience_s: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        name = debezium.connector_name(part)
        self._watched = Watched(part.name, name, "", "", endpoints.connect_url, 0, settings.transaction_s)
        self._total = kept.restarts_total if kept else 0
        self._is_read, self._log, self._room = is_read, log, room
        self._patience_s = patience_s
        self._clock = clock
        self._since = Since()
        self._restarts = Restarts(settings, allowed=restart)

    def look(self) -> Report:
        """One round; what does not answer is a concern, and nothing is raised for it."""
        now, done = self._clock(), []
        watched, since = self._watched, self._since
        with Connect(watched.connect_url, patience_s=self._patience_s, answer_s=self._patience_s) as connect:
            reader, error = answer(lambda: look_at_reader(connect, watched.connector))
            status = reader.status if reader else None
            runs, failed = bool(status and status.running), bool(status and status.failed)
            read, server_error = answer(self._is_read) if self._is_read else (None, "")
            offset, _ = answer(lambda: connect.source_offset(watched.connector))
            # Before its first read is over nobody reads the log, nor needs it.
            unread_from = offset if offset and not first_read_runs(offset) else None
            waits, _ = answer(lambda: self._waits(unread_from)) if unread_from and not server_error else (None, "")
            if waits and read is True and not waits.set_back:
                waits = None  # nothing is dropped that somebody reads
            room, _ = answer(self._room) if self._room and not server_error else (None, "")
            self._restarts.runs_for(since.s("runs", runs, now))
            seen = Seen(
                reader=reader,
                reader_error=error,
                server_error=server_error,
                server_away_s=since.s("server away", bool(server_error), now),
                silent_s=since.s("silent", bool(runs and unread_from and read is False), now),
                connect_away_s=since.s("connect away", bool(error), now),
                halted_s=since.s("halted", bool(reader and reader.config is not None and not runs), now),
                restarts=self._restarts.in_a_row,
                gave_up=failed and self._restarts.over,
            )
            concerns = judge(seen, watched)
            if waits:
                concerns = [*judge_log(waits, watched), *concerns]
            if room:
                concerns += judge_room(room, watched, str((offset or {}).get("file", "")))
            concerns.sort(key=lambda concern: concern.severity)
            due = failed and self._restarts.are_due(now) and not server_error and not (waits and waits.gone)
            if due and self._restarts.do(connect, watched.connector, now):
                self._total += 1
                done.append(f"restarted what had failed of connector {watched.connector}")
        disk = room.disk if room and room.disk.known else None
        return Report(
            slot="",
            connector=watched.connector,
            concerns=tuple(concerns),
            kept=Kept(restarts_total=self._total),
            disk_free_bytes=disk.free_bytes if disk else None,
            disk_bytes=disk.total_bytes if disk else None,
            connector_state=status.connector if status else None,
            task_states=status.tasks if status else (),
            restarts=self._restarts.in_a_row,
            done=tuple(done),
        )

    def _waits(self, offset: Mapping[str, object]) -> Unread | None:
        """What waits at the server from `offset` on and may be dropped there."""
        return unread(offset, self._log(), time.time()) if self._log else None
