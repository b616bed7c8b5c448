"""The MariaDB part of a plan: server, role, password, connector and first reads against what is declared."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from connectors import connector, debezium, disk_checks, password, signals, truststore
from connectors.connector_plan import begins_again, plan_connector, plan_first_reads, plan_secret
from connectors.mariadb import binlog_disk, signal_table
from connectors.mariadb import connector as mariadb_connector
from connectors.mariadb import log as mariadb_log
from connectors.mariadb import position as mariadb_position
from connectors.mariadb import source as mariadb
from connectors.mariadb.checks import check, unencrypted
from connectors.plan import Change, Plan
from connectors.reads import snapshots
from connectors.rest import Connect
from contracts.endpoints import Endpoints
from contracts.settings import Settings
from contracts.stream import Pipeline


def add(found: Plan, pipeline: Pipeline, endpoints: Endpoints, settings: Settings) -> None:
    """Appends what the MariaDB tables of the pipeline need; nothing if there are none. Changes nothing else."""
    part = pipeline.of("mariadb")
    if not part.cdc_streams:
        return
    with Connect(endpoints.connect_url) as connect:
        running = connect.config(debezium.connector_name(part))
        config = mariadb_connector.render(
            part,
            endpoints.mariadb_replicator,
            endpoints.kafka,
            password_reference=password.reference(settings.data_dir, part.name),
            truststore=str(truststore.file(settings.data_dir, part.name)),
        )
        role = _plan_server(found, part, endpoints, config, running)
        secret = endpoints.mariadb_replicator.password
        plan_secret(found, part, settings, secret, config["database.password"])
        _plan_truststore(found, part, endpoints, settings, config.get(mariadb_connector.TRUSTSTORE))
        if role.logs and (lost := _lost(part, endpoints, connect)):
            found.changes.append(begins_again(part, lost, lambda: connector.begin_again(endpoints, part, config)))
            return
        plan_connector(found, part, endpoints, connect, running, config)
    if running:
        ask = partial(_request, endpoints, part, config)
        plan_first_reads(found, part, endpoints, running, request=ask)


def _lost(part: Pipeline, endpoints: Endpoints, connect: Connect) -> str:
    """What happened, if the server has dropped what a connector that does not run must read next, or was set back; else
    empty."""
    name = debezium.connector_name(part)
    status, offset = connect.status(name), connect.source_offset(name)
    if offset is None or mariadb_position.first_read_runs(offset):
        return ""
    left = mariadb_log.unread(offset, mariadb_log.look(endpoints.mariadb_replicator), time.time())
    # What a connector that runs has still to read is not dropped: its position is noted after it has read on.
    if left and (left.set_back or (left.gone and not (status and status.running))):
        return mariadb_log.dropped(left, name)
    return ""


def _request(endpoints: Endpoints, part: Pipeline, config: Mapping[str, str], tables: list[str]) -> None:
    if signals.heard(config):  # the rows of before lie below that, too
        mariadb_position.quiesced(part, endpoints, timeout_s=120)
    snapshots.earlier_taken(endpoints, part)
    snapshots.begin(endpoints, part, tables)


def _plan_truststore(
    found: Plan, part: Pipeline, endpoints: Endpoints, settings: Settings, referred: str | None
) -> None:
    ours, trusted = truststore.file(settings.data_dir, part.name), Path(endpoints.mariadb_replicator.sslrootcert)
    if referred == str(ours) and not truststore.is_written(ours, trusted):
        found.changes.append(
            Change(
                "trusted authorities",
                str(ours),
                "others" if ours.exists() else "",
                f"the certificates of {trusted}, for Connect",
                lambda: truststore.write(ours, trusted),
            )
        )


def _included(running: Mapping[str, str] | None, what: str) -> set[str]:
    listed = (running or {}).get(f"{what}.include.list", "")
    return {re.sub(r"\\(.)", r"\1", name) for name in listed.split(",") if name}


def _plan_server(
    found: Plan, part: Pipeline, endpoints: Endpoints, config: Mapping[str, str], running: Mapping[str, str] | None
) -> mariadb.Access:
    """Returns what the role may do by now."""
    with mariadb.connected(endpoints.mariadb) as cursor:
        found.take(check(cursor, part, server_id=config["database.server.id"], captured=_included(running, "table")))
        requests = signals.heard(config)
        unfit = signal_table.check(cursor, requests, endpoints.mariadb_replicator) if requests else []
        found.take(unfit)
    found.take(unencrypted(config))
    databases = mariadb.databases(part)
    if running and (added := sorted(set(databases) - _included(running, "database"))):
        found.refusals.append(
            f"{', '.join(added)}: the connector runs and knows no table of this database\n"
            "  declare its tables in a pipeline of their own"
        )
    who = endpoints.mariadb_replicator
    role = mariadb.access(who)
    if requests and role.known and not unfit:
        found.take(signal_table.check_role(requests, who))
    if role.logs and (room := binlog_disk.look(who)):
        found.take(disk_checks.check_binlog(room, who.user))
    if missing := role.missing(databases):
        found.changes.append(
            Change(
                "replication access",
                f"MariaDB user {endpoints.mariadb_replicator.user}",
                "incomplete" if role.known else "",
                "; ".join(missing),
                lambda: mariadb.grant(endpoints.mariadb, endpoints.mariadb_replicator, databases),
            )
        )
    only, never = role.logged
    left_out = [name for name in databases if name in never.split(",") or (only and name not in only.split(","))]
    if left_out:
        found.refusals.append(
            f"{', '.join(left_out)}: the server leaves this database out of the binlog\n"
            "  take it out of binlog_ignore_db, or into binlog_do_db, in the server's configuration; then restart it"
        )
    return role
