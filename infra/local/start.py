"""Starts parts as their dependencies allow, and waits until each answers."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from contracts.errors import Fatal, HeadraceError, ServiceUnavailable, without_login
from infra.local import process
from infra.local.layout import Layout, is_free
from infra.local.part import External, NotReady, Part
from infra.preflight import holder_of

Progress = Callable[[str, str], None]
_POLL_S = 0.2
_EXTRA_ORDER = 1000


def silent(_part: str, _message: str) -> None:
    """The progress nobody watches."""
    return None


def start_all(
    parts: Sequence[Part], extra: Sequence[Part], external: Sequence[External], here: Layout, progress: Progress
) -> None:
    """Returns when every part is ready; raises the first part's error after all others have ended their start."""
    depth = _depths([*parts, *extra])
    # Stopped before any part, even when the parts were started by an earlier `up`.
    order = {**depth, **{part.name: _EXTRA_ORDER + depth[part.name] for part in extra}}
    parts = [*parts, *extra]
    futures: dict[str, Future[None]] = {}
    with ThreadPoolExecutor(max_workers=len(parts) + len(external) or 1) as pool:
        for check in external:
            futures[check.name] = pool.submit(_await_external, check, progress)
        # In order of depth, so that every future a part waits for exists already.
        for part in sorted(parts, key=lambda part: depth[part.name]):
            needed = [futures[name] for name in part.after if name in futures]
            futures[part.name] = pool.submit(_start, part, order[part.name], needed, here, progress)
    errors = [error for future in futures.values() if (error := future.exception()) is not None]
    own = [error for error in errors if not isinstance(error, _Held)]
    if own:
        raise own[0]


class _Held(Exception):
    """Not started, because a part it needs did not start."""


def _start(part: Part, order: int, needed: Sequence[Future[None]], here: Layout, progress: Progress) -> None:
    if any(future.exception() is not None for future in needed):
        progress(part.name, "not started: a part it needs failed")
        raise _Held(part.name)
    known = process.records(here.data_dir).get(part.name)
    # One that ends instead was dying when it was looked at, and is started again.
    if known is not None and process.alive(known) and _becomes_ready(part, known):
        part.settle()  # an `up` that was killed may have left that undone
        progress(part.name, "runs")
        return
    if known is not None:
        progress(part.name, f"had crashed (pid {known.pid}); starting it again")
        process.stop(known)  # what a dead leader left of its session
    if part.port is not None:
        _require_free(part)
    progress(part.name, "starting")
    begin = time.monotonic()
    part.prepare()
    record = process.spawn(part, here.data_dir, order)
    if not _becomes_ready(part, record):
        raise _failure(f"{part.name} ended while it was starting", part, record, "`headrace up` again")
    part.settle()
    progress(part.name, f"ready after {time.monotonic() - begin:.1f} s")


def _becomes_ready(part: Part, record: process.Record) -> bool:
    """False if it ends instead. ServiceUnavailable if it does neither in its time."""
    reason = "no answer yet"
    deadline = time.monotonic() + part.start_timeout_s
    while time.monotonic() < deadline:
        running = process.alive(record)
        try:
            part.ready()
            return True
        except (NotReady, OSError) as error:
            reason = str(error)
        if not running:
            return False
        time.sleep(_POLL_S)
    what = f"{part.name} was not ready after {part.start_timeout_s:.0f} s: {reason}"
    raise _failure(what, part, record, "`headrace down` and `headrace up`")  # as it runs, `up` alone leaves it alone


def _failure(what: str, part: Part, record: process.Record, then: str) -> HeadraceError:
    lines = "\n".join(f"    {line}" for line in process.last_lines(Path(record.log)))
    return ServiceUnavailable(
        what,
        state=f"The other parts stay as they are. Its last lines:\n{lines}",
        next_step=f"read {record.log}, then {then}",
        part=part.name,
        pid=record.pid,
    )


def _await_external(check: External, progress: Progress) -> None:
    try:
        check.ready()
    except (NotReady, OSError) as error:
        raise ServiceUnavailable(
            f"{check.name} does not answer: {error}",
            state="It is external by the settings, so headrace does not start it.",
            next_step="start it, or correct its address in the settings",
            address=check.address,
        ) from None
    progress(check.name, f"answers at {without_login(check.address)}")


DYING_S = 3.0
"""A process that was killed may hold its port a moment longer than its pid."""


def _require_free(part: Part) -> None:
    assert part.port is not None
    deadline = time.monotonic() + DYING_S
    while time.monotonic() < deadline:
        if is_free(part.port):
            return
        time.sleep(0.1)
    raise Fatal(
        f"port {part.port} of {part.name} is taken by {holder_of(part.port)}",
        state="The part was not started.",
        next_step="stop that process and repeat; the port is kept because stored locations contain it",
        part=part.name,
        port=part.port,
    )


def _depths(parts: Sequence[Part]) -> dict[str, int]:
    """Length of the longest chain of needs before each part."""
    by_name = {part.name: part for part in parts}

    def depth(name: str, path: tuple[str, ...] = ()) -> int:
        if name in path:
            raise Fatal(f"parts wait for one another: {' -> '.join((*path, name))}")
        return 1 + max((depth(need, (*path, name)) for need in by_name[name].after if need in by_name), default=-1)

    return {name: depth(name) for name in by_name}
