"""A server of the tests' own, as a child process."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path


def start(command: tuple[str, ...] | list[str], log: Path, cwd: str | None = None) -> subprocess.Popen[bytes]:
    """What it says is added to the log."""
    with log.open("ab") as output:
        return subprocess.Popen(command, cwd=cwd, stdout=output, stderr=subprocess.STDOUT)


def wait(
    ask: Callable[[], object], not_yet: tuple[type[Exception], ...], child: subprocess.Popen[bytes], log: Path
) -> None:
    """Returns when asking raises none of `not_yet`; fails with the end of the log after a minute, or if it ended."""
    deadline = time.monotonic() + 60
    while True:
        try:
            ask()
        except not_yet:
            if child.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(log.read_text(encoding="utf-8")[-2000:]) from None
            time.sleep(0.2)
        else:
            return
