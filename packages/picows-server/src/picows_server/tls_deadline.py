"""The time that a peer has for its TLS handshake."""

from __future__ import annotations

import asyncio
from typing import Optional

from picows_codec.deadlines import until_second_look

__all__ = ["TlsDeadline"]


class TlsDeadline:
    """Cancels ``task``, a handshake or what is before it, after ``timeout`` seconds (None: never).

    It sets ``error`` then.

    The timers of TLS engines blame a peer when the loop was blocked. This one takes a second look,
    before which the loop has read, and gives back the time that a late loop took.
    """

    __slots__ = ("_loop", "_timeout", "_timer", "error", "task")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        task: asyncio.Task[object],
        timeout: Optional[float],
    ) -> None:
        self._loop = loop
        self._timeout = timeout
        self.task = task
        self._timer: Optional[asyncio.TimerHandle] = None
        self.error: Optional[ConnectionAbortedError] = None
        if timeout is not None:
            self._timer = loop.call_later(timeout, self._look, loop.time() + timeout)

    def stop(self) -> None:
        """The handshake has ended, with or without success."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self, due: float) -> None:
        delay = until_second_look(due, self._loop.time())
        self._timer = self._loop.call_later(delay, self._look_again)

    def _look_again(self) -> None:
        self.error = ConnectionAbortedError(
            f"SSL handshake is taking longer than {self._timeout} seconds: aborting the connection"
        )
        self.task.cancel()
