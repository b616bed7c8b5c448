"""What would keep a deployment from working on this machine, each with what to do about it."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

import psutil

from infra import contrib_postgres, mariadb, mongodb
from infra.jars import missing_jars, pyspark_jars, read_lock
from infra.java import NEWEST_JAVA, OLDEST_JAVA, candidates, find_java, install_hint, java, may_install

PYTHONS = ((3, 11), (3, 13))
MEMORY_NEEDED_GB = 8.0
DISK_NEEDED_GB = 5.0
DISK_FOR_JARS_GB = 1.0


@dataclass(frozen=True, slots=True)
class Finding:
    """Something wrong. `stops` means that nothing can start; otherwise it is a warning."""

    subject: Literal["java", "python", "jars", "memory", "disk", "ports"]
    what: str
    do: str
    stops: bool = True


def preflight(data_dir: Path, ports: Iterable[int] = ()) -> list[Finding]:
    """Everything found wrong, empty when all is well. `ports` are those that must be free now. Changes nothing."""
    return [*_java(), *_python(), *_jars(), *_memory(), *_disk(data_dir), *_ports(ports)]


def holder_of(port: int) -> str:
    """Who listens on a port, as well as this user may know."""
    try:
        for connection in psutil.net_connections("tcp"):
            if (
                connection.status == psutil.CONN_LISTEN
                and connection.laddr
                and connection.laddr[1] == port
                and connection.pid
            ):
                process = psutil.Process(connection.pid)
                return f"pid {connection.pid} ({' '.join(process.cmdline())[:80]})"
    except psutil.Error:
        pass
    return "another process"


def _java() -> list[Finding]:
    if find_java() is not None:
        return []
    seen = ", ".join(f"{path} is Java {major or 'unknown'}" for path, major in candidates()) or "no Java at all"
    what = f"Java {OLDEST_JAVA} to {NEWEST_JAVA} is needed; found {seen}"
    return [Finding("java", what, f"`{install_hint()}`, or set JAVA_HOME, or repeat with JAVA_INSTALL=1")]


def _python() -> list[Finding]:
    low, high = PYTHONS
    if low <= sys.version_info[:2] <= high:
        return []
    what = f"Python {sys.version.split()[0]} runs this; {low[0]}.{low[1]} to {high[0]}.{high[1]} are supported"
    return [Finding("python", what, "`make setup` with another python3 first on PATH")]


def _jars() -> list[Finding]:
    """The Spark jars were built for one pyspark line, and Delta's Python half must be its jar's version."""
    found = []
    locked = {name for name in read_lock() if name.startswith("spark/")}
    jar_prefixes = {"pyspark": "spark/spark-sql-kafka-0-10_2.13-", "delta-spark": "spark/delta-spark_4.0_2.13-"}
    for package, prefix in jar_prefixes.items():
        try:
            installed = version(package)
        except PackageNotFoundError:
            found.append(Finding("jars", f"{package} is not installed", "`make setup`"))
            continue
        if f"{prefix}{installed}.jar" not in locked:
            jar = next((name.removeprefix("spark/") for name in locked if name.startswith(prefix)), "none")
            what = f"{package} {installed} is installed, but the jar is {jar}"
            found.append(Finding("jars", what, "`uv sync --frozen`, which brings the locked version back"))
    if not found and not list(pyspark_jars().glob("ivy-*.jar")):
        found.append(Finding("jars", f"no Ivy in {pyspark_jars()}", "`uv sync --frozen --reinstall-package pyspark`"))
    return found


def _memory() -> list[Finding]:
    available = psutil.virtual_memory().available / 1e9
    if available >= MEMORY_NEEDED_GB:
        return []
    what = f"{available:.1f} GB of memory are free; all parts together want {MEMORY_NEEDED_GB:.0f} GB"
    return [Finding("memory", what, "stop other programs, or make parts external in headrace.yaml", stops=False)]


def _disk(data_dir: Path) -> list[Finding]:
    needed = DISK_NEEDED_GB + (DISK_FOR_JARS_GB if missing_jars() else 0)
    place = next(folder for folder in (data_dir.absolute(), *data_dir.absolute().parents) if folder.exists())
    free = shutil.disk_usage(place).free / 1e9
    if free >= needed:
        return []
    what = f"{free:.1f} GB of disk are free at {place}; {needed:.0f} GB are needed"
    return [Finding("disk", what, "free some, or set data_dir to another disk", stops=free < 1)]


def _ports(ports: Iterable[int]) -> list[Finding]:
    from infra.local.layout import is_free

    return [
        Finding("ports", f"port {port} is taken by {holder_of(port)}", "stop that process; the port is kept on purpose")
        for port in ports
        if not is_free(port)
    ]


def main() -> int:
    """Prints the findings for `make setup`; gets Java when that is allowed. Not zero when something stops."""
    if find_java() is None and may_install():
        java()
    if mariadb.may_install():
        mariadb.server()  # for the tests; nothing else starts one
    if contrib_postgres.may_install():
        contrib_postgres.programs()  # likewise
    if mongodb.may_install():
        mongodb.server()  # likewise
    findings = preflight(Path(os.environ.get("HEADRACE_DATA_DIR", ".headrace")))
    for finding in findings:
        sys.stderr.write(f"{'error' if finding.stops else 'warning'}: {finding.what}\n  Next: {finding.do}\n")
    return int(any(finding.stops for finding in findings))


if __name__ == "__main__":
    sys.exit(main())
