"""``Drain``: how a server ends without all of its clients coming back in the same second."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from math import isclose
from random import Random
from sys import float_info
from typing import Any, Callable, List, Optional, Set

from picows_codec import WSCloseCode, WSInvalidOptionError, encode_close_payload
from picows_server.logs import Logger

__all__ = ["Drain", "DrainPlan"]

# Connections that are closed in one loop iteration, so that the others are served in between.
_SLICE = 64

# Seconds between two looks at the clock while few connections are due.
_TICK = 0.01


@dataclass(frozen=True)
class DrainPlan:
    """What :meth:`WSServer.drain` does and when; seconds. ``prefix`` is for errors."""

    grace: float = 5.0
    spread: float = 30.0
    timeout: Optional[float] = 60.0
    code: int = WSCloseCode.SERVICE_RESTART
    reason: Optional[str] = None
    prefix: str = ""

    def __post_init__(self) -> None:
        """Check everything: a server that cannot be drained should not start."""
        prefix = self.prefix
        _check_seconds(f"{prefix}grace", self.grace)
        _check_seconds(f"{prefix}spread", self.spread)
        if self.timeout is not None:
            _check_seconds(f"{prefix}timeout", self.timeout)
            total = self.grace + self.spread
            # 0.1 + 0.2 is more than 0.3, as floats are added.
            if total > self.timeout and not isclose(total, self.timeout):
                raise WSInvalidOptionError(
                    f"{prefix}grace and {prefix}spread must end within {prefix}timeout, which"
                    f" counts from the beginning: {self.grace:g} + {self.spread:g} seconds are more"
                    f" than {self.timeout:g}"
                )
        encode_close_payload(self.code, self.reason)


def _check_seconds(name: str, value: object) -> None:
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise TypeError(f"{name} must be a number of seconds, not {type(value).__name__}")
    if not 0 <= value <= float_info.max:
        raise WSInvalidOptionError(f"{name} must be at least 0 and finite, not {value}")


class Drain:
    """The end of one server, by a clock.

    ``end_accepting`` is called when ``grace`` is over; ``members`` returns all connections then,
    and ``half_open`` those that are in their opening handshake. ``leave`` begins to close one,
    unless its handshake is not finished. ``give_up`` aborts the rest. There are two timers,
    however many connections there are: their order is drawn as they leave.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        plan: DrainPlan,
        logger: Logger,
        *,
        end_accepting: Callable[[], None],
        members: Callable[[], List[Any]],
        half_open: Callable[[], Set[Any]],
        leave: Callable[[Any, int, Optional[str]], None],
        give_up: Callable[[], None],
        random: Optional[Random] = None,
    ) -> None:
        self._loop = loop
        self._plan = plan
        self._logger = logger
        self._end_accepting = end_accepting
        self._members = members
        self._half_open = half_open
        self._leave = leave
        self._give_up = give_up
        self._random = Random() if random is None else random  # noqa: S311 - not for secrets
        self._spread = plan.spread
        self._has_ended_accepting = False
        self._is_stopped = False
        # Those whose turn is to come, and which of them were in their opening handshake.
        self._waiting: List[Any] = []
        self._opening: Set[Any] = set()
        self._total = 0
        self._phase = 0.0
        self._began = 0.0
        self._timer: Optional[asyncio.Handle] = None
        self._limit: Optional[asyncio.TimerHandle] = None

    def start(self, *, is_accepting: bool) -> None:
        """Begin; there is no ``grace`` if the server does not accept any more."""
        plan = self._plan
        if plan.timeout is not None:
            self._limit = self._loop.call_later(plan.timeout, self._time_out)
        if is_accepting and plan.grace > 0:
            self._logger.info(
                "draining: connections are accepted for another %g seconds", plan.grace
            )
            self._timer = self._loop.call_later(plan.grace, self._grace_is_over)
        else:
            self._logger.info("draining")
            self._grace_is_over()

    def hurry(self) -> None:
        """End ``grace`` and ``spread`` now. The time limit stays."""
        self._spread = 0.0
        if self._is_stopped:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._has_ended_accepting:
            # Not now: this may be called by what is being closed.
            self._timer = self._loop.call_soon(self._tick)
        else:
            self._grace_is_over()

    def stop(self) -> None:
        """Do no more: the server is closed."""
        self._is_stopped = True
        for timer in (self._timer, self._limit):
            if timer is not None:
                timer.cancel()
        self._timer = self._limit = None
        self._waiting = []
        self._opening = set()

    def opened(self, member: Any) -> None:
        """``member`` has finished its opening handshake."""
        if self._has_ended_accepting and member not in self._opening:
            # Its turn has passed, or it had none.
            self._close(member)

    def _grace_is_over(self) -> None:
        self._timer = None
        self._has_ended_accepting = True
        self._end_accepting()
        if self._is_stopped:  # there was no connection
            return
        self._waiting = self._members()
        self._opening = self._half_open()
        self._total = len(self._waiting)
        # Without it, a server of one connection would always close it at the same time.
        self._phase = self._random.random()
        self._began = self._loop.time()
        if self._total:
            self._logger.info(
                "%d connections get a CLOSE within %g seconds", self._total, self._spread
            )
        self._tick()

    def _tick(self) -> None:
        """Close those that are due, at most a slice of them."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waiting = self._waiting
        for _ in range(min(self._count_due(), _SLICE)):
            # The next one of a random order.
            index = int(self._random.random() * len(waiting))
            member, waiting[index] = waiting[index], waiting[-1]
            waiting.pop()
            self._opening.discard(member)
            self._close(member)
            if self._is_stopped:
                return
        if not waiting or self._timer is not None:
            return
        if self._count_due() > 0:
            self._timer = self._loop.call_soon(self._tick)
        else:
            following = self._began + self._due_after(self._total - len(waiting))
            delay = max(following - self._loop.time(), _TICK)
            self._timer = self._loop.call_later(delay, self._tick)

    def _close(self, member: Any) -> None:
        try:
            self._leave(member, self._plan.code, self._plan.reason)
        except Exception:
            # The others have their turn all the same; this one is aborted at the end.
            self._logger.exception("a connection could not be closed")

    def _count_due(self) -> int:
        if self._spread <= 0:
            return len(self._waiting)
        elapsed = self._loop.time() - self._began
        if elapsed >= self._spread:
            return len(self._waiting)
        due = int(self._total * elapsed / self._spread + self._phase)
        return due - (self._total - len(self._waiting))

    def _due_after(self, closed: int) -> float:
        """Seconds after which the next one is due when so many are closed."""
        return (closed + 1 - self._phase) * self._spread / self._total

    def _time_out(self) -> None:
        self._limit = None
        self._logger.warning(
            "draining has not ended within %s seconds: aborting the rest", self._plan.timeout
        )
        if not self._has_ended_accepting:  # grace is as long as timeout
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            self._has_ended_accepting = True
            self._end_accepting()
        self._waiting = []
        if not self._is_stopped:
            self._give_up()
