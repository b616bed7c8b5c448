"""Finds the MariaDB server that tests start. No deployment starts one: a pipeline's own is always external."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from contracts.errors import Fatal
from infra import apt

_FOLDERS = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/usr/libexec"))
# The programs alone, without a service that starts with the machine.
_PACKAGES = "mariadb-server-core mariadb-client"


def find_server() -> Path | None:
    """The `mariadbd` of this machine."""
    found = shutil.which("mariadbd", path=_FOLDERS)
    return Path(found) if found else None


def server() -> Path:
    """The `mariadbd` to use.

    When there is none: installs it with apt-get if `CI=true` or `MARIADB_INSTALL=1`, else Fatal with the exact command.
    """
    found = find_server()
    if found is None and may_install():
        apt.install(_PACKAGES)
        found = find_server()
    if found is None:
        raise Fatal(
            "no MariaDB server on this machine", next_step=f"run `{install_hint()}`, or repeat with MARIADB_INSTALL=1"
        )
    return found


def find_plugins() -> Path | None:
    """The folder of the server's plugins on this machine, if the one that tells of disks is among them: the programs
    alone come without it."""
    folders = [Path(root) for root in ("/usr/lib/mysql/plugin", "/usr/lib64/mysql/plugin", "/usr/lib64/mariadb/plugin")]
    return next((folder for folder in folders if (folder / "disks.so").is_file()), None)


def plugins(scratch: Path) -> Path:
    """As `find_plugins`; if there is none, takes them out of Debian's package into `scratch`, without installing it,
    where packages may be installed. Else Fatal with what to type."""
    found = find_plugins()
    if found is None and may_install() and shutil.which("apt-get"):
        fetch = "apt-get download mariadb-server && dpkg -x mariadb-server_*.deb ."
        subprocess.run(["sh", "-c", fetch], cwd=scratch, check=True, capture_output=True, timeout=300)
        found = scratch / "usr/lib/mysql/plugin"
    if found is None:
        raise Fatal("MariaDB's plugin DISKS is not on this machine", next_step="repeat with MARIADB_INSTALL=1")
    return found


def may_install() -> bool:
    """Whether packages may be installed without being asked."""
    return apt.may_install("MARIADB_INSTALL")


def install_hint() -> str:
    """The command that brings it onto this machine."""
    if shutil.which("dnf"):
        return "sudo dnf install -y mariadb-server"
    return apt.hint(_PACKAGES)
