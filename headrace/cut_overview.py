"""How far the consistent cuts are: what they hold back, since when."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from contracts.errors import HeadraceError
from headrace.app import App
from headrace.findings import Finding
from headrace.lake import rows_of
from streaming_jobs.lake import CUT_TABLE


@dataclass(frozen=True, slots=True)
class Held:
    """Of one stream: rows of the lake that readers do not see yet. `as_of`: when the cut last moved, None for never;
    `waits_since`: when the next cut was looked for, None if none waits for the lake."""

    system: str
    stream: str
    rows: int
    as_of: datetime | None
    waits_since: datetime | None


def held_back(app: App) -> list[Held]:
    """Every stream with a consistent cut."""
    groups = app.pipeline.cut_groups
    if not groups:
        return []
    found = rows_of(app, f"select * from {app.pipeline.name}_lake.{CUT_TABLE}")
    cuts = {row["stream"]: row for row in found}
    held = []
    for system, streams in groups.items():
        for stream in streams:
            cut = cuts.get(stream.name, {})
            # As a literal the bound prunes the history's files. Before the first cut what is merged is seen.
            merged = f"(select coalesce(max(_version) + 1, 0) from {stream.history}_state)"
            past = f"select count(*) as n from {stream.history} where _version >= {cut.get('bound', merged)}"
            rows = int(rows_of(app, past)[0]["n"])
            held.append(Held(system, stream.name, rows, cut.get("as_of"), cut.get("next_as_of")))
    return held


def cuts_overview(app: App) -> list[dict[str, Any]]:
    """One row per stream with a consistent cut; empty too if the lake does not answer."""
    try:
        held = held_back(app)
    except HeadraceError:
        return []
    return [
        {
            "source": one.system,
            "stream": one.stream,
            "held back": one.rows,
            "moved": _text(one.as_of),
            "waits since": _text(one.waits_since),
        }
        for one in held
    ]


def nothing_is_held_back(app: App) -> Iterator[Finding]:
    """One finding per stream with a consistent cut."""
    for one in held_back(app):
        said = ""
        if one.rows:
            said = (
                f"the cut moved last {_text(one.as_of) or 'never'}: the END of their transaction, or another table's "
                "rows, have not arrived; the next rounds show them. If it stays so, a stream of the group is parked "
                "(`headrace status`), or an END was lost, which the next transaction makes good"
            )
        yield Finding(f"{one.stream}: consistent cut", "rows held back", f"{one.rows:,}", not one.rows, said)


def _text(moment: datetime | str | None) -> str | None:
    return None if moment is None else f"{moment:%F %T}" if isinstance(moment, datetime) else str(moment)[:19]
