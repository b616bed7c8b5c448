"""The Debezium connector for the MariaDB tables of a pipeline, rendered from its contracts.

Every name here is given the pipeline's part that comes from MariaDB (`pipeline.of("mariadb")`).
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping

from connectors import debezium, signals
from connectors import overrides as from_file
from contracts.endpoints import MariadbEndpoint
from contracts.stream import Pipeline

# As in `debezium.PROMISES`: another value loses or alters data without a word.
PROMISES: Mapping[str, str] = {
    **{
        name: debezium.PROMISES[name]
        for name in (
            "tasks.max",
            "exactly.once.support",
            "decimal.handling.mode",
            "time.precision.mode",
            "binary.handling.mode",
            "skipped.operations",
            "tombstones.on.delete",
            "provide.transaction.metadata",
            "snapshot.mode",
            "key.converter",
            "key.converter.schemas.enable",
            "value.converter",
            "value.converter.schemas.enable",
            "value.converter.replace.null.with.default",
            "signal.enabled.channels",
            "notification.enabled.channels",
        )
    },
    "connector.class": "io.debezium.connector.mariadb.MariaDbConnector",
    # `long` makes 18446744073709551615 a -1. The bytes of `precise` are read in the streaming job.
    "bigint.unsigned.handling.mode": "precise",
    # Would move the year 70 to 1970.
    "enable.time.adjuster": "false",
    "event.deserialization.failure.handling.mode": "fail",
    "inconsistent.schema.handling.mode": "fail",
    # A definition that Debezium cannot read stops it; skipped, rows would be read by an old one.
    "schema.history.internal.skip.unparseable.ddl": "false",
    # Of every table, so that one that is declared later is known from its beginning.
    "schema.history.internal.store.only.captured.tables.ddl": "false",
    # Definitions are kept in the history's topic; nobody reads a second copy.
    "include.schema.changes": "false",
}
FILE = "mariadb.json"
TRUSTSTORE = "database.ssl.truststore"
# Debezium's words for libpq's; what is not said is left to it.
_SSL_MODES = {"disable": "disable", "require": "trust", "verify-ca": "verify-ca", "verify-full": "verify-full"}
_FROM_CONTRACTS = ("topic.prefix", "table.include.list", "database.include.list")


def history_topic(part: Pipeline) -> str:
    """Where Debezium keeps the tables' definitions as they were at each position; without it nothing can be read."""
    return f"{part.name}.schema_history"


def server_id(part: Pipeline) -> int:
    """The id under which the connector joins the server's replicas: one of its own, the same at each start."""
    return 100_000 + zlib.crc32(part.name.encode()) % 1_000_000_000


def render(
    part: Pipeline, replicator: MariadbEndpoint, kafka: str, *, password_reference: str, truststore: str
) -> dict[str, str]:
    """The whole desired config; `kafka` is the broker as Connect reaches it, `truststore` the authorities to trust, as
    Connect finds them. Never holds a password."""
    debezium.check_topics(part)
    sources, own = [stream.table_source for stream in part.cdc_streams], overrides(part)
    return {
        **PROMISES,
        **debezium.DEFAULTS,
        "database.hostname": replicator.host,
        "database.port": str(replicator.port),
        "database.user": replicator.user,
        "database.password": password_reference,
        **_encryption(replicator, truststore),
        "database.server.id": str(server_id(part)),
        "topic.prefix": part.name,
        "database.include.list": ",".join(sorted({re.escape(source.schema) for source in sources})),
        "table.include.list": ",".join(sorted(re.escape(source.qualified) for source in sources)),
        "schema.history.internal.kafka.topic": history_topic(part),
        "schema.history.internal.kafka.bootstrap.servers": kafka,
        "signal.kafka.topic": debezium.signals_topic(part),
        "signal.kafka.bootstrap.servers": kafka,
        "signal.kafka.groupId": debezium.signals_group(part),
        "notification.sink.topic.name": debezium.notifications_topic(part),
        **signals.channels(own),
        **own,
    }


def overrides(part: Pipeline) -> dict[str, str]:
    """What `connectors/<pipeline>/mariadb.json` adds or changes. Raises as `overrides.read`.

    A table for requests is in a declared database: of others Debezium does not know the tables' definitions.
    """
    file = part.connectors_dir / FILE
    own = from_file.read(file, PROMISES, _FROM_CONTRACTS)
    databases = frozenset(stream.table_source.schema for stream in part.cdc_streams)
    signals.check_name(own, part, file, "mariadb_signal_table.sql", databases)
    return own


def _encryption(replicator: MariadbEndpoint, truststore: str) -> dict[str, str]:
    if not replicator.sslmode:
        return {}
    mode = {"database.ssl.mode": _SSL_MODES[replicator.sslmode]}
    return mode | ({TRUSTSTORE: truststore} if replicator.sslmode.startswith("verify-") else {})
