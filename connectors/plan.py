"""What is declared against what runs: the difference, and making it so."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from connectors import connector, debezium, password, snapshots, source, topics
from connectors.rest import Connect
from connectors.source_checks import check
from contracts.endpoints import Endpoints
from contracts.errors import PlanRefused
from contracts.settings import Settings
from contracts.stream import Pipeline

Progress = Callable[[str], None]


def _silent(_: str) -> None:
    return None


@dataclass(frozen=True)
class Change:
    """One step from what runs to what is declared. `before` is empty for something that is not there yet.

    `make` may be called again after it succeeded or failed half-way: each change reaches the same end.
    """

    kind: str
    name: str
    before: str
    after: str
    make: Callable[[], None]

    def describe(self) -> str:
        """One line, or more for a config: what, which, from and to."""
        verb = "create" if not self.before else "change"
        middle = f"{self.before} -> {self.after}" if self.before else self.after
        return f"{verb} {self.kind} {self.name}: {middle}"

    def apply(self) -> None:
        """Returns when the change holds."""
        self.make()


@dataclass
class Plan:
    """An open list of changes in the order in which they are applied; other stages append theirs.

    Refusals are things that `apply` must not do; with one of them nothing is applied. Warnings never stop anything.
    """

    pipeline: str
    changes: list[Change] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def empty(self) -> bool:
        """Whether what runs is what is declared."""
        return not self.changes and not self.refusals

    def require(self) -> None:
        """Raises PlanRefused with every refusal, if there is one."""
        if self.refusals:
            raise PlanRefused(
                f"pipeline {self.pipeline} cannot be applied:\n" + "\n".join(f"- {text}" for text in self.refusals),
                state="Nothing was changed.",
                next_step="correct the above, then `headrace plan`",
            )


def plan(pipeline: Pipeline, endpoints: Endpoints, settings: Settings) -> Plan:
    """Compares topics, source database and connector with the contracts. Changes nothing; may be called at any time.
    What comes from MariaDB is added by `mariadb_plan`.

    ContractError for declarations that cannot be rendered, ServiceUnavailable if a part does not answer; everything
    else that stands in the way is a refusal in the plan.
    """
    found = Plan(pipeline.name)
    _plan_topics(found, pipeline, endpoints)
    pipeline = pipeline.of("postgres")
    if pipeline.cdc_streams:
        with Connect(endpoints.connect_url) as connect:
            running = connect.config(debezium.connector_name(pipeline))
            kept_in = _placeholder_file(settings, pipeline)
            config = debezium.render(
                pipeline,
                endpoints.replicator,
                endpoints.kafka,
                password_reference=password.reference(settings.data_dir, pipeline.name),
                placeholder=debezium.placeholder(running, kept_in),
            )
            unpublished = _plan_source(found, pipeline, endpoints, config)
            _plan_secret(found, pipeline, endpoints, settings, config)
            lost = connector.lost(endpoints, pipeline, connect, config["slot.name"]) if running else ""
            if lost:
                _plan_new_slot(found, pipeline, endpoints, lost, config, kept_in)
            else:
                _plan_connector(found, pipeline, endpoints, connect, running, config, kept_in)
            if running and not lost:
                _plan_first_reads(found, pipeline, endpoints, running, unpublished)
    return found


def apply(planned: Plan, progress: Progress = _silent) -> int:
    """Applies the changes in their order and returns how many. Raises PlanRefused before the first if the plan holds a
    refusal. After an error the changes before it hold; a new plan shows what is left."""
    planned.require()
    for change in planned.changes:
        progress(change.describe())
        change.apply()
    return len(planned.changes)


def _plan_topics(found: Plan, pipeline: Pipeline, endpoints: Endpoints) -> None:
    declared = topics.declared(pipeline)
    with topics.admin(endpoints.kafka) as client:
        existing = topics.existing(client, [topic.name for topic in declared])
    for topic in declared:
        present = existing.get(topic.name)
        if present is None:
            found.changes.append(_create_topic(endpoints.kafka, topic))
            continue
        if present.partitions != topic.partitions:
            found.refusals.append(
                f"topic {topic.name} has {present.partitions} partitions and {topic.partitions} are declared: the "
                "position of every row that arrived is kept by partition\n  declare "
                f"{present.partitions}, or give the stream a new topic"
            )
        if changed := topics.changed_config(topic, present):
            found.changes.append(_configure_topic(endpoints.kafka, topic, changed))


def _create_topic(kafka: str, topic: topics.Topic) -> Change:
    return Change("topic", topic.name, "", str(topic), lambda: topics.create(kafka, topic))


def _configure_topic(kafka: str, topic: topics.Topic, changed: Mapping[str, tuple[str, str]]) -> Change:
    before = ", ".join(f"{name}={was}" for name, (was, _) in sorted(changed.items()))
    after = ", ".join(f"{name}={wanted}" for name, (_, wanted) in sorted(changed.items()))
    return Change("topic", topic.name, before, after, lambda: topics.configure(kafka, topic))


def _plan_source(found: Plan, pipeline: Pipeline, endpoints: Endpoints, config: Mapping[str, str]) -> frozenset[str]:
    """Returns the tables of which no change is sent: a table that is dropped leaves its publication."""
    tables = source.cdc_tables(pipeline)
    role, publication = endpoints.replicator.user, config["publication.name"]
    with source.connected(endpoints.source) as connection:
        findings = check(connection, pipeline, slot=config["slot.name"], role=role)
        access = source.access(connection, role, publication, tables)
    found.refusals += [str(finding) for finding in findings if finding.level == "refusal"]
    found.warnings += [str(finding) for finding in findings if finding.level == "warning"]
    if missing := access.missing(tables):
        found.changes.append(
            Change(
                "replication access",
                f"role {role}, publication {publication}",
                "incomplete" if access.role else "",
                "; ".join(missing),
                lambda: source.grant(endpoints.source, endpoints.replicator, publication, tables),
            )
        )
    return frozenset(table.qualified for table in tables) - (access.published or frozenset())


def _plan_secret(
    found: Plan, pipeline: Pipeline, endpoints: Endpoints, settings: Settings, config: Mapping[str, str]
) -> None:
    ours = password.reference(settings.data_dir, pipeline.name)
    secret = endpoints.replicator.password
    if config["database.password"] != ours or password.is_written(settings.data_dir, pipeline.name, secret):
        return
    file = password.directory(settings.data_dir, pipeline.name) / password.FILE
    found.changes.append(
        Change(
            "secret file",
            str(file),
            "another password" if file.exists() else "",
            "the replication password, mode 0600",
            lambda: password.write(settings.data_dir, pipeline.name, secret),
        )
    )


def _plan_connector(
    found: Plan,
    pipeline: Pipeline,
    endpoints: Endpoints,
    connect: Connect,
    running: Mapping[str, str] | None,
    config: Mapping[str, str],
    kept_in: Path,
) -> None:
    name = debezium.connector_name(pipeline)
    # Connect adds the name to what was PUT.
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
                lambda: connector.put(endpoints, pipeline, config, kept_in),
            )
        )
        return
    status = connect.status(name)
    if status is None or not status.running:
        found.changes.append(
            Change(
                "connector",
                name,
                str(status or "no status"),
                "running",
                lambda: connector.start(endpoints, pipeline),
            )
        )


def _plan_new_slot(
    found: Plan, pipeline: Pipeline, endpoints: Endpoints, lost: str, config: Mapping[str, str], kept_in: Path
) -> None:
    """Never by itself: a person should know that changes between two states were not seen."""
    found.changes.append(
        Change(
            "connector",
            debezium.connector_name(pipeline),
            f"{lost}: changes since then may never have been sent",
            "a new replication slot and a read of every table; the lake deletes what the source no longer has, and "
            "the history lacks the states in between",
            lambda: connector.begin_again(endpoints, pipeline, config, kept_in),
        )
    )


def _plan_first_reads(
    found: Plan, pipeline: Pipeline, endpoints: Endpoints, running: Mapping[str, str], unpublished: frozenset[str]
) -> None:
    reads = snapshots.reads(endpoints.kafka, pipeline)
    if tables := snapshots.missing(pipeline, reads, running, unpublished):
        found.changes.append(
            Change(
                "first read",
                ", ".join(tables),
                "",
                "rows that are there already",
                lambda: snapshots.request(endpoints, pipeline, tables),
            )
        )


def _placeholder_file(settings: Settings, pipeline: Pipeline) -> Path:
    return settings.data_dir / "connectors" / pipeline.name / "unavailable_value_placeholder"
