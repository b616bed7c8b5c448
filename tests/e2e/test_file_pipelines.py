"""The bundled pipelines of files alone: generated files with a known answer, through lake and warehouse."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import tarfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import yaml

from contracts.loader import load_pipeline
from contracts.settings import Settings
from headrace.app import App
from headrace.demo import Demo
from headrace.demo_answer import answer_findings
from headrace.lake import rows_of
from producers.generator.answer import Answer, read_answer
from tests.conftest import WaitUntil
from tests.e2e.plain_log import Log, extract, read_log, traffic
from tests.e2e.shell import Shell
from tests.e2e.theirs import passwords, settings
from tests.unit.download_server import Origin, handler_of
from tests.unit.local_http import serving

# A request at midnight of another zone, two equal ones, quotes in a name, what is no HTTP, nothing at all; a bad one.
DROPPED = r"""203.0.113.5 - ada [07/Jan/2026:00:30:00 +0200] "GET /courses?page=2 HTTP/1.1" 200 512 "https://www.Example.org/a" "Mozilla/5.0 (X11) Firefox/127.0"
2001:db8::1 - - [07/Jan/2026:10:00:00 +0000] "GET /courses HTTP/2.0" 200 - "-" "the \"best\" client"
2001:db8::1 - - [07/Jan/2026:10:00:00 +0000] "GET /courses HTTP/2.0" 200 - "-" "the \"best\" client"
203.0.113.9 - Jürgen M. [07/Jan/2026:23:59:59 -0130] "POST /login" 302 0 "http://[2001:db8::5]:8080/x" "-"
203.0.113.9 - - [07/Jan/2026:10:00:01 +0000] "\x16\x03\x01" 400 226 "-" "-"
203.0.113.9 - - [07/Jan/2026:10:00:02 +0000] "-" 408 - "-" "-"
203.0.113.9 - - [07/Jan/2026:10:00:03 +0000] "GET /a HTTP/1.1" 99 1 "-" "-"
"""  # noqa: E501

pytestmark = pytest.mark.timeout(1500)  # of the first one, which makes the deployment


class Place:
    """A copy of a bundled pipeline in a folder of its own, on the parts of the shared deployment."""

    def __init__(self, folder: Path, name: str, demo: Demo) -> None:
        theirs, bundled = demo.app.endpoints, load_pipeline(name)
        own = folder / name
        for part, source in (("contracts", bundled.contracts_dir), ("warehouse_sql", bundled.warehouse_sql_dir)):
            shutil.copytree(source, own / part)
        often = {"run": {"merge_every_s": 5}}  # as the demo does: each proof waits for a round
        (folder / "headrace.yaml").write_text(yaml.safe_dump(settings(theirs, name, name) | often), "utf-8")
        self.shell = Shell(folder, **passwords(theirs))
        self.app = App(Settings(**settings(theirs, name, str(own)), data_dir=folder / ".headrace"))
        self.folder = folder

    def every_file_goes_in_chunks(self) -> None:
        for path in (self.folder / self.app.settings.pipeline / "contracts").glob("*.yaml"):
            text = path.read_text("utf-8")
            path.write_text(text.replace("value: 268435456", "value: 1"), "utf-8")

    def traffic(self) -> list[tuple[object, ...]]:
        """The traffic facts, as `plain_log.traffic` gives them."""
        times = ", ".join(f"cast({name}_hit_at as bigint) as {name}_at" for name in ("first", "last"))
        facts = f"select date_key, host, path, status, hits, bytes, {times} from weblog.fact_traffic"
        return sorted(tuple(row.values()) for row in self.shell.ask(f'headrace sql --limit 100000 "{facts}"'))

    def extracted(self) -> list[list[str]]:
        """The rows of the packed extract, as its manifest says them, with the header."""
        self.shell.type("headrace extract weblog --out weblog.tar")
        with tarfile.open(self.folder / "weblog.tar") as packed:
            files = {member.name: packed.extractfile(member) for member in packed}
            manifest, content = (held.read() for name in ("manifest.json", "weblog.csv") if (held := files[name]))
        rows = list(csv.reader(StringIO(content.decode(), newline="")))
        said = json.loads(manifest)
        found = (len(rows) - 1, len(content), sha256(content).hexdigest())
        assert (said["rows"], said["bytes"], said["sha256"]) == found
        return rows

    def prove(self, answer: Answer) -> None:
        """Every file is done as it was generated, and both warehouses hold what the lake does."""
        self.shell.wait(lambda: self.done(len(answer.files)), 240)
        assert self.shell.exit_code("headrace files") == 0
        self.shell.type("headrace verify --wait 240", timeout_s=400)
        wrong = [finding for finding in answer_findings(self.app, answer) if not finding.equal]
        assert not wrong, wrong
        refused = f"select file_hash, rule, count(*) as n from {self.app.pipeline.name}_lake.quarantine group by all"
        found = {(row["file_hash"], row["rule"]): row["n"] for row in rows_of(self.app, refused)}
        assert found == {(file.hash, rule): n for file in answer.files for rule, n in file.quarantined.items()}

    @contextmanager
    def run_held(self) -> Iterator[None]:
        """Nothing is committed to the lake until this ends."""
        run = self.shell.pid_of("run")
        os.kill(run, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(run, signal.SIGCONT)

    def files(self) -> list[dict[str, Any]]:
        """What `headrace files` tells, whether they are done or not."""
        found: list[dict[str, Any]] = json.loads(self.shell.type("headrace files --json || true"))
        return found

    def done(self, files: int) -> bool:
        """Whether so many files were sent, and all are done."""
        states = [row["state"] for row in self.files()]
        return len(states) >= files and {*states} <= {"done", "superseded"}


@pytest.fixture(scope="module")
def place(idle_demo: Demo, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Place]:
    """The place of the pipeline that the tests name; pytest ends it before it makes that of another."""
    place = Place(tmp_path_factory.mktemp(request.param), request.param, idle_demo)
    try:
        yield place
    finally:
        place.shell.type("headrace down")


@pytest.mark.parametrize("place", ["citizens"], indirect=True)
def test_the_daily_register_goes_in_chunks_from_file_to_postgres(place: Place) -> None:
    place.every_file_goes_in_chunks()
    shell = place.shell
    shell.type("headrace up && headrace apply")
    days = ["2026-01-05", "2026-01-06"]
    shell.type(f"headrace generate --out sample --batch-date {days[0]} --batch-date {days[1]}")
    answer = read_answer(place.folder / "sample")
    with place.run_held():
        for file in answer.files:
            shell.type(f"headrace push --batch-date {file.unit} sample/{file.file}")
        assert shell.exit_code("headrace files") == 1
        assert {(row["state"], row["accepted"]) for row in place.files()} == {("sent", 0)}
    place.prove(answer)
    rows = shell.ask("headrace ledger")
    assert [row["balanced"] for row in rows] == [True]
    assert rows[0]["in_chunks"] == sum(file.rows for file in answer.files) - len(answer.files)
    known = sum(file.accepted for file in answer.files)
    assert int(shell.column("select count(*) from citizens.citizens_clean")[0]) <= known


@pytest.fixture(scope="module")
def logs(place: Place) -> list[Log]:
    """The logs of two days, the first of them corrected, as plain Python reads them: they are in the lake and in the
    warehouse. The last ones of each day are those that stand."""
    shell = place.shell
    shell.type("headrace up && headrace apply")
    shell.type("headrace generate --out sample --batch-date 2026-01-05 --batch-date 2026-01-06")
    answer = read_answer(place.folder / "sample")
    for file in answer.files:
        shell.type(f"gzip -k sample/{file.file} && headrace push sample/{file.file}.gz")
    place.prove(answer)
    logs = [read_log(place.folder / "sample" / file.file) for file in answer.files]
    for log, file in zip(logs, answer.files, strict=True):
        assert Counter(refused.rule for refused in log.refused) == file.quarantined
    return logs


def standing(logs: list[Log]) -> list[Log]:
    return list({log.day: log for log in logs}.values())


@pytest.mark.parametrize("place", ["weblog"], indirect=True)
def test_an_access_log_becomes_traffic_facts_and_a_packed_extract(place: Place, logs: list[Log]) -> None:
    assert place.traffic() == traffic(standing(logs))
    assert place.extracted() == extract(standing(logs))


@pytest.mark.parametrize("place", ["weblog"], indirect=True)
def test_a_refused_line_is_shown_as_it_stands_in_its_file(place: Place, logs: list[Log]) -> None:
    refused = {(log.name, one.line): (log, one) for log in logs for one in log.refused}
    rows = place.shell.ask("headrace quarantine list --rows")
    listed = {(row["file"], row["line"]): row for row in rows}
    assert {at: (row["rule"], row["column_name"]) for at, row in listed.items()} == {
        at: (one.rule, one.column) for at, (_, one) in refused.items()
    }
    assert len(rows) == len(refused)
    texts = place.shell.ask('headrace sql "select file, line, cast(raw as string) as text from weblog_lake.quarantine"')
    assert {(row["file"], row["line"]): row["text"] for row in texts} == {
        at: one.text for at, (_, one) in refused.items()
    }

    last = {one.rule: (at, log, one) for at, (log, one) in refused.items()}  # of the log: without a line's end
    reasons = {
        "log": "the line is not as the pattern of the log says",
        "status_maximum": "not true: `status` <= 599",
    }
    for rule, reason in reasons.items():
        at, log, one = last[rule]
        where = f"{listed[at]['offset']} --partition {listed[at]['partition']}"
        (shown,) = place.shell.ask(f"headrace quarantine show access_log {where}")
        expected = {"stream": "access_log", "file": log.name, "file_hash": log.hash, "line": one.line, "rule": rule}
        expected |= {"column_name": one.column, "reason": reason, "state": "open", "raw_text": one.text}
        assert {name: shown[name] for name in expected} == expected


@pytest.mark.parametrize("place", ["weblog"], indirect=True)
def test_logs_come_through_a_watched_folder_and_a_download(
    place: Place, logs: list[Log], wait_until: WaitUntil
) -> None:
    shell, folder = place.shell, place.folder
    dropped, served = folder / "access_2026-01-07.log", folder / "access_2026-01-08.log"
    dropped.write_text(DROPPED, "utf-8")
    served.write_text(DROPPED.replace("07/Jan", "08/Jan"), "utf-8")
    (folder / "drop").mkdir()
    more = [read_log(dropped), read_log(served)]
    rows = len(DROPPED.splitlines())

    with shell.beside("headrace watch drop --json") as watching:
        wait_until((folder / "drop" / "incoming").is_dir, 120, "the folder is made")
        dropped.rename(folder / "drop" / "incoming" / dropped.name)
        wait_until((folder / "drop" / "processed" / dropped.name).exists, 120, "the file is put away")
        watching.send_signal(signal.SIGTERM)
        told, complaints = watching.communicate(timeout=60)
    assert watching.returncode == 0, complaints
    (result,) = map(json.loads, told.splitlines())
    assert (result["file"], result["state"], result["rows"], result["sent"]) == (dropped.name, "sent", rows, rows)

    origin = Origin(content=served.read_bytes())
    with serving(handler_of(origin)) as url:
        declared = {"logs": {"url": url + "/{batch_date}.log", "file": "access_{batch_date}.log"}}
        (folder / "weblog" / "connectors").mkdir()
        (folder / "weblog" / "connectors" / "downloads.yaml").write_text(yaml.safe_dump({"downloads": declared}))
        came = [shell.ask("headrace download logs --batch-date 2026-01-08")[0] for _ in range(2)]
    assert [(row["state"], row["pushed"], row["rows"]) for row in came] == [
        ("fetched", "sent", rows),
        ("unchanged", "already_sent", rows),
    ]
    assert [asked.headers.get("if-none-match") for asked in origin.asked] == [None, origin.etag]

    arrived = {log.name: (len(log.hits), len(log.refused)) for log in more}
    shell.wait(lambda: place.done(len(logs) + len(more)), 120)
    found = {row["file"]: (row["accepted"], row["quarantined"]) for row in place.files() if row["file"] in arrived}
    assert found == arrived
    days = "select count(distinct date_key) from weblog.fact_traffic"
    shell.wait(lambda: shell.column(days) == [str(len({log.day for log in (*logs, *more)}))], 120)
    assert place.traffic() == traffic(standing([*logs, *more]))
    assert place.extracted() == extract(standing([*logs, *more]))
