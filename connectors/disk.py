"""What a source tells of the disk that its log lies on: WAL or binlog."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Disk:
    """What the server told: `absent` where our script is not installed, `closed` where this role may not call what it
    made, `failed` with the server's `error`. The figures are 0 unless it `told`."""

    answer: Literal["told", "absent", "closed", "failed"] = "absent"
    free_bytes: int = 0
    total_bytes: int = 0
    error: str = ""

    @property
    def known(self) -> bool:
        """Whether the figures mean anything."""
        return self.answer == "told"
