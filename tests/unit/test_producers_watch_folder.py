"""What a watcher moves out of `incoming/` is the file that it sent, whatever took its name meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, cast

import pytest

from producers import watch
from producers.push import FileResult, ResultState, Sender

NAME = "orders_2026-01-01.csv"


class Folder:
    """A drop folder and a sender that keeps what it is given and calls `under_way` after reading it."""

    def __init__(self, root: Path) -> None:
        self.folder = watch.DropFolder(root)
        self.folder.prepare()
        self.sent: list[str] = []
        self.state: ResultState = "sent"
        self.under_way: Callable[[], object] = lambda: None
        self.watcher = watch._Watcher(self.folder, settle_s=0, retry_after_s=0)

    def drop(self, content: str) -> None:
        """The recommended way: whole under another name, then renamed."""
        part = self.folder.incoming / f"{NAME}.part"
        part.write_text(content)
        part.rename(self.folder.incoming / NAME)

    def sweep(self) -> list[FileResult]:
        return list(self.watcher.sweep(cast(Sender, self), threading.Event()))

    def push_open(self, source: BinaryIO, name: str) -> FileResult:
        self.sent.append(source.read().decode())
        self.under_way()
        return FileResult("orders", name, "f" * 64, "", 1, 1, self.state, "because", 0.0)

    def holds(self) -> dict[str, str]:
        found = sorted(path for path in self.folder.root.rglob("*") if path.is_file())
        return {str(path.relative_to(self.folder.root)): path.read_text() for path in found}


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def at_the_rename(monkeypatch: pytest.MonkeyPatch, *happenings: Callable[[], object]) -> None:
    """Each happens once, right before or after the watcher's next rename: first, second."""
    real, left = Path.rename, list(happenings)

    def rename(path: Path, target: Path) -> Path:
        if path.name != NAME or not left:
            return real(path, target)
        before, after, left[:] = left[0], left[1:2], []
        before()
        moved = real(path, target)
        for happens in after:
            happens()
        return moved

    monkeypatch.setattr(Path, "rename", rename)


@pytest.mark.parametrize("state", ["sent", "rejected"])
def test_a_correction_dropped_while_the_file_is_sent_is_sent_next(folder: Folder, state: ResultState) -> None:
    folder.drop("old")
    folder.state, folder.under_way = state, lambda: folder.drop("corrected")
    folder.sweep()
    assert folder.holds() == {f"incoming/{NAME}": "corrected"}
    folder.state, folder.under_way = "sent", lambda: None
    folder.sweep()
    assert folder.sent == ["old", "corrected"]
    assert folder.holds() == {f"processed/{NAME}": "corrected"}


def test_a_correction_dropped_at_the_last_moment_goes_back(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.drop("old")
    at_the_rename(monkeypatch, lambda: folder.drop("corrected"))
    folder.sweep()
    assert folder.holds() == {f"incoming/{NAME}": "corrected"}
    folder.sweep()
    assert folder.sent == ["old", "corrected"]
    assert folder.holds() == {f"processed/{NAME}": "corrected"}


def test_what_goes_back_never_replaces_a_newer_file(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.drop("old")
    at_the_rename(monkeypatch, lambda: folder.drop("second"), lambda: folder.drop("third"))
    folder.sweep()
    found = folder.holds()
    assert "was not sent" in found.pop(f"rejected/{NAME}.reason.txt")
    assert found == {f"incoming/{NAME}": "third", f"rejected/{NAME}": "second"}
    folder.sweep()
    assert folder.sent == ["old", "third"]


def test_a_file_that_takes_the_place_of_a_refused_link_is_sent(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder.folder.incoming / NAME).symlink_to("nowhere")
    at_the_rename(monkeypatch, lambda: folder.drop("real"))
    folder.sweep()
    assert folder.holds() == {f"incoming/{NAME}": "real"}
    folder.sweep()
    assert folder.sent == ["real"]


def test_a_file_taken_away_while_it_is_sent_leaves_nothing(folder: Folder) -> None:
    folder.drop("old")
    folder.under_way = lambda: (folder.folder.incoming / NAME).unlink()
    assert [result.state for result in folder.sweep()] == ["sent"]
    assert folder.holds() == {}
