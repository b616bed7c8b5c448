"""Child processes that outlive the command that started them, found again by their pid files.

Each part is the leader of its own session. Its pid file holds the start time too, so that a pid which the kernel gave
to somebody else is never taken for ours. Every process also carries the deployment's folder in its environment:
what a kill -9 left without a pid file is found by that.
"""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import shutil
import signal
import subprocess
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from contracts.errors import Fatal
from infra.local.part import Part

DEPLOYMENT_VARIABLE = "HEADRACE_DEPLOYMENT"
LARGEST_LOG_BYTES = 20_000_000
# A user's own settings for these programs must not leak into ours.
_FOREIGN = {
    "CLASSPATH",
    "HADOOP_CONF_DIR",
    "HADOOP_HOME",
    "HIVE_CONF_DIR",
    "KAFKA_OPTS",
    "SPARK_CONF_DIR",
    "SPARK_HOME",
}
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class Record:
    """What the pid file of one started part holds."""

    name: str
    pid: int
    started: str
    order: int
    log: str
    port: int | None
    stop_signal: int
    stop_timeout_s: float


def run_dir(data_dir: Path) -> Path:
    """The folder of the pid files."""
    return data_dir / "run"


def log_file(data_dir: Path, name: str) -> Path:
    """The log of a part: its standard output and error, appended across restarts."""
    return data_dir / "log" / f"{name}.log"


def spawn(part: Part, data_dir: Path, order: int) -> Record:
    """Starts the process and writes its pid file; does not wait until it is ready."""
    log = log_file(data_dir, part.name)
    log.parent.mkdir(parents=True, exist_ok=True)
    if log.exists() and log.stat().st_size > LARGEST_LOG_BYTES:
        log.replace(log.with_suffix(".log.1"))
    env = {name: value for name, value in os.environ.items() if name not in _FOREIGN}
    env.update(part.env)
    env[DEPLOYMENT_VARIABLE] = str(data_dir)
    with log.open("ab") as output:
        child = subprocess.Popen(
            list(part.argv),
            env=env,
            cwd=part.cwd or data_dir,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    child.returncode = 0  # from here on the pid file follows the process, not this object (which would warn)
    record = Record(
        name=part.name,
        pid=child.pid,
        started=start_mark(child.pid) or "ended at once",
        order=order,
        log=str(log),
        port=part.port,
        stop_signal=int(part.stop_signal),
        stop_timeout_s=part.stop_timeout_s,
    )
    file = run_dir(data_dir) / f"{part.name}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    fresh = file.with_suffix(".new")
    fresh.write_text(json.dumps(asdict(record)))
    fresh.replace(file)
    return record


def records(data_dir: Path) -> dict[str, Record]:
    """Every part that was started and not stopped, alive or not, in start order."""
    found = [Record(**json.loads(file.read_text())) for file in run_dir(data_dir).glob("*.json")]
    return {record.name: record for record in sorted(found, key=lambda record: record.order)}


def forget(data_dir: Path, name: str) -> None:
    """Removes a pid file; fine when there is none."""
    (run_dir(data_dir) / f"{name}.json").unlink(missing_ok=True)


def alive(record: Record) -> bool:
    """Whether that very process still runs (a zombie does not)."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(record.pid, os.WNOHANG)  # reaps it when it was our own child
    return start_mark(record.pid) == record.started


def members(record: Record) -> list[psutil.Process]:
    """The part's process and what it started: its descendants and its session."""
    if not alive(record) and start_mark(record.pid) is not None:
        return []  # the pid is somebody else's now, so no session of ours has that number
    found: dict[int, psutil.Process] = {}
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) == record.pid and process.status() != psutil.STATUS_ZOMBIE:
                found[process.pid] = process
                found.update({child.pid: child for child in process.children(recursive=True)})
        except (psutil.Error, ProcessLookupError, PermissionError):
            continue
    return list(found.values())


def memory_bytes(record: Record) -> int:
    """Resident memory of the part; pages shared among its processes are counted once (proportional set)."""
    total = 0
    for process in members(record):
        try:
            total += process.memory_full_info().pss
        except (psutil.Error, AttributeError):
            try:
                total += process.memory_info().rss
            except psutil.Error:
                continue
    return total


def stop(record: Record) -> None:
    """Asks the part to end, waits its grace, then kills whatever of it is left; fine when it is gone already."""
    ours = members(record)
    if alive(record):
        with contextlib.suppress(ProcessLookupError):
            os.kill(record.pid, record.stop_signal)
    deadline = time.monotonic() + record.stop_timeout_s
    while alive(record) and time.monotonic() < deadline:
        time.sleep(0.05)
    _kill({process.pid: process for process in [*ours, *members(record)]}.values())


def strays(data_dir: Path) -> list[psutil.Process]:
    """Processes of this deployment by the mark in their environment, without this process and its ancestors."""
    own = {os.getpid(), *(process.pid for process in psutil.Process().parents())}
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid not in own and process.environ().get(DEPLOYMENT_VARIABLE) == str(data_dir):
                found.append(process)
        except psutil.Error:
            continue
    return found


def kill_strays(data_dir: Path) -> int:
    """Kills what no pid file knows; returns how many there were."""
    left = strays(data_dir)
    _kill(left)
    return len(left)


def last_lines(log: Path, count: int = 15) -> tuple[str, ...]:
    """The end of a log; empty when there is none."""
    if not log.exists():
        return ()
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 32_768))
        return tuple(file.read().decode(errors="replace").splitlines()[-count:])


def as_account(argv: tuple[str, ...], account: str, *, reach_anything: bool) -> tuple[str, ...]:
    """The command line that gives up root for `account` first.

    `reach_anything` keeps the one capability to walk through folders that only root may enter (a clone in /root).
    """
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise Fatal(
            "Postgres does not run as root and `setpriv` is missing, which would change the user",
            next_step="run as an ordinary user, or `apt-get install -y util-linux`",
        )
    drop = (setpriv, f"--reuid={account}", f"--regid={pwd.getpwnam(account).pw_gid}", "--clear-groups")
    keep = ("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search") if reach_anything else ()
    return (*drop, *keep, "--", *argv)


def start_mark(pid: int) -> str | None:
    """What tells this process from every other that ever had its pid; None when it is gone or a zombie.

    On Linux the boot and the ticks since then, for wall-clock times move when the clock is set.
    """
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        if not _BOOT_ID.exists():
            return f"{process.create_time():.2f}"
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return f"{_BOOT_ID.read_text().strip()} {fields[19]}"
    except (psutil.Error, OSError):
        return None


def _kill(processes: Iterable[psutil.Process]) -> None:
    doomed = [process for process in processes if process.is_running()]
    for process in doomed:
        try:
            process.send_signal(signal.SIGKILL)
        except psutil.Error:
            continue
    psutil.wait_procs(doomed, timeout=10)
