"""What a node holds, and what its CPU does, by simulation: for ``bench.micro.capacity``.

Connections over a memory transport, which drops what it is given, are in this process on a real
event loop. What is measured grows in steps. Memory is what the process grew by in a step, divided
by what was added in it, so each growth needs a process of its own. CPU time is that of this thread,
event loop included; each publish has an iteration of the loop of its own. ``bench.micro.topics``
measures deliveries with their system calls.
"""

from __future__ import annotations

import asyncio
import gc
import logging
from itertools import accumulate
from random import Random
from statistics import median
from time import thread_time
from typing import Any, Callable, Coroutine, Dict, List, Optional, Sequence

from bench.micro.idle_pings import figures
from bench.micro.topics import PAYLOAD
from picows_codec import WSListener, WSTransport
from picows_codec.testing.memory_connection import MemoryConnection
from picows_codec.testing.memory_transport import MemoryTransport
from picows_server.backplane import Backplane
from picows_server.topics import Topics

__all__ = ["GROWTHS", "Table", "memory_connection", "unlimited_topics"]

DRAWS = 5  # topics that a connection draws; it is subscribed once to one that comes twice
KEPT = 10  # messages of each topic of which some are kept
ROUNDS = 3
DELIVERIES = 200_000  # of a round, if they are all of one topic
SEED = 1

#: The figures of each step, by what they are.
Table = Dict[str, List[float]]


def unlimited_topics(backplane: Optional[Backplane] = None) -> Topics:
    """Return topics that nothing bounds, because what they hold is measured."""
    return Topics(
        backplane,
        max_topics=None,
        max_topics_per_connection=None,
        max_retained_bytes=None,
        max_history_bytes=None,
    )


class Nowhere(MemoryTransport):
    """The network of a connection: it takes everything and keeps nothing."""

    def write(self, data: Any) -> None:
        pass


def memory_connection() -> WSTransport:
    """Return a server's connection that is open."""
    connection = MemoryConnection(
        "server",
        lambda *_: WSListener(),
        logger=logging.getLogger("picows"),
        loop=asyncio.get_running_loop(),
        transport_class=Nowhere,
    )
    connection.start()
    connection.network.feed(connection.opening_bytes())
    return connection.ws


class Growth:
    """What the steps have taken so far."""

    def __init__(self) -> None:
        self.table: Table = {}
        self._resident = 0.0

    def note(self, what: str, value: float) -> None:
        """Note the figure of a step."""
        self.table.setdefault(what, []).append(value)

    def begin(self) -> None:
        """Something is about to be added."""
        gc.collect()
        self._resident = figures()["resident"]

    def end(self, what: str, count: int) -> None:
        """So many of it were added."""
        gc.collect()
        self.note(f"{what}, bytes", (figures()["resident"] - self._resident) / max(count, 1))

    async def time(self, what: str, topics: Topics, names: Sequence[str], count: int) -> None:
        """Note the CPU time of one of the ``count`` things that a publish to each topic does."""
        times = []
        for _ in range(ROUNDS):
            start = thread_time()
            await publish_to(topics, names)
            times.append(thread_time() - start)
        self.note(f"{what}, us", 1e6 * median(times) / count)


async def publish_to(topics: Topics, names: Sequence[str]) -> None:
    """Publish a message to each of some topics."""
    for name in names:
        topics.publish(name, PAYLOAD)
        await asyncio.sleep(0)


async def grow_connections(steps: Sequence[int], count: int) -> Table:
    """Connections that are in one topic of all, and in some of ``count`` topics.

    They draw these: the n-th topic is drawn 1/n times as often as the first one (Zipf's law).
    """
    growth, topics, random = Growth(), unlimited_topics(), Random(SEED)
    names = [f"topic.{number}" for number in range(count)]
    weights = list(accumulate(1 / number for number in range(1, count + 1)))
    everybody: List[WSTransport] = []
    # All topics are there before anything is measured.
    first = memory_connection()
    for name in (*names, "all"):
        topics.subscribe(first, name)
    await publish_to(topics, names)
    for step in steps:
        growth.begin()
        new = [memory_connection() for _ in range(step - len(everybody))]
        growth.end("a connection with its simulated network", len(new))
        everybody += new
        growth.begin()
        for transport in new:
            topics.subscribe(transport, "all")
        await publish_to(topics, ["all"])
        growth.end("the first subscription of a connection", len(new))
        growth.begin()
        before = topics.stats().subscriptions
        for transport in new:
            for name in random.choices(names, cum_weights=weights, k=DRAWS):
                topics.subscribe(transport, name)
        await publish_to(topics, names)
        subscriptions = topics.stats().subscriptions
        growth.end("another subscription", subscriptions - before)
        growth.note("another subscription, of a connection", (subscriptions - before) / len(new))
        growth.note("the largest topic, subscribers", len(topics.subscribers(names[0])))
        everything = len(topics.subscribers("all"))
        calls = max(DELIVERIES // everything, 1)
        await growth.time(
            "a delivery, one topic with all", topics, ["all"] * calls, calls * everything
        )
        await growth.time(
            f"a delivery, {count:,} topics in turn", topics, names, subscriptions - everything
        )
    return growth.table


async def grow_topics(steps: Sequence[int], count: int) -> Table:
    """Topics with one subscriber each."""
    growth, topics, transport = Growth(), unlimited_topics(), memory_connection()
    names: List[str] = []
    for step in steps:
        growth.begin()
        new = [f"topic.{number}" for number in range(len(names), step)]
        for name in new:
            topics.subscribe(transport, name)
        await publish_to(topics, new)
        growth.end("a topic with its only subscription", len(new))
        names += new
        sample = names[:: max(len(names) // count, 1)]
        await growth.time("a publish to one subscriber", topics, sample, len(sample))
    return growth.table


async def keep_messages(steps: Sequence[int], what: str, rule: Dict[str, Any]) -> Table:
    """Messages that are kept, beside what their topics need for the first one."""
    growth, topics, former = Growth(), unlimited_topics(), 0
    topics.configure("", **rule)
    for step in steps:
        names = [f"topic.{number}" for number in range(former // KEPT, step // KEPT)]
        for name in names:
            topics.publish(name, PAYLOAD)
        growth.begin()
        for key in map(str, range(KEPT)):
            for name in names:
                topics.publish(name, key.rjust(len(PAYLOAD)), key=key)
        growth.end(f"a {what} message of {len(PAYLOAD)} B", len(names) * KEPT)
        former = step
    return growth.table


async def grow_retained(steps: Sequence[int], _: int) -> Table:
    """Retained messages."""
    return await keep_messages(steps, "retained", {"retain": True})


async def grow_history(steps: Sequence[int], _: int) -> Table:
    """Messages of histories."""
    return await keep_messages(steps, "history", {"history": KEPT + 1})


#: What grows, by its name: with the steps and a number of topics.
GROWTHS: Dict[str, Callable[[Sequence[int], int], Coroutine[Any, Any, Table]]] = {
    "connections": grow_connections,
    "topics": grow_topics,
    "retained": grow_retained,
    "history": grow_history,
}
