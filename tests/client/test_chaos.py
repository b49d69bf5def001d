"""A link to a server that fails in every way: what arrives, and what is left.

In real time for three seconds, or for PICOWS_CHAOS_SECONDS (``tox -e chaos``: thirty).
"""

from __future__ import annotations

import asyncio
import gc
import os
import random
import socket
import struct
from itertools import chain, cycle
from typing import Any, Awaitable, Callable, List

from picows_client import WSFrame, WSListener, WSMsgType, WSTransport
from picows_client.backoff import WSBackoff
from picows_client.keep_connected import ws_keep_connected
from picows_client.link import WSLinkState
from picows_client.protocol import ClientProtocol
from tests.support.leaks import count_instances, leaked_since, open_descriptors
from tests.support.loops import other_tasks
from tests.support.rawpeer import RawConnection, raw_peer
from tests.support.skipping_loop import run_skipping

Run = Callable[..., Any]
Script = Callable[[RawConnection], Awaitable[None]]

SECONDS = float(os.environ.get("PICOWS_CHAOS_SECONDS", "3"))
NUMBERS = 100  # that a server sends in a stable phase


class Counter(WSListener):
    """Subscribes on each connection, and keeps the numbers that it brings."""

    def __init__(self) -> None:
        self.connections: List[List[int]] = []

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.connections.append([])
        transport.send(WSMsgType.TEXT, b"subscribe")

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.opcode == WSMsgType.TEXT:
            self.connections[-1].append(int(frame.get_payload_as_bytes()))


class Chaos:
    """The server's scripts: each fault in turn, and after each a stable phase."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.whole = 0  # connections on which the client has answered the CLOSE after all numbers
        self.faults: List[Script] = [
            *map(self.refuses, ("429 No", "500 No", "502 No", "503 No", "418 No", "301 No")),
            *map(self.closes, (None, *range(1000, 1004), *range(1007, 1015), 3000, 4000, 4999)),
            *map(self.sends, (b"HTTP/1.1 101 Yes\r\n\r\n", b"\x16\x03\x01\x02", b"\0" * 200)),
            *map(
                self.sends_to_open, (b"\x81\x7e", b"\x81\x01\xff", b"\x8f\0", b"\x09\x7e\xff\xff")
            ),
            *map(self.sends_to_open, (b"\x81\x7e", b"\x81\x01\xff", b"\x8f\0", b"\x88\x01\0")),
            *map(self.sends_to_open, (b"\x09\x7e\xff\xff", b"\x80\0", bytes(range(256)))),
            *[self.resets, self.resets_when_open, self.leaves, self.leaves_after_request] * 2,
            *[self.stalls, self.stalls_when_open, self.is_silent] * 2,
        ]
        self.random.shuffle(self.faults)
        pairs = ((fault, self.is_stable) for fault in self.faults)
        self.scripts = cycle(chain.from_iterable(pairs))
        self.twice = asyncio.Event()  # each fault was met twice
        self._left = 4 * len(self.faults)

    async def serve(self, peer: RawConnection) -> None:
        self._left -= 1
        if self._left == 0:
            self.twice.set()
        await next(self.scripts)(peer)

    def url(self, port: int) -> str:
        """Now and then that of a port on which nobody listens."""
        if self.random.random() < 0.1:
            with socket.socket() as unused:
                unused.bind(("127.0.0.1", 0))
                port = unused.getsockname()[1]
        return f"ws://127.0.0.1:{port}/"

    async def is_stable(self, peer: RawConnection) -> None:
        await subscribed(peer)
        for number in range(NUMBERS):
            peer.write_frame(1, str(number).encode())
            if number % 25 == 0:
                await asyncio.sleep(0.01)
        peer.write_frame(8, b"\x03\xe8")
        await peer.read_frame()
        self.whole += 1

    def refuses(self, status: str) -> Script:
        async def script(peer: RawConnection) -> None:
            await peer.read_request()
            peer.respond(status, [("Content-Length", "0"), ("Retry-After", "1")])

        return script

    def closes(self, code: Any) -> Script:
        async def script(peer: RawConnection) -> None:
            await subscribed(peer)
            peer.write_frame(8, b"" if code is None else struct.pack("!H", code) + b"bye")
            await peer.read_frame()

        return script

    def sends(self, data: bytes) -> Script:
        async def script(peer: RawConnection) -> None:
            peer.writer.write(data)
            await peer.read_to_end()

        return script

    def sends_to_open(self, data: bytes) -> Script:
        async def script(peer: RawConnection) -> None:
            await subscribed(peer)
            peer.writer.write(data)
            await peer.read_to_end()

        return script

    async def resets(self, peer: RawConnection) -> None:
        peer.reset()

    async def resets_when_open(self, peer: RawConnection) -> None:
        await subscribed(peer)
        peer.reset()

    async def leaves(self, peer: RawConnection) -> None:
        peer.writer.close()

    async def leaves_after_request(self, peer: RawConnection) -> None:
        await peer.read_request()

    async def stalls(self, peer: RawConnection) -> None:
        await peer.read_request()
        await peer.read_to_end()

    async def stalls_when_open(self, peer: RawConnection) -> None:
        await subscribed(peer)
        peer.writer.write(b"\x81\x7e\xff")  # a part of a header
        await peer.read_to_end()

    async def is_silent(self, peer: RawConnection) -> None:
        await subscribed(peer)
        await peer.read_to_end()


async def subscribed(peer: RawConnection) -> None:
    await peer.accept_upgrade()
    assert (await peer.read_frame()).payload == b"subscribe"


def pending_timers() -> int:
    """How many timers asyncio's own loop has; 0 on another."""
    scheduled = getattr(asyncio.get_running_loop(), "_scheduled", ())
    return sum(not handle.cancelled() for handle in scheduled)


async def follow(chaos: Chaos, backoff: WSBackoff, end: Awaitable[object]) -> None:
    """Keep a link to it until ``end``, and look what has arrived, and what is left."""
    gc.collect()  # what other tests have left
    listener = Counter()
    descriptors, timers = open_descriptors(), pending_timers()
    async with raw_peer(chaos.serve) as peer:
        link = ws_keep_connected(
            lambda: chaos.url(peer.port),
            listener,
            backoff=backoff,
            websocket_handshake_timeout=0.2,
            close_timeout=0.2,
            enable_auto_ping=True,
            auto_ping_idle_timeout=0.2,
            auto_ping_reply_timeout=0.2,
        )
        async with link:
            await end
        assert link.state is WSLinkState.CLOSED
        assert link.transport is None
    connections = listener.connections
    del link, listener  # which keeps the last connection
    gc.collect()  # a link, but no connection, is part of a cycle
    assert not other_tasks()
    assert pending_timers() == timers
    assert count_instances(ClientProtocol) == 0
    assert not leaked_since(descriptors)
    complete = [numbers for numbers in connections if len(numbers) == NUMBERS]
    assert chaos.whole
    assert len(complete) >= chaos.whole - 1  # the last one may have met the end of the link
    for numbers in connections:
        assert numbers == list(range(len(numbers)))  # in order, from the first one on


def test_real_time(run: Run) -> None:
    backoff = WSBackoff(base=0.001, longest=0.005, longest_retry_after=0.01)
    run(lambda: follow(Chaos(seed=1), backoff, asyncio.sleep(SECONDS)))


def test_time_that_jumps() -> None:
    """A minute with pauses of the usual length."""
    run_skipping(lambda: follow(Chaos(seed=2), WSBackoff(), asyncio.sleep(60.0)))


def test_every_fault() -> None:
    async def main() -> None:
        chaos = Chaos(seed=3)
        await follow(chaos, WSBackoff(longest=0.5), chaos.twice.wait())

    run_skipping(main)
