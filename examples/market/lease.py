"""Which of several gateways publishes: the one that holds a lease in Redis.

The holder renews it, and leaves the prices beside it. If it ends or is cut off, another one takes
over from these prices, after ``TIME_TO_LIVE`` at the latest. A holder that was stopped for a while
knows by its own clock that it may no longer publish.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from contextlib import suppress
from typing import Any, Callable, Dict, Mapping

from redis.asyncio import Redis
from redis.exceptions import RedisError

__all__ = ["Lease"]

TIME_TO_LIVE = 3.0  # seconds
RENEWAL = 1.0  # seconds
TIMEOUT = 1.0  # seconds that Redis may take
# In one slot of a cluster.
HOLDER, PRICES = "{picows-market}holder", "{picows-market}prices"

# Renews the lease, or takes it if nobody has it; returns whether it is held, and the prices of the
# last holder if that was another one.
TAKE = """
local holder = redis.call("GET", KEYS[1])
if holder and holder ~= ARGV[1] then
  return {0, false}
end
redis.call("SET", KEYS[1], ARGV[1], "PX", ARGV[2])
if holder then
  redis.call("SET", KEYS[2], ARGV[3])
  return {1, false}
end
return {1, redis.call("GET", KEYS[2])}
"""
GIVE_BACK = """
if redis.call("GET", KEYS[1]) == ARGV[1] then
  redis.call("DEL", KEYS[1])
end
"""


class Lease:
    """One process that would hold it.

    :param prices: called at each renewal; what it returns is kept in Redis beside the lease.
    :param take_over: called with the prices of the former holder when this process holds it.
    """

    def __init__(
        self,
        url: str,
        name: str,
        prices: Callable[[], Mapping[str, float]],
        take_over: Callable[[Dict[str, float]], None],
    ) -> None:
        self._redis: Any = Redis.from_url(
            url, socket_timeout=TIMEOUT, socket_connect_timeout=TIMEOUT, decode_responses=True
        )
        self._name = name
        self._prices = prices
        self._take_over = take_over
        self._held_until = 0.0

    def is_held(self) -> bool:
        return time.monotonic() < self._held_until

    async def run(self) -> None:
        """Try for it and renew it, until this is cancelled; then give it back."""
        try:
            while True:
                try:
                    await self._renew()
                except (RedisError, OSError) as error:
                    logging.getLogger("market").warning("the lease is not renewed: %s", error)
                await asyncio.sleep(RENEWAL)
        finally:
            self._held_until = 0.0
            with suppress(RedisError, OSError):
                await self._redis.eval(GIVE_BACK, 1, HOLDER, self._name)
            await self._redis.aclose()

    async def _renew(self) -> None:
        # Counted from before the request: Redis begins to count later, never earlier.
        began_at = time.monotonic()
        prices = json.dumps(self._prices())
        ttl = int(TIME_TO_LIVE * 1000)
        is_held, left = await self._redis.eval(TAKE, 2, HOLDER, PRICES, self._name, ttl, prices)
        if not is_held:
            self._held_until = 0.0
            return
        if left is not None:
            self._take_over(json.loads(left))
        self._held_until = began_at + TIME_TO_LIVE
