"""What `plan` and `settings` print."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from connectors.plan import Change, Plan
from contracts.settings import Settings, SparkSettings
from headrace.app import App
from headrace.commands.local import settings
from headrace.commands.move import plan

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


def test_settings_mask_what_spark_is_told_in_secret(tmp_path: Path) -> None:
    conf = {
        "spark.hadoop.fs.s3a.secret.key": "hidden",
        "spark.hadoop.fs.s3a.access.key": "hidden",
        "spark.ssl.keyStorePassword": "hidden",
        "spark.some.Token": "hidden",
        "spark.ui.enabled": "false",
    }
    told = CliRunner().invoke(settings, obj=App(Settings(data_dir=tmp_path, spark=SparkSettings(conf=conf)))).output
    assert "hidden" not in told
    shown = json.loads(told)["spark"]["conf"]
    assert shown["spark.ui.enabled"] == "false"
    assert shown.keys() == conf.keys()
