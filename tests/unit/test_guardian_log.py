"""What the guardian makes of a binlog that nobody reads."""

from __future__ import annotations

from dataclasses import replace

import pytest

from connectors.guardian import reader
from connectors.guardian.facts import Reader
from connectors.guardian.judgement import Watched
from connectors.guardian.log_judgement import judge_log
from connectors.mariadb.log import Binlog, Unread, unread
from connectors.rest import Connect, ConnectorStatus
from contracts.errors import ServiceUnavailable
from contracts.loader import load_pipeline
from contracts.settings import GuardSettings, Settings
from infra.local.deployment import endpoints

WATCHED = Watched("shop", "shop.mariadb", "", "", "http://me:hidden@connect:8083", 0, 3600)
LOG = Binlog(("b.3", "b.4", "b.5"), "0-7-100,1-7-5", 1000, "0-8-119,0-7-120,1-7-5")
WAITS = Unread("b.4", "b.3", False, 0, 1000)


def test_the_file_that_is_written_is_in_no_danger() -> None:
    assert unread({"file": "b.5", "gtids": "0-7-120,1-7-5", "ts_sec": 10}, LOG, 9999) is None
    assert unread({"file": "b.5", "ts_sec": 10}, LOG, 9999) is None


@pytest.mark.parametrize(
    ("file", "gtids", "gone"),
    [
        ("b.4", "0-7-110,1-7-5", False),
        ("b.2", "0-7-100,1-7-5", False),  # its last change was read before it was dropped
        ("b.2", "0-7-99,1-7-5", True),
        ("b.3", "0-7-100", True),  # another domain's
        ("b.2", "", True),
        ("b.3", "", False),
    ],
)
def test_what_the_server_has_dropped_is_known_by_its_transactions(file: str, gtids: str, gone: bool) -> None:
    assert unread({"file": file, "gtids": gtids, "ts_sec": 400}, LOG, 1000) == Unread(file, "b.3", gone, 600, 1000)


@pytest.mark.parametrize(
    ("ends", "gtids", "set_back"),
    [
        ("0-7-119", "0-7-120,1-7-5", True),
        ("", "0-7-120", True),  # RESET MASTER
        ("", "", False),  # of a server that has written nothing yet
        ("0-9-120,0-7-3", "0-7-120", False),  # another has written since
        ("0-7-120", "0-7-120,1-7-5", False),  # a domain that was taken out of the binlog
    ],
)
def test_a_server_that_does_not_have_what_was_read_was_set_back(ends: str, gtids: str, set_back: bool) -> None:
    """Its file may be called as the one that was read."""
    found = unread({"file": "b.5", "gtids": gtids}, replace(LOG, begins="", ends=ends), 1000)
    assert found == (Unread("b.5", "b.3", True, 0, 1000, True) if set_back else None)
    if found:
        (concern,) = judge_log(found, WATCHED)
        assert (concern.kind, "RESET MASTER" in concern.what) == ("log lost", True)


def test_of_a_server_without_a_binlog_nothing_waits() -> None:
    assert unread({"file": "b.5", "gtids": "0-7-120"}, Binlog((), "", 0.0), 1000) is None


@pytest.mark.parametrize(
    ("waits", "severity"),
    [
        (replace(WAITS, age_s=499), []),
        (replace(WAITS, age_s=500), ["warn"]),
        (replace(WAITS, age_s=800), ["critical"]),
        (replace(WAITS, age_s=9999, kept_s=0), []),
    ],
)
def test_what_will_be_dropped_soon_is_told(waits: Unread, severity: list[str]) -> None:
    found = list(judge_log(waits, WATCHED))
    assert [concern.severity for concern in found] == severity
    for concern in found:
        assert "from b.4 on" in concern.what
        assert "keeps a file for 17 min" in concern.what
        assert concern.steps[0].startswith("SET GLOBAL binlog_expire_logs_seconds = 2000;")
        assert concern.steps[-1] == "headrace apply"


def test_what_was_dropped_is_critical_and_every_table_is_read_again() -> None:
    (concern,) = judge_log(replace(WAITS, file="b.2", gone=True), WATCHED)
    assert (concern.kind, concern.severity) == ("log lost", "critical")
    assert concern.steps == ("headrace apply", "headrace verify --wait 600")


def test_no_restart_is_spent_while_the_server_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long that is: one that starts then fails at once."""
    away, now = True, 0.0
    restarted: list[float] = []

    def is_read() -> bool:
        if away:
            raise ServiceUnavailable("MariaDB did not accept the connection")
        return False

    failed = Reader(ConnectorStatus("RUNNING", ("FAILED",), "refused"), {}, None)
    monkeypatch.setattr(reader, "look_at_reader", lambda *_: failed)
    monkeypatch.setattr(Connect, "source_offset", lambda *_: {"file": "b.5"})
    monkeypatch.setattr(Connect, "restart", lambda *_: restarted.append(now))
    part, settings = load_pipeline("softcart").of("mariadb"), Settings(pipeline="softcart")
    guardian = reader.ReaderGuardian(
        *(part, endpoints(settings), GuardSettings()), is_read=is_read, log=lambda: LOG, clock=lambda: now
    )
    for hour in range(1, 10):
        now = hour * 3600.0
        told = {concern.kind: concern.why for concern in guardian.look().concerns}
        assert told.keys() == {"source away", "connector failed"}
        assert "restarted once the source answers" in told["connector failed"]
    assert restarted == []
    away = False
    assert guardian.look().done
    assert restarted == [now]
