"""How many subscribers a process has, told to Redis; and how many all have, asked of it."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial
from itertools import chain, islice
from typing import Any, Callable, Dict, Iterator, Set, Tuple

from picows_server.backplane.cancellation import within
from picows_server.backplane.redis_commands import RedisCommands
from picows_server.backplane.redis_dialing import encode_command
from picows_server.backplane.redis_engine import RedisEngine
from picows_server.backplane.redis_node import RedisNode

__all__ = ["RedisPresence"]

# Topics that are looked at in one go, and seconds for which others have the loop before the next.
_SLICE = 200
_PAUSE = 0.01
# Seconds until all servers have what they were told last.
_END = 1.0
# In place of a count and a round: the engine has refused what it was told.
_UNKNOWN = (-1, -1)


class RedisPresence:
    """Tells the engine what has changed, and all of it again before it forgets.

    A walk over the topics is made in slices. It begins every second, or when the last one has
    ended, which takes a sixth of ``ttl`` at most.

    :param local_count: the subscribers of a topic in this process.
    :param ttl: seconds for which the engine believes what it was told.
    """

    def __init__(
        self,
        engine: RedisEngine,
        commands: RedisCommands,
        local_count: Callable[[str], int],
        ttl: float,
    ) -> None:
        self._engine = engine
        self._commands = commands
        self._local_count = local_count
        self._ttl = ttl
        self._loop = asyncio.get_running_loop()
        # With what count a topic was told, and in which round: all are told once in each.
        self._told: Dict[str, Tuple[int, int]] = {}
        self._round = 0
        self._round_ends = self._loop.time() + ttl / 3
        # Topics that were told, and are not subscribed to any more.
        self._left: Set[str] = set()
        self._walk: Iterator[str] = iter(())
        self._slice = _SLICE
        self._next_walk = self._loop.time()
        self._timer = self._loop.call_soon(self._begin_walk)

    def tell_again(self) -> None:
        """Tell all of it, because a server, or a later life of it, may not know it."""
        self._round += 1

    def left(self, topic: str) -> None:
        """Take notice that a topic is not subscribed to any more."""
        if topic in self._told:
            self._left.add(topic)

    async def count(self, topic: str) -> int:
        """Return the subscribers of all processes.

        :raises BackplaneError: the engine cannot be reached, or refuses.
        """
        self._tell(topic)
        command = self._commands.count(topic)
        return int(await self._engine.ask(topic, lambda _: command, is_count=True))

    async def end(self) -> None:
        """Tell that nobody is left, and wait for a second at most."""
        self.stop()
        if not self._told:
            return
        for topic in self._told:
            self._tell_count(topic, 0)
        pipes = [node.pipe for node in self._engine.nodes if node.pipe is not None]
        told = (pipe.ask(encode_command(b"PING")) for pipe in pipes)
        with suppress(asyncio.TimeoutError):
            await within(_END, asyncio.gather(*told, return_exceptions=True))

    def stop(self) -> None:
        """Tell no more."""
        self._timer.cancel()

    def _begin_walk(self) -> None:
        now = self._loop.time()
        self._next_walk = now + min(1.0, self._ttl / 4)
        if now >= self._round_ends:
            self._round_ends = now + self._ttl / 3
            self._round += 1
        left, feeds = list(self._left), list(self._engine.feeds)
        slices = max(1, int(self._ttl / 6 / _PAUSE))
        self._slice = max(_SLICE, (len(left) + len(feeds)) // slices + 1)
        self._walk = chain(left, feeds)
        self._go_on()

    def _go_on(self) -> None:
        looked_at = 0
        for topic in islice(self._walk, self._slice):
            looked_at += 1
            self._tell(topic)
        if looked_at == self._slice:
            self._timer = self._loop.call_later(_PAUSE, self._go_on)
        else:
            self._timer = self._loop.call_at(self._next_walk, self._begin_walk)

    def _tell(self, topic: str) -> None:
        count, told = self._local_count(topic), self._told.get(topic)
        is_known = not count if told is None else told == (count, self._round)
        if not is_known and not self._tell_count(topic, count):
            return
        self._left.discard(topic)
        if count:
            self._told[topic] = count, self._round
        else:
            self._told.pop(topic, None)

    def _tell_count(self, topic: str, count: int) -> bool:
        node = self._engine.owner_of(topic)
        if node is None or node.pipe is None:
            return False
        told = partial(self._answered, node, topic)
        node.pipe.send(self._commands.announce(topic, count), told)
        return True

    def _answered(self, node: RedisNode, topic: str, reply: Any) -> None:
        if isinstance(reply, node.dialer.refusal) and self._engine.follows(node, topic, reply):
            # It is told again, whatever it is then.
            self._told[topic] = _UNKNOWN
            if topic not in self._engine.feeds:
                self._left.add(topic)
