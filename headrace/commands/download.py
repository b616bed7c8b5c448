"""The command that fetches the declared downloads, day by day, and pushes what it has fetched."""

from __future__ import annotations

import os
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from contracts.errors import Fatal, HeadraceError
from headrace.app import App, pass_app
from headrace.commands.ask import json_option
from headrace.output import show
from headrace.progress import BYTES, Bar

if TYPE_CHECKING:
    from contracts.downloads import Download
    from producers.push import FileResult
    from producers.raw_files import RawStore

DAY = click.DateTime(["%Y-%m-%d"])


@click.command()
@click.argument("names", nargs=-1)
@click.option("--batch-date", type=DAY, help="The day to fetch; default today.")
@click.option("--from", "first", type=DAY, help="Fetch each day from this one on.")
@click.option("--to", "last", type=DAY, help="The last day of --from.")
@click.option("--keep-going", is_flag=True, help="Go on with the others after one has failed.")
@click.option("--no-push", is_flag=True, help="Keep the files only.")
@click.option("--dry-run", is_flag=True, help="Say what would be asked for, without secrets; ask for nothing.")
@json_option
@pass_app
def download(
    app: App,
    names: tuple[str, ...],
    batch_date: datetime | None,
    first: datetime | None,
    last: datetime | None,
    keep_going: bool,
    no_push: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Fetch the declared downloads NAMES, or all, and push them. Repeat it after any interruption."""
    from contracts.downloads import load_downloads
    from producers.raw_files import RawStore

    days = _days(batch_date, first, last)
    found = {declared.name: declared for declared in load_downloads(app.pipeline)}
    if unknown := [name for name in names if name not in found]:
        raise click.UsageError(f"no download {unknown[0]!r}; there are: {', '.join(found) or 'none'}")
    wanted = [found[name] for name in dict.fromkeys(names)] or list(found.values())
    jobs = [(declared, day) for day in days for declared in wanted]
    if dry_run:
        show([_planned(declared, day) for declared, day in jobs], as_json=as_json, empty="no download is declared")
        return
    rows: list[dict[str, Any]] = []
    failures: list[HeadraceError] = []
    store = RawStore(app.settings.data_dir)
    with Bar() as bar:
        for declared, day in jobs:
            row = _row(declared, day)
            rows.append(row)
            try:
                _fetch(app, declared, day, store, row, bar, no_push)
            except HeadraceError as problem:
                failures.append(problem)
                row.update(pushed="failed" if row["state"] else "", reason=problem.what)
                row["state"] = row["state"] or "failed"
                if not keep_going:
                    break
    shown = ("download", "batch_date", "state", "file", "bytes", "pushed", "rows", "sent", "reason")
    lines = rows if as_json else [{name: row[name] for name in shown} for row in rows]
    show(lines, as_json=as_json, empty="no download is declared")
    if failures:
        # What a person must do is told before what may pass by itself.
        raise next((problem for problem in failures if isinstance(problem, Fatal)), failures[0])
    if any(row["refused"] for row in rows):
        sys.exit(1)


def push_downloaded(app: App, path: Path, batch_date: date, bar: Bar) -> list[FileResult]:
    """Push one kept file as that day's; one result for each file in it if it is an archive. Raises as `push`."""
    from headrace.arrivals import send_options
    from producers.push import push

    return push([path], app.pipeline, app.endpoints.kafka, send_options(app, batch_date=batch_date, bar=bar))


def _fetch(
    app: App, declared: Download, day: date, store: RawStore, row: dict[str, Any], bar: Bar, no_push: bool
) -> None:
    """Fetch and push one file; `row` says how far it came, also when an error ends it."""
    from producers.download import download as fetch

    def told(name: str, done: int, total: int) -> None:
        bar.show("fetching", f"{name} {day}", done, total, unit=BYTES)

    told(declared.name, 0, 0)
    kept = fetch(declared, day, store, progress=told)
    row.update(state=kept.state, bytes=kept.bytes, path=str(kept.path), sha256=kept.sha256, at=kept.at)
    if no_push:
        return
    results = push_downloaded(app, kept.path, day, bar)
    row.update(
        pushed=", ".join(dict.fromkeys(result.state for result in results)),
        rows=sum(result.rows for result in results),
        sent=sum(result.sent for result in results),
        reason="; ".join(dict.fromkeys(result.reason for result in results if result.reason)),
        refused=any(result.state in ("rejected", "given_up") for result in results),
    )


def _row(declared: Download, day: date) -> dict[str, Any]:
    row: dict[str, Any] = {"download": declared.name, "batch_date": day.isoformat(), "state": ""}
    row |= {"file": declared.file_name(day), "url": declared.address(day), "path": "", "sha256": "", "at": None}
    return row | {"bytes": 0, "pushed": "", "rows": 0, "sent": 0, "refused": False, "reason": ""}


def _planned(declared: Download, day: date) -> dict[str, Any]:
    unset = [name for name in declared.variables if not os.environ.get(name)]
    return {
        "download": declared.name,
        "batch_date": day.isoformat(),
        "url": declared.address(day),
        "file": declared.file_name(day),
        "variables_not_set": ", ".join(unset),
    }


def _days(batch_date: datetime | None, first: datetime | None, last: datetime | None) -> list[date]:
    if batch_date and (first or last):
        raise click.UsageError("--batch-date names one day, --from and --to name several: give one or the other")
    if not first or not last:
        if first or last:
            raise click.UsageError("--from and --to go together")
        return [batch_date.date() if batch_date else datetime.now(UTC).date()]
    if last < first:
        raise click.UsageError(f"--to {last:%Y-%m-%d} lies before --from {first:%Y-%m-%d}")
    return [first.date() + timedelta(days=number) for number in range((last - first).days + 1)]


COMMANDS = (download,)
