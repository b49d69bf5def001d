"""The descriptors 0 to 2, which libraries and new processes take for the standard streams.

libuv ends the process if one of them turns out to be a socket or a pipe of its own, and a worker
gets another standard input than the supervisor has. So nothing else may have these numbers.
"""

from __future__ import annotations

import os
import socket
import sys

__all__ = ["move_above", "open_missing"]

_STREAMS = range(3)


def open_missing() -> None:
    """Open ``/dev/null`` on those that are closed, as those of a process without streams may be."""
    for number in _STREAMS:
        try:
            os.fstat(number)
        except OSError:
            _open_null(number)


def move_above(sock: socket.socket) -> socket.socket:
    """Return the socket under a higher number if it has one of these, which is ``/dev/null`` then.

    The socket passed is closed in that case.
    """
    if sys.platform == "win32":  # pragma: no cover - there a socket's number is no descriptor
        return sock
    number = sock.fileno()
    if number not in _STREAMS:
        return sock
    import fcntl  # noqa: PLC0415 - POSIX

    moved = socket.socket(fileno=fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, len(_STREAMS)))
    sock.detach()
    _open_null(number)
    return moved


def _open_null(number: int) -> None:
    descriptor = os.open(os.devnull, os.O_RDWR)
    if descriptor == number:
        os.set_inheritable(number, True)
    else:
        os.dup2(descriptor, number)
        os.close(descriptor)
