"""The jars that the real parts need, resolved once per machine by the Ivy that pyspark ships.

`jars.xml` names them, `jars.lock` holds one checksum each. A complete set lives in a folder named after both files, in
a cache that clones share, so a change of either file is a new folder and never touches one that is in use.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

from filelock import FileLock
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential

from contracts.errors import Fatal, ServiceUnavailable
from infra.java import java

MODULE_FILE = Path(__file__).with_name("jars.xml")
LOCK_FILE = Path(__file__).with_name("jars.lock")
CONFIGURATIONS = ("spark", "kafka", "connect", "postgres-plugin", "mariadb-plugin", "mongodb-plugin", "hdfs")
MAVEN_CENTRAL = "https://repo1.maven.org/maven2/"
DOWNLOAD_TIMEOUT_S = 900

# `usepoms="false"`: the module file is the whole closure, so no POM (and no parent of one) is ever fetched.
_IVY_SETTINGS = """<ivysettings>
  <settings defaultResolver="central"/>
  <property name="ivy.checksums" value=""/>
  <resolvers>
    <ibiblio name="central" m2compatible="true" usepoms="false" useMavenMetadata="false" root="{root}"/>
  </resolvers>
</ivysettings>
"""

Progress = Callable[[str], None]


def _silent(_message: str) -> None:
    return None


def pyspark_jars() -> Path:
    """The folder of the jars inside the installed pyspark."""
    spec = find_spec("pyspark")
    if spec is None or spec.origin is None:
        raise Fatal("pyspark is not installed in this Python", next_step="run `make setup`", python=sys.executable)
    return Path(spec.origin).parent / "jars"


def cache_root() -> Path:
    """The folder shared by every clone of this user; `HEADRACE_CACHE` moves it."""
    return Path(os.environ.get("HEADRACE_CACHE") or Path.home() / ".cache" / "headrace").expanduser().absolute()


def jars_dir() -> Path:
    """Where this version's set of jars lies, or will lie."""
    digest = hashlib.sha256(MODULE_FILE.read_bytes() + LOCK_FILE.read_bytes()).hexdigest()[:16]
    return cache_root() / "jars" / digest


def read_lock() -> dict[str, str]:
    """Checksum (SHA-256, hex) by `configuration/file name`."""
    entries = (line.split(maxsplit=1) for line in LOCK_FILE.read_text().splitlines() if line and line[0] != "#")
    return {name: digest for digest, name in entries}


def declared() -> list[tuple[str, str, str]]:
    """Name, revision and configuration mapping of every dependency in the module file."""
    found = re.findall(r'<dependency org="[^"]+" name="([^"]+)" rev="([^"]+)" conf="([^"]+)"', MODULE_FILE.read_text())
    return [(name, revision, mapping) for name, revision, mapping in found]


def missing_jars() -> list[str]:
    """Names of the locked jars that are not on this machine; reads no checksum, so it is cheap."""
    folder = jars_dir()
    return [name for name in read_lock() if not (folder / name).is_file()]


def ensure_jars(progress: Progress = _silent) -> Path:
    """The folder with every jar present and verified; downloads (about 150 MB) when it is not there yet.

    May be called any number of times and from several processes at once: one downloads, the others wait. Either the
    whole set appears or nothing does. Raises ServiceUnavailable after three failed downloads, Fatal when a jar's
    checksum is not the locked one.
    """
    folder = jars_dir()
    if not missing_jars():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.parent / "download.lock"):
        if not missing_jars():
            return folder
        progress(f"downloading {len(read_lock())} jars to {folder}")
        with tempfile.TemporaryDirectory(prefix="incoming-", dir=folder.parent) as scratch:
            incoming = Path(scratch) / "jars"
            for attempt in Retrying(
                retry=retry_if_exception_type(ServiceUnavailable),
                stop=stop_after_attempt(3),
                wait=wait_exponential(multiplier=2),
                reraise=True,
            ):
                with attempt:
                    _retrieve(incoming, Path(scratch) / "ivy", progress)
            verify(incoming, read_lock())
            if folder.exists():
                shutil.rmtree(folder)
            incoming.rename(folder)
    progress("jars are ready")
    return folder


def spark_jars() -> list[Path]:
    """The jars Spark itself lacks, sorted by name; downloads them when needed."""
    return sorted((ensure_jars() / "spark").glob("*.jar"))


def classpath(configuration: str) -> str:
    """The Java class path entry of one configuration."""
    if configuration not in CONFIGURATIONS:
        raise KeyError(configuration)
    return f"{ensure_jars() / configuration}/*"


def verify(folder: Path, expected: Mapping[str, str]) -> None:
    """Returns when the folder holds exactly the expected jars; else Fatal, naming each that differs."""
    found = checksums(folder)
    wrong = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
    if wrong:
        raise Fatal(
            f"{len(wrong)} jars are not what {LOCK_FILE.name} says: {', '.join(wrong[:5])}",
            state="Nothing was kept.",
            next_step="after a wanted change of version run `python -m infra.jars lock`; otherwise distrust the mirror",
        )


def checksums(folder: Path) -> dict[str, str]:
    """SHA-256 by `configuration/file name` of every jar below the folder."""
    found: dict[str, str] = {}
    for path in sorted(folder.glob("*/*.jar")):
        with path.open("rb") as file:
            found[path.relative_to(folder).as_posix()] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def _retrieve(target: Path, ivy_cache: Path, progress: Progress) -> None:
    """Fetches every configuration, two at a time; what an earlier attempt brought is not fetched again."""
    ivy_cache.mkdir(parents=True, exist_ok=True)
    settings = ivy_cache / "ivysettings.xml"
    settings.write_text(_IVY_SETTINGS.format(root=os.environ.get("HEADRACE_MAVEN_REPOSITORY", MAVEN_CENTRAL)))

    def fetch(configuration: str) -> None:
        _run_ivy(configuration, target, ivy_cache / configuration, settings)
        progress(f"jars for {configuration} are here")

    with ThreadPoolExecutor(max_workers=len(CONFIGURATIONS)) as pool:
        list(pool.map(fetch, CONFIGURATIONS))


def _run_ivy(configuration: str, target: Path, cache: Path, settings: Path) -> None:
    ivy = next(pyspark_jars().glob("ivy-*.jar"))
    command = [
        str(java()),
        "-Xmx256m",
        "-jar",
        str(ivy),
        "-settings",
        str(settings),
        "-ivy",
        str(MODULE_FILE),
        "-confs",
        configuration,
        "-cache",
        str(cache),
        "-retrieve",
        f"{target}/[conf]/[artifact]-[revision].[ext]",
    ]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=DOWNLOAD_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired as late:
        raise _failed(configuration, f"no end after {DOWNLOAD_TIMEOUT_S} s") from late
    if done.returncode != 0:
        raise _failed(configuration, _reasons(done.stdout.splitlines() + done.stderr.splitlines()))


def _failed(configuration: str, reason: str) -> ServiceUnavailable:
    return ServiceUnavailable(
        f"jars could not be downloaded: {reason}",
        state="Nothing was kept in the cache.",
        next_step="check the network, or set HEADRACE_MAVEN_REPOSITORY to a mirror of Maven Central, and repeat",
        configuration=configuration,
    )


def _reasons(lines: Iterable[str]) -> str:
    telling = [line.strip() for line in lines if "not found" in line or "ERROR" in line or "FAILED" in line]
    return "; ".join(telling[:4]) or "Ivy gave no reason"


def _write_lock() -> None:
    """Resolves what `jars.xml` says and records the checksums; for whoever changes a version."""
    with tempfile.TemporaryDirectory() as scratch:
        _retrieve(Path(scratch) / "jars", Path(scratch) / "ivy", print)
        found = checksums(Path(scratch) / "jars")
    header = "# sha256 and name of every jar in jars.xml; written by `python -m infra.jars lock`\n"
    LOCK_FILE.write_text(header + "".join(f"{digest}  {name}\n" for name, digest in found.items()))


if __name__ == "__main__":
    _write_lock() if sys.argv[1:] == ["lock"] else ensure_jars(print)
