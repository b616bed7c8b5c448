"""Finds a Postgres server with its contrib types, which the wheel's lacks. Only tests start it."""

from __future__ import annotations

from pathlib import Path

from contracts.errors import Fatal
from infra import apt

_ROOT = Path("/usr/lib/postgresql")
_PACKAGE = "postgresql"
_VARIABLE = "POSTGRES_INSTALL"
# The package makes a cluster on port 5432 and starts it with the machine, unless it is told not to.
_NO_CLUSTER = "/etc/postgresql-common/createcluster.d/headrace.conf"
_BEFORE = f"mkdir -p $(dirname {_NO_CLUSTER}) && echo 'create_main_cluster = false' > {_NO_CLUSTER}"


def find_programs() -> Path | None:
    """The folder of the newest server's programs on this machine that has contrib."""
    for home in sorted(_ROOT.glob("*/bin/postgres"), key=lambda file: float(file.parts[-3]), reverse=True):
        if Path(f"/usr/share/postgresql/{home.parts[-3]}/extension/hstore.control").is_file():
            return home.parent
    return None


def programs() -> Path:
    """The folder of the programs to use.

    When there is none: installs Debian's if `CI=true` or `POSTGRES_INSTALL=1`, else Fatal with the exact command.
    """
    found = find_programs()
    if found is None and may_install():
        apt.install(_PACKAGE, before=_BEFORE, after=f"rm {_NO_CLUSTER}")
        found = find_programs()
    if found is None:
        hint = f"run `{apt.hint(_PACKAGE)}`, or repeat with {_VARIABLE}=1, which leaves out the cluster on port 5432"
        raise Fatal("no Postgres server with contrib on this machine", next_step=hint)
    return found


def may_install() -> bool:
    """Whether packages may be installed without being asked."""
    return apt.may_install(_VARIABLE)
