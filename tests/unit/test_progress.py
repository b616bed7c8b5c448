"""The bar says how much, how fast and how long still, to whoever looks on, and to nobody else."""

from __future__ import annotations

import json
import random
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import cached_property, partial
from io import StringIO
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from pyspark.sql import SparkSession
from rich.console import Console

from connectors.postgres import load
from contracts.errors import ServiceUnavailable
from contracts.settings import Settings, SparkSettings
from contracts.stream import Column, FileSource, Stream
from headrace import progress
from headrace.app import App
from headrace.arrivals import send_options
from headrace.commands.move import generate, watch
from headrace.commands.process import replay
from headrace.commands.prove import verify
from headrace.dry_run import LocalJudge
from headrace.findings import Finding
from headrace.progress import BYTES, ROWS, Bar
from headrace.proof import comparisons
from producers.push import FileResult, SendOptions
from producers.scan import scan
from producers.send import Arrival
from producers.unpack import unpacked
from tests.unit.archives import zipped

STEPS = 6
MEGABYTES = 1_000_000


class Terminal:
    """All that stderr showed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, terminal: bool = True) -> None:
        self.file = StringIO()
        console = Console(force_terminal=terminal, width=160, file=self.file)
        monkeypatch.setattr(progress, "progress_console", console)

    @property
    def lines(self) -> list[str]:
        """Each picture of the line, without colours and movements of the cursor."""
        plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.file.getvalue())
        return [line for line in re.split(r"[\r\n]+", plain) if line.strip()]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    return Terminal(monkeypatch)


def work(bar: Bar, step: str, unit: str, size: int, total: int) -> None:
    for done in range(STEPS):
        bar.show(step, "orders.csv", done * size, total, unit=unit)
        time.sleep(0.02)


def test_of_bytes_it_shows_amount_rate_and_time_left(terminal: Terminal) -> None:
    with Bar() as bar:
        work(bar, "reading", BYTES, MEGABYTES, 2000 * MEGABYTES)
    assert re.search(r"reading orders\.csv .* 0\.0/2\.0 GB [\d.]+ MB/s 0:00:\d\d 0:\d\d:\d\d left", terminal.lines[-1])


def test_of_rows_it_shows_amount_rate_and_time_left(terminal: Terminal) -> None:
    with Bar() as bar:
        work(bar, "sending", ROWS, 1000, 9_000_000)
    shown = terminal.lines[-1]
    assert re.search(r"sending orders\.csv .* 5,000/9,000,000 rows [\d,]+ rows/s 0:00:\d\d 0:\d\d:\d\d left", shown)


@pytest.mark.parametrize(("unit", "amount"), [(BYTES, r"5\.0 MB [\d.]+ MB/s"), (ROWS, r"5,000,000 rows [\d,]+ rows/s")])
def test_without_a_total_it_shows_the_time_since(terminal: Terminal, unit: str, amount: str) -> None:
    with Bar() as bar:
        work(bar, "fetching", unit, MEGABYTES, 0)
    assert re.search(rf"fetching orders\.csv .* {amount} 0:00:\d\d", terminal.lines[-1])
    assert "left" not in terminal.text


def test_a_step_without_an_amount_shows_what_is_done_and_the_time_since(terminal: Terminal) -> None:
    with Bar() as bar:
        bar.show("merging", "[bold]files", unit="tables")
    assert re.fullmatch(r". merging \[bold\]files \S+ +0:00:\d\d *", terminal.lines[-1])


def test_a_step_goes_on_when_all_of_it_is_counted(terminal: Terminal) -> None:
    with Bar() as bar:
        work(bar, "loading", BYTES, MEGABYTES, (STEPS - 1) * MEGABYTES)
        time.sleep(1)
    assert re.fullmatch(r"[^\s] loading orders\.csv .* 5\.0/5\.0 MB [\d.]+ MB/s 0:00:0[1-9] *", terminal.lines[-1])


def test_the_rate_does_not_count_what_was_done_before(terminal: Terminal) -> None:
    with Bar() as bar:
        for done in range(STEPS):
            bar.show("sending", "orders.csv", 10**9 + done, 2 * 10**9, unit=ROWS)
            time.sleep(0.02)
    rate = re.search(r"([\d,]+) rows/s", terminal.lines[-1])
    assert rate
    assert int(rate[1].replace(",", "")) < 1000


def test_only_the_step_at_work_is_shown_and_a_result_clears_it(terminal: Terminal) -> None:
    with Bar() as bar:
        bar.show("reading", "a.csv", 1, 2, unit=BYTES)
        bar.show("sending", "a.csv", 1, 2, unit=ROWS)
        bar.clear()
        assert "sending a.csv" in terminal.lines[-1]
        assert "reading" not in terminal.lines[-1]
        before = terminal.file.tell()
        time.sleep(0.3)  # as long as three refreshes: what a command prints meanwhile must stay whole
        assert terminal.file.tell() == before
        bar.show("reading", "b.csv", 1, 2, unit=BYTES)
    assert "reading b.csv" in terminal.lines[-1]
    assert "a.csv" not in terminal.lines[-1]


def test_items_are_counted_as_they_are_taken(terminal: Terminal) -> None:
    with Bar() as bar:
        taken = []
        for item in bar.counted("writing", "sales", (number for number in (3, 1, 2))):
            taken.append(item)
            time.sleep(0.15)
    assert taken == [3, 1, 2]
    assert re.search(r"writing sales .* 3 rows [\d,]+ rows/s 0:00:\d\d", terminal.lines[-1])


def test_results_stay_on_stdout(terminal: Terminal, capsys: pytest.CaptureFixture[str]) -> None:
    with Bar() as bar:
        bar.show("reading", "a.csv")
        print('{"file": "a.csv"}', file=sys.stdout)
    assert capsys.readouterr().out == '{"file": "a.csv"}\n'
    assert "{" not in terminal.text


def test_nothing_is_written_where_nobody_looks_on(monkeypatch: pytest.MonkeyPatch) -> None:
    nobody = Terminal(monkeypatch, terminal=False)
    with Bar() as bar:
        work(bar, "reading", BYTES, MEGABYTES, 5 * MEGABYTES)
        assert list(bar.counted("writing", "sales", range(3))) == [0, 1, 2]
        bar.clear()
    assert nobody.file.getvalue() == ""


def test_whatever_sends_files_shows_their_way(terminal: Terminal, tmp_path: Path) -> None:
    own = Settings(data_dir=tmp_path, kafka={"bootstrap_servers": "127.0.0.1:1"})  # type: ignore[arg-type]
    with Bar() as bar:
        options = send_options(App(own), bar=bar)
        for told, shown in (
            (options.unpacking, r"unpacking orders\.csv .* 1\.0/2\.0 MB"),
            (options.reading, r"reading orders\.csv .* 1\.0/2\.0 MB"),
            (options.progress, r"sending orders\.csv .* 1,000,000/2,000,000 rows"),
        ):
            assert told
            told("orders.csv", MEGABYTES, 2 * MEGABYTES)
            bar.clear()
            assert re.search(shown, terminal.lines[-1])


def test_unpacking_shows_bytes_of_the_archive(terminal: Terminal, tmp_path: Path) -> None:
    archive = tmp_path / "orders.zip"
    archive.write_bytes(zipped({"orders.csv": random.Random(1).randbytes(20 << 20)}))
    with Bar() as bar, archive.open("rb") as source:
        told = partial(bar.show, "unpacking", "orders.zip", unit=BYTES)
        with unpacked(source, archive.name, tmp_path / "spool", progress=told):
            pass
    assert re.search(r"unpacking orders\.zip .* [\d.]+/21\.0 MB [\d.]+ [MG]B/s 0:00:\d\d 0:00:\d\d left", terminal.text)


def made(tmp_path: Path, *options: str) -> Result:
    out = tmp_path / "sample"
    day = "--batch-date=2026-01-05"
    return CliRunner().invoke(
        generate, ["--out", str(out), "--scale", "0.05", day, *options], obj=App(Settings(data_dir=tmp_path))
    )


def test_generate_shows_rows_on_a_terminal_and_its_results_are_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = made(tmp_path, "--json")
    assert silent.exit_code == 0
    assert silent.stderr == ""
    terminal = Terminal(monkeypatch)
    seen = made(tmp_path, "--json")
    assert seen.stdout == silent.stdout
    assert re.search(r"writing sample data .* ([\d,]+)/\1 rows [\d,]+ rows/s", terminal.text)


def test_verify_counts_its_comparisons_of_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, terminal: Terminal
) -> None:
    def proof(_: App) -> Iterator[Finding]:
        for name in ("students", "courses"):
            time.sleep(0.15)
            yield Finding(f"{name}: source = lake", "source 1", "lake 1", True)

    monkeypatch.setattr("headrace.proof.proof", proof)
    done = CliRunner().invoke(verify, ["--json"], obj=App(Settings(data_dir=tmp_path)))
    assert [row["equal"] for row in json.loads(done.stdout)] == [True, True]
    total = comparisons(App(Settings(data_dir=tmp_path)))
    assert re.search(rf"proving \S+ 0/{total} comparisons +0:00:\d\d", terminal.lines[0])
    assert re.search(rf"proving .* 2/{total} comparisons .*0:00:\d\d .*left", terminal.lines[-1])


def test_as_many_comparisons_are_announced_as_the_demo_makes() -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    rows = readme.split("\nProof\n")[1].split("\n\n")[0].splitlines()[1:]
    made = [row for row in rows if "known answer" not in row]
    assert len(made) == comparisons(App(Settings(pipeline="edtech")))


def test_replay_shows_offsets_of_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, terminal: Terminal) -> None:
    def replayed(*_: object, progress: Callable[[str, str, int, int], None], **__: object) -> list[dict[str, object]]:
        time.sleep(0.15)
        progress("reading again", "courses", 500_000, 2_000_000)
        time.sleep(0.15)
        return [{"stream": "courses"}]

    monkeypatch.setattr("headrace.replaying.replay_range", replayed)
    done = CliRunner().invoke(replay, ["courses", "--from-offset", "0"], obj=App(Settings(data_dir=tmp_path)))
    assert "courses" in done.stdout
    assert "starting Spark" in terminal.lines[0]
    assert re.search(r"reading again courses .* 500,000/2,000,000 offsets +0:00:\d\d", terminal.lines[-1])


def test_a_file_that_is_loaded_tells_how_far_it_is_read(tmp_path: Path) -> None:
    file = tmp_path / "people.csv"
    file.write_bytes(b"id\n" + b"1234567\n" * 10_000)
    told: list[tuple[int, int]] = []
    with load._Told(file, lambda *step: told.append(step)) as content:
        assert b"".join(iter(lambda: content.read(1 << 16), b"")) == file.read_bytes()
    assert told == [(1 << 16, 80_003), (80_003, 80_003), (80_003, 80_003)]


def test_watch_shows_the_file_in_work_until_its_result_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, terminal: Terminal
) -> None:
    shown: list[str] = []

    def watched(*_: object, on_result: Callable[[FileResult], None], options: SendOptions, **__: object) -> None:
        assert options.progress
        options.progress("orders.csv", 2, 3)
        shown.append(terminal.lines[-1])
        on_result(FileResult("orders", "orders.csv", "f" * 64, "", 3, 3, "sent", "", 0.1))
        cleared = terminal.file.tell()
        time.sleep(0.3)
        assert terminal.file.tell() == cleared

    monkeypatch.setattr("producers.watch.watch", watched)
    monkeypatch.setattr("producers.watch.stop_on_signals", threading.Event)
    own = Settings(data_dir=tmp_path, kafka={"bootstrap_servers": "127.0.0.1:1"})  # type: ignore[arg-type]
    done = CliRunner().invoke(watch, [str(tmp_path)], obj=App(own))
    assert done.stdout == "orders.csv: sent, 3 of 3 rows sent\n"
    assert re.search(r"sending orders\.csv .* 2/3 rows", shown[0])


def test_watch_of_a_store_shows_how_far_a_file_is_fetched_and_nothing_once_it_rests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, terminal: Terminal
) -> None:
    shown: list[str] = []

    def watched(
        *_: object, fetching: Callable[[str, int, int], None], at_rest: Callable[[], None], **__: object
    ) -> None:
        for done in range(STEPS):
            fetching("orders.csv", done * MEGABYTES, 2000 * MEGABYTES)
            time.sleep(0.02)
        at_rest()
        shown.extend(terminal.lines)
        cleared = terminal.file.tell()
        time.sleep(0.3)
        assert terminal.file.tell() == cleared

    monkeypatch.setattr("headrace.arrivals.watch_remote", watched)
    monkeypatch.setattr("producers.watch.stop_on_signals", threading.Event)
    own = Settings(data_dir=tmp_path, kafka={"bootstrap_servers": "127.0.0.1:1"})  # type: ignore[arg-type]
    done = CliRunner().invoke(watch, ["s3://drop/in"], obj=App(own))
    assert (done.exit_code, done.stdout) == (0, "")
    assert re.search(r"fetching orders\.csv .* 0\.0/2\.0 GB [\d.]+ MB/s 0:00:\d\d 0:\d\d:\d\d left", shown[-1])


class Steps(Bar):
    """Remembers what it is to show."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[object, ...]] = []

    def show(self, *step: object, **_: object) -> None:  # type: ignore[override]
        self.seen.append(step)


class NoSpark(LocalJudge):
    """Comes as far as a judge can without Spark."""

    @cached_property
    def _spark(self) -> SparkSession:
        raise ServiceUnavailable("no Spark here")


def test_a_dry_run_shows_its_splitting_and_its_judging(tmp_path: Path) -> None:
    columns = (Column("id", "bigint"),)
    stream = Stream("shop", "orders", "shop.files.orders", FileSource(r"orders\.csv", "csv"), columns, ("id",))
    file = tmp_path / "orders.csv"
    file.write_text("id\n" + "".join(f"{number}\n" for number in range(50_000)))
    steps = Steps()
    judge = NoSpark(SparkSettings(), tmp_path / "spool", steps)
    with file.open("rb") as source, pytest.raises(ServiceUnavailable):
        judge(source, Arrival("orders.csv", ""), scan(source, stream), stream)
    assert steps.seen == [("splitting", "orders.csv", 50_000, 50_000), ("judging the rows of", "orders.csv")]
    assert not list((tmp_path / "spool").iterdir())
