"""The proof, asked for when it can hold."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from headrace.app import App
from headrace.findings import Finding, until_equal
from headrace.proof import proof
from headrace.rounds import read_rounds, rounds_file


def settled_proof(app: App, timeout_s: float) -> list[Finding]:
    """As soon as all is equal, or after the time.

    Asks for nothing before a merge round that began after this call: on two cores, what asks takes the processor from
    what it waits for.
    """
    began, deadline = datetime.now(UTC).isoformat(), time.monotonic() + timeout_s
    while _newest_round(app) < began and time.monotonic() < deadline:
        time.sleep(0.5)
    return until_equal(lambda: proof(app), timeout_s=max(0.0, deadline - time.monotonic()))


def _newest_round(app: App) -> str:
    found = read_rounds(rounds_file(app.settings))
    return max(found.good_at, found.failed_at) if found else ""
