"""Finds the server of MongoDB's protocol that tests start, SecantusDB. No deployment starts one: a pipeline's own is
always external.

It is GPL-2.0, so it is a program of its own in a folder of its own, and no dependency of headrace.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

from contracts.errors import Fatal
from infra import apt
from infra.jars import cache_root

LOCK_FILE = Path(__file__).with_name("mongodb.lock")
_PROGRAM = "secantusd-py"
# The one of `make setup`, where the machine has none.
_UV = shutil.which("uv") or str(Path(__file__).parents[1] / ".venv-uv" / "bin" / "uv")


def find_server() -> Path | None:
    """The program, if it was installed in the version that the lock file says, for this Python."""
    program = _home() / "bin" / _PROGRAM
    return program if program.is_file() else None


def server() -> Path:
    """The program to use.

    When there is none: installs it into the cache, each package by its checksum, if `CI=true` or `MONGODB_INSTALL=1`.
    Fatal with what to type where that is not allowed, or fails.
    """
    if find_server() is None and may_install():
        _install()
    if (found := find_server()) is None:
        raise Fatal("no server of MongoDB's protocol on this machine", next_step="`make setup MONGODB_INSTALL=1`")
    return found


def may_install() -> bool:
    """Whether it may be installed without being asked."""
    return apt.may_install("MONGODB_INSTALL")


def _home() -> Path:
    locked = sha256(LOCK_FILE.read_bytes()).hexdigest()[:16]
    return cache_root() / f"mongodb-{locked}-{sys.version_info.major}.{sys.version_info.minor}"


def _install() -> None:
    cache_root().mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=cache_root(), prefix="mongodb-", ignore_cleanup_errors=True) as scratch:
        # Whole, or not at all: it is moved to its place when all of it is there.
        made = Path(scratch) / "made"
        _uv("venv", "--quiet", "--relocatable", "--python", sys.executable, str(made))
        to = ("--python", str(made / "bin" / "python"))
        _uv("pip", "install", "--quiet", "--require-hashes", "--only-binary", ":all:", *to, "-r", str(LOCK_FILE))
        if not _home().exists():
            made.rename(_home())


def _uv(*arguments: str) -> None:
    try:
        subprocess.run([_UV, *arguments], check=True, timeout=600, capture_output=True, text=True)
    except (OSError, subprocess.SubprocessError) as error:
        told = (getattr(error, "stderr", "") or str(error)).strip()
        raise Fatal(
            f"uv did not install the server of MongoDB's protocol: {told}",
            state="Nothing of it is on this machine.",
            next_step="see the above, then repeat `make setup MONGODB_INSTALL=1`; only the tests of MongoDB want it",
        ) from error
