"""Every error headrace raises on purpose, in one tree.

    HeadraceError
    ├── Retryable          the same call may succeed later; `run` restarts with back-off
    │   ├── ServiceUnavailable
    │   └── Conflict           somebody else wrote first; nothing of ours was written
    └── Fatal              a person must act first; `run` exits
        ├── ContractError      a contract or a setting is wrong; says file, line and what to write
        ├── LedgerMismatch     counts do not balance; the stream is stopped at these offsets
        ├── OffsetsLost        the broker no longer has offsets that were asked for
        ├── PlanRefused        `plan` found something that `apply` must not do
        └── LeaseHeld          another process owns this pipeline

A message says what failed, where (stream, partition, offsets, file), what state is left, and what to do next.
The same facts are attributes, so that a caller never parses a message.
"""

from __future__ import annotations

import re
from pathlib import Path

_LOGIN = re.compile(r"(?<=://)[^/\s:@]*:[^/\s?#]*@")


def without_login(text: str) -> str:
    """The text without the user and password that stand in an address in it."""
    return _LOGIN.sub("", text)


class HeadraceError(Exception):
    """Root of the tree; never raised itself."""

    def __init__(self, what: str, *, state: str = "", next_step: str = "", **where: object) -> None:
        self.what = what
        self.state = state
        self.next_step = next_step
        self.where = where
        super().__init__(self._render())

    def _render(self) -> str:
        lines = [self.what]
        if self.where:
            lines[0] += " (" + ", ".join(f"{name} {value}" for name, value in self.where.items()) + ")"
        if self.state:
            lines.append(self.state)
        if self.next_step:
            lines.append(f"Next: {self.next_step}")
        # It goes to terminals and logs, and `where` often holds an address as the settings have it.
        return without_login("\n".join(lines))


class Retryable(HeadraceError):
    """The same call may succeed later."""


class ServiceUnavailable(Retryable):
    """A broker, database, filesystem or endpoint did not answer in time."""


class Conflict(Retryable):
    """Somebody else wrote first; nothing of ours was written."""


class Fatal(HeadraceError):
    """A person must act before this can succeed."""


class ContractError(Fatal):
    """A contract or a setting is wrong: says the file, the line and what to write instead."""

    def __init__(self, what: str, *, file: Path | str, line: int | None = None, write: str = "") -> None:
        self.file = Path(file)
        self.line = line
        place = f"{file}:{line}" if line else f"{file}"
        super().__init__(f"{place}: {what}", next_step=write)


class LedgerMismatch(Fatal):
    """What a batch read and what became of it do not add up; nothing of the batch was committed."""


class OffsetsLost(Fatal):
    """The broker no longer has offsets that were asked for."""


class PlanRefused(Fatal):
    """The declared state cannot be reached safely; nothing was changed."""


class LeaseHeld(Fatal):
    """Another process owns this pipeline."""
