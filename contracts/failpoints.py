"""Named places before and after each commit, where a test can make the process die as by kill -9.

`HEADRACE_FAILPOINT=after_history_commit` dies at the first hit, `after_history_commit:3` at the third. Unset, a
failpoint costs one look into the environment and does nothing.
"""

from __future__ import annotations

import os
import signal
from collections import Counter

VARIABLE = "HEADRACE_FAILPOINT"

FAILPOINTS = frozenset(
    {
        "before_kafka_commit",
        "after_kafka_commit",
        "before_quarantine_commit",
        "after_quarantine_commit",
        "before_history_commit",
        "after_history_commit",
        "before_cut_commit",
        "after_cut_commit",
        "before_state_commit",
        "after_state_commit",
        "before_merge_commit",
        "after_merge_commit",
        "after_staging",
        "before_warehouse_commit",
        "after_warehouse_commit",
    }
)

_hits: Counter[str] = Counter()


def failpoint(name: str) -> None:
    """Kill this process (SIGKILL: nothing is flushed, no handler runs) if the environment names this place.

    Raises:
        ValueError: the name, here or in the environment, is no failpoint: a test that kills nowhere proves nothing.
    """
    if name not in FAILPOINTS:
        raise ValueError(f"failpoint {name!r} is not declared in contracts/failpoints.py")
    wanted = os.environ.get(VARIABLE, "")
    if not wanted:
        return
    wanted_name, _, count = wanted.partition(":")
    if wanted_name not in FAILPOINTS or not (count or "1").isdecimal():
        raise ValueError(f"{VARIABLE}={wanted!r}: write <name> or <name>:<hit>, with a name of {sorted(FAILPOINTS)}")
    if wanted_name != name:
        return
    _hits[name] += 1
    if _hits[name] == int(count or 1):
        os.kill(os.getpid(), signal.SIGKILL)
