"""What a watcher moves out of `incoming/` is the file that it sent, whatever took its name meanwhile."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, cast

import pytest

from producers import watch
from producers.push import FileResult, ResultState, Sender, refused

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

    def push_open(self, source: BinaryIO, name: str) -> list[FileResult]:
        self.sent.append(source.read().decode())
        self.under_way()
        return [FileResult("orders", name, "f" * 64, "", 1, 1, self.state, "because", 0.0)]

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


BEHIND = "orders_2026-01-02.csv"


def drop_two(folder: Folder, bad_name: str) -> None:
    """A file under this name and a good one, which the watcher takes after it."""
    for number, name in enumerate((bad_name, BEHIND)):
        path = folder.folder.incoming / name
        path.write_text("good" if name == BEHIND else "bad")
        os.utime(path, (number, number))


def reject(folder: Folder, monkeypatch: pytest.MonkeyPatch, bad_name: str) -> list[tuple[str, ResultState]]:
    def push_open(source: BinaryIO, name: str) -> list[FileResult]:
        if name == bad_name:
            return [refused(name, f"{name!r} is wrong")]
        return Folder.push_open(folder, source, name)

    monkeypatch.setattr(folder, "push_open", push_open)
    drop_two(folder, bad_name)
    return [(result.file, result.state) for result in folder.sweep()]


def test_a_name_that_is_no_utf8_is_rejected_with_its_reason(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    bad = os.fsdecode(b"quiz_\xff.csv")
    for _ in range(2):
        found = reject(folder, monkeypatch, bad)
        assert found == [("quiz_\\udcff.csv", "rejected"), (BEHIND, "sent")]
    reason = (folder.folder.rejected / f"{bad}.reason.txt").read_text()
    assert reason.startswith("quiz_\\udcff.csv: ")
    again = os.fsdecode(b"quiz_\xff.again.csv")
    assert {path.name for path in folder.folder.rejected.iterdir()} == {
        *(bad, again),
        *(f"{name}.reason.txt" for name in (bad, again)),
    }


@pytest.mark.parametrize(
    "bad",
    [
        "q" * 241 + ".csv",
        "é" * 125 + "x.csv",
        "q." + "s" * 253,
        os.fsdecode(b"\xff" * 255),
    ],
)
def test_a_name_too_long_for_its_reason_is_cut(folder: Folder, monkeypatch: pytest.MonkeyPatch, bad: str) -> None:
    for _ in range(3):
        assert [state for _, state in reject(folder, monkeypatch, bad)] == ["rejected", "sent"]
    names = {path.name for path in folder.folder.rejected.iterdir()}
    moved = {name for name in names if not name.endswith(".reason.txt")}
    assert len(moved) == 3
    assert names - moved == {f"{name}.reason.txt" for name in moved}
    assert all(name.endswith(".csv") for name in moved) or not bad.endswith(".csv")
    shown = bad.encode(errors="backslashreplace").decode()
    assert all((folder.folder.rejected / name).read_text().startswith(f"{shown}: ") for name in names - moved)


def test_a_long_name_that_is_taken_in_processed_is_cut(folder: Folder) -> None:
    name = "q" * 251 + ".csv"
    for _ in range(2):
        (folder.folder.incoming / name).write_text("rows")
        assert [result.state for result in folder.sweep()] == ["sent"]
    assert set(folder.holds()) == {f"processed/{name}", f"processed/{'q' * 238}.{'f' * 12}.csv"}


def test_a_reason_that_cannot_be_written_is_logged(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (folder.folder.rejected / f"{NAME}.reason.txt").mkdir()
    assert [state for _, state in reject(folder, monkeypatch, NAME)] == ["rejected", "sent"]
    assert f"'{NAME}' was rejected" in caplog.text
    assert (folder.folder.rejected / NAME).exists()


def test_a_file_that_cannot_be_moved_holds_back_none_behind_it(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    drop_two(folder, NAME)
    real = Path.rename

    def rename(path: Path, target: Path) -> Path:
        if path.name == NAME:
            raise OSError(5, "Input/output error")
        return real(path, target)

    monkeypatch.setattr(Path, "rename", rename)
    assert [result.file for result in folder.sweep()] == [BEHIND]
    assert f"{NAME}' stays for now" in caplog.text
    monkeypatch.undo()
    assert [result.file for result in folder.sweep()] == [NAME]
    assert folder.holds() == {f"processed/{NAME}": "bad", f"processed/{BEHIND}": "good"}


def test_what_we_may_not_do_is_no_fault_of_the_file(folder: Folder) -> None:
    def refused_spool() -> None:
        raise PermissionError(13, "Permission denied", "spool")

    folder.drop("a")
    folder.under_way = refused_spool
    assert folder.sweep() == []
    assert folder.holds() == {f"incoming/{NAME}": "a"}
