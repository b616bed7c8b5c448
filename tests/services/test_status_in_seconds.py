"""`headrace status` of a source that stands still: seconds, and everything that others know is shown."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from copy import copy
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from click.testing import CliRunner, Result

from contracts.settings import Settings
from contracts.stream import System
from headrace.app import App
from headrace.commands.local import status
from headrace.evolution import source_changes
from headrace.guarding import Guarding, source_file
from infra.local import deployment as local_deployment
from streaming_jobs.stream_status import StreamStatus, write_status
from tests.services.test_server_stands_still import frozen

TABLES = {"courses", "instructors", "students"}


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """The bundled pipeline, of which only the source runs."""
    settings = Settings(data_dir=tmp_path_factory.mktemp("seconds"))
    local_deployment.up(settings, ("postgres",))
    yield App(settings)
    local_deployment.down(settings)


def shown(app: App, *options: str) -> Result:
    """Of a run that has just written what its streams do."""
    streams = [StreamStatus(one.name, "flowing", 9, 9, 0, 1, 9, None) for one in app.pipeline.streams]
    write_status(app.status_file, app.pipeline.name, "run", datetime.now(UTC).isoformat(), streams)
    began = time.monotonic()
    found = CliRunner().invoke(status, options, obj=app)
    assert time.monotonic() - began < 15
    assert found.exit_code in (0, 1), found.output
    return found


def states(found: dict[str, Any]) -> dict[str, str]:
    return {row["stream"]: row["state"] for row in found["streams"]}


@pytest.mark.parametrize("looked", [False, True], ids=["nobody has looked", "the guardian has looked before"])
def test_of_a_source_that_does_not_answer_it_is_told_and_all_else_is_shown(app: App, looked: bool) -> None:
    source_file(app.settings).unlink(missing_ok=True)
    if looked:
        Guarding(app).round()
    pid = int((app.settings.data_dir / "postgres" / "data" / "postmaster.pid").read_text("utf-8").split()[0])
    with frozen(pid, after_s=0):
        time.sleep(0.5)
        (still,) = json.loads(shown(app, "--json").stdout)
        text = shown(app).output if looked else ""
    assert {name for name, state in states(still).items() if state == "source does not answer"} == TABLES
    assert [part["state"] for part in still["parts"] if part["part"] == "postgres"] == ["running"]
    assert still["source"]["connector"] == app.pipeline.name
    if looked:
        assert "postgres does not answer: Postgres did not accept the connection" in text
        assert "More: headrace ledger" in text
    else:
        assert [one["kind"] for one in still["source"]["concerns"] if one["kind"] != "connect away"] == ["source away"]
        (after,) = json.loads(shown(app, "--json").stdout)
        assert states(after) == dict.fromkeys(states(still), "flowing")


def test_a_source_that_refuses_its_owner_is_not_away(app: App) -> None:
    ours = app.endpoints.source
    nobody = replace(ours, user="somebody else")
    refused = copy(app)
    refused.endpoints = replace(app.endpoints, source=nobody, replicator=ours)
    away: dict[System, str] = {}
    source_changes(refused, away)
    assert away == {}
    refused.endpoints = replace(refused.endpoints, replicator=nobody)
    source_changes(refused, away)
    assert "did not accept the connection" in away["postgres"]
