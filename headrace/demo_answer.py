"""The generator's known answer against what the lake says."""

from __future__ import annotations

from collections.abc import Iterator

from headrace.app import App
from headrace.findings import Finding, compare
from headrace.overview import files_overview
from headrace.proof import lake_side
from producers.generator.answer import Answer

OUTCOMES = ("accepted", "duplicate", "conflicting", "quarantined")


def answer_findings(app: App, answer: Answer) -> Iterator[Finding]:
    """What became of each file's rows, and what readers see of each file stream, against what was generated."""
    booked = {row["hash"]: row for row in files_overview(app)}
    for file in answer.files:
        wanted = (file.accepted, file.duplicate, file.conflicting, sum(file.quarantined.values()))
        row = booked.get(file.hash[:12], {})
        got = tuple(row.get(name, 0) for name in OUTCOMES)
        arrived = row.get("state") in ("done", "superseded")
        detail = "" if got == wanted else f"{', '.join(OUTCOMES)}: {wanted} generated, {got} in the ledger"
        yield Finding(
            f"{file.file}: known answer",
            f"{sum(wanted):,} rows",
            str(row.get("state", "unknown")),
            arrived and got == wanted,
            detail,
        )
    for name, known in answer.streams.items():
        stream = app.pipeline.stream(name)
        found = lake_side(app, f"{stream.history}_current", stream)
        truth = (known.current_corrected.rows, known.current_corrected.fingerprint)
        yield compare(f"{name}: known answer = lake", truth, found, ("answer", "lake"))
