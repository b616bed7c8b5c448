"""Finds the Java that runs every JVM part, and says how to get one."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from contracts.errors import Fatal

OLDEST_JAVA = 17
# Spark 4.0 and Hadoop 3.4 call what JDK 24 took away (the security manager), so newer is not better.
NEWEST_JAVA = 21
JVM_FOLDERS = (Path("/usr/lib/jvm"), Path("/Library/Java/JavaVirtualMachines"))


@cache
def java() -> Path:
    """The `java` executable to use: JAVA_HOME, then PATH, then the system's folders, first that fits wins.

    When none fits: installs one with apt-get if `CI=true` or `JAVA_INSTALL=1`, else Fatal with the exact command.
    """
    found = find_java()
    if found is None and may_install():
        subprocess.run(_install_command(), check=True, timeout=900)
        found = find_java()
    if found is None:
        tried = ", ".join(f"{path} (Java {version or 'unknown'})" for path, version in candidates()) or "none"
        raise Fatal(
            f"Java {OLDEST_JAVA} to {NEWEST_JAVA} is needed and was not found; seen: {tried}",
            next_step=f"run `{install_hint()}`, or point JAVA_HOME at one, or repeat with JAVA_INSTALL=1",
        )
    return found


def java_home() -> Path:
    """The home folder of `java()`."""
    return java().resolve().parent.parent


def find_java() -> Path | None:
    """The first executable of a supported version, without installing anything."""
    for path, version in candidates():
        if version is not None and OLDEST_JAVA <= version <= NEWEST_JAVA:
            return path
    return None


def candidates() -> Iterator[tuple[Path, int | None]]:
    """Every `java` on this machine in order of preference, with its major version (None when it does not run)."""
    places: list[Path] = []
    if home := os.environ.get("JAVA_HOME"):
        places.append(Path(home) / "bin" / "java")
    if on_path := shutil.which("java"):
        places.append(Path(on_path))
    for folder in JVM_FOLDERS:
        places += sorted(folder.glob("*/bin/java")) + sorted(folder.glob("*/Contents/Home/bin/java"))
    seen: set[Path] = set()
    for place in places:
        if place.is_file() and place.resolve() not in seen:
            seen.add(place.resolve())
            yield place, java_version(place)


def java_version(executable: Path) -> int | None:
    """The major version that `java -version` tells, None when it cannot be run."""
    try:
        done = subprocess.run([executable, "-version"], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return parse_version(done.stderr + done.stdout)


def parse_version(text: str) -> int | None:
    """The major version in the output of `java -version`; `1.8.0` is 8."""
    found = re.search(r'version "(?:1\.)?(\d+)', text)
    return int(found.group(1)) if found else None


def may_install() -> bool:
    """Whether the user allowed packages to be installed without being asked."""
    return os.environ.get("CI") == "true" or os.environ.get("JAVA_INSTALL") == "1"


def install_hint() -> str:
    """The command that brings a fitting Java onto this machine."""
    if platform.system() == "Darwin":
        return "brew install openjdk@17"
    if shutil.which("dnf"):
        return "sudo dnf install -y java-17-openjdk-headless"
    return ("" if os.geteuid() == 0 else "sudo ") + "apt-get install -y openjdk-17-jre-headless"


def _install_command() -> list[str]:
    if shutil.which("apt-get") is None:
        raise Fatal("Java can only be installed here through apt-get", next_step=install_hint())
    sudo = [] if os.geteuid() == 0 else ["sudo", "-n"]
    script = "apt-get update -q && apt-get install -y -q openjdk-17-jre-headless"
    return [*sudo, "sh", "-c", script]
