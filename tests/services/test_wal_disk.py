"""The disk of the source's WAL: told by the script that we ship, to nobody else than it says, and compared with what a
slot may keep. On a server whose WAL lies on another file system than its data."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import mkdtemp

import psycopg2
import pytest

from connectors import debezium, disk_checks
from connectors.finding import Finding
from connectors.guardian.facts import look_at_server
from connectors.guardian.guard import Guardian
from connectors.guardian.judgement import Concern
from connectors.postgres import source, wal_disk
from connectors.postgres.server_checks import check_server
from contracts.endpoints import Endpoints, PostgresEndpoint
from contracts.settings import GuardSettings, Settings
from contracts.stream import Column, Pipeline, Stream, TableSource
from infra.local import deployment as local_deployment
from infra.local import postgres
from infra.local.layout import open_layout

STREAM = Stream("disk", "t", "disk.public.t", TableSource("public", "t"), (Column("id", "bigint"),), ("id",))
SLOT = "headrace_disk"
PIB = 2**50
CALL = "SELECT free_bytes, total_bytes FROM headrace_disk.of_wal()"


@dataclass(frozen=True)
class Site:
    """A server whose pg_wal is linked to `wal`, its superuser, and the role that headrace's settings name."""

    endpoints: Endpoints
    superuser: PostgresEndpoint
    wal: Path
    data: Path

    @property
    def owner(self) -> PostgresEndpoint:
        return self.endpoints.source

    def do(self, statement: str) -> None:
        with source.connected(self.superuser, autocommit=True) as connection, connection.cursor() as cursor:
            cursor.execute(statement)

    def psql(self, *arguments: str) -> str:
        program = [str(postgres.bin_dir() / "psql"), "-h", self.superuser.host, "-p", str(self.superuser.port)]
        done = subprocess.run(
            [*program, "-v", "ON_ERROR_STOP=1", "-U", self.superuser.user, "-d", self.superuser.database, *arguments],
            env={"PGPASSWORD": self.superuser.password.get_secret_value()},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def install(self) -> None:
        self.psql("-v", f"role={self.owner.user}", "-f", str(wal_disk.SCRIPT))

    def findings(self, **guard: int) -> list[Finding]:
        return disk_checks.check_wal(look_at_server(self.owner, SLOT), self.owner, GuardSettings(**guard))

    def limit(self, size: str) -> None:
        self.do(f"ALTER SYSTEM SET max_slot_wal_keep_size = '{size}'")
        self.do("SELECT pg_reload_conf()")
        with source.connected(self.superuser, autocommit=True) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT pg_sleep(0.2)")

    def real(self) -> tuple[int, int]:
        """What the operating system says."""
        found = os.statvfs(self.wal)
        return found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    settings = Settings(data_dir=tmp_path_factory.mktemp("disk"), pipeline="disk")
    data = settings.data_dir / "postgres" / "data"
    elsewhere = Path("/dev/shm")
    wal = Path(mkdtemp(dir=elsewhere if elsewhere.is_dir() else settings.data_dir)) / "pg_wal"
    with pytest.MonkeyPatch.context() as patch:
        # A setting of the command line is above ALTER SYSTEM.
        patch.delitem(postgres._SERVER_SETTINGS, "max_slot_wal_keep_size")
        local_deployment.up(settings, ("postgres",))
        local_deployment.down(settings)
        wal.parent.chmod(0o755)
        shutil.move(data / "pg_wal", wal)
        (data / "pg_wal").symlink_to(wal)
        owner = data.stat()
        for path in (wal, *wal.rglob("*")):
            os.chown(path, owner.st_uid, owner.st_gid)
        found = local_deployment.up(settings, ("postgres",))
        try:
            yield Site(found, postgres.endpoint(open_layout(settings), "disk", "postgres"), wal, data)
        finally:
            local_deployment.down(settings)
            shutil.rmtree(wal.parent)


@pytest.fixture
def installed(site: Site) -> Iterator[Site]:
    """The script, run twice as it says, and taken away as it says."""
    site.install()
    site.install()
    yield site
    (uninstall,) = re.findall(r"^--   (DROP .*;)$", wal_disk.SCRIPT.read_text(encoding="utf-8"), re.MULTILINE)
    site.psql("-c", uninstall)
    assert site.psql("-Atc", "SELECT count(*) FROM pg_namespace WHERE nspname = 'headrace_disk'") == "0\n"


@pytest.fixture
def slot(installed: Site) -> Iterator[Site]:
    installed.do(f"SELECT pg_create_logical_replication_slot('{SLOT}', 'pgoutput')")
    yield installed
    installed.do(f"SELECT pg_drop_replication_slot('{SLOT}')")
    installed.limit("-1")


def test_the_figures_are_those_of_the_file_system_that_the_wal_lies_on(installed: Site) -> None:
    told = look_at_server(installed.owner, SLOT).disk
    free, total = installed.real()
    assert told.answer == "told"
    assert told.total_bytes == total
    assert abs(told.free_bytes - free) < 2**30
    data = os.statvfs(installed.data)
    assert installed.wal.stat().st_dev == installed.data.stat().st_dev or total != data.f_blocks * data.f_frsize


def test_it_writes_nothing_and_works_where_nothing_may_be_written(installed: Site) -> None:
    with source.connected(installed.owner) as connection, connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION READ ONLY; SET LOCAL standard_conforming_strings = off")
        assert wal_disk.ask(connection).known
        cursor.execute("SELECT pg_current_xact_id_if_assigned(), current_setting('statement_timeout')")
        assert cursor.fetchone() == (None, "0"), "it leaves the transaction as it was"
    left = [file.name for file in installed.data.iterdir() if file.name.startswith("headrace_disk")]
    assert left == ["headrace_disk"]


def test_nobody_but_the_role_may_call_it_nor_bring_code_into_it(installed: Site) -> None:
    other = replace(installed.endpoints.replicator, database="disk")
    with source.connected(other) as connection, connection.cursor() as cursor:
        assert wal_disk.ask(connection).answer == "closed"
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            cursor.execute(CALL)
    with source.connected(installed.owner) as connection, connection.cursor() as cursor:
        # What a caller may make in its own place is not what the function means.
        cursor.execute(
            "CREATE SCHEMA own; SET LOCAL search_path = own, pg_catalog;"
            "CREATE FUNCTION pg_read_file(text) RETURNS text LANGUAGE sql AS $$ SELECT 'x' $$;"
            "CREATE FUNCTION split_part(text, text, int) RETURNS text LANGUAGE sql AS $$ SELECT 'x' $$"
        )
        assert wal_disk.ask(connection).known
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            cursor.execute("COPY (SELECT 1) TO PROGRAM 'true'")


def test_many_at_once_each_get_a_whole_answer(installed: Site) -> None:
    answers: list[tuple[int, int]] = []

    def call() -> None:
        with closing(psycopg2.connect(**installed.owner.dsn())) as connection, connection.cursor() as cursor:
            for _ in range(25):
                cursor.execute(CALL)
                answers.extend(cursor.fetchall())

    threads = [threading.Thread(target=call) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert len(answers) == 150
    assert {total for _, total in answers} == {installed.real()[1]}


def test_a_function_of_somebody_else_is_not_called(site: Site) -> None:
    site.do(
        f"CREATE SCHEMA headrace_disk AUTHORIZATION {site.owner.user};"
        "CREATE FUNCTION headrace_disk.of_wal(OUT free_bytes bigint, OUT total_bytes bigint) LANGUAGE sql "
        "SECURITY DEFINER AS 'SELECT 1::bigint, 2::bigint';"
        f"ALTER FUNCTION headrace_disk.of_wal() OWNER TO {site.owner.user}"
    )
    try:
        assert look_at_server(site.owner, SLOT).disk.answer == "absent"
    finally:
        site.do("DROP SCHEMA headrace_disk CASCADE")


def test_where_it_is_not_told_a_hint_says_what_stands_for_it_and_what_to_type(site: Site) -> None:
    (absent,) = site.findings()
    assert absent.level == "hint"
    assert "guard.retained_wal_bytes stand for it" in absent.why
    typed = re.search(r"psql (.*) -d disk -f wal_disk\.sql$", absent.fix)
    assert typed, absent.fix
    site.psql(*typed[1].split(), "-f", str(wal_disk.SCRIPT))
    try:
        assert site.findings() == []
        site.do(f"REVOKE USAGE ON SCHEMA headrace_disk FROM {site.owner.user}")
        (closed,) = site.findings()
        assert (closed.level, closed.fix.count("GRANT")) == ("hint", 2)
        site.do(closed.fix.removeprefix("as a superuser: "))
        assert site.findings() == []
    finally:
        site.do("DROP SCHEMA headrace_disk CASCADE")


def test_plan_tells_a_limit_or_a_budget_for_which_the_disk_has_no_room(slot: Site) -> None:
    assert slot.findings(retained_wal_bytes=2**20) == []
    (budget,) = slot.findings(retained_wal_bytes=PIB)
    assert budget.level == "warning"
    assert budget.what.startswith("guard.retained_wal_bytes is 1024.0 TiB")
    fitting = re.search(r"retained_wal_bytes: (\d+)", budget.fix)
    assert fitting
    assert slot.findings(retained_wal_bytes=int(fitting[1])) == []

    unlimited = next(one for one in check_server_findings(slot) if "-1" in one.what)
    assert "'20GB'" not in unlimited.fix
    slot.limit(f"{PIB // 2**20}MB")
    (limit,) = slot.findings(retained_wal_bytes=2**20)
    assert limit.level == "warning"
    assert limit.what.startswith("max_slot_wal_keep_size is 1024.0 TiB, of which 1024.0 TiB are still to come")
    for fix in (limit.fix, unlimited.fix):
        size = re.search(r"max_slot_wal_keep_size = '(\w+)'", fix)
        assert size
        slot.limit(size[1])
        assert slot.findings(retained_wal_bytes=PIB) == []


def check_server_findings(site: Site) -> list[Finding]:
    with source.connected(site.owner) as connection:
        return check_server(connection, SLOT, limit=disk_checks.fitting_limit(look_at_server(site.owner, SLOT)))


def guardian(site: Site, budget: int) -> Guardian:
    pipeline = Pipeline("disk", (STREAM,), site.data, site.data, site.data)
    assert debezium.default_name(pipeline) == SLOT
    nobody = replace(site.endpoints, connect_url="http://127.0.0.1:1")
    return Guardian(pipeline, nobody, GuardSettings(retained_wal_bytes=budget), patience_s=0.2)


def disk_concerns(one: Guardian) -> list[Concern]:
    return [concern for concern in one.look().concerns if concern.kind.startswith("disk")]


def test_the_guardian_tells_a_disk_without_the_room_and_its_steps_bound_the_slot(slot: Site) -> None:
    watching, (free, total) = guardian(slot, PIB), slot.real()
    report = watching.look()
    assert report.disk_bytes == total
    assert abs((report.disk_free_bytes or 0) - free) < 2**30
    assert disk_concerns(guardian(slot, 2**20)) == []
    (short,) = disk_concerns(watching)
    assert (short.kind, short.severity) == ("disk short", "warn")
    assert "may take 1024.0 TiB more before its budget of 1024.0 TiB is reached" in short.what
    assert short.steps[0] == "headrace apply"
    assert short.steps[-1] == "headrace apply, once there is room"
    for step in short.steps:
        if step.startswith(("ALTER SYSTEM", "SELECT pg_reload_conf")):
            slot.do(step)
    slot.do("SELECT pg_sleep(0.2)")
    assert disk_concerns(watching) == []
    assert look_at_server(slot.owner, SLOT).slot


def test_a_df_that_fails_is_told_and_hides_nothing_else(slot: Site) -> None:
    slot.do(
        "DO $do$ BEGIN EXECUTE replace(pg_get_functiondef('headrace_disk.of_wal'::regproc), 'df -Pk pg_wal/', "
        "'df -Pk not_there/'); END $do$"
    )
    report = guardian(slot, PIB).look()
    (unknown,) = (one for one in report.concerns if one.kind.startswith("disk"))
    assert unknown.kind == "disk unknown"
    assert "exit code 1" in unknown.what
    assert (report.disk_bytes, report.wal_status) == (None, "reserved")
    (finding,) = slot.findings()
    assert finding.level == "warning"
    assert [name.name for name in slot.data.iterdir() if name.name.startswith("headrace_disk.")] == []
