"""Replacing workers one by one."""

from __future__ import annotations

import asyncio
from typing import Callable, Iterable, Optional

__all__ = ["Replaceable", "RollingReplacement"]


class Replaceable:
    """A slot, for this room."""

    @property
    def is_outdated(self) -> bool:
        """Whether its worker serves, and another should."""
        raise NotImplementedError

    def keep(self) -> None:
        """Be content with the worker that there is."""
        raise NotImplementedError

    async def replace(self) -> bool:
        """Start another worker, end the old one, and wait for that; False if that failed.

        A slot that has begun to end meanwhile has not failed.
        """
        raise NotImplementedError


class RollingReplacement:
    """One slot after another gets a new worker, so clients come back in parts.

    If a new worker cannot start, all others keep theirs: what is wrong with it would be wrong with
    all. After that, :meth:`begin` waits for a while unless it is told to hurry.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        slots: Callable[[], Iterable[Replaceable]],
        finished: Callable[[bool], None],
        pause_after_failure: float,
    ) -> None:
        self._loop = loop
        self._slots = slots
        self._finished = finished
        self._pause = pause_after_failure
        self._not_before = loop.time()
        self._task: Optional[asyncio.Task[None]] = None

    @property
    def is_under_way(self) -> bool:
        """Whether slots are being replaced."""
        return self._task is not None

    @property
    def is_pausing(self) -> bool:
        """Whether a new worker could not start a short time ago."""
        return self._loop.time() < self._not_before

    def begin(self) -> None:
        """Go through the outdated slots, if that is not under way and there are some."""
        if self._task is None and self._next() is not None:
            self._task = self._loop.create_task(self._replace_all())

    def cancel(self) -> None:
        """Begin with no further slot."""
        if self._task is not None:
            self._task.cancel()

    def _next(self) -> Optional[Replaceable]:
        return next((slot for slot in self._slots() if slot.is_outdated), None)

    async def _replace_all(self) -> None:
        is_complete = True
        try:
            slot = self._next()
            while slot is not None and is_complete:
                is_complete = await slot.replace()
                slot = self._next()
            if not is_complete:
                self._give_up()
        finally:
            self._task = None
        # Not if it was cancelled, or dropped with its loop.
        self._finished(is_complete)

    def _give_up(self) -> None:
        self._not_before = self._loop.time() + self._pause
        for slot in self._slots():
            slot.keep()
