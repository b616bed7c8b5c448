"""The Debezium connector of a pipeline, rendered from its contracts."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from connectors import overrides as from_file
from connectors import signals
from contracts.endpoints import PostgresEndpoint
from contracts.errors import ContractError
from contracts.stream import Pipeline
from contracts.unavailable import is_marker, new_marker

MAX_MESSAGE_BYTES = 20 * 1024 * 1024
MARKER_PREFIX = "headrace"
DDL_PREFIX = "headrace.ddl"
"""Of the messages that `ddl_capture.sql` makes the source write."""
HEARTBEAT_PREFIX = "headrace_heartbeat"
HEARTBEAT_TOPICS = "__debezium-heartbeat"

# Each of these is a promise of the design (correctness.md A, F): another value loses or alters data without a word.
PROMISES: Mapping[str, str] = {
    "connector.class": "io.debezium.connector.postgresql.PostgresConnector",
    "plugin.name": "pgoutput",
    "tasks.max": "1",
    "exactly.once.support": "required",
    "decimal.handling.mode": "string",
    "time.precision.mode": "isostring",
    "interval.handling.mode": "string",
    "hstore.handling.mode": "json",
    # In JSON the same text as `base64`, which sends NULL for a large value that an update left as it was.
    "binary.handling.mode": "bytes",
    "skipped.operations": "none",
    "tombstones.on.delete": "false",
    "provide.transaction.metadata": "true",
    "publication.autocreate.mode": "disabled",
    "snapshot.mode": "initial",
    "key.converter": "org.apache.kafka.connect.json.JsonConverter",
    "key.converter.schemas.enable": "false",
    "value.converter": "org.apache.kafka.connect.json.JsonConverter",
    "value.converter.schemas.enable": "false",
    # Without this a NULL in a column that has a default arrives as the default.
    "value.converter.replace.null.with.default": "false",
    # The old and the new key of a row whose primary key was changed come as headers.
    "header.converter": "org.apache.kafka.connect.json.JsonConverter",
    "header.converter.schemas.enable": "false",
    # Regular expressions that match whole: markers and DDL, not the heartbeat's, which would only fill the topic.
    "message.prefix.include.list": f"{MARKER_PREFIX},{re.escape(DDL_PREFIX)}",
    # How tables that are added later get their first read, and how we know that it ended (snapshots.py).
    "signal.enabled.channels": "kafka",
    "notification.enabled.channels": "sink",
}

DEFAULTS: Mapping[str, str] = {
    "poll.interval.ms": "50",
    # Five minutes of trying, then the task fails and says why; by default it tries for ever, in silence.
    "errors.max.retries": "30",
    "signal.poll.interval.ms": "1000",
    # Names of connector and run on every record: bytes that nobody reads. Old and new key still come as headers.
    "extended.headers.enabled": "false",
    "heartbeat.interval.ms": "10000",
    # 8192 queued rows of 20 MB each would be far more than the worker's heap.
    "max.queue.size.in.bytes": str(64 * 1024 * 1024),
    "producer.override.max.request.size": str(MAX_MESSAGE_BYTES),
    "producer.override.compression.type": "lz4",
}
# Lets the slot advance while only other databases of the server write. Transactional state is not touched and no
# privilege is needed, unlike an UPDATE of a heartbeat table.
_HEARTBEAT = {"heartbeat.action.query": f"SELECT pg_logical_emit_message(false, '{HEARTBEAT_PREFIX}', '')"}

_NAME = re.compile(r"[a-z_][a-z0-9_]{0,49}")
_PLACEHOLDER = "unavailable.value.placeholder"
_KEYS = "message.key.columns"
_FROM_CONTRACTS = ("topic.prefix", "table.include.list", "schema.include.list", _KEYS)


def connector_name(pipeline: Pipeline) -> str:
    """The connector's name in Connect."""
    return pipeline.name


def default_name(pipeline: Pipeline) -> str:
    """The replication slot's and the publication's name unless the overrides say otherwise."""
    return f"headrace_{pipeline.name}"


def check_topics(part: Pipeline) -> None:
    """ContractError for a stream whose topic is not the one that Debezium writes."""
    for stream in part.cdc_streams:
        wanted = f"{part.name}.{stream.table_source.qualified}"
        if stream.topic != wanted:
            raise ContractError(
                f"stream {stream.name}: the topic of a table or collection is named by Debezium, not {stream.topic!r}",
                file=stream.file,
                write=f"headrace.topic: {wanted}, or leave it out",
            )


def message_topic(pipeline: Pipeline) -> str:
    """Where logical messages arrive: our markers, and what the source tells of its DDL."""
    return f"{pipeline.name}.message"


def heartbeat_topic(pipeline: Pipeline) -> str:
    """Where Debezium's heartbeats go."""
    return f"{HEARTBEAT_TOPICS}.{pipeline.name}"


def signals_topic(pipeline: Pipeline) -> str:
    """Where the connector is asked to read tables."""
    return f"{pipeline.name}.signals"


def signals_group(pipeline: Pipeline) -> str:
    """The consumer group in whose name the connector notes which signals it has taken up."""
    return f"headrace-{pipeline.name}-signals"


def signal_rows_topic(pipeline: Pipeline, own: Mapping[str, str]) -> str:
    """Where the rows of the table go in which the connector is asked for reads, by its overrides; empty if it is asked
    over Kafka."""
    name = signals.heard(own)
    return f"{pipeline.name}.{name}" if name else ""


def notifications_topic(pipeline: Pipeline) -> str:
    """Where the connector tells what its snapshots did."""
    return f"{pipeline.name}.notifications"


def overrides(pipeline: Pipeline) -> dict[str, str]:
    """What `connectors/<pipeline>/postgres.json` adds or changes; empty if there is no such file. Raises as
    `overrides.read`, and ContractError for a marker that the streams would not know."""
    file = pipeline.connectors_dir / "postgres.json"
    config = from_file.read(file, PROMISES, _FROM_CONTRACTS)
    if _PLACEHOLDER in config and not is_marker(config[_PLACEHOLDER]):
        raise ContractError(
            f"{_PLACEHOLDER} is no marker that the streams would know: it would pass for a value",
            file=file,
            line=from_file.line_of(file.read_text(encoding="utf-8"), _PLACEHOLDER),
            write=f"remove {_PLACEHOLDER}, or {new_marker()}",
        )
    signals.check_name(config, pipeline, file, "signal_table.sql")
    return config


def render(
    pipeline: Pipeline,
    replicator: PostgresEndpoint,
    kafka: str,
    *,
    password_reference: str,
    placeholder: str,
    unsent: Sequence[str] = (),
    keys: str = "",
) -> dict[str, str]:
    """The whole desired config: promises, defaults, what the contracts say, then the pipeline's own overrides.

    `kafka` is the broker as Connect reaches it. `unsent`: `schema.table.column` of columns that only a first read would
    hold. `keys`: those that are not the tables' own (`message.key.columns`). Pure but for reading the overrides' file.
    Never holds a password.
    """
    if not _NAME.fullmatch(pipeline.name):
        raise ContractError(
            f"pipeline name {pipeline.name!r} cannot name a replication slot",
            file=pipeline.contracts_dir,
            write="lower-case letters, digits and _, at most 50",
        )
    check_topics(pipeline)
    sources = [stream.table_source for stream in pipeline.cdc_streams]
    own = overrides(pipeline)
    return {
        **PROMISES,
        **DEFAULTS,
        **_HEARTBEAT,
        "database.hostname": replicator.host,
        "database.port": str(replicator.port),
        "database.dbname": replicator.database,
        "database.user": replicator.user,
        "database.password": password_reference,
        **{f"database.{name}": value for name, value in replicator.encryption().items()},
        "topic.prefix": pipeline.name,
        "slot.name": default_name(pipeline),
        "publication.name": default_name(pipeline),
        "schema.include.list": ",".join(sorted({re.escape(source.schema) for source in sources})),
        "table.include.list": ",".join(sorted(re.escape(source.qualified) for source in sources)),
        "signal.kafka.topic": signals_topic(pipeline),
        "signal.kafka.bootstrap.servers": kafka,
        "signal.kafka.groupId": signals_group(pipeline),
        "notification.sink.topic.name": notifications_topic(pipeline),
        _PLACEHOLDER: placeholder,
        **({_KEYS: keys} if keys else {}),
        **signals.channels(own),
        **_leaving_out(unsent, own),
    }


def _leaving_out(unsent: Sequence[str], found: dict[str, str]) -> dict[str, str]:
    """The overrides, with those columns excluded besides the ones that they exclude."""
    if not unsent or "column.include.list" in found:  # Debezium takes one of the two lists
        return found
    listed = map(from_file.expression, unsent)
    return {**found, from_file.EXCLUDED: ",".join(filter(None, (found.get(from_file.EXCLUDED, ""), *listed)))}


def placeholder(running: Mapping[str, str] | None, kept_in: Path) -> str:
    """The pipeline's marker for a value that Postgres did not send: what the running connector uses, else what
    `kept_in` holds, else a new random one. Random, so that no value of a user can equal it; kept, because rows already
    in the lake carry it. Writes nothing."""
    if running and is_marker(running.get(_PLACEHOLDER, "")):
        return running[_PLACEHOLDER]
    if kept_in.is_file() and is_marker(kept := kept_in.read_text(encoding="utf-8").strip()):
        return kept
    return new_marker()
