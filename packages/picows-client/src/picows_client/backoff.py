"""How long to wait before the next attempt to connect."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, fields
from typing import Optional

from picows_codec import WSInvalidOptionError

__all__ = ["WSBackoff"]

_MOST_DOUBLINGS = 60  # of ``base``: far above any ``longest``, far below an overflow


@dataclass(frozen=True)
class WSBackoff:
    """Pauses between attempts to connect, in seconds.

    The first attempt after a failure, or after the loss of a stable connection, follows ``first``
    seconds later. The pause before attempt n after that is drawn evenly between 0 and ``base``
    times 2 to the power n, and at most ``longest``: so clients that lost the same server do not
    come back together. The pauses begin anew once a connection has been open for ``stable_after``
    seconds; a server that accepts and closes at once counts as one that refuses.

    A server that refuses by 429 or 503 may say when to come back (``Retry-After``, RFC 9110,
    10.2.3). That wait is at most ``longest_retry_after``, and the drawn pause follows it.
    """

    first: float = 0.0
    base: float = 0.5
    longest: float = 30.0
    stable_after: float = 10.0
    longest_retry_after: float = 300.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise TypeError(
                    f"{field.name} must be a number of seconds, not {type(value).__name__}"
                )
            if not 0 <= value < math.inf:
                raise WSInvalidOptionError(
                    f"{field.name}={value!r}: a number of seconds of at least 0 is wanted"
                )
        if self.base == 0 or self.longest < self.base:
            raise WSInvalidOptionError(
                f"base={self.base!r} must be above 0, and longest={self.longest!r} at least base;"
                " without pauses a server that refuses is dialled as fast as the machine can"
            )

    def pause(self, failures: int, retry_after: Optional[float] = None) -> float:
        """Return the pause after so many failures in a row.

        :param failures: at least 1.
        :param retry_after: the wait that the server asked for, in seconds.
        """
        if failures <= 1:
            drawn = self.first
        else:
            doublings = min(failures - 2, _MOST_DOUBLINGS)
            drawn = _drawn(min(self.longest, self.base * 2.0**doublings))
        if retry_after is None:
            return drawn
        # Everybody who was refused is told the same: nobody comes back exactly then.
        spread = max(drawn, _drawn(self.base))
        return min(retry_after, self.longest_retry_after) + spread


def _drawn(most: float) -> float:
    return random.uniform(0.0, most)  # noqa: S311 - nobody gains from guessing it
