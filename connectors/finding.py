"""What `plan` has to say about the source: each with the reason and the statement to type."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing about the source: a refusal stops `apply`, a warning is shown, a hint tells by `plan` alone what more
    could be had. `why` says what would happen; `fix` is SQL or an edit to make."""

    level: Literal["refusal", "warning", "hint"]
    what: str
    table: str = ""
    column: str = ""
    declared: str = ""
    found: str = ""
    fix: str = ""
    why: str = ""

    @property
    def headline(self) -> str:
        """What, where, and both sides of it: the first line."""
        place = ".".join(part for part in (self.table, self.column) if part)
        text = f"{place}: {self.what}" if place else self.what
        if self.declared or self.found:
            text += f" (declared {self.declared or 'nothing'}, found {self.found or 'nothing'})"
        return text

    def __str__(self) -> str:
        return "\n  ".join(part for part in (self.headline, self.why, self.fix) if part)
