"""The file, or the files of an archive, from which a contract is drafted: unpacked as `push` unpacks them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from contracts.errors import Fatal
from producers.archives import shown
from producers.unpack import ArchiveRefused, is_archive, unpacked, unsupported

_NAMED = 5


@dataclass(frozen=True, slots=True)
class SampleFile:
    """`name` is that by which `push` knows the file, `path` where its unpacked content stands."""

    name: str
    path: Path


@dataclass(frozen=True, slots=True)
class Opened:
    """The files of a sample, at least one; `kind` is the archive they came from, empty if it is none."""

    name: str
    kind: str
    files: tuple[SampleFile, ...]

    def chosen(self, member: str) -> SampleFile:
        """The file named `member`, or the first.

        Raises:
            Fatal: there is none of that name.
        """
        if not member:
            return self.files[0]
        if not self.kind:
            raise Fatal(f"{self.name} is no archive, so it holds no {member}", next_step="leave --member out")
        found = next((file for file in self.files if file.name == member), None)
        if found is None:
            raise Fatal(
                f"{self.name} holds no file named {member}", next_step=f"--member with one of {listed(self.files)}"
            )
        return found


def listed(files: Sequence[SampleFile]) -> str:
    """The names of the first few."""
    more = f" and {len(files) - _NAMED:,} more" if len(files) > _NAMED else ""
    return ", ".join(shown(file.name) for file in files[:_NAMED]) + more


@contextmanager
def opened(file: Path, spool: Path, progress: Callable[[int, int], None] | None = None) -> Iterator[Opened]:
    """The files in `file`, which is one itself unless it is an archive; nothing of it stays below `spool`.

    An archive is unpacked whole, for what `push` would refuse is refused here. `progress`: as `unpacked`.

    Raises:
        Fatal: it cannot be read or unpacked, in here or while the caller reads; or `push` refuses the archive.
    """
    try:
        with file.open("rb") as source:
            kind = is_archive(source)
            if not kind:
                if other := unsupported(source):
                    raise Fatal(
                        f"{file.name} is {other}, which is not unpacked", next_step="gzip it, or unpack it first"
                    )
                yield Opened(file.name, "", (SampleFile(file.name, file),))
                return
            with unpacked(source, file.name, spool, progress=progress) as members:
                files = tuple(SampleFile(member.name, member.path) for member in members)
                names = [one.name for one in files]
                if twice := sorted({name for name in names if names.count(name) > 1}):
                    raise Fatal(
                        f"{file.name} holds more than one file named {shown(twice[0])}, and `push` would refuse it",
                        next_step="rename them",
                    )
                yield Opened(file.name, kind, files)
    except ArchiveRefused as problem:
        raise Fatal(
            f"{file.name} cannot be unpacked: {problem}",
            state="Nothing of it was used.",
            next_step="look whether it is whole; `push` refuses it too",
        ) from problem
    except OSError as problem:
        raise Fatal(f"{file.name} cannot be read or unpacked: {problem.strerror or problem}") from problem
