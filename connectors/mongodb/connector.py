"""The Debezium connector for the MongoDB collections of a pipeline, rendered from its contracts.

Every name here is given the pipeline's part that comes from MongoDB (`pipeline.of("mongodb")`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from connectors import debezium, overrides
from contracts.endpoints import MongodbEndpoint
from contracts.stream import Pipeline

FILE = "mongodb.json"
# As in `debezium.PROMISES`: another value loses or alters data without a word.
PROMISES: Mapping[str, str] = {
    **{
        name: debezium.PROMISES[name]
        for name in (
            "tasks.max",
            "exactly.once.support",
            "skipped.operations",
            "tombstones.on.delete",
            "snapshot.mode",
            "key.converter",
            "key.converter.schemas.enable",
            "value.converter",
            "value.converter.schemas.enable",
            "signal.enabled.channels",
            "notification.enabled.channels",
        )
    },
    "connector.class": "io.debezium.connector.mongodb.MongoDbConnector",
    # Every change carries the whole document as that change left it. `lookup` would read a later one.
    "capture.mode": "change_streams_update_full",
    "capture.mode.full.update.type": "post_image",
    "cursor.oversize.handling.mode": "fail",
}
_FROM_CONTRACTS = ("topic.prefix", "collection.include.list", "database.include.list")


def render(part: Pipeline, source: MongodbEndpoint, kafka: str, *, password_reference: str) -> dict[str, str]:
    """The whole desired config; `kafka` is the broker as Connect reaches it. Never holds a password."""
    debezium.check_topics(part)
    sources = [stream.table_source for stream in part.cdc_streams]
    return {
        **PROMISES,
        **debezium.DEFAULTS,
        "mongodb.connection.string": source.url,
        "mongodb.user": source.user,
        "mongodb.password": password_reference,
        "topic.prefix": part.name,
        "database.include.list": ",".join(sorted({re.escape(source.schema) for source in sources})),
        "collection.include.list": ",".join(sorted(re.escape(source.qualified) for source in sources)),
        "signal.kafka.topic": debezium.signals_topic(part),
        "signal.kafka.bootstrap.servers": kafka,
        "signal.kafka.groupId": debezium.signals_group(part),
        "notification.sink.topic.name": debezium.notifications_topic(part),
        **overrides.read(part.connectors_dir / FILE, PROMISES, _FROM_CONTRACTS),
    }
