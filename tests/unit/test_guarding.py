"""The guardian inside `headrace run`: told once, kept for `status` and Prometheus, and nothing of it stops the run."""

from __future__ import annotations

import json
import logging
import threading
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner
from pydantic import SecretStr, ValidationError

from connectors import debezium
from connectors.guardian.guard import Guardian, Kept, Report
from connectors.guardian.judgement import Concern
from connectors.guardian.reader import ReaderGuardian
from contracts.endpoints import PostgresEndpoint
from contracts.loader import load_pipeline
from contracts.settings import GuardSettings, KafkaSettings, PostgresSettings, Settings
from contracts.stream import Column, Pipeline, Stream, TableSource
from headrace.app import App
from headrace.commands.local import status
from headrace.guarding import Guarding, guarded_systems, read_report, source_file
from headrace.running import _attempt, keep_looking
from headrace.source_metrics import SourceCollector
from infra.local.deployment import endpoints
from streaming_jobs.live.page import render

KEPT = Concern("wal kept", "critical", "too much", "the disk", ("headrace apply", "SELECT 1;"))
REPORT = Report(
    slot="headrace_edtech",
    connector="edtech",
    concerns=(),
    kept=Kept("1", True, restarts_total=3),
    wal_status="extended",
    lag_bytes=5,
    kept_wal_bytes=2048,
    budget_bytes=4096,
    disk_free_bytes=2**20,
    disk_bytes=2**30,
    first_read_s=7.0,
    unread_s=0.0,
    transaction_s=8.0,
    connector_state="RUNNING",
    task_states=("RUNNING",),
)


@pytest.fixture
def app(tmp_path: Path) -> App:
    return App(Settings(data_dir=tmp_path, kafka=KafkaSettings(bootstrap_servers="127.0.0.1:1")))


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[Report]:
    """What the guardian sees, look by look."""
    found: list[Report] = []
    monkeypatch.setattr(Guardian, "look", lambda _: found.pop(0))
    return found


def test_who_is_in_a_hurry_has_the_same_pipeline_and_less_patience(app: App) -> None:
    for _ in ("not looked up yet", "looked up"):
        hurried = app.in_a_hurry()
        assert (hurried.endpoints.source.answer_s, hurried.endpoints.mariadb_replicator.answer_s) == (4.0, 4.0)
        assert hurried.endpoints.sql_answer_s
        assert (app.endpoints.source.answer_s, app.endpoints.sql_answer_s, app.hurried) == (None, None, False)
    assert hurried.pipeline == app.pipeline


def test_what_is_new_or_over_is_logged_once(app: App, looks: list[Report], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    warned = replace(REPORT, concerns=(replace(KEPT, severity="warn"),))
    critical = replace(REPORT, concerns=(KEPT,), done=("restarted it",))
    guarding = Guarding(app)
    looks += [REPORT, warned, replace(warned, lag_bytes=6), critical, replace(critical, done=()), REPORT, REPORT]
    for _ in range(7):
        guarding.round()
    told = [(record.levelname, record.getMessage().split("\n")[0]) for record in caplog.records]
    assert told == [
        ("WARNING", "source: too much"),
        ("ERROR", "source: too much"),
        ("WARNING", "source: restarted it (0 in a row)"),
        ("INFO", "source: no longer: too much"),
    ]
    assert "1. headrace apply" in caplog.text


def test_what_must_not_be_forgotten_outlives_the_process(app: App, looks: list[Report]) -> None:
    looks.append(REPORT)
    Guarding(app).round()
    found = read_report(source_file(app.settings))
    assert found
    assert found[1] == REPORT
    assert source_file(app.settings).match("*.status.json")  # what `reset` deletes
    source_file(app.settings).write_text('{"at": "2026-01-01T00:00:00+00:00", "report": {"slot": "x"}}')
    assert read_report(source_file(app.settings)) is None


def test_errors_of_the_guardian_stop_nothing_and_it_ends_with_the_run() -> None:
    halt, looked = threading.Event(), []

    def look() -> None:
        looked.append(1)
        if len(looked) == 3:
            halt.set()
        raise RuntimeError("no such luck")

    keep_looking(lambda: _attempt(look), 0.01, halt)
    assert len(looked) == 3


def test_status_shows_the_source_and_ends_with_3_if_a_person_must_act(
    app: App, looks: list[Report], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("infra.local.deployment.status", lambda _: [])
    looks += [REPORT, replace(REPORT, concerns=(replace(KEPT, severity="warn"),)), replace(REPORT, concerns=(KEPT,))]
    guarding = Guarding(app)
    for code in (0, 0, 3):
        guarding.round()
        shown = CliRunner().invoke(status, obj=app)
        assert shown.exit_code == code, shown.output
        assert "slot headrace_edtech: extended, 2.0 KiB of WAL kept of 4.0 KiB, 5 B behind, " in shown.output
        assert "5 B behind, 1.0 MiB of 1.0 GiB free on its disk\n" in shown.output
        assert "connector edtech RUNNING, tasks RUNNING, 3 restarts" in shown.output
    assert "critical: too much\nthe disk\n  1. headrace apply\n  2. SELECT 1;" in shown.output
    told = json.loads(CliRunner().invoke(status, ["--json"], obj=app).stdout)[0]["source"]
    assert (told["critical"], told["lag bytes"], told["wal status"]) == (True, 5, "extended")
    assert told["concerns"][0]["steps"] == ["headrace apply", "SELECT 1;"]


def test_the_connectors_of_other_systems_are_watched_shown_and_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = App(Settings(pipeline="softcart", data_dir=tmp_path, kafka=KafkaSettings(bootstrap_servers="127.0.0.1:1")))
    monkeypatch.setattr("infra.local.deployment.status", lambda _: [])
    assert guarded_systems(app.pipeline) == ("mariadb",)
    failed = Concern("connector failed", "critical", "softcart: access denied", "", ("headrace apply",))
    report = Report("", "softcart", (failed,), Kept(restarts_total=2), None, connector_state="RUNNING")
    monkeypatch.setattr(ReaderGuardian, "look", lambda _: report)
    Guarding(app, "mariadb").round()
    shown = CliRunner().invoke(status, obj=app)
    assert shown.exit_code == 3, shown.output
    assert "source: connector softcart RUNNING, tasks none, 2 restarts" in shown.output
    assert "critical: softcart: access denied\n  1. headrace apply" in shown.output
    told = json.loads(CliRunner().invoke(status, ["--json"], obj=app).stdout)[0]
    assert told["source"] == {}
    (reader,) = told["readers"]
    assert (reader["critical"], "slot" in reader) == (True, False)

    file, another = source_file(app.settings, "mariadb"), tmp_path / "another"
    another.write_text(json.dumps({"at": reader["looked at"], "report": REPORT.as_json()}))
    page = render(SourceCollector("softcart", file, another)).decode()
    for connector, restarts in (("softcart", 2), ("edtech", 3)):
        line = f'headrace_source_restarts_total{{connector="{connector}",pipeline="softcart"}} {restarts}.0'
        assert line in page.splitlines(), page
    assert page.count("# TYPE headrace_source_task_state") == 1


def test_a_connect_that_does_not_answer_is_a_concern_of_every_reader() -> None:
    part = load_pipeline("softcart").of("mariadb")
    found = replace(endpoints(Settings(pipeline="softcart")), connect_url="http://127.0.0.1:1")
    report = ReaderGuardian(part, found, GuardSettings(), Kept(restarts_total=7), patience_s=0.1).look()
    assert [concern.kind for concern in report.concerns] == ["connect away"]
    assert (report.kept.restarts_total, report.task_states, report.done) == (7, (), ())


def test_status_looks_itself_when_the_last_look_is_old(
    app: App, looks: list[Report], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("infra.local.deployment.status", lambda _: [])
    old = {"at": datetime(2026, 1, 1, tzinfo=UTC).isoformat(), "report": REPORT.as_json()}
    source_file(app.settings).write_text(json.dumps(old))
    looks.append(replace(REPORT, concerns=(KEPT,)))
    assert CliRunner().invoke(status, obj=app).exit_code == 3
    assert looks == []


def test_prometheus_reads_the_last_look(app: App, looks: list[Report]) -> None:
    file = source_file(app.settings)
    assert render(SourceCollector("edtech", file)) == b""
    less = replace(REPORT, wal_status=None, lag_bytes=None, disk_bytes=None, task_states=())
    looks += [replace(REPORT, concerns=(KEPT,)), less]
    guarding = Guarding(app)
    guarding.round()
    page = render(SourceCollector("edtech", file)).decode()
    for line in (
        'headrace_source_slot_lag_bytes{pipeline="edtech"} 5.0',
        'headrace_source_retained_wal_bytes{pipeline="edtech"} 2048.0',
        'headrace_source_log_disk_free_bytes{connector="edtech",pipeline="edtech"} 1.048576e+06',
        'headrace_source_log_disk_bytes{connector="edtech",pipeline="edtech"} 1.073741824e+09',
        'headrace_source_first_read_seconds{pipeline="edtech"} 7.0',
        'headrace_source_slot_unread_seconds{pipeline="edtech"} 0.0',
        'headrace_source_oldest_transaction_seconds{pipeline="edtech"} 8.0',
        'headrace_source_wal_status{pipeline="edtech",slot="headrace_edtech",status="extended"} 1.0',
        'headrace_source_wal_status{pipeline="edtech",slot="headrace_edtech",status="lost"} 0.0',
        'headrace_source_task_state{connector="edtech",pipeline="edtech",state="RUNNING",task="0"} 1.0',
        'headrace_source_restarts_total{connector="edtech",pipeline="edtech"} 3.0',
        'headrace_source_concerns{connector="edtech",pipeline="edtech",severity="critical"} 1.0',
    ):
        assert line in page.splitlines(), page
    guarding.round()
    later = render(SourceCollector("edtech", file)).decode()
    assert "slot_lag_bytes{" not in later
    assert "log_disk_bytes{" not in later


def test_tls_of_the_settings_reaches_psycopg2_and_debezium(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    given = PostgresSettings(
        host="db", database="shop", user="owner", sslmode="verify-full", sslrootcert=Path("ca.pem")
    )
    found = endpoints(Settings(data_dir=tmp_path, source=given))
    tls = {"sslmode": "verify-full", "sslrootcert": str(tmp_path / "ca.pem")}
    assert found.source.dsn().items() >= tls.items()
    orders = Stream("shop", "orders", "shop.s.orders", TableSource("s", "orders"), (Column("id", "bigint"),), ("id",))
    pipeline = Pipeline("shop", (orders,), tmp_path, tmp_path, tmp_path)
    config = debezium.render(pipeline, found.replicator, "kafka:9092", password_reference="${x}", placeholder="p")
    assert {name: config[f"database.{name}"] for name in tls} == tls
    plain = PostgresEndpoint("db", 5432, "shop", "owner", SecretStr(""))
    assert "sslmode" not in plain.dsn()
    with pytest.raises(ValidationError, match="needs sslrootcert"):
        PostgresSettings(sslmode="verify-ca")
