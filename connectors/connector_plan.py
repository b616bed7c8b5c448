"""What the connectors beside Postgres' have in common in a plan: password, connector, first reads."""

from __future__ import annotations

import json
import re
import time
import uuid
from collections.abc import Iterable, Mapping

from kafka import KafkaProducer
from pydantic import SecretStr

from connectors import debezium, password, snapshots, topics
from connectors.plan import Change, Plan
from connectors.rest import Connect
from contracts.endpoints import Endpoints
from contracts.errors import PlanRefused, ServiceUnavailable
from contracts.settings import Settings
from contracts.stream import Pipeline


def plan_secret(found: Plan, part: Pipeline, settings: Settings, secret: SecretStr, referred: str) -> None:
    """Appends writing the password's file if the config refers to it and it is not so already."""
    ours = password.reference(settings.data_dir, part.name)
    if referred != ours or password.is_written(settings.data_dir, part.name, secret):
        return
    file = password.directory(settings.data_dir, part.name) / password.FILE
    found.changes.append(
        Change(
            "secret file",
            str(file),
            "another password" if file.exists() else "",
            "the replication password, mode 0600",
            lambda: password.write(settings.data_dir, part.name, secret),
        )
    )


def plan_connector(
    found: Plan,
    part: Pipeline,
    endpoints: Endpoints,
    connect: Connect,
    running: Mapping[str, str] | None,
    config: Mapping[str, str],
) -> None:
    """Appends creating, changing or starting the connector, whatever it lacks."""
    name = debezium.connector_name(part)
    present = {key: value for key, value in (running or {}).items() if key != "name"}
    changed = sorted(key for key in {*present, *config} if present.get(key) != config.get(key))
    if changed:
        before = "\n".join(f"    {key} = {present[key]}" for key in changed if key in present)
        after = "\n".join(f"    {key} = {config.get(key, '(removed)')}" for key in changed)
        found.changes.append(
            Change(
                "connector",
                name,
                f"\n{before}\n  " if running else "",
                f"\n{after}",
                lambda: _put(endpoints, part, config),
            )
        )
        return
    status = connect.status(name)
    if status is None or not status.running:
        found.changes.append(
            Change("connector", name, str(status or "no status"), "running", lambda: _start(endpoints, part))
        )


def plan_first_reads(found: Plan, part: Pipeline, endpoints: Endpoints, running: Mapping[str, str]) -> None:
    """Appends asking for what was declared while the connector ran, as `running` has it."""
    with topics.admin(endpoints.kafka) as client:
        told = bool(topics.existing(client, [debezium.notifications_topic(part)]))
    reads = snapshots.reads(endpoints.kafka, part) if told else snapshots.Reads(frozenset(), "", 0)
    if tables := snapshots.missing(part, reads, running):
        found.changes.append(
            Change(
                "first read",
                ", ".join(tables),
                "",
                "rows that are there already",
                lambda: request(endpoints, part, tables),
            )
        )


def _put(endpoints: Endpoints, part: Pipeline, config: Mapping[str, str]) -> None:
    name = debezium.connector_name(part)
    told = snapshots.reads(endpoints.kafka, part).told
    with Connect(endpoints.connect_url) as connect:
        if wrong := connect.validate({**config, "name": name}):
            raise PlanRefused(
                f"Connect finds the config of connector {name} wrong:\n" + "\n".join(f"- {text}" for text in wrong),
                state="The connector was not changed.",
                next_step="correct the above; for database.password see that the worker has this provider:\n"
                + password.PROVIDER_HINT,
            )
        connect.put(name, config)
        connect.wait_not_failed(name)
        snapshots.wait_works(endpoints.kafka, part, connect, told=told)


def _start(endpoints: Endpoints, part: Pipeline) -> None:
    name = debezium.connector_name(part)
    told = snapshots.reads(endpoints.kafka, part).told
    with Connect(endpoints.connect_url) as connect:
        connect.resume(name)
        connect.restart(name)
        connect.wait_not_failed(name)
        snapshots.wait_works(endpoints.kafka, part, connect, told=told)


def request(endpoints: Endpoints, part: Pipeline, tables: Iterable[str], *, timeout_s: float = 120.0) -> None:
    """Asks for a blocking snapshot of `tables` and returns when it has begun, as `snapshots.request` does for Postgres.

    A transaction that is open meanwhile needs no waiting for: all of it is sent when it commits.
    """
    names = list(tables)
    before = snapshots.reads(endpoints.kafka, part).begun
    signal = {
        "id": uuid.uuid4().hex,
        "type": "execute-snapshot",
        "data": {"type": "BLOCKING", "data-collections": [re.escape(name) for name in names]},
    }
    producer = KafkaProducer(bootstrap_servers=endpoints.kafka, acks="all")
    try:
        record = producer.send(debezium.signals_topic(part), key=part.name.encode(), value=json.dumps(signal).encode())
        record.get(timeout=30)
    finally:
        producer.close()
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if snapshots.reads(endpoints.kafka, part).begun > before:
            return
        time.sleep(1.0)
    raise ServiceUnavailable(
        f"the connector did not begin to read {', '.join(names)} within {timeout_s:.0f} s",
        state="The request is kept: the connector reads the tables as soon as it runs.",
        next_step="`headrace plan` shows whether it did",
        pipeline=part.name,
    )
