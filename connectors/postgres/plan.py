"""The topics and the Postgres part of a plan: source database, password, connector and first reads against what is
declared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from connectors import connector, debezium, disk_checks, password, signals
from connectors.connector_plan import begins_again, plan_connector, plan_first_reads, plan_secret
from connectors.guardian.facts import look_at_server
from connectors.plan import Change, Plan, plan_topics
from connectors.postgres import signal_table, source
from connectors.postgres.catalog import SourceTable, quoted, read_tables
from connectors.postgres.checks import check
from connectors.postgres.key_checks import message_keys
from connectors.reads import snapshots
from connectors.rest import Connect
from contracts.endpoints import Endpoints
from contracts.settings import GuardSettings, Settings
from contracts.stream import Pipeline


def plan(pipeline: Pipeline, endpoints: Endpoints, settings: Settings) -> Plan:
    """Compares topics, source database and connector with the contracts. Changes nothing; may be called at any time.
    What comes from other systems is added by `mariadb.plan` and `mongodb.plan`.

    ContractError for declarations that cannot be rendered, ServiceUnavailable if a part does not answer; everything
    else that stands in the way is a refusal in the plan.
    """
    found = Plan(pipeline.name)
    plan_topics(found, pipeline, endpoints)
    part = pipeline.of("postgres")
    if not part.cdc_streams:
        return found
    with source.connected(endpoints.source) as connection:
        tables = read_tables(connection, names=[table.qualified for table in source.cdc_tables(part)])
    with Connect(endpoints.connect_url) as connect:
        running = connect.config(debezium.connector_name(part))
        kept_in = _placeholder_file(settings, part)
        config = debezium.render(
            part,
            endpoints.replicator,
            endpoints.kafka,
            password_reference=password.reference(settings.data_dir, part.name),
            placeholder=debezium.placeholder(running, kept_in),
            unsent=[f"{table.qualified}.{one.name}" for table in tables for one in table.columns if one.unsent],
            keys=message_keys(part, tables),
        )
        unpublished = _plan_source(found, part, endpoints, tables, config, settings.guard)
        plan_secret(found, part, settings, endpoints.replicator.password, config["database.password"])
        lost = connector.lost(endpoints, part, connect, config["slot.name"], exists=running is not None)
        if lost:
            make = partial(connector.begin_again_postgres, endpoints, part, config, kept_in)
            found.changes.append(begins_again(part, lost, make, "a new replication slot and "))
            return found
        plan_connector(
            found,
            part,
            endpoints,
            connect,
            running,
            config,
            put=lambda: connector.put_postgres(endpoints, part, config, kept_in),
            start=lambda: connector.start_postgres(endpoints, part),
        )
    if running:
        plan_first_reads(
            found, part, endpoints, running, unpublished, lambda tables: snapshots.request(endpoints, part, tables)
        )
    return found


def _plan_source(
    found: Plan,
    pipeline: Pipeline,
    endpoints: Endpoints,
    described: Sequence[SourceTable],
    config: Mapping[str, str],
    guard: GuardSettings,
) -> frozenset[str]:
    """Returns the tables of which no change is sent: a table that is dropped leaves its publication."""
    tables = source.cdc_tables(pipeline)
    role, publication = endpoints.replicator.user, config["publication.name"]
    server = look_at_server(endpoints.source, config["slot.name"])
    found.take(disk_checks.check_wal(server, endpoints.source, guard))
    limit = disk_checks.fitting_limit(server)
    with source.connected(endpoints.source) as connection:
        found.take(check(connection, pipeline, described, slot=config["slot.name"], role=role, limit=limit))
        if requests := signals.heard(config):
            found.take(signal_table.check(connection, requests, role))
        access = source.access(connection, role, publication, tables)
    if access.all_tables:
        found.refusals.append(
            f"publication {publication} is FOR ALL TABLES, which no statement makes one of the declared tables\n"
            f"  DROP PUBLICATION {quoted(publication)};  -- `headrace apply` makes its own"
        )
    elif missing := access.missing(tables, requests):
        found.changes.append(
            Change(
                "replication access",
                f"role {role}, publication {publication}",
                "incomplete" if access.role else "",
                "; ".join(missing),
                lambda: source.grant(endpoints.source, endpoints.replicator, publication, tables, requests),
            )
        )
    return frozenset(table.qualified for table in tables) - (access.published or frozenset())


def _placeholder_file(settings: Settings, pipeline: Pipeline) -> Path:
    return settings.data_dir / "connectors" / pipeline.name / "unavailable_value_placeholder"
