"""How patient a supervisor is: times, and how they are counted."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Callable, Optional

__all__ = ["Patience", "RestartBackoff", "Timing"]

# Ticks without a heartbeat, after which a worker gets no new connections.
_WORN = 5


@dataclass(frozen=True)
class Timing:
    """All times of a supervisor, in seconds."""

    #: How long a worker's loop may be silent.
    worker_timeout: float = 30.0
    #: How long a worker may take until it is ready, imports and lifespan included; None: no limit.
    start_timeout: Optional[float] = 60.0
    #: How long a worker serves before it is replaced; None: for ever.
    max_lifetime: Optional[float] = None
    #: A lifetime is drawn from the last part of ``max_lifetime``, this large.
    lifetime_jitter: float = 0.2
    #: A worker that has served for so long was healthy: when it dies, it is replaced at once.
    healthy_after: float = 60.0
    #: The pause before the first restart of a worker that was not healthy, and the longest.
    first_pause: float = 0.5
    longest_pause: float = 30.0
    #: How long a worker whose slot is removed goes on to accept. Nobody new is sent to it, so this
    #: is for clients that are in the middle of TCP's handshake.
    removal_grace: float = 2.0
    #: How long a worker that was told to drain may take until it is killed; None: no limit.
    drain_limit: Optional[float] = None
    #: The part of that which comes after the last connection, for the end of the lifespan. A worker
    #: whose loop has ended also has so long to exit, for its threads.
    exit_time: float = 30.0
    #: Between asking for a stack (SIGQUIT) and killing.
    kill_delay: float = 1.0

    @property
    def tick(self) -> float:
        """Between two heartbeats, and between two looks at them."""
        return min(1.0, self.worker_timeout / 4)


class Patience:
    """Counts the ticks in which nothing was heard of a worker.

    Ticks, not seconds: when the supervisor was stopped, or the machine suspended, that counts as
    one tick, so nobody is killed for what happened meanwhile.
    """

    def __init__(self, seconds: Optional[float], tick: float) -> None:
        # One more, because the first tick may follow at once.
        self._limit = None if seconds is None else int(seconds / tick) + 1
        self._silent = 0

    @property
    def is_worn(self) -> bool:
        """Whether nothing was heard for some ticks."""
        return self._silent >= _WORN

    def heard(self) -> None:
        """Begin again."""
        self._silent = 0

    def tick(self) -> bool:
        """Count; True if the patience is over."""
        self._silent += 1
        return self._limit is not None and self._silent > self._limit


class RestartBackoff:
    """How long to wait before a worker that died is replaced.

    Not at all if it was healthy. Otherwise twice as long each time, up to a limit, and a random
    part less, so that workers which died together do not come back together.
    """

    def __init__(
        self, timing: Timing, uniform: Callable[[float, float], float] = random.uniform
    ) -> None:
        self._timing = timing
        self._uniform = uniform
        self._deaths = 0

    def ended(self, served: Optional[float]) -> bool:
        """Note the end of a worker, told or not; returns whether it was healthy."""
        is_healthy = served is not None and served >= self._timing.healthy_after
        if is_healthy:
            self._deaths = 0
        return is_healthy

    def died(self, served: Optional[float]) -> float:
        """Return the pause after a death; ``served`` in seconds, None if it was never ready."""
        if self.ended(served):
            return 0.0
        pause = min(
            self._timing.first_pause * 2.0 ** min(self._deaths, 30), self._timing.longest_pause
        )
        self._deaths += 1
        return self._uniform(pause / 2, pause)
