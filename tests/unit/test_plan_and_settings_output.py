"""What `plan` and `settings` print."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from connectors.plan import Change, Plan
from contracts.settings import ConnectSettings, Settings, SparkSettings
from headrace.app import App
from headrace.commands.local import logs, settings, status
from headrace.commands.move import plan
from headrace.output import show
from infra.local.part import PartStatus

ONE = Change("topic", "t", "", "1 partition", lambda: None)


@pytest.mark.parametrize(
    ("changes", "refusals", "told"),
    [
        ([ONE], [], "1 change; `headrace apply` makes them"),
        ([], ["r"], "0 changes; `headrace apply` makes none"),
        ([ONE, ONE], ["r"], "2 changes; `headrace apply` makes none"),
    ],
)
def test_plan_says_what_apply_would_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: list[Change], refusals: list[str], told: str
) -> None:
    monkeypatch.setattr("headrace.planning.planned", lambda _: Plan("edtech", changes, refusals))
    done = CliRunner().invoke(plan, obj=App(Settings(data_dir=tmp_path)))
    assert done.exit_code == 1
    assert told in done.output


def test_a_hint_is_told_and_is_no_difference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headrace.planning.planned", lambda _: Plan("edtech", hints=["more could be had"]))
    done = CliRunner().invoke(plan, obj=App(Settings(data_dir=tmp_path)))
    assert (done.exit_code, done.stderr) == (0, "hint: more could be had\n")


def test_settings_mask_what_spark_is_told_in_secret(tmp_path: Path) -> None:
    conf = {
        "spark.hadoop.fs.s3a.secret.key": "hidden",
        "spark.hadoop.fs.s3a.access.key": "hidden",
        "spark.ssl.keyStorePassword": "hidden",
        "spark.some.Token": "hidden",
        "spark.hadoop.fs.azure.account.key.x.dfs.core.windows.net": "hidden",
        "spark.hadoop.fs.s3a.encryption.key": "hidden",
        "spark.my.credential": "hidden",
        "spark.key.passphrase": "hidden",
        "spark.driver.extraJavaOptions": "-Xss4m -Djavax.net.ssl.trustStorePassword=hidden",
        "spark.ui.enabled": "false",
    }
    told = CliRunner().invoke(settings, obj=App(Settings(data_dir=tmp_path, spark=SparkSettings(conf=conf)))).output
    assert "hidden" not in told
    shown = json.loads(told)["spark"]["conf"]
    assert shown["spark.ui.enabled"] == "false"
    assert shown.keys() == conf.keys()


def test_settings_and_status_show_no_login_of_a_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = "http://admin:hid@den@h:8083/x"
    app = App(Settings(data_dir=tmp_path, connect=ConnectSettings(url=url)))
    told = json.loads(CliRunner().invoke(settings, obj=app).output)
    assert told["connect"]["url"] == "http://**********@h:8083/x"
    part = PartStatus("connect", "unreachable", address=url, detail=f"{url} did not answer")
    monkeypatch.setattr("infra.local.deployment.status", lambda _: [part])
    for options in ([], ["--json"]):
        shown = CliRunner().invoke(status, options, obj=app).output
        assert "admin" not in shown
        assert "@h:8083/x" in shown


def test_a_table_shows_every_value_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    values = ["\\[/]", "[bold]x[/bold]", "[/nothing]", r"a\\[b", ":smile:", "[link=x]y"]
    show([{"a [b]": value} for value in values], as_json=False, title="files in [x]")
    assert [line.rstrip() for line in capsys.readouterr().out.splitlines()] == ["files in [x]", "a [b]", *values]


@pytest.mark.parametrize("lines", ["0", "-1"])
def test_logs_shows_a_line_at_least(lines: str, tmp_path: Path) -> None:
    done = CliRunner().invoke(logs, ["kafka", "-n", lines], obj=App(Settings(data_dir=tmp_path)))
    assert (done.exit_code, "x>=1" in done.output) == (2, True)
