"""What a proof consists of: comparisons of two sides, and patience."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any

from contracts.errors import ServiceUnavailable

Side = tuple[int, int]
ENDS_WITHIN_S = 60
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Finding:
    """One comparison: two sides that must be equal, each as rows and fingerprint, or what a check says."""

    what: str
    left: str
    right: str
    equal: bool
    detail: str = ""

    def row(self) -> dict[str, Any]:
        """For `output.show`."""
        return {"proof": self.what, "": self.left, " ": self.right, "equal": self.equal, "detail": self.detail}


def compare(what: str, left: Side, right: Side, names: tuple[str, str]) -> Finding:
    """Equal when row count and fingerprint are."""
    detail = ""
    if left[0] != right[0]:
        detail = f"{abs(left[0] - right[0]):,} rows {'missing in' if left[0] > right[0] else 'too many in'} {names[1]}"
    elif left[1] != right[1]:
        detail = "same number of rows, different content"
    return Finding(what, f"{names[0]} {left[0]:,}", f"{names[1]} {right[0]:,}", left == right, detail)


def side_by_side(*parts: Callable[[], Iterable[Finding]]) -> Generator[Finding, None, None]:
    """The findings of all parts, in the order of the parts, which are asked at the same time.

    An error of any part is raised when the findings before it are told. After it, or once nobody wants more, nothing
    further is asked, and the comparison that a part is at is waited for, but no longer than `ENDS_WITHIN_S`: who asks
    again and again would otherwise have ever more of them running side by side. Ctrl-C
    leaves at once while a finding is waited for.
    """
    enough = threading.Event()

    def ask(part: Callable[[], Iterable[Finding]], found: SimpleQueue[Finding | Exception | None]) -> None:
        try:
            for finding in part():
                found.put(finding)
                if enough.is_set():
                    break
        except Exception as error:
            enough.set()
            found.put(error)
        else:
            found.put(None)

    queues: list[SimpleQueue[Finding | Exception | None]] = [SimpleQueue() for _ in parts]
    # As daemons they keep nobody from leaving by Ctrl-C.
    asking = [
        threading.Thread(target=ask, args=both, name="proof", daemon=True) for both in zip(parts, queues, strict=True)
    ]
    for thread in asking:
        thread.start()
    try:
        for found in queues:
            while (finding := found.get()) is not None:
                if isinstance(finding, Exception):
                    raise finding
                yield finding
    except KeyboardInterrupt:
        asking.clear()
        raise
    finally:
        enough.set()
        until = time.monotonic() + ENDS_WITHIN_S
        for thread in asking:
            thread.join(max(0.0, until - time.monotonic()))


def until_equal(check: Callable[[], Iterable[Finding]], *, timeout_s: float, every_s: float = 3.0) -> list[Finding]:
    """Repeats a check until all of it is equal or the time is up; returns all findings of the last time.

    Until then it goes no further than the first difference, so the cheap comparisons should come first: what is waited
    for needs the processor. A part that does not answer is asked again as well; after the time its error is raised.
    The time ends the asking: a comparison that is under way then is waited for as above, and all is asked once more.
    """
    deadline = time.monotonic() + timeout_s
    while (left := deadline - time.monotonic()) > 0:
        findings, asked = [], check()
        try:
            for finding in asked:
                findings.append(finding)
                if not finding.equal:
                    break
            else:
                return findings
        except ServiceUnavailable as error:
            log.info("%s", error.what)
        finally:
            # Not left to its finalizer, which would swallow a Ctrl-C that comes while the comparison at hand ends.
            if isinstance(asked, Generator):
                asked.close()
        time.sleep(min(every_s, left))
    return list(check())
