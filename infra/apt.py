"""Debian packages that tests want, installed only where that is allowed."""

from __future__ import annotations

import os
import shutil
import subprocess


def may_install(variable: str) -> bool:
    """Whether packages may be installed without being asked: if `CI=true`, or the variable is 1."""
    return os.environ.get("CI") == "true" or os.environ.get(variable) == "1"


def install(packages: str, *, before: str = "true", after: str = "true") -> None:
    """Installs them with apt-get, between two shell commands, the second in any case. Does nothing without apt-get."""
    if not shutil.which("apt-get"):
        return
    sudo = [] if os.geteuid() == 0 else ["sudo", "-n"]
    fetch = f"apt-get install -y -q --no-install-recommends {packages}"
    script = f"apt-get update -q && {before} && {{ {fetch}; code=$?; {after}; exit $code; }}"
    subprocess.run([*sudo, "sh", "-c", script], check=True, timeout=900)


def hint(packages: str) -> str:
    """The command that a person types."""
    return ("" if os.geteuid() == 0 else "sudo ") + f"apt-get install -y --no-install-recommends {packages}"
