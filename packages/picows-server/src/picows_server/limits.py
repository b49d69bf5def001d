"""Log once that a limit of the server is reached, and once that it is over."""

from __future__ import annotations

import asyncio
from typing import Optional

from picows_server.logs import Logger

__all__ = ["LimitWatch"]

# Seconds below a limit until it counts as over, so that the log has one warning, not one for each
# connection that comes and goes at the limit.
_QUIET_TIME = 10.0


class LimitWatch:
    """Logs when the count of something reaches its limit, and when it has stayed below it."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        logger: Logger,
        name: str,
        limit: Optional[int],
        consequence: str,
    ) -> None:
        self._loop = loop
        self._logger = logger
        self._name = name
        self._limit = limit
        self._consequence = consequence
        self._is_reached = False
        self._over_timer: Optional[asyncio.TimerHandle] = None

    def look(self, count: int) -> None:
        """Compare a count that has changed with the limit."""
        if self._limit is None:
            return
        if count >= self._limit:
            self.stop()
            if not self._is_reached:
                self._is_reached = True
                self._logger.warning(
                    "%s=%d is reached: %s", self._name, self._limit, self._consequence
                )
        elif self._is_reached and self._over_timer is None:
            self._over_timer = self._loop.call_later(_QUIET_TIME, self._note_over)

    def stop(self) -> None:
        """Cancel the timer."""
        if self._over_timer is not None:
            self._over_timer.cancel()
            self._over_timer = None

    def _note_over(self) -> None:
        self._over_timer = None
        self._is_reached = False
        self._logger.info("%s=%d is not reached any more", self._name, self._limit)
