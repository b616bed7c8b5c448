"""The true answer: what must become of every generated row, without reading a file back."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from contracts.canonical import fingerprint_python

ANSWER_FILE = "answer.json"
_CONTENTS = ("history", "current", "current_corrected")


@dataclass(frozen=True, slots=True)
class TableAnswer:
    """What a source table holds after its file is loaded. `fingerprint` is that of `contracts.canonical`."""

    stream: str
    file: str
    rows: int
    fingerprint: int


@dataclass(frozen=True, slots=True)
class FileAnswer:
    """What becomes of one file's events. `file` is its path below the output folder; `quarantined` counts by the rule
    that the quarantine names; `correction` files belong after all others."""

    stream: str
    file: str
    unit: str
    hash: str
    bytes: int
    rows: int
    accepted: int
    duplicate: int
    conflicting: int
    quarantined: Mapping[str, int]
    correction: bool = False


@dataclass(frozen=True, slots=True)
class Contents:
    """Rows of a lake table or view and their fingerprint (over all columns of the contract)."""

    rows: int
    fingerprint: int


@dataclass(frozen=True, slots=True)
class StreamAnswer:
    """`history` and `current` once all files but corrections have arrived; `current_corrected` after those too."""

    rows: int
    accepted: int
    duplicate: int
    conflicting: int
    quarantined: Mapping[str, int]
    history: Contents
    current: Contents
    current_corrected: Contents


@dataclass(frozen=True, slots=True)
class Answer:
    """The true answer of one generation."""

    seed: int
    scale: float
    units: tuple[str, ...]
    tables: tuple[TableAnswer, ...]
    files: tuple[FileAnswer, ...]
    streams: Mapping[str, StreamAnswer]

    def write(self, folder: Path) -> None:
        """Write `answer.json`. Fingerprints go beyond what JSON readers other than Python's keep exact."""
        text = json.dumps(asdict(self), indent=2, ensure_ascii=False)
        (folder / ANSWER_FILE).write_text(text + "\n", encoding="utf-8")


def read_answer(folder: Path) -> Answer:
    """Read what `Answer.write` wrote."""
    found = json.loads((folder / ANSWER_FILE).read_text(encoding="utf-8"))
    streams = {
        name: StreamAnswer(
            **{part: value for part, value in stream.items() if part not in _CONTENTS},
            history=Contents(**stream["history"]),
            current=Contents(**stream["current"]),
            current_corrected=Contents(**stream["current_corrected"]),
        )
        for name, stream in found["streams"].items()
    }
    return Answer(
        seed=found["seed"],
        scale=found["scale"],
        units=tuple(found["units"]),
        tables=tuple(TableAnswer(**table) for table in found["tables"]),
        files=tuple(FileAnswer(**file) for file in found["files"]),
        streams=streams,
    )


@dataclass(slots=True)
class Statement:
    """What one file states: keys, versions and hashes of its rows in the history, and what the rows add up to whose
    keys no other row has."""

    answer: FileAnswer
    keys: Sequence[object]
    versions: Sequence[int]
    hashes: Sequence[bytes]
    further: Contents


@dataclass(slots=True)
class StreamBooks:
    """Collects the files of one stream."""

    statements: list[Statement] = field(default_factory=list)

    def close(self) -> StreamAnswer:
        """Add up. Readers see, per unit, the newest file and, per key, the greatest version, then the earliest unit,
        then the greatest hash."""
        plain = [s for s in self.statements if not s.answer.correction]
        newest = {s.answer.unit: s for s in self.statements}
        quarantined: Counter[str] = Counter()
        for statement in plain:
            quarantined.update(statement.answer.quarantined)
        return StreamAnswer(
            rows=sum(s.answer.rows for s in plain),
            accepted=sum(s.answer.accepted for s in plain),
            duplicate=sum(s.answer.duplicate for s in plain),
            conflicting=sum(s.answer.conflicting for s in plain),
            quarantined=dict(sorted(quarantined.items())),
            history=_with_further(contents(digest for s in plain for digest in s.hashes), plain),
            current=_current(plain),
            current_corrected=_current([newest[unit] for unit in sorted(newest)]),
        )


def contents(hashes: Iterable[bytes]) -> Contents:
    """Count and fingerprint."""
    return Contents(*fingerprint_python(hashes))


def _with_further(found: Contents, statements: Sequence[Statement]) -> Contents:
    return Contents(
        found.rows + sum(s.further.rows for s in statements),
        found.fingerprint + sum(s.further.fingerprint for s in statements),
    )


def _current(statements: Sequence[Statement]) -> Contents:
    winners: dict[object, tuple[int, bytes]] = {}
    for statement in sorted(statements, key=lambda s: s.answer.unit):
        here: dict[object, tuple[int, bytes]] = {}
        for key, version, digest in zip(statement.keys, statement.versions, statement.hashes, strict=True):
            if key not in here or (version, digest) > here[key]:
                here[key] = version, digest
        for key, found in here.items():
            if key not in winners or found[0] > winners[key][0]:
                winners[key] = found
    return _with_further(contents(digest for _, digest in winners.values()), statements)
