"""Processes that the application forks, with :mod:`multiprocessing` for example.

A forked child has copies of all descriptors and handlers of signals. With them it would keep the
port and the connections open beyond the end of this process, and what is sent to it, SIGTERM by
``Process.terminate()`` for one, would arrive in the event loop here. So it gives them up. Programs
that are started (:mod:`subprocess`) inherit nothing of this.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from typing import Any, Callable, Iterable, Mapping, Optional

__all__ = ["ForkHook", "give_up_descriptors", "give_up_signals"]


class ForkHook:
    """Calls ``action`` in each forked child, until :meth:`close`; nothing on Windows.

    ``signals`` are not delivered to a child before that.
    """

    def __init__(self, action: Callable[[], object], signals: Iterable[int] = ()) -> None:
        self._action: Optional[Callable[[], object]] = action
        self._signals = frozenset(signals)
        # Of each thread that forks, because the mask is a thread's.
        self._mask = threading.local()
        if hasattr(os, "register_at_fork"):
            # For good, so it must refer to no more than this object.
            os.register_at_fork(
                before=self._block, after_in_parent=self._unblock, after_in_child=self._in_child
            )

    def close(self) -> None:
        """Call nothing any more."""
        self._action = None

    def _block(self) -> None:
        if self._action is not None and self._signals:
            self._mask.before = signal.pthread_sigmask(signal.SIG_BLOCK, self._signals)

    def _unblock(self) -> None:
        before = self._mask.__dict__.pop("before", None)
        if before is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def _in_child(self) -> None:
        try:
            if self._action is not None:
                self._action()
        finally:
            self._unblock()


def give_up_descriptors(numbers: Iterable[int]) -> None:
    """Put ``/dev/null`` in the place of sockets.

    They are not closed, because the child has the objects, too, whose end would close what gets the
    number next.
    """
    null = -1
    for number in numbers:
        with contextlib.suppress(OSError):  # it may be closed already
            if null < 0:
                os.close(number)  # so that there is room for one
                null = os.open(os.devnull, os.O_RDWR)
            if null != number:
                os.dup2(null, number, inheritable=False)


def give_up_signals(handlers: Mapping[int, Any]) -> None:
    """Set these handlers, and wake up no event loop; None leaves one as it is."""
    signal.set_wakeup_fd(-1)
    for number, handler in handlers.items():
        if handler is not None:
            signal.signal(number, handler)
