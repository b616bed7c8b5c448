"""Commands that move rows: the long-lived processes, one merge round, replay and resume."""

from __future__ import annotations

import math
import signal
import threading
from datetime import UTC, datetime
from functools import partial

import click
from tenacity import Retrying, before_sleep_log, retry_if_exception_type, stop_when_event_set, wait_exponential
from tenacity.nap import sleep_using_event

from contracts.errors import Fatal, Retryable
from headrace.app import App, log, pass_app
from headrace.commands.ask import json_option
from headrace.output import show
from headrace.progress import Bar


@click.command()
@click.option("--merge-every", help="Seconds between merge rounds (`30` or `30s`); default from the settings.")
@click.option("--no-merge", is_flag=True, help="Streams and ledger only; `headrace merge` does the rest.")
@pass_app
def run(app: App, merge_every: str | None, no_merge: bool) -> None:
    """Run the streams and the merges until SIGTERM, which finishes the batch under way."""
    from headrace.running import Rhythm, run_forever

    rhythm = Rhythm(
        merge_s=app.settings.run.merge_every_s if merge_every is None else _seconds(merge_every),
        maintain_s=app.settings.run.maintain_every_s,
    )
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    again = Retrying(
        retry=retry_if_exception_type(Retryable),
        wait=wait_exponential(min=2, max=60),
        stop=stop_when_event_set(stop),
        sleep=sleep_using_event(stop),
        before_sleep=before_sleep_log(log, 30),
        reraise=True,
    )
    again(run_forever, app.settings, rhythm, merges=not no_merge, stop=stop)


@click.command()
@click.option("--port", type=int, required=True, help="Loopback port of /metrics and /streams.")
@pass_app
def monitor(app: App, port: int) -> None:
    """Watch the topics live: rate, last event and freshness of each stream, for Prometheus and `status`."""
    from headrace.guarding import guarded_systems, source_file
    from headrace.source_metrics import SourceCollector
    from streaming_jobs.live.monitor import run_monitor

    files = [source_file(app.settings, system) for system in guarded_systems(app.pipeline)]
    source = SourceCollector(app.pipeline.name, *files)
    run_monitor(app.pipeline, app.endpoints.kafka, port, app.settings.data_dir / "monitor", [source])


@click.command()
@json_option
@pass_app
def merge(app: App, as_json: bool) -> None:
    """One round of merges in a Spark application of its own, for schedulers; safe beside `run --no-merge`."""
    from headrace.lease import Lease
    from headrace.merging import Merging
    from headrace.running import maintain_merged, start_spark
    from headrace.tables import create_all_tables

    with Lease(app.endpoints.warehouse, f"{app.pipeline.name} merge"), Bar() as bar:
        bar.show("starting Spark")
        spark = start_spark(app, "merge")
        try:
            bar.show("making what tables are missing")
            create_all_tables(app, spark, "merge")
            rows = Merging(app, spark, partial(bar.show, "merging", unit="tables")).round()
            bar.clear()
            show([{"rows": rows}], as_json=as_json)
            bar.show("maintaining what was merged")
            maintain_merged(app, spark)
        finally:
            spark.stop()


@click.command()
@click.argument("stream")
@click.option("--from-offset", type=click.IntRange(min=0), help="First offset, in every partition.")
@click.option("--to-offset", type=click.IntRange(min=0), help="Last offset (inclusive); default: the table's position.")
@click.option("--from-time", type=click.DateTime(), help="First record at or after this time (UTC).")
@click.option("--to-time", type=click.DateTime(), help="Last record before this time (UTC).")
@click.option("--dry-run", is_flag=True, help="Show the offsets; read and write nothing.")
@json_option
@pass_app
def replay(
    app: App,
    stream: str,
    from_offset: int | None,
    to_offset: int | None,
    from_time: datetime | None,
    to_time: datetime | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Read a range of a STREAM again: rows that are there stay, rows that are missing come back."""
    from headrace.replaying import replay_range

    first = from_offset if from_time is None else from_time.replace(tzinfo=UTC)
    if first is None or (from_offset is not None and from_time is not None):
        raise click.UsageError("say where to start: --from-offset or --from-time")
    if from_offset is not None and to_offset is not None and to_offset < from_offset:
        raise click.UsageError(f"--to-offset {to_offset} lies before --from-offset {from_offset}")
    if from_time is not None and to_time is not None and to_time <= from_time:
        raise click.UsageError(f"--to-time {to_time} does not lie behind --from-time {from_time}")

    with Bar() as bar:
        bar.show("starting Spark")
        rows = replay_range(
            app,
            app.stream(stream),
            first=first,
            end=_end(to_offset, to_time),
            dry_run=dry_run,
            progress=partial(bar.show, unit="offsets"),
        )
    show(rows, as_json=as_json, title=f"Replay of {stream}", empty="no offset lies in that range")


@click.command()
@click.argument("stream")
@click.option("--accept-loss", is_flag=True, help="Book offsets that Kafka has lost as lost, and go on behind them.")
@pass_app
def resume(app: App, stream: str, accept_loss: bool) -> None:
    """Let a parked STREAM rejoin: it goes on where its table stands."""
    from streaming_jobs.streams import parking_of

    parked = parking_of(app.settings, app.pipeline).resume(app.stream(stream).name, accept_loss=accept_loss)
    if parked is None:
        click.echo(f"{stream} is not parked")
    else:
        click.echo(f"{stream} rejoins; it was parked since {parked.since}: {parked.reason}")


def _end(to_offset: int | None, to_time: datetime | None) -> int | datetime | None:
    if to_offset is not None and to_time is not None:
        raise click.UsageError("say where to end once: --to-offset or --to-time")
    if to_time is not None:
        return to_time.replace(tzinfo=UTC)
    return None if to_offset is None else to_offset + 1


def _seconds(text: str) -> float:
    try:
        seconds = float(text.removesuffix("s"))
    except ValueError:
        seconds = math.nan
    if not (seconds > 0 and math.isfinite(seconds)):
        raise Fatal(f"--merge-every {text}: not a number of seconds above 0", next_step="write 30 or 30s")
    return seconds


COMMANDS = (run, monitor, merge, replay, resume)
