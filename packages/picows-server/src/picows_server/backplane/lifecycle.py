"""The beginning and the end of a backplane, which may meet."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import Iterator, Optional

from picows_server.backplane.interface import BackplaneError

__all__ = ["Lifecycle"]


class Lifecycle:
    """Whether a backplane was started, and is closed. It is started once."""

    def __init__(self) -> None:
        self.is_started = False
        self.is_closed = False
        self._start: Optional[asyncio.Future[None]] = None

    @contextmanager
    def starting(self) -> Iterator[None]:
        """Surround a start, which releases all that it has when it raises: then this is closed.

        :raises BackplaneError: it was started before, or is closed.
        """
        if self.is_closed:
            raise BackplaneError("the backplane is closed; make a new one")
        if self.is_started:
            raise BackplaneError("a backplane is started once; make a new one")
        self.is_started = True
        self._start = asyncio.get_running_loop().create_future()
        try:
            yield
        except BaseException:
            self.is_closed = True
            raise
        finally:
            self._start.set_result(None)

    def check_is_open(self) -> None:
        """Refuse to go on with a start.

        :raises BackplaneError: it was closed meanwhile.
        """
        if self.is_closed:
            raise BackplaneError("the backplane was closed while it was started")

    async def closing(self) -> bool:
        """Return whether there is something to close, when no start is under way any more."""
        was_open = self.is_started and not self.is_closed
        self.is_closed = True
        if self._start is not None and not self._start.done():
            await asyncio.wait([self._start])
            return False
        return was_open
