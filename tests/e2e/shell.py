"""The command line as a person uses it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

README = (Path(__file__).parents[2] / "README.md").read_text("utf-8")


class Shell:
    """A terminal in one folder, as after `source .venv/bin/activate`."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.folder = folder
        self._environment = {name: value for name, value in os.environ.items() if not name.startswith("HEADRACE_")}
        self._environment |= environment
        self._environment["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"

    def type(self, text: str, timeout_s: float = 300) -> str:
        """Run it, stop at the first command that fails; what it printed on stdout."""
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", text],
            cwd=self.folder,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=timeout_s,
        )
        assert done.returncode == 0, f"{text}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
        return done.stdout

    @contextmanager
    def beside(self, command: str) -> Iterator[subprocess.Popen[str]]:
        """A command that goes on beside the body; killed if it still does after it."""
        process = subprocess.Popen(
            ["bash", "-euc", f"exec {command}"],
            cwd=self.folder,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        with process:
            try:
                yield process
            finally:
                process.kill()

    def exit_code(self, command: str) -> int:
        """What the command says to a scheduler."""
        return int(self.type(f"{command} > /dev/null && echo 0 || echo $?"))

    def ask(self, command: str) -> list[dict[str, Any]]:
        """The rows that a command with `--json` prints."""
        found: list[dict[str, Any]] = json.loads(self.type(f"{command} --json"))
        return found

    def wait(self, fact: Callable[[], bool], timeout_s: float) -> None:
        """Until it holds; fails after `timeout_s`."""
        deadline = time.monotonic() + timeout_s
        while not fact():
            assert time.monotonic() < deadline, f"not within {timeout_s:g} s"
            time.sleep(5)  # each look starts a Python of its own, beside the run that it waits for

    def pid_of(self, part: str) -> int:
        """The process of a part of this folder's deployment."""
        parts = self.ask("headrace status")[0]["parts"]
        return int(next(row["pid"] for row in parts if row["part"] == part))

    def column(self, statement: str) -> list[str]:
        """The first column of a query's rows."""
        return [str(next(iter(row.values()))) for row in self.ask(f'headrace sql "{statement}"')]
