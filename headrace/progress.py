"""What a command is at, for whoever looks on: one line on stderr with amount, rate and time left."""

from __future__ import annotations

from collections.abc import Iterable
from threading import Lock
from types import TracebackType
from typing import Self, TypeVar

from rich.progress import (
    BarColumn,
    DownloadColumn,
    FileSizeColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Column
from rich.text import Text

from headrace.app import progress_console

BYTES = "bytes"
ROWS = "rows"
Item = TypeVar("Item")


class Bar:
    """Shows the step that a command is at, one at a time, and nothing at all unless stderr is a terminal.

    Leaving it, or `clear`, takes the line away; the next `show` brings it back. For any thread.
    """

    def __init__(self) -> None:
        console = progress_console
        self._shown = console.is_interactive
        self._lock = Lock()
        self._step: tuple[str, str] | None = None
        self._task = TaskID(0)
        # Rich would send to stderr what is printed to stdout meanwhile: results.
        self._progress = Progress(
            *(SpinnerColumn(), _Step(), BarColumn(bar_width=20)),
            *(_Amount(), _Rate(), TimeElapsedColumn(_one_line()), _Left()),
            console=console,
            transient=True,
            redirect_stdout=False,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.clear()

    def show(self, step: str, of: str = "", done: int = 0, total: int = 0, *, unit: str = "") -> None:
        """The step, what it works at, and how much of it is done; a `total` of 0 is not known."""
        if not self._shown:
            return
        with self._lock:
            if self._step != (step, of):
                self._forget()
                self._step = step, of
                # What was done before does not count in the rate.
                name = f"{step} {of}".rstrip()
                self._task = self._progress.add_task(name, completed=done, total=total or None, unit=unit)
                self._progress.start()
            self._progress.update(self._task, completed=done, total=total or None)
            # A step may still have work when all of it is counted: spinner and clock go on.
            self._progress.tasks[0].finished_time = None

    def counted(self, step: str, of: str, items: Iterable[Item], *, unit: str = ROWS) -> Iterable[Item]:
        """The items, counted as they are taken; how many there will be is not known. No other step may be shown before
        the last."""
        self.show(step, of, unit=unit)
        return self._progress.track(items, task_id=self._task) if self._shown else items

    def clear(self) -> None:
        """Take the line away, so that something else may be written."""
        if not self._shown:
            return
        with self._lock:
            self._progress.stop()
            self._forget()

    def _forget(self) -> None:
        if self._step:
            self._progress.remove_task(self._task)
        self._step = None


def _one_line() -> Column:
    return Column(no_wrap=True)


class _Step(ProgressColumn):
    """On a narrow terminal its end makes room for the figures."""

    def render(self, task: Task) -> Text:
        """As ProgressColumn."""
        return Text(task.description, no_wrap=True, overflow="ellipsis")


class _Amount(ProgressColumn):
    """Bytes as rich shows them, all else as numbers; nothing before the first where the total is not known."""

    def __init__(self) -> None:
        super().__init__(_one_line())
        self._of_all, self._so_far = DownloadColumn(), FileSizeColumn()

    def render(self, task: Task) -> Text:
        """As ProgressColumn."""
        if not task.completed and task.total is None:
            return Text()
        if task.fields["unit"] == BYTES:
            return (self._so_far if task.total is None else self._of_all).render(task)
        of_all = "" if task.total is None else f"/{task.total:,.0f}"
        return Text(f"{task.completed:,.0f}{of_all} {task.fields['unit']}", style="progress.download")


class _Rate(ProgressColumn):
    """Once it is at least one a second."""

    def __init__(self) -> None:
        super().__init__(_one_line())
        self._of_bytes = TransferSpeedColumn()

    def render(self, task: Task) -> Text:
        """As ProgressColumn."""
        speed = task.finished_speed or task.speed or 0
        if speed < 1:
            return Text()
        if task.fields["unit"] == BYTES:
            return self._of_bytes.render(task)
        return Text(f"{speed:,.0f} {task.fields['unit']}/s", style="progress.data.speed")


class _Left(TimeRemainingColumn):
    """Says what the time is; nothing when all is counted, as nobody knows how long the rest takes."""

    def __init__(self) -> None:
        super().__init__(table_column=_one_line())

    def render(self, task: Task) -> Text:
        """As ProgressColumn."""
        return super().render(task).append(" left") if task.remaining else Text()
