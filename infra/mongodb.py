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


def find_server() -> Path | None:
    """The program, if it was installed in the version that the lock file says, for this Python."""
    program = _home() / "bin" / _PROGRAM
    return program if program.is_file() else None


def server() -> Path:
    """The program to use.

    When there is none: installs it into the cache, each package by its checksum, if `CI=true` or `MONGODB_INSTALL=1`,
    else Fatal with what to type.
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
    uv = shutil.which("uv") or ".venv-uv/bin/uv"
    cache_root().mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=cache_root(), prefix="mongodb-", ignore_cleanup_errors=True) as scratch:
        # Whole, or not at all: it is moved to its place when all of it is there.
        made = Path(scratch) / "made"
        _run(uv, "venv", "--quiet", "--relocatable", "--python", sys.executable, str(made))
        to = ("--python", str(made / "bin" / "python"))
        _run(uv, "pip", "install", "--quiet", "--require-hashes", "--only-binary", ":all:", *to, "-r", str(LOCK_FILE))
        if not _home().exists():
            made.rename(_home())


def _run(*command: str) -> None:
    subprocess.run(command, check=True, timeout=600)
