"""Which files of an archive are of the stream that is drafted from one of them, and what states each of them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from contracts.errors import Fatal
from contracts.stream import FILE_UNIT
from headrace.drafts.model import Property
from headrace.drafts.name import NamePattern
from headrace.drafts.packed import Opened, listed


@dataclass(frozen=True, slots=True)
class Alike:
    """What the other files of an archive say of a stream. `by_file`: several state one unit, so each is its own."""

    by_file: bool
    checks: tuple[str, ...]

    def unit(self, unit: str) -> Property:
        """The property that says what a later file replaces."""
        if self.by_file:
            return Property(
                "fileUnit", FILE_UNIT, f"files of one archive have the same `{unit}` and must not replace it"
            )
        return Property("fileUnit", unit, f"a later file of the same {unit} replaces this one")


def alike(found: Opened, pattern: NamePattern, unit: str, *, named: bool) -> Alike:
    """Compare the names of an archive's files with the pattern of one of them; `named`: somebody chose that one.

    Raises:
        Fatal: files are of another kind and nobody chose, or `push` would take the archive for one file.
    """
    matches = [(file, re.fullmatch(pattern.pattern, file.name, re.ASCII)) for file in found.files]
    others = [file for file, match in matches if match is None]
    units = [match.groupdict().get(unit, "") for _, match in matches if match]
    if others and not named:
        raise Fatal(
            f"{found.name} is a {found.kind} of {len(found.files):,} files that are not of one kind: "
            f"{listed(found.files)}",
            state="Nothing was written.",
            next_step="--member NAME: a contract for the files named as that one; then the next",
        )
    if len(found.files) > 1 and re.fullmatch(pattern.pattern, found.name, re.ASCII):
        raise Fatal(
            f"{found.name} is named as one of the {len(found.files):,} files in it, and `push` would refuse it",
            state="Nothing was written.",
            next_step=f"rename it, say {found.name.split('.')[0]}.{found.kind}",
        )
    by_file = len(set(units)) < len(units)
    checks = []
    if len(units) > 1:
        which = "the one that was named" if named else "the first"
        checks.append(f"the columns: of {len(units):,} files of the archive only {which} was read")
    if others:
        checks.append(
            f"the archive: {len(others):,} of its files are not this stream's; without a contract they are refused"
        )
    checks.append(
        "headrace.fileUnit: a later file of the same name replaces this one; without it files only add"
        if by_file
        else pattern.unit_check
    )
    return Alike(by_file, tuple(checks))
