"""Measures what ``Topics`` cost beside ``broadcast`` to the same connections (Linux).

    python -m bench.micro.topics [--connections N] [--rounds N] [--json]

A server in this process has N connections over loopback from sockets of the same process, which
read between the measurements. Both sides are measured in turn, in each round in another order, in
CPU time; what counts is the median of the ratios of the rounds. Messages of 128 bytes go to all
connections, and to 10,000 audiences of 10 connections each; then compressed ones to all of as many
connections that have negotiated it. Then subscribing and unsubscribing; and what stalled
subscribers take in memory under ``"latest"``, after many messages of few keys, and of more keys.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from pathlib import Path
from socket import socket
from statistics import median
from time import thread_time
from typing import Callable, Dict, List, Optional, Sequence

from bench.processes import allow_many_files
from picows_codec import WSListener, WSTransport
from picows_server import WSServer, broadcast, ws_create_server
from picows_server.topics import Topics

__all__ = ["main"]

PAYLOAD = "x" * 128
# Compression has something to do: numbers that change.
QUOTES = [
    f"BTC-USD bid {60_000 + 7 * number}.{number % 100:02} ask {60_003 + 7 * number}".ljust(128, ".")
    for number in range(97)
]
TOPICS = 10_000
SUBSCRIBERS = 10
CALLS = 20
GOAL = 0.9  # of broadcast's rate
SUBSCRIPTIONS = 20
# Of stalled subscribers: keys, messages.
STALLED = ((10, 1_000), (10, 10_000), (100, 1_000), (100, 10_000))
PAGE = os.sysconf("SC_PAGESIZE")
REQUEST = (
    "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{extensions}\r\n"
)
DEFLATE = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"


class Audience:
    """The connections of a server, and their peers."""

    def __init__(self) -> None:
        self.transports: List[WSTransport] = []
        self.peers: List[socket] = []
        self.received = 0  # bytes
        self.count = 0
        self.are_open = asyncio.Event()

    async def connect(self, server: WSServer, count: int, extensions: str) -> None:
        """Open so many connections."""
        self.count = count
        address = server.sockets[0].getsockname()
        loop = asyncio.get_running_loop()
        request = REQUEST.format(extensions=extensions).encode("ascii")
        for _ in range(count):
            peer = socket()
            peer.setblocking(False)
            await loop.sock_connect(peer, address)
            await loop.sock_sendall(peer, request)
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
                while True:
                    size = len(peer.recv(65536))
                    self.received += size
                    if size < 65536:
                        break
            except BlockingIOError:
                pass

    def close(self) -> None:
        """Close the peers."""
        for peer in self.peers:
            peer.close()


class Report:
    """What was found: printed as it comes, or at the end as JSON."""

    def __init__(self, *, is_json: bool) -> None:
        self._is_json = is_json
        self._rows: List[Dict[str, str]] = []

    def add(self, what: str, figure: str, ratio: Optional[float] = None) -> None:
        """Add a row; with a ratio, one with a goal."""
        goal = ""
        if ratio is not None:
            goal = f"{GOAL}, {'reached' if ratio >= GOAL else 'MISSED'}"
        self._rows.append({"what": what, "figure": figure, "goal": goal})
        if not self._is_json:
            print(f"{what}: {figure}{f' (goal: {goal})' if goal else ''}")

    def end(self) -> None:
        """Print what was not."""
        if self._is_json:
            print(json.dumps({"rows": self._rows}), flush=True)


def resident_bytes() -> int:
    """Return the resident memory of this process."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * PAGE


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
    report: Report,
) -> None:
    """Report how fast the second side is, the first being 1."""
    found: List[List[float]] = [[], []]
    for number in range(rounds):
        for side in (0, 1) if number % 2 else (1, 0):
            found[side].append(await seconds_of(sides[side], count, audience))
    ratios = sorted(theirs / ours for theirs, ours in zip(*found))
    ratio = median(ratios)
    first, second = (1e6 * median(each) / count for each in found)
    report.add(
        f"publish {title}, x broadcast",
        f"{ratio:.3f} ({ratios[0]:.2f} to {ratios[-1]:.2f}); {second:,.1f} and {first:,.1f} us",
        ratio,
    )


async def measure(connections: int, rounds: int, report: Report) -> None:
    """Measure everything."""
    audience = Audience()
    async with ws_create_server(
        "ws://127.0.0.1:0", audience.listener, backlog=4096, stall_timeout=None
    ) as server:
        await audience.connect(server, connections, "")
        everybody = list(audience.transports)
        topics = Topics(max_topics_per_connection=None)
        for transport in everybody:
            topics.subscribe(transport, "all")
        await compare(
            f"128 B to {connections:,} connections",
            [lambda _: broadcast(everybody, PAYLOAD), lambda _: topics.publish("all", PAYLOAD)],
            CALLS,
            audience,
            rounds,
            report,
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
            f"128 B to each of {TOPICS:,} topics with {SUBSCRIBERS} connections",
            [
                lambda number: broadcast(rooms[f"topic.{number}"], PAYLOAD),
                lambda number: topics.publish(f"topic.{number}", PAYLOAD),
            ],
            TOPICS,
            audience,
            max(rounds // 4, 3),
            report,
        )
        subscribe(topics, everybody, report)
        stall(topics, everybody, report)
    audience.close()


async def measure_compressed(connections: int, rounds: int, report: Report) -> None:
    """Measure publishing to connections that have negotiated compression."""
    audience = Audience()
    async with ws_create_server(
        "ws://127.0.0.1:0", audience.listener, backlog=4096, compression="deflate"
    ) as server:
        await audience.connect(server, connections, DEFLATE)
        everybody = list(audience.transports)
        topics = Topics()
        for transport in everybody:
            topics.subscribe(transport, "all")

        def quote(number: int) -> str:
            return QUOTES[number % len(QUOTES)]

        audience.received = 0
        await compare(
            f"128 B compressed to {connections:,} connections",
            [
                lambda number: broadcast(everybody, quote(number)),
                lambda number: topics.publish("all", quote(number)),
            ],
            CALLS,
            audience,
            rounds,
            report,
        )
        messages = 2 * rounds * CALLS * connections
        report.add("bytes of such a frame", f"{audience.received / messages:.1f}")
    audience.close()


def subscribe(topics: Topics, everybody: List[WSTransport], report: Report) -> None:
    """Report how many subscriptions are begun and ended in a second."""
    times: List[List[float]] = [[], []]
    for number in range(SUBSCRIPTIONS):
        for side, call in enumerate((topics.subscribe, topics.unsubscribe)):
            start = thread_time()
            for transport in everybody:
                call(transport, f"busy.{number}")
            times[side].append(len(everybody) / (thread_time() - start))
    for name, found in zip(("subscribe", "unsubscribe"), times):
        report.add(f"{name}, a second", f"{median(found):,.0f}")


def stall(topics: Topics, everybody: List[WSTransport], report: Report) -> None:
    """Report what stalled subscribers hold."""
    for transport in everybody:
        while transport.write_queue_size <= 65_536:
            transport.send(1, "x" * 60_000)
    for keys, messages in STALLED:
        name = f"slow.{keys}.{messages}"
        topics.configure(name, when_slow="latest")
        for transport in everybody:
            topics.subscribe(transport, name)
        before = resident_bytes()
        for number in range(messages):
            topics.publish(name, f"{number} {PAYLOAD}", key=str(number % keys))
        taken = resident_bytes() - before
        waiting = sum(topics.stats_of(transport).waiting for transport in everybody)
        report.add(
            f'"latest", {messages:,} messages of {keys} keys to {len(everybody):,} stalled'
            " connections",
            f"{waiting:,} wait, {taken / 2**20:.1f} MiB more",
        )
        for transport in everybody:
            topics.unsubscribe(transport, name)


def main(arguments: List[str]) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--connections", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", action="store_true", help="print a line of JSON")
    options = parser.parse_args(arguments)
    allow_many_files()
    report = Report(is_json=options.json)
    asyncio.run(measure(options.connections, options.rounds, report))
    asyncio.run(measure_compressed(options.connections, options.rounds, report))
    report.end()


if __name__ == "__main__":
    main(sys.argv[1:])
