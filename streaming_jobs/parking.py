"""Streams that were taken out of the flow because a person must look first.

One small file per parked stream in a local folder, so that another process (`headrace status`, `headrace resume`)
sees and ends it while the streams run. If the folder is lost, the stream is simply tried again: what parked it
commits nothing and parks it once more.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Parked:
    """Why and since when (ISO 8601) a stream does not flow; its table's position has not moved since."""

    stream: str
    kind: str
    reason: str
    since: str
    resumed: bool = False
    accepts_loss: bool = False


class Parking:
    """The parked streams of one pipeline; `folder` need not exist."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def park(self, parked: Parked) -> None:
        """Durable on return; a second call replaces the reason."""
        write_atomically(self._file(parked.stream), json.dumps(asdict(parked), indent=1))

    def find(self, stream: str) -> Parked | None:
        """What parked this stream, or None if it flows."""
        found = self._read(stream)
        return None if found is None or found.resumed else found

    def resume(self, stream: str, *, accept_loss: bool = False) -> Parked | None:
        """Let the stream rejoin where its table stands, in about a second if it runs, else at the next start.

        What waits until then is read whatever its share of bad rows: they go to the quarantine. With `accept_loss`
        offsets that Kafka has lost are booked as lost. Returns what had parked it, None if it was not parked.
        """
        found = self.find(stream)
        if found:
            self.park(replace(found, resumed=True, accepts_loss=accept_loss))
        return found

    def accepts_loss(self, stream: str) -> bool:
        """Whether it rejoins where Kafka begins now, whatever lies before."""
        found = self._read(stream)
        return found is not None and found.resumed and found.accepts_loss

    def is_resumed(self, stream: str) -> bool:
        """Whether it rejoins and has not yet read what waited."""
        found = self._read(stream)
        return found is not None and found.resumed

    def forget(self, stream: str) -> None:
        """It flows as before it was parked."""
        self._file(stream).unlink(missing_ok=True)

    def all(self) -> list[Parked]:
        """Every parked stream, by name."""
        names = sorted(path.stem for path in self._folder.glob("*.json"))
        return [found for name in names if (found := self.find(name))]

    def _read(self, stream: str) -> Parked | None:
        try:
            return Parked(**json.loads(self._file(stream).read_text("utf-8")))
        except FileNotFoundError:
            return None

    def _file(self, stream: str) -> Path:
        return self._folder / f"{stream}.json"


def write_atomically(path: Path, text: str) -> None:
    """A reader sees the old text or the new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(text, "utf-8")
    draft.replace(path)
