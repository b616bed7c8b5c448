"""`headrace run`: the one long-lived process of a pipeline, streams and merge rounds in one Spark application."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from pyspark.sql import SparkSession

from connectors import debezium
from connectors.postgres.marker import emit
from contracts.errors import Conflict, HeadraceError, Retryable
from contracts.settings import Settings
from headrace.app import App
from headrace.declaration import Declaration
from headrace.evolution import table_changes
from headrace.guarding import Guarding, guarded_systems
from headrace.lease import Lease
from headrace.merging import Merging
from headrace.tables import create_all_tables, lake_url
from infra.jars import spark_jars
from infra.local.deployment import spark_conf
from streaming_jobs.chunk_retention import remove_old_chunks
from streaming_jobs.maintenance import Maintained, maintain_derived, maintain_folder, maintain_histories
from streaming_jobs.proofs import prove_gaps
from streaming_jobs.session import build_session
from streaming_jobs.stream_status import read_status
from streaming_jobs.stream_worker import StreamReport
from streaming_jobs.streams import run_streams
from warehouse_sql.merge import warehouse_url

log = logging.getLogger("headrace.run")

ROUND_MAY_TAKE_S = 120.0
STREAMS_FIRST_S = 60.0
Task = tuple[float, Callable[[], object]]


@dataclass(frozen=True, slots=True)
class Rhythm:
    """How often the rounds run, in seconds."""

    merge_s: float
    maintain_s: float
    prove_s: float = 300.0
    nudge_s: float = 60.0


def start_spark(app: App, name: str, *, brief: bool = True) -> SparkSession:
    """The Spark application of one command; `brief` for one that ends within minutes."""
    if brief:
        prefer_quick_start()
    return build_session(
        app.endpoints,
        app.settings.spark,
        spark_jars(),
        f"headrace {app.pipeline.name} {name}",
        conf=spark_conf(app.settings),
    )


def prefer_quick_start() -> None:
    """Let the JVMs that this process starts do without the optimising compiler, unless the user says otherwise.

    On two cores a JVM that lives for minutes is done in less than half of the time.
    """
    os.environ.setdefault("JDK_JAVA_OPTIONS", "-XX:TieredStopAtLevel=1")


def run_forever(settings: Settings, rhythm: Rhythm, *, merges: bool, stop: threading.Event) -> None:
    """Streams and rounds until `stop` is set; the batches under way are finished.

    Holds the pipeline's lease, and that of `headrace merge` too if it merges. A changed declaration (contract, SQL
    file) is taken up within seconds, in the same Spark application. One that is wrong, or whose tables cannot be made,
    is logged, and the streams of the old one go on until the files change again; the first one raises. Merges read the
    SQL files when there is something to merge: a wrong one fails these rounds. Raises `LeaseHeld` at once if another
    process has a lease, `Retryable` when one is lost or a thread fails: the caller starts again with back-off.
    Everything committed stands.
    """
    # Before the pipeline is loaded: what is saved from now on is a change.
    declared = Declaration(settings, App(settings).pipeline)
    app = App(settings)
    leases = [Lease(app.endpoints.warehouse, f"{app.pipeline.name} run")]
    if merges:
        leases.append(Lease(app.endpoints.warehouse, f"{app.pipeline.name} merge", "run"))
    with ExitStack() as held:
        for lease in leases:
            held.enter_context(lease)
        spark = start_spark(app, "run", brief=False)
        try:
            create_all_tables(app, spark, "run")
            streams_first = StreamsFirst(app.status_file)
            while True:
                _run_declared(app, spark, leases, declared, rhythm, merges, stop, streams_first)
                if stop.is_set():
                    return
                for lease in leases:
                    lease.check()
                app = take_up(app, lambda new: create_all_tables(new, spark, "run"))
        finally:
            spark.stop()


class StreamsFirst:
    """Lets the rounds wait until the streams have caught up.

    On a cold JVM the streams and the merges together take longer than one after the other, and what a round books
    before a stream's first batch is booked again.
    """

    def __init__(self, status_file: Path) -> None:
        self._file = status_file
        self._began = _now().isoformat()
        self._until = time.monotonic() + STREAMS_FIRST_S
        self._arrived = set[str]()

    def __call__(self) -> bool:
        """True for good once every stream was at its topic's end since this began, or has none (parked, no topic), or
        `STREAMS_FIRST_S` are over."""
        if time.monotonic() >= self._until:
            return True
        found = read_status(self._file)
        if found is None or found[0] < self._began:
            return False
        self._arrived |= {one.stream for one in found[1] if one.lag == 0 or one.state in ("waiting", "parked")}
        if done := self._arrived >= {one.stream for one in found[1]}:
            self._until = float("-inf")
        return done


def take_up(old: App, make_tables: Callable[[App], None]) -> App:
    """What is declared now, with its tables made; `old` if that does not work, and the log says why.

    Raises:
        Retryable: a part does not answer.
    """
    new = App(old.settings)
    try:
        # What the guardian reads beside the contracts.
        debezium.overrides(new.pipeline)
        make_tables(new)
    except Retryable:
        raise
    except Exception as error:
        log.error(
            "the declaration changed and cannot be taken up; the one before it goes on: %s\n"
            "Next: correct it; it is taken up as soon as a contract or an SQL file is saved",
            error,
        )
        return old
    return new


def _run_declared(
    app: App,
    spark: SparkSession,
    leases: Sequence[Lease],
    declared: Declaration,
    rhythm: Rhythm,
    merges: bool,
    stop: threading.Event,
    may_begin: StreamsFirst,
) -> None:
    """Run this declaration until `stop`, a lost lease or a new one; Retryable if a thread failed."""
    halt = threading.Event()
    failed: list[Exception] = []

    def work(tasks: list[Task]) -> None:
        spark.sparkContext.setLocalProperty("spark.scheduler.pool", threading.current_thread().name)
        try:
            rounds(tasks, leases, declared, stop, halt, may_begin)
        except Exception as error:
            log.exception("the %s thread ended", threading.current_thread().name)
            failed.append(error)

    threads = [
        threading.Thread(target=work, args=(tasks,), name=name)
        for name, tasks in _tasks(app, spark, rhythm, merges).items()
    ]
    for system in guarded_systems(app.pipeline):
        look = partial(_attempt, Guarding(app, system).round)
        looking = (look, app.settings.guard.every_s, halt)
        threads.append(threading.Thread(target=keep_looking, args=looking, name=f"guardian of {system}"))
    for thread in threads:
        thread.start()
    try:
        run_streams(
            *(spark, app.pipeline, app.endpoints, app.settings, halt, _tell),
            status_file=app.status_file,
            table_changes=partial(table_changes, app.endpoints),
        )
    finally:
        halt.set()
        for thread in threads:
            thread.join(timeout=ROUND_MAY_TAKE_S)
    if failed and not stop.is_set():
        raise Retryable(
            f"a thread of `headrace run` failed: {failed[0]!r}",
            state="Everything committed stands.",
            next_step="nothing: `headrace run` starts again by itself; the log has the trace",
        ) from failed[0]


def keep_looking(look: Callable[[], object], every_s: float, halt: threading.Event) -> None:
    """Look at once and every so often until `halt`: also while the rounds wait for the streams or one takes long."""
    while True:
        look()
        if halt.wait(every_s):
            return


def _tasks(app: App, spark: SparkSession, rhythm: Rhythm, merges: bool) -> dict[str, list[Task]]:
    """What each thread does, and how often. A long merge must not keep the histories from being compacted."""
    upkeep: list[Task] = [(rhythm.maintain_s, lambda: _maintain_histories(app, spark))]
    if app.pipeline.of("postgres").cdc_streams:
        # A Debezium that was restarted over an idle database waits for the next WAL message; until then it sends no
        # heartbeat and the slot keeps WAL.
        upkeep.append((rhythm.nudge_s, lambda: emit(app.endpoints.source)))
    merge = Merging(app, spark)
    merging: list[Task] = [
        (rhythm.merge_s, merge.round if merges else merge.book),
        (rhythm.prove_s, lambda: prove_gaps(spark, app.pipeline, app.endpoints.kafka, lake_url(app), now=_now())),
    ]
    if merges:
        merging.append((rhythm.maintain_s, lambda: maintain_merged(app, spark)))
    return {"rounds": merging, "upkeep": upkeep}


def rounds(
    tasks: list[Task],
    leases: Sequence[Lease],
    declared: Declaration,
    stop: threading.Event,
    halt: threading.Event,
    may_begin: Callable[[], bool],
) -> None:
    """Do each task when it is due until `halt`, nothing of it before `may_begin`.

    However it ends, `halt` is set: without its rounds a run is none.
    """
    try:
        due = [time.monotonic() + every for every, _ in tasks]
        while not halt.wait(0.2):
            if stop.is_set() or declared.changed():
                return
            if not may_begin():
                continue
            for index, (every, task) in enumerate(tasks):
                if stop.is_set() or time.monotonic() < due[index]:
                    continue
                try:
                    for lease in leases:
                        lease.check()
                except Retryable as error:
                    log.error("%s", error)
                    return
                _attempt(task)
                due[index] = time.monotonic() + every
    finally:
        halt.set()


def _attempt(task: Callable[[], object]) -> None:
    try:
        task()
    except Conflict as error:
        log.info("a round met another writer and is repeated: %s", error)
    except HeadraceError as error:
        log.error("a round failed and is repeated: %s", error)
    except Exception:
        log.exception("a round failed and is repeated")


def _now() -> datetime:
    return datetime.now(UTC)


def _maintain_histories(app: App, spark: SparkSession) -> None:
    many = app.settings.run.compact_after_files
    _say(maintain_histories(spark, app.pipeline, lake_url(app), many_files=many))


def maintain_merged(app: App, spark: SparkSession) -> None:
    """Compact and clean what merges write; for whoever holds the merge lease, as a merge that meets it must repeat."""
    many = app.settings.run.compact_after_files
    _say(maintain_derived(spark, app.pipeline, lake_url(app), many_files=many))
    star_schema = f"{warehouse_url(app.endpoints)}/{app.pipeline.name}"
    _say(maintain_folder(spark, star_schema, {}, many_files=many))
    if removed := remove_old_chunks(spark, app.pipeline, app.endpoints.kafka, lake_url(app)):
        log.info("the chunks of %d large files were removed: the lake has had them since before the retention", removed)


def _say(maintained: list[Maintained]) -> None:
    for one in maintained:
        if one.files_after < one.files_before or one.note:
            log.info("%s: %s files became %s %s", one.table, one.files_before, one.files_after, one.note)


def _tell(report: StreamReport) -> None:
    if report.event == "batch":
        log.debug("%s: %s rows in %.2f s", report.stream, f"{report.rows:,}", report.took_s)
    elif report.event == "parked":
        log.error("%s is parked: %s\nNext: headrace resume %s", report.stream, report.message, report.stream)
    else:
        log.warning("%s: %s %s", report.stream, report.event, report.message)
