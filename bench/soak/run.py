"""One soak: a server, and slots that hold one connection after the other."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
from typing import Any, Awaitable, Callable, Dict, Tuple

from bench.soak.listeners import ClientListener, EchoListener
from bench.soak.messages import Contents, Tally
from bench.soak.process import descriptors, memory
from picows_client import ws_connect
from picows_codec import (
    WSDisconnectKind,
    WSTransport,
    WSUpgradeRequest,
)
from picows_server import ws_create_server

# Seconds
LIFETIME = (1.0, 20.0)
HANDSHAKE_TIMEOUT = 3.0
PATIENCE = 30.0
REPORT_EVERY = 10.0

CONNECTING_AT_ONCE = 100
NEVER_READING_AT_ONCE = 2  # each makes the server queue max_write_queue_size
# By how much the memory after the first quarter of a long run may grow later.
LONG_RUN = 60.0
MEMORY_GROWTH = 0.3

# By name: the function that opens and ends a connection, and how often it is chosen.
Kinds = Dict[str, Tuple[Callable[["Soak", int], Awaitable[None]], float]]


class Soak:
    """One run, of connections of these kinds."""

    def __init__(self, connections: int, seconds: float, seed: int, kinds: Kinds) -> None:
        self.loop = asyncio.get_running_loop()
        self.connections = connections
        self.seconds = seconds
        self.seed = seed
        self.kinds = kinds
        self.choice = random.Random(seed)
        self.contents = Contents(seed)
        self.tally = Tally()
        self.servers: Dict[int, EchoListener] = {}
        self.numbers = iter(range(1, 1 << 32))
        self.opening = asyncio.Semaphore(CONNECTING_AT_ONCE)
        self.never_reading = asyncio.Semaphore(NEVER_READING_AT_ONCE)
        self.over = asyncio.Event()
        self.url = ""

    async def run(self) -> None:
        """Run it all; ``tally`` has the outcome."""
        self.loop.set_exception_handler(
            lambda _, context: self.tally.check(False, "the loop reports", context)
        )
        server = await ws_create_server(
            "ws://127.0.0.1:0",
            self.new_listener,
            websocket_handshake_timeout=HANDSHAKE_TIMEOUT,
            backlog=4096,
        )
        async with server:
            self.url = server.url
            slots = [self.loop.create_task(self.fill_slot()) for _ in range(self.connections)]
            reporter = self.loop.create_task(self.report(server))
            await asyncio.sleep(self.seconds / 4)
            settled = memory()
            await asyncio.sleep(self.seconds * 3 / 4)
            grown = memory() / settled - 1
            is_stable = grown < MEMORY_GROWTH or self.seconds < LONG_RUN
            self.tally.check(is_stable, f"memory grew from {settled:.0f} MB by {grown:.0%}")
            self.over.set()
            done, pending = await asyncio.wait(slots, timeout=2 * PATIENCE)
            self.tally.check(not pending, "connections that do not end:", len(pending))
            for task in (*pending, reporter):
                task.cancel()
            for task in done:
                self.tally.check(task.exception() is None, "client failed:", repr(task.exception()))
            await asyncio.wait((*slots, reporter))
            await self.wait_until(lambda: not server.connections, "connections left in the server")
        self.tally.check(not self.servers, "listeners left:", len(self.servers))

    def new_listener(self, request: WSUpgradeRequest) -> EchoListener:
        """The server's listener of the connection whose number is the path."""
        number = int(request.path[1:])
        listener = self.servers[number] = EchoListener(number, self)
        return listener

    async def fill_slot(self) -> None:
        """Hold one connection after the other until the time is over."""
        await asyncio.sleep(self.choice.uniform(0, min(2.0, self.seconds / 5)))
        kinds = list(self.kinds)
        weights = [weight for _, weight in self.kinds.values()]
        while not self.over.is_set():
            kind = self.choice.choices(kinds, weights)[0]
            number = next(self.numbers)
            try:
                await asyncio.wait_for(self.kinds[kind][0](self, number), PATIENCE + LIFETIME[1])
            except asyncio.TimeoutError:
                self.tally.check(False, f"connection {number} ({kind}) does not end")
            self.tally.counts[kind] += 1

    async def live(self) -> None:
        """Wait for as long as a connection lives."""
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self.over.wait(), self.choice.uniform(*LIFETIME))

    async def connect(self, number: int) -> Tuple[WSTransport, ClientListener]:
        """Open a connection with our client."""
        async with self.opening:
            return await ws_connect(f"{self.url}/{number}", lambda: ClientListener(number, self))

    async def raw_connect(self, number: int) -> socket.socket:
        """Open a connection that is only a socket, after its opening handshake."""
        sock = await self.raw_socket()
        request = (
            f"GET /{number} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
            "Sec-WebSocket-Version: 13\r\n\r\n"
        )
        await self.loop.sock_sendall(sock, request.encode())
        answer = await self.loop.sock_recv(sock, 4096)
        self.tally.check(answer.startswith(b"HTTP/1.1 101 "), "the server answers", answer[:40])
        return sock

    async def raw_socket(self) -> socket.socket:
        """Connect a socket to the server."""
        host, _, port = self.url.rpartition("/")[2].rpartition(":")
        sock = socket.socket()
        sock.setblocking(False)
        async with self.opening:
            await self.loop.sock_connect(sock, (host, int(port)))
        return sock

    async def server_gone(self, number: int, *allowed: WSDisconnectKind) -> EchoListener:
        """Wait for the server's side of a connection to end, and check why it did."""
        listener = self.servers[number]
        kind = await asyncio.wait_for(listener.gone, PATIENCE)
        self.tally.check(kind in allowed, "server: ended as", kind, "instead of", allowed)
        del self.servers[number]
        return listener

    async def client_gone(
        self, transport: WSTransport, listener: ClientListener, *allowed: WSDisconnectKind
    ) -> None:
        """The same for the client's side."""
        await asyncio.wait_for(transport.wait_disconnected(), PATIENCE)
        kind = transport.disconnect_cause.kind
        self.tally.check(kind in allowed, "client: ended as", kind, "instead of", allowed)
        self.tally.check(listener.disconnects == 1, "client: disconnects", listener.disconnects)

    def check_complete(self, client: ClientListener, server: EchoListener) -> None:
        """After a close in order: no message was lost in either direction."""
        self.tally.counts["closed in order"] += 1
        self.tally.check(
            server.received == client.sent, "server got", server.received, "of", client.sent
        )
        self.tally.check(
            client.received == client.sent, "client got", client.received, "of", client.sent
        )

    async def wait_until(self, condition: Callable[[], object], message: str) -> None:
        """Wait for a condition; a violation if it is not met."""
        deadline = self.loop.time() + PATIENCE
        while not condition() and self.loop.time() < deadline:
            await asyncio.sleep(0.05)
        self.tally.check(condition(), message)

    async def report(self, server: Any) -> None:
        """Print the progress now and then."""
        before, started = 0, self.loop.time()
        while True:
            await asyncio.sleep(min(REPORT_EVERY, self.seconds / 2))
            counts = self.tally.counts
            print(
                f"{self.loop.time() - started:6.0f} s  {server.connections:6,} connections"
                f"  {counts['accepted']:8,} opened  {counts['messages']:10,} messages"
                f" (+{counts['messages'] - before:,})  {memory():6.0f} MB"
                f"  {descriptors():6,} descriptors  {len(self.tally.violations)} violations",
                flush=True,
            )
            before = counts["messages"]
