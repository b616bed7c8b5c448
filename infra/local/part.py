"""One process of a deployment: what to run, when it counts as ready, how it is stopped."""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

State = Literal["running", "starting", "crashed", "stopped", "external", "unreachable"]


class NotReady(Exception):
    """Raised by a readiness check: not yet, and why."""


def _nothing() -> None:
    return None


@dataclass(frozen=True, slots=True)
class Part:
    """A process to keep. All callables may be called again after a crash or on a second `up`.

    `prepare` runs before the process starts (configuration files, formatting). `ready` returns when the part answers
    in its own protocol and raises `NotReady` (or any OSError) until then. `settle` runs once it is ready (roles,
    databases) and must be safe to repeat. `after` names the parts that must be ready first.
    """

    name: str
    argv: tuple[str, ...]
    ready: Callable[[], None]
    env: Mapping[str, str] = field(default_factory=dict)
    port: int | None = None
    after: tuple[str, ...] = ()
    prepare: Callable[[], None] = _nothing
    settle: Callable[[], None] = _nothing
    cwd: Path | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    start_timeout_s: float = 240.0
    stop_timeout_s: float = 20.0


@dataclass(frozen=True, slots=True)
class External:
    """A part that somebody else runs: only checked, never started or stopped."""

    name: str
    address: str
    ready: Callable[[], None]


@dataclass(frozen=True, slots=True)
class PartStatus:
    """What `status` shows of one part. `last_lines` is filled for a crashed part; `detail` says why not running."""

    name: str
    state: State
    pid: int | None = None
    port: int | None = None
    address: str = ""
    memory_bytes: int | None = None
    log: Path | None = None
    detail: str = ""
    last_lines: tuple[str, ...] = ()
