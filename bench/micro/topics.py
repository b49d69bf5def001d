"""Measures what ``Topics`` cost beside ``broadcast`` to the same connections (Unix).

    python -m bench.micro.topics [--connections N] [--rounds N]

A server in this process has N connections over loopback from sockets of the same process, which
read between the measurements. Both sides are measured in turn, in each round in another order, and
the medians of the rounds are compared, in CPU time: messages of 128 bytes to all connections, and
to 10,000 audiences of 10 connections each. Then subscribing and unsubscribing; and how much memory
stalled subscribers take under ``"latest"`` after many messages of few keys.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import sys
from socket import socket
from statistics import median
from time import perf_counter, thread_time
from typing import Callable, List, Sequence

from picows_codec import WSListener, WSTransport
from picows_server import WSServer, broadcast, ws_create_server
from picows_server.topics import Topics

__all__ = ["main"]

PAYLOAD = "x" * 128
TOPICS = 10_000
SUBSCRIBERS = 10
CALLS = 20
KEYS = 10
REQUEST = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


class Audience:
    """The connections of a server, and their peers."""

    def __init__(self) -> None:
        self.transports: List[WSTransport] = []
        self.peers: List[socket] = []
        self.count = 0
        self.are_open = asyncio.Event()

    async def connect(self, server: WSServer, count: int) -> None:
        """Open so many connections."""
        self.count = count
        address = server.sockets[0].getsockname()
        loop = asyncio.get_running_loop()
        for _ in range(count):
            peer = socket()
            peer.setblocking(False)
            await loop.sock_connect(peer, address)
            await loop.sock_sendall(peer, REQUEST)
            self.peers.append(peer)
        await self.are_open.wait()
        self.drain()

    def listener(self) -> WSListener:
        """Return the listener of a connection, which notes its transport."""
        audience = self

        class Member(WSListener):
            def on_ws_connected(self, transport: WSTransport) -> None:
                audience.transports.append(transport)
                if len(audience.transports) == audience.count:
                    audience.are_open.set()

        return Member()

    def drain(self) -> None:
        """Read what has arrived."""
        for peer in self.peers:
            try:
                while len(peer.recv(65536)) == 65536:
                    pass
            except BlockingIOError:
                pass


async def seconds_of(call: Callable[[int], object], count: int, audience: Audience) -> float:
    """Return the CPU time of so many calls, each in an iteration of the loop of its own."""
    total = 0.0
    for number in range(count):
        start = thread_time()
        call(number)
        total += thread_time() - start
        await asyncio.sleep(0)
        if number % 200 == 199:
            audience.drain()
    audience.drain()
    return total


async def compare(
    title: str,
    sides: Sequence[Callable[[int], object]],
    count: int,
    audience: Audience,
    rounds: int,
) -> None:
    """Print how fast the second side is, the first being 1."""
    found: List[List[float]] = [[], []]
    for number in range(rounds):
        for side in (0, 1) if number % 2 else (1, 0):
            found[side].append(await seconds_of(sides[side], count, audience))
    ratios = [theirs / ours for theirs, ours in zip(*found)]
    print(
        f"{title}: publish has {median(ratios):.3f} of broadcast's rate"
        f" ({1e6 * median(found[0]) / count:.1f} and {1e6 * median(found[1]) / count:.1f} us)"
    )


async def measure(connections: int, rounds: int) -> None:
    """Measure everything."""
    audience = Audience()
    async with ws_create_server(
        "ws://127.0.0.1:0", audience.listener, backlog=4096, stall_timeout=None
    ) as server:
        await audience.connect(server, connections)
        everybody = list(audience.transports)
        topics = Topics(max_topics_per_connection=None)
        for transport in everybody:
            topics.subscribe(transport, "all")
        await compare(
            f"128 bytes to {connections} connections",
            [lambda _: broadcast(everybody, PAYLOAD), lambda _: topics.publish("all", PAYLOAD)],
            CALLS,
            audience,
            rounds,
        )
        groups = [
            [everybody[(number + each * 97) % connections] for each in range(SUBSCRIBERS)]
            for number in range(TOPICS)
        ]
        for number, group in enumerate(groups):
            for transport in group:
                topics.subscribe(transport, f"topic.{number}")
        rooms = {f"topic.{number}": group for number, group in enumerate(groups)}
        await compare(
            f"128 bytes to each of {TOPICS} topics with {SUBSCRIBERS} subscribers",
            [
                lambda number: broadcast(rooms[f"topic.{number}"], PAYLOAD),
                lambda number: topics.publish(f"topic.{number}", PAYLOAD),
            ],
            TOPICS,
            audience,
            max(rounds // 4, 3),
        )
        subscribe(topics, everybody)
        stall(topics, everybody)
    for peer in audience.peers:
        peer.close()


def subscribe(topics: Topics, everybody: List[WSTransport]) -> None:
    """Print how many subscriptions are begun and ended in a second."""
    times: List[List[float]] = [[], []]
    for number in range(20):
        for side, call in enumerate((topics.subscribe, topics.unsubscribe)):
            start = perf_counter()
            for transport in everybody:
                call(transport, f"busy.{number}")
            times[side].append(len(everybody) / (perf_counter() - start))
    print(f"subscribe: {median(times[0]):.0f} a second, unsubscribe: {median(times[1]):.0f}")


def stall(topics: Topics, everybody: List[WSTransport]) -> None:
    """Print what stalled subscribers hold."""
    topics.configure("slow", when_slow="latest")
    for transport in everybody:
        topics.subscribe(transport, "slow")
        while not topics.stats_of(transport).waiting:
            transport.send(1, "x" * 60_000)
            if transport.write_queue_size > 65_536:
                break
    before = topics.stats().rules["slow"]
    for rounds in (100, 400):
        for number in range(rounds):
            topics.publish("slow", f"{number} {PAYLOAD}", key=str(number % KEYS))
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        waiting = sum(topics.stats_of(transport).waiting for transport in everybody)
        after = topics.stats().rules["slow"]
        print(
            f'"latest", {after.published - before.published} messages of {KEYS} keys to'
            f" {len(everybody)} stalled subscribers: {waiting} wait, {memory} MiB at most so far"
        )


def main(arguments: List[str]) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--connections", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=25)
    options = parser.parse_args(arguments)
    asyncio.run(measure(options.connections, options.rounds))


if __name__ == "__main__":
    main(sys.argv[1:])
