"""Taking a pipeline's connector away again: what an unread replication slot would cost is the source's disk."""

from __future__ import annotations

import time

from connectors import debezium, topics
from connectors.postgres import source
from connectors.rest import Connect
from contracts.endpoints import Endpoints
from contracts.errors import ServiceUnavailable
from contracts.stream import Pipeline, System


def remove(pipeline: Pipeline, endpoints: Endpoints, *, with_topics: bool, timeout_s: float = 60.0) -> None:
    """Removes connector, its offsets, slot and publication, and on demand the topics with everything in them.

    May be repeated; what is not there is passed over. The next `apply` begins with a first read of all tables.
    ServiceUnavailable if the connector does not let go of the slot in time.
    """
    if (postgres := pipeline.of("postgres")).cdc_streams:
        _remove_connector(postgres, endpoints, timeout_s)
    others: tuple[System, ...] = ("mariadb", "mongodb")
    for part in map(pipeline.of, others):
        if part.cdc_streams:
            with Connect(endpoints.connect_url) as connect:
                _forget(connect, part, timeout_s)
    if with_topics:
        names = [topic.name for topic in topics.declared(pipeline)]
        with topics.admin(endpoints.kafka) as client:
            if present := sorted(topics.existing(client, names)):
                client.delete_topics(present)


def _remove_connector(pipeline: Pipeline, endpoints: Endpoints, timeout_s: float) -> None:
    name = debezium.connector_name(pipeline)
    own = debezium.overrides(pipeline)
    deadline = time.monotonic() + timeout_s
    with Connect(endpoints.connect_url) as connect:
        config = connect.config(name) or own
        _forget(connect, pipeline, timeout_s)
    slot = config.get("slot.name", debezium.default_name(pipeline))
    while not source.drop_slot(endpoints.replicator, slot):
        _still(deadline, f"replication slot {slot} is still in use")
    source.drop_publication(endpoints.source, config.get("publication.name", debezium.default_name(pipeline)))


def _forget(connect: Connect, pipeline: Pipeline, timeout_s: float) -> None:
    name = debezium.connector_name(pipeline)
    if connect.config(name) is None:
        return
    connect.stop(name)
    connect.wait_stopped(name, timeout_s=timeout_s)
    connect.forget(name)
    connect.delete(name)


def _still(deadline: float, what: str) -> None:
    if time.monotonic() > deadline:
        raise ServiceUnavailable(what, next_step="try again; see who reads it in pg_replication_slots")
    time.sleep(0.2)
