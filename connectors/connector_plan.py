"""What the connectors of all systems have in common in a plan: password, connector, first reads."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from pydantic import SecretStr

from connectors import connector, debezium, overrides, password, topics
from connectors.plan import Change, Plan
from connectors.reads import snapshots
from connectors.rest import Connect
from contracts.endpoints import Endpoints
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
    *,
    put: Callable[[], None] | None = None,
    start: Callable[[], None] | None = None,
) -> None:
    """Appends creating, changing or starting the connector, whatever it lacks; by `put` and `start`, if given."""
    put = put or (lambda: connector.put(endpoints, part, config))
    start = start or (lambda: connector.start(endpoints, part))
    name = debezium.connector_name(part)
    # Connect adds the name to what was PUT.
    present = {key: value for key, value in (running or {}).items() if key != "name"}
    changed = sorted(key for key in {*present, *config} if present.get(key) != config.get(key))
    if changed:
        before = "\n".join(f"    {key} = {overrides.shown(key, present[key])}" for key in changed if key in present)
        after = "\n".join(f"    {key} = {config.get(key, '(removed)')}" for key in changed)
        found.changes.append(Change("connector", name, f"\n{before}\n  " if running else "", f"\n{after}", put))
        return
    status = connect.status(name)
    if status is None or not status.running:
        found.changes.append(Change("connector", name, str(status or "no status"), "running", start))


def begins_again(part: Pipeline, lost: str, make: Callable[[], None], also: str = "") -> Change:
    """Never by itself: a person should know that changes between two states were not seen."""
    return Change(
        "connector",
        debezium.connector_name(part),
        f"{lost}: changes since then may never have been sent",
        f"{also}a read of every table; the lake deletes what the source no longer has, and the history lacks the "
        "states in between",
        make,
    )


def plan_first_reads(
    found: Plan,
    part: Pipeline,
    endpoints: Endpoints,
    running: Mapping[str, str],
    unpublished: Collection[str] = (),
    request: Callable[[list[str]], None] | None = None,
) -> None:
    """Appends asking for what was declared while the connector ran, as `running` has it, or was `unpublished`; by
    `request`, if given."""
    request = request or (lambda tables: snapshots.begin(endpoints, part, tables))
    with topics.admin(endpoints.kafka) as client:
        told = bool(topics.existing(client, [debezium.notifications_topic(part)]))
    reads = snapshots.reads(endpoints.kafka, part) if told else snapshots.Reads(frozenset(), "", 0)
    if tables := snapshots.missing(part, reads, running, unpublished):
        found.changes.append(
            Change("first read", ", ".join(tables), "", "rows that are there already", lambda: request(tables))
        )
