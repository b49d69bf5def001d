"""What an engine holds and does, and nodes with it: for ``bench.micro.capacity``.

Valkey, a publisher, and nodes that are subscribed to all topics by one connection over a memory
transport are processes. What counts is their CPU time, so that it matters little what else runs;
that of an engine is from its ``INFO``, as are memory and bytes. 64 messages of as many topics are
published at once, and the next ones when fewer than 512 wait for the engine.
"""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Type

from redis import Redis

from bench.backplane.engines import Engine
from bench.backplane.gateways import REDIS
from bench.micro.capacity_node import memory_connection, unlimited_topics
from bench.micro.idle_pings import Part, figures, next_line, say
from bench.micro.topics import PAYLOAD
from bench.processes import Failed
from picows_server.backplane import RedisBackplane, ShardedBackplane
from picows_server.topics import Topics

__all__ = ["KEPT", "PLAIN", "Load", "measure_cpu", "measure_memory", "play"]

HISTORY = 100
AT_ONCE = 64
ON_THEIR_WAY = 512
PATIENCE = 300.0  # seconds; a busy machine is slow
PAUSE = 0.02  # seconds between looks, which cost CPU time, too
LONG_PAUSE = 0.1
MODULE = "bench.micro.capacity"
#: Prefixes of the topics without history, and with it.
PLAIN, KEPT = "plain", "kept"


# A node or a publisher, in a process of its own


def new_topics(urls: Sequence[str], has_presence: bool) -> Topics:
    """Return topics over an engine, or over several."""
    ttl = 60.0 if has_presence else None
    # A starved process is not to be found dead.
    engines = [RedisBackplane(url, presence_ttl=ttl, probe_interval=PATIENCE) for url in urls]
    topics = unlimited_topics(engines[0] if len(urls) == 1 else ShardedBackplane(engines))
    topics.configure(KEPT, history=HISTORY)
    return topics


async def publish(topics: Topics, kind: str, count: int, names: int) -> None:
    """Publish so many messages to so many topics in turn; return when the engine has them."""
    for number in range(count):
        topics.publish(f"{kind}.{number % names}", PAYLOAD)
        if number % AT_ONCE == AT_ONCE - 1:
            await asyncio.sleep(0)
            await fall_below(topics, ON_THEIR_WAY)
    await fall_below(topics, 1)


async def fall_below(topics: Topics, most: int) -> None:
    """Return when fewer messages wait for the engine."""
    while True:
        counted = topics.stats().backplane
        if counted is None or counted.pending < most:
            return
        await asyncio.sleep(PAUSE)


async def subscribe(topics: Topics, kind: str, names: int) -> None:
    """Subscribe a connection; return when the engine has confirmed it."""
    transport = memory_connection()
    for number in range(names):
        topics.subscribe(transport, f"{kind}.{number}")
        if number % AT_ONCE == AT_ONCE - 1:
            await topics.confirmed(f"{kind}.{number}")
    await topics.confirmed(f"{kind}.{names - 1}")


async def play(urls: Sequence[str], has_presence: bool) -> None:
    """Do what the parent process says: a verb and its words in each line."""
    async with new_topics(urls, has_presence) as topics:
        say(figures())
        while True:
            verb, *words = (await next_line()).split() or [""]
            if verb == "publish":
                await publish(topics, words[0], int(words[1]), int(words[2]))
            elif verb == "subscribe":
                await subscribe(topics, words[0], int(words[1]))
            elif verb == "receive":
                await receive(topics, float(words[0]))
            elif verb != "figures":
                return
            say({**figures(), "received": received(topics)})


async def receive(topics: Topics, count: float) -> None:
    """Return when so many messages have come from the engine."""
    while True:
        if received(topics) >= count:
            return
        await asyncio.sleep(LONG_PAUSE)


def received(topics: Topics) -> int:
    """Return how many messages have come from the engine."""
    counted = topics.stats().backplane
    return 0 if counted is None else counted.received


# What starts them


class Usage(NamedTuple):
    """What an engine has done since it was started, and holds now."""

    cpu: float  # seconds
    memory: int
    received: int  # bytes
    sent: int
    scripts: int


class Cluster:
    """Some engines, a publisher, and nodes; leaving the context ends them.

    Topics are spread over the engines, which share no data.
    """

    def __init__(self, engines: int) -> None:
        self._folder = TemporaryDirectory()
        folder = Path(self._folder.name)
        self._engines: List[Engine] = []
        self._parts: List[Part] = []
        self.nodes: List[Part] = []
        for number in range(engines):
            log = folder / f"{number}.log"
            self._engines.append(Engine(REDIS, folder, number % (os.cpu_count() or 1), log))
        self._clients = [Redis.from_url(engine.url) for engine in self._engines]
        for client in self._clients:
            # Else most of the CPU time of an engine without much to do is that of its timer.
            client.config_set("hz", 1)

    @cached_property
    def publisher(self) -> Part:
        """The process that publishes."""
        return self.start(has_presence=False)

    def start(self, *, has_presence: bool) -> Part:
        """Start a process that uses the engines."""
        words = [word for engine in self._engines for word in ("--engine", engine.url)]
        words += ["--presence"] if has_presence else []
        part = Part("--play", "node", *words, module=MODULE)
        self._parts.append(part)
        part.read()
        return part

    def add_node(self, kinds: Sequence[str], topics: int) -> None:
        """Start a node and subscribe it."""
        node = self.start(has_presence=False)
        for kind in kinds:
            node.ask(f"subscribe {kind} {topics}")
        self.nodes.append(node)

    def usage(self) -> List[Usage]:
        """Return what each engine has done and holds."""
        found = []
        for client in self._clients:
            info: Dict[str, Any] = client.info("cpu", "memory", "stats", "commandstats")
            found.append(
                Usage(
                    info["used_cpu_sys"] + info["used_cpu_user"],
                    info["used_memory"],
                    info["total_net_input_bytes"],
                    info["total_net_output_bytes"],
                    info.get("cmdstat_evalsha", {}).get("calls", 0),
                )
            )
        return found

    def __enter__(self) -> Cluster:  # noqa: PYI034 - Self needs Python 3.11
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        for part in self._parts:
            part.stop()
        for client in self._clients:
            client.close()
        for engine in self._engines:
            engine.end()
        self._folder.cleanup()


def measure_memory(topics: int) -> Dict[str, float]:
    """Return what an engine, and a node with it, hold for each of so many topics, in bytes."""
    found: Dict[str, float] = {}
    with Cluster(1) as cluster:
        before = cluster.usage()[0]

        def note(what: str, count: int = topics) -> None:
            nonlocal before
            after = cluster.usage()[0]
            found[f"{what}, bytes"] = (after.memory - before.memory) / count
            before = after

        node = cluster.start(has_presence=False)
        resident = node.ask()["resident"]
        grown = node.ask(f"subscribe {PLAIN} {topics}")["resident"]
        found["node: a topic with its only subscription, bytes"] = (grown - resident) / topics
        note("engine: a topic of the first node")
        cluster.add_node([PLAIN], topics)
        note("engine: a topic of another node")
        cluster.start(has_presence=True).ask(f"subscribe {PLAIN} {topics}")
        end = time.monotonic() + PATIENCE
        while cluster.usage()[0].scripts < before.scripts + topics:
            if time.monotonic() > end:
                raise Failed(f"a node has not told its subscribers within {PATIENCE:g} s")
            time.sleep(PAUSE)
        cpu = cluster.usage()[0].cpu - before.cpu
        found["engine: a topic subscribed to and counted (presence_ttl), us"] = 1e6 * cpu / topics
        note("engine: a topic of another node, counted (presence_ttl)")
        cluster.publisher.ask(f"publish {KEPT} {topics} {topics}")
        note("engine: a topic with history and its first message")
        some = max(topics // 20, 1)
        # The engine makes room for more than one message at first.
        cluster.publisher.ask(f"publish {KEPT} {some * HISTORY // 4} {some}")
        before = cluster.usage()[0]
        count = some * HISTORY // 2
        cluster.publisher.ask(f"publish {KEPT} {count} {some}")
        note(f"engine: a message of a history, {len(PAYLOAD)} B", count)
    return found


class Load:
    """The CPU time and the bytes of messages, with so many engines and nodes."""

    def __init__(self, engines: int, nodes: int) -> None:
        self.engines, self.nodes = engines, nodes
        self._samples: Dict[str, List[Dict[str, float]]] = {PLAIN: [], KEPT: []}

    def measure(self, cluster: Cluster, kind: str, count: int, topics: int) -> None:
        """Publish messages, and note what each of them has cost."""
        engines = cluster.usage()
        publisher = cluster.publisher.ask()
        nodes = [node.ask() for node in cluster.nodes]
        published = cluster.publisher.ask(f"publish {kind} {count} {topics}")
        received = [
            node.ask(f"receive {before['received'] + count}")
            for node, before in zip(cluster.nodes, nodes)
        ]
        changes = list(zip(engines, cluster.usage()))
        cpu = [after.cpu - before.cpu for before, after in changes]
        share = count * len(nodes)
        sample = {
            "engine, us": 1e6 * sum(cpu) / count,
            "busiest engine, us": 1e6 * max(cpu) / count,
            "engine in, bytes": sum(to.received - of.received for of, to in changes) / count,
            "engine out, bytes": sum(to.sent - of.sent for of, to in changes) / count,
            "publisher, us": 1e6 * (published["cpu"] - publisher["cpu"]) / count,
            "node, us": 1e6 * sum(to["cpu"] - of["cpu"] for of, to in zip(nodes, received)) / share,
        }
        self._samples[kind].append(sample)

    def medians(self, kind: str) -> Dict[str, float]:
        """Return the medians of all that was measured, for one message."""
        samples = self._samples[kind]
        return {name: median(sample[name] for sample in samples) for name in samples[0]}


def measure_cpu(
    engines: Sequence[int], nodes: Sequence[int], topics: int, count: int, rounds: int
) -> List[Load]:
    """Measure messages with these numbers of engines and nodes; each round in turn."""
    clusters = {number: Cluster(number) for number in engines}
    loads = []
    with ExitStack() as stack:
        for cluster in clusters.values():
            stack.enter_context(cluster)
        for target in nodes:
            found = [Load(number, target) for number in clusters]
            for cluster in clusters.values():
                while len(cluster.nodes) < target:
                    cluster.add_node([PLAIN, KEPT], topics)
            for _ in range(rounds):
                for kind in (PLAIN, KEPT):
                    for load in found:
                        load.measure(clusters[load.engines], kind, count, topics)
            loads += found
    return loads
