"""Whether a server from which an answer is awaited still answers anybody."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress

# For how long an answer is awaited before the server is asked whether it is there; and how long it may take to say so.
EVERY_S = 30.0
ANSWER_S = 10
# Some may be lost to a server that is just busy or starts anew.
_TRIES = 3


class Silence:
    """`fallen`: the connection was cut, because the server had not let anybody in for a while; `late_s`: or because
    the answer took longer than this."""

    def __init__(self) -> None:
        self.fallen = False
        self.late_s: float | None = None


@contextmanager
def watched(descriptor: int, let_in: Callable[[float], object], answer_s: float | None = None) -> Iterator[Silence]:
    """Cuts the connection with this socket when its server answers nobody any more, so that who waits for it gets an
    error: of a server, machine or network that stands still no time-out tells a query that takes long, and the
    operating system may keep the connection for ever. A server that lets anybody in, or refuses at once, is there.

    `let_in` opens a new connection and closes it, and raises within the seconds that it is given; another thread calls
    it, as long as the block lasts, and for the first time after `EVERY_S`. With `answer_s` nobody is asked: the block
    may last no longer than that.
    """
    silence, over = Silence(), threading.Event()

    def cut(ours: socket.socket) -> None:
        with suppress(OSError):  # perhaps it is cut already
            ours.shutdown(socket.SHUT_RDWR)

    def watch(ours: socket.socket) -> None:
        silent = 0
        with closing(ours):
            if answer_s:
                if not over.wait(answer_s):
                    silence.late_s = answer_s
                    cut(ours)
                return
            while not over.wait(0 if silent else EVERY_S):
                silent = silent + 1 if _is_silent(let_in) else 0
                if silent >= _TRIES and not over.is_set():
                    silence.fallen = True
                    cut(ours)
                    return

    # Of our own: the other may be closed, and its number then stands for something else.
    ours = socket.socket(fileno=os.dup(descriptor))
    thread = threading.Thread(target=watch, args=(ours,), name="headrace-answering", daemon=True)
    thread.start()
    try:
        yield silence
    finally:
        over.set()


def said(silence: Silence, error: object) -> str:
    """Why a connection broke off."""
    if silence.fallen:
        return "the server does not answer any more, and lets nobody in"
    if silence.late_s:
        return f"the server did not answer within {silence.late_s:g} s"
    return str(error).strip()


def _is_silent(let_in: Callable[[float], object]) -> bool:
    began = time.monotonic()
    try:
        let_in(ANSWER_S)
    except Exception:
        return time.monotonic() - began >= ANSWER_S - 1
    return False
