"""The local deployment as a whole: bring it up, take it down, say how it is.

`up` starts what is missing and a second one changes nothing; `down` leaves no process, and data survive both; `reset`
forgets all data of the local parts together. `endpoints` says where everything answers, local or external.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from filelock import FileLock, Timeout
from pydantic import SecretStr

from contracts.endpoints import Endpoints, MariadbEndpoint, MongodbEndpoint, PostgresEndpoint
from contracts.errors import Conflict, Fatal
from contracts.settings import PostgresSettings, Settings
from infra.jars import ensure_jars
from infra.java import find_java, java
from infra.local import connect, hdfs, hive, kafka, layout, postgres, probes, process
from infra.local.layout import Layout, data_dir, open_layout
from infra.local.part import External, NotReady, Part, PartStatus
from infra.local.start import Progress, silent, start_all
from infra.preflight import preflight

PARTS = ("postgres", "kafka", "connect", "namenode", "datanode1", "datanode2", "metastore", "sql")
# What `reset` deletes. Named one by one: data_dir may be a folder in which the user keeps other things. Ports and
# secrets stay, for others refer to them.
_PART_DATA = ("postgres", "kafka", "connect", "hdfs", "metastore", "sql", "config", "log", "run")
_PROCESS_DATA = ("checkpoints", "parked", "monitor", "connectors", "trusted", "sample")
_PROCESS_FILES = "*.status.json"
_LOCK_TIMEOUT_S = 180


def endpoints(settings: Settings) -> Endpoints:
    """Every address: external ones from the settings, local ones from the chosen ports.

    Chooses the ports when no `up` has yet, so the answer is the same before and after it.
    """
    here = open_layout(settings)
    sql_host, sql_port = hive.address(here)
    source = _database(settings.source, here, settings.pipeline, postgres.SOURCE_OWNER)
    return Endpoints(
        kafka=settings.kafka.bootstrap_servers or kafka.address(here),
        connect_url=settings.connect.url or connect.url(here),
        hdfs_url=settings.hadoop.hdfs_url or hdfs.url(here),
        metastore_uri=settings.hadoop.metastore_uri or hive.metastore_uri(here),
        source=source,
        replicator=_replicator(settings, here, source),
        warehouse=_database(settings.warehouse, here, postgres.WAREHOUSE_DATABASE, postgres.WAREHOUSE),
        sql_host=settings.sql.host or sql_host,
        sql_port=settings.sql.port if settings.sql.host else sql_port,
        webhdfs_url=settings.hadoop.webhdfs_url or ("" if settings.hadoop.hdfs_url else hdfs.http_url(here)),
        mongodb=MongodbEndpoint(settings.mongodb.url, settings.mongodb.user, settings.mongodb.password),
        mariadb=_mariadb(settings, settings.mariadb.user, settings.mariadb.password),
        mariadb_replicator=_mariadb(settings, replicator.user, replicator.password)
        if (replicator := settings.mariadb.replicator).user
        else _mariadb(settings, settings.mariadb.user, settings.mariadb.password),
    )


def spark_conf(settings: Settings) -> dict[str, str]:
    """Spark settings that the local HDFS needs of its clients; empty when HDFS is external."""
    if settings.hadoop.hdfs_url:
        return {}
    return {f"spark.hadoop.{name}": value for name, value in hdfs.CLIENT_CONF.items()}


def up(
    settings: Settings,
    parts: Collection[str] = PARTS,
    extra: Iterable[Part] = (),
    progress: Progress = silent,
) -> Endpoints:
    """Starts every part that does not run, in parallel as their dependencies allow; returns when all are ready.

    Parts that run are left alone; a crashed one is named through `progress` and started again. External parts are
    checked. `extra` are processes the caller wants kept with the deployment: they start after the parts (those they
    name in `after`, else all) and `down` stops them first. On failure the parts that did start stay up, so that
    `status` and `logs` can tell; `up` may simply be called again.
    """
    wanted = set(parts)
    if unknown := wanted - set(PARTS):
        raise Fatal(f"no such part: {', '.join(sorted(unknown))}", next_step=f"choose among {', '.join(PARTS)}")
    with _locked(settings):
        here = open_layout(settings)
        if not process.records(here.data_dir):
            _look_before(here.data_dir, progress)
        local, external = _describe(here, wanted)
        ensure_jars(lambda message: progress("jars", message))
        names = tuple(part.name for part in local)
        dependent = [replace(part, after=part.after or names) for part in extra]
        start_all(local, dependent, external, here, progress)
    return endpoints(settings)


def down(settings: Settings, names: Collection[str] = (), progress: Progress = silent) -> list[str]:
    """Stops the named parts, or all, last started first; returns the names that were stopped.

    Safe to repeat, and after a kill -9 of anything: what no pid file knows is found by its environment and killed.
    """
    if not layout.exists(settings):
        return []
    folder = data_dir(settings)
    with _locked(settings):
        known = [record for record in process.records(folder).values() if not names or record.name in names]
        stopped = []
        for wave in _waves(known):
            with ThreadPoolExecutor(max_workers=len(wave)) as pool:
                list(pool.map(process.stop, wave))
            for record in wave:
                process.forget(folder, record.name)
                stopped.append(record.name)
                progress(record.name, "stopped")
        if not names and (strays := process.kill_strays(folder)):
            progress("deployment", f"killed {strays} processes that no pid file knew")
    return stopped


def status(settings: Settings) -> list[PartStatus]:
    """One entry per part, local or external, then the extra ones; changes nothing and waits for nothing."""
    folder = data_dir(settings)
    known = process.records(folder)
    checks = {check.name: check for check in _external(settings, probes.SQL_LOOK_S)}
    found = []
    for name in (*PARTS, *(name for name in known if name not in PARTS)):
        if name in checks:
            found.append(_external_status(checks[name]))
        elif name not in checks and _is_covered(name, settings):
            continue
        elif name in known:
            found.append(_local_status(known[name]))
        else:
            found.append(PartStatus(name, "stopped", log=process.log_file(folder, name)))
    return found


def logs(settings: Settings, name: str, lines: int = 50) -> tuple[str, ...]:
    """The last lines of a part's log; Fatal when there is no such log."""
    file = process.log_file(data_dir(settings), name)
    if not file.exists():
        known = sorted(path.stem for path in file.parent.glob("*.log"))
        raise Fatal(f"there is no log of {name!r}", next_step=f"choose among {', '.join(known) or 'none yet'}")
    return process.last_lines(file, lines)


def reset(settings: Settings, progress: Progress = silent) -> None:
    """Stops everything and deletes all local data together: topics, databases, tables, metastore, checkpoints.

    Ports and passwords stay. What external parts hold is not touched. Asking first is the caller's part.
    """
    down(settings, progress=progress)
    if not layout.exists(settings):
        return
    with _locked(settings):
        for name in (*_PART_DATA, *_PROCESS_DATA):
            shutil.rmtree(data_dir(settings) / name, ignore_errors=True)
        for file in data_dir(settings).glob(_PROCESS_FILES):
            file.unlink()
    progress("deployment", "all local data are gone")


def _look_before(folder: Path, progress: Progress) -> None:
    """Tells what this machine lacks; Fatal when that would stop every part."""
    if find_java() is None:
        java()  # installs it where that is allowed, else says how
    for finding in preflight(folder):
        if finding.stops:
            raise Fatal(finding.what, state="Nothing was started.", next_step=finding.do)
        progress("preflight", f"{finding.what}: {finding.do}")


def _describe(here: Layout, wanted: set[str]) -> tuple[list[Part], list[External]]:
    """The local parts to run and the external ones to check."""
    settings = here.settings
    external = [check for check in _external(settings) if check.name in wanted]
    addresses = endpoints(settings)
    builders: dict[str, Callable[[], list[Part]]] = {
        "postgres": lambda: [postgres.part(here)],
        "kafka": lambda: [kafka.part(here)],
        "connect": lambda: [connect.part(here, addresses.kafka)],
        "namenode": lambda: hdfs.parts(here),
        "metastore": lambda: [hive.metastore(here, addresses.hdfs_url)],
        "sql": lambda: [hive.sql(here, addresses.hdfs_url, addresses.metastore_uri)],
    }
    local = [
        part
        for name, build in builders.items()
        if not _is_covered(name, settings)
        for part in build()
        if part.name in wanted
    ]
    return local, external


def _is_covered(name: str, settings: Settings) -> bool:
    """Whether the settings name an external part in this one's place."""
    return {
        "postgres": bool(settings.source.host and settings.warehouse.host),
        "kafka": bool(settings.kafka.bootstrap_servers),
        "connect": bool(settings.connect.url),
        "namenode": bool(settings.hadoop.hdfs_url),
        "datanode1": bool(settings.hadoop.hdfs_url),
        "datanode2": bool(settings.hadoop.hdfs_url),
        "metastore": bool(settings.hadoop.metastore_uri),
        "sql": bool(settings.sql.host),
    }.get(name, False)


def _external(settings: Settings, sql_s: float = probes.SQL_TIMEOUT_S) -> list[External]:
    """What the settings say somebody else runs. HDFS is named by its NameNode, a database by its host. `sql_s`: for how
    long an answer of the SQL endpoint is awaited."""
    found = []
    if servers := settings.kafka.bootstrap_servers:
        found.append(External("kafka", servers, lambda: probes.kafka(servers)))
    if url := settings.connect.url:
        found.append(External("connect", url, lambda: probes.connect(url)))
    if hdfs_url := settings.hadoop.hdfs_url:
        found.append(External("namenode", hdfs_url, lambda: probes.tcp_url(hdfs_url, 8020)))
    if uri := settings.hadoop.metastore_uri:
        found.append(External("metastore", uri, lambda: probes.metastore(uri)))
    if host := settings.sql.host:
        found.append(External("sql", f"{host}:{settings.sql.port}", lambda: probes.sql(host, settings.sql.port, sql_s)))
    databases = (("source", settings.source), ("warehouse", settings.warehouse))
    for name, database in databases:
        if database.host:
            address = f"{database.host}:{database.port}/{database.database}"
            external = external_database(database)
            found.append(External(name, address, lambda external=external: probes.postgres(external)))  # type: ignore[misc]
    return found


def _database(given: PostgresSettings, here: Layout, local_database: str, local_role: str) -> PostgresEndpoint:
    return external_database(given) if given.host else postgres.endpoint(here, local_database, local_role)


def _replicator(settings: Settings, here: Layout, source: PostgresEndpoint) -> PostgresEndpoint:
    if not settings.source.host:
        return postgres.endpoint(here, settings.pipeline, postgres.REPLICATOR)
    given = settings.replicator
    return replace(source, user=given.user, password=given.password) if given.user else source


def _mariadb(settings: Settings, user: str, password: SecretStr) -> MariadbEndpoint:
    given = settings.mariadb
    return MariadbEndpoint(
        given.host,
        given.port,
        user,
        password,
        # As below.
        sslmode="" if given.sslmode == "prefer" else given.sslmode,
        sslrootcert=str(given.sslrootcert.absolute()) if given.sslrootcert else "",
    )


def external_database(given: PostgresSettings) -> PostgresEndpoint:
    """A database that the settings name."""
    return PostgresEndpoint(
        given.host,
        given.port,
        given.database,
        given.user,
        given.password,
        # Every client's own default need not stand in a connector's config.
        sslmode="" if given.sslmode == "prefer" else given.sslmode,
        sslrootcert=str(given.sslrootcert.absolute()) if given.sslrootcert else "",
    )


def _external_status(check: External) -> PartStatus:
    try:
        check.ready()
    except (NotReady, OSError) as error:
        return PartStatus(check.name, "unreachable", address=check.address, detail=str(error))
    return PartStatus(check.name, "external", address=check.address)


def _local_status(record: process.Record) -> PartStatus:
    log = Path(record.log)
    address = f"{layout.LOOPBACK}:{record.port}" if record.port else ""
    if not process.alive(record):
        return PartStatus(
            record.name,
            "crashed",
            port=record.port,
            address=address,
            log=log,
            detail=f"pid {record.pid} is gone",
            last_lines=process.last_lines(log),
        )
    return PartStatus(record.name, "running", record.pid, record.port, address, process.memory_bytes(record), log)


def _waves(known: list[process.Record]) -> list[list[process.Record]]:
    """Last started first; parts that were started at once stop at once."""
    orders = sorted({record.order for record in known}, reverse=True)
    return [[record for record in known if record.order == order] for order in orders]


class _locked(FileLock):
    """One command at a time changes a deployment; the lock dies with its holder."""

    def __init__(self, settings: Settings) -> None:
        folder = data_dir(settings)
        folder.mkdir(parents=True, exist_ok=True)
        super().__init__(folder / "deployment.lock", timeout=_LOCK_TIMEOUT_S)

    def __enter__(self) -> _locked:
        try:
            super().__enter__()
        except Timeout:
            raise Conflict(
                "another command is changing this deployment",
                state="Nothing was changed.",
                next_step="wait for it to end, then repeat",
                folder=str(Path(self.lock_file).parent),
            ) from None
        return self
