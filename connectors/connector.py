"""A connector: put and started; that of Postgres also begun again when the source has lost what it has not read."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path

from connectors import debezium, password, signals
from connectors.postgres import lost_slot, marker, source
from connectors.reads import snapshots, table_reads
from connectors.rest import Connect
from contracts import unreachable
from contracts.endpoints import Endpoints
from contracts.errors import PlanRefused, ServiceUnavailable
from contracts.stream import Pipeline

_PERHAPS_THE_PASSWORD = (
    "correct the above; for database.password see that the worker has this provider:\n" + password.PROVIDER_HINT
)


def put(
    endpoints: Endpoints, part: Pipeline, config: Mapping[str, str], before: Callable[[], None] = lambda: None
) -> None:
    """Creates the connector or replaces its config; returns when it has told that it works. May be repeated. `before`
    is called when the config was found good.

    PlanRefused, with nothing changed, if Connect finds it wrong.
    """
    name = debezium.connector_name(part)
    told = snapshots.reads(endpoints.kafka, part).told
    with Connect(endpoints.connect_url) as connect:
        if wrong := connect.validate({**config, "name": name}):
            raise PlanRefused(
                f"Connect finds the config of connector {name} wrong:\n" + "\n".join(f"- {text}" for text in wrong),
                state="The connector was not changed.",
                next_step="\n".join(filter(None, (unreachable.worker_step(wrong, config), _PERHAPS_THE_PASSWORD))),
            )
        before()
        _note_first_read(endpoints, part, connect)
        connect.put(name, config)
        connect.resume(name)
        connect.wait_not_failed(name)
        snapshots.wait_works(endpoints.kafka, part, connect, told=told)


def start(endpoints: Endpoints, part: Pipeline, first: Callable[[], None] = lambda: None) -> None:
    """Lets a stopped or failed connector go on where it stood; returns when it has told that it works. `first` is
    called before if it stands nowhere."""
    name = debezium.connector_name(part)
    told = snapshots.reads(endpoints.kafka, part).told
    with Connect(endpoints.connect_url) as connect:
        if _note_first_read(endpoints, part, connect):
            first()
        connect.resume(name)
        connect.restart(name)
        connect.wait_not_failed(name)
        snapshots.wait_works(endpoints.kafka, part, connect, told=told)


def _note_first_read(endpoints: Endpoints, part: Pipeline, connect: Connect) -> bool:
    """A connector without a position reads every table: a new one, or one that was made to forget it."""
    name = debezium.connector_name(part)
    if connect.offsets(name):
        return False
    snapshots.never_to_be_obeyed(endpoints.kafka, part)
    # A request in a table of Postgres may still come out of the WAL; the binlog is read from now on.
    if part.of("mariadb").cdc_streams or not signals.heard(connect.config(name)):
        table_reads.parts_ended(endpoints.kafka, part)
    table_reads.ends_before_read(endpoints.kafka, part)
    return True


def put_postgres(endpoints: Endpoints, pipeline: Pipeline, config: Mapping[str, str], kept_in: Path) -> None:
    """As `put`. `kept_in` gets the marker of values that Postgres does not send before a record can hold it."""

    def before() -> None:
        kept_in.parent.mkdir(parents=True, exist_ok=True)
        kept_in.write_text(config["unavailable.value.placeholder"] + "\n", encoding="utf-8")
        note_source(endpoints, pipeline)

    put(endpoints, pipeline, config, before)
    nudge(endpoints)


def start_postgres(endpoints: Endpoints, pipeline: Pipeline) -> None:
    """As `start`, and asks for reads that were skipped."""
    start(endpoints, pipeline, lambda: note_source(endpoints, pipeline))
    nudge(endpoints)
    _read_what_was_skipped(endpoints, pipeline)


def begin_again(endpoints: Endpoints, part: Pipeline, config: Mapping[str, str]) -> None:
    """A read of every table, as if the connector were new; the topics and what is in the lake stay. What the complete
    read does not find is gone at the source and is deleted in the current state.

    May be repeated after an interruption anywhere: until the position is forgotten, what it needs is lost; from then
    on it is one without a position.
    """
    _forget(endpoints, part, config)
    put(endpoints, part, config)


def begin_again_postgres(
    endpoints: Endpoints, pipeline: Pipeline, config: Mapping[str, str], kept_in: Path, *, timeout_s: float = 60.0
) -> None:
    """As `begin_again`, with a new replication slot."""

    def drop_slot() -> None:
        deadline = time.monotonic() + timeout_s
        while not source.drop_slot(endpoints.replicator, config["slot.name"]):
            if time.monotonic() > deadline:
                raise ServiceUnavailable(
                    f"replication slot {config['slot.name']} is still in use",
                    state=f"Connector {debezium.connector_name(pipeline)} is stopped.",
                    next_step="see who reads it in pg_replication_slots, then `headrace apply` again",
                )
            time.sleep(0.2)

    _forget(endpoints, pipeline, config, drop_slot, timeout_s=timeout_s)
    put_postgres(endpoints, pipeline, config, kept_in)
    _read_what_was_skipped(endpoints, pipeline)


def _forget(
    endpoints: Endpoints,
    part: Pipeline,
    config: Mapping[str, str],
    stopped: Callable[[], None] = lambda: None,
    *,
    timeout_s: float = 60.0,
) -> None:
    """The connector's position; `stopped` is called while nothing of it runs."""
    name = debezium.connector_name(part)
    with Connect(endpoints.connect_url) as connect:
        # One that somebody removed has left its offsets, and only a connector can be made to forget them.
        connect.put_stopped(name, config)
        connect.stop(name)
        connect.wait_stopped(name, timeout_s=timeout_s)
        stopped()
        # Before it is forgotten: a kill in the first moments of the read would leave nothing that says it is needed.
        table_reads.all_anew(endpoints.kafka, part)
        connect.forget(name)


def _read_what_was_skipped(endpoints: Endpoints, pipeline: Pipeline) -> None:
    """Debezium stores a position with the news that its first read began. If it dies before the first row is stored, it
    takes that for the position after a read, and skips the read for ever."""
    reads = snapshots.reads(endpoints.kafka, pipeline)
    with Connect(endpoints.connect_url) as connect:
        config = connect.config(debezium.connector_name(pipeline)) or {}
    if tables := snapshots.missing(pipeline, reads, config):
        snapshots.request(endpoints, pipeline, tables)


def lost(endpoints: Endpoints, pipeline: Pipeline, connect: Connect, slot: str, *, exists: bool) -> str:
    """What happened, if the source no longer has what the connector must read next; else empty. See `lost_slot`.

    Also where no connector `exists`, if one read here before: Connect keeps the offsets of one that is removed.
    """
    notes = table_reads.Notes(endpoints.kafka, pipeline)
    try:
        known = table_reads.known_source(notes.all())
    finally:
        notes.close()
    if not exists and known is None:
        return ""
    try:
        now = lost_slot.identify(endpoints.replicator)
    except ServiceUnavailable:
        if exists:
            raise
        # Its role is perhaps made by this very plan, on a server that never had it.
        return "the connector was removed, and the source does not say yet whether it is the server that was read"
    return lost_slot.loss(pipeline, endpoints.replicator, connect, slot, known, now)


def note_source(endpoints: Endpoints, pipeline: Pipeline) -> None:
    """Notes which server is read from now on."""
    table_reads.source_is(endpoints.kafka, pipeline, lost_slot.identify(endpoints.replicator))


def nudge(endpoints: Endpoints) -> None:
    """A restarted connector looks for its place in the WAL until the next change comes: without one it sends no
    heartbeats and its slot keeps the WAL of the whole server."""
    marker.emit(endpoints.source)
