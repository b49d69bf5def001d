"""Hold many connections for a while, under churn and faults, and lose nothing.

    python bench/soak.py [--connections 2000] [--seconds 60] [--loop asyncio|uvloop] [--seed N]

One process runs our server and our clients. Clients send numbered messages of mixed sizes, whole
and in fragments; the server checks the numbers and echoes; clients check what comes back, byte by
byte. Connections live for a few seconds and end in every way there is; among them are slow readers
and peers that never read, stall, break the protocol or vanish. It must hold that

* on a connection that is closed in order, both sides get every message, in order;
* on every other one, what arrives is in order and without a gap;
* every connection ends, with the cause that fits, and tells its listener exactly once;
* nothing is logged as an error, and at the end no connection, task or descriptor is left.

Reports messages, memory and descriptors while it runs; ends with an error if anything did not hold.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import logging
import os
import random
import socket
import struct
import sys
import time
from collections import Counter, deque
from typing import Any, Awaitable, Callable, Deque, Dict, Iterator, List, Optional, Tuple

from picows_client import ws_connect
from picows_codec import (
    WSCloseCode,
    WSDisconnectKind,
    WSMessage,
    WSMessageListener,
    WSMsgType,
    WSStateError,
    WSTransport,
    WSUpgradeRequest,
)
from picows_server import ws_create_server

# Seconds
LIFETIME = (1.0, 20.0)
THINK_TIME = (0.05, 2.0)
HURRY = (0.0, 0.02)
HURRIED = 25  # one connection in so many
HANDSHAKE_TIMEOUT = 3.0
PATIENCE = 30.0
REPORT_EVERY = 10.0

WINDOW = 6  # messages of a connection on their way
CONNECTING_AT_ONCE = 100
NEVER_READING_AT_ONCE = 2  # each makes the server queue max_write_queue_size
SIZES = (0, 1, 100, 109, 110, 1000, 20_000, 65_519, 65_520, 200_000)
SIZE_WEIGHTS = (5, 5, 40, 10, 10, 20, 6, 1, 1, 2)
FLOOD_SIZE = 16_000
FLOOD_COUNT = 150
ENDLESS_FLOOD_COUNT = 4000
# What may be left of descriptors when all is over: logging, the loop's own.
DESCRIPTORS_LEFT = 3
# How much of the memory after the first quarter (of a run that is long enough) may be added later.
LONG_RUN = 60.0
MEMORY_GROWTH = 0.3

ALPHABET = b"abcdefghijklmnopqrstuvwxyz0123456789"
NUMBER = struct.Struct("!8s8s")  # of connection and message, as text: both fit a TEXT message


# Messages


class Contents:
    """The payload of every message, made from its numbers, so that nobody has to keep it."""

    def __init__(self, seed: int) -> None:
        choice = random.Random(seed)
        self._block = bytes(choice.choices(ALPHABET, k=1 << 20))

    def make(self, connection: int, message: int, size: int) -> bytes:
        """The payload of a message: 16 bytes of numbers and ``size`` more."""
        start = (connection * 7919 + message * 104_729) % (len(self._block) - size)
        return b"%08x%08x" % (connection, message) + self._block[start : start + size]


def numbers_of(payload: bytes) -> Tuple[int, int]:
    """The numbers of connection and message at the front of a payload."""
    connection, message = NUMBER.unpack_from(payload)
    return int(connection, 16), int(message, 16)


class Tally:
    """What was counted, and what was wrong."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.violations: List[str] = []

    def check(self, condition: object, message: str, *details: object) -> None:
        """Note a violation unless the condition holds."""
        if not condition:
            self.violations.append(" ".join([message, *map(str, details)]))


# The two listeners


class EchoListener(WSMessageListener):
    """The server's side: checks the numbers, echoes, and does as it is told.

    A message that begins with "!" is an order: ``!close``, ``!abort`` or ``!flood COUNT``.
    """

    def __init__(self, number: int, soak: Soak) -> None:
        self.number = number
        self.soak = soak
        self.received = 0
        self.gone = soak.loop.create_future()
        self.transport_kept: Optional[WSTransport] = None

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.transport_kept = transport
        self.soak.tally.counts["accepted"] += 1

    def on_ws_message(self, transport: WSTransport, message: WSMessage) -> None:
        payload = message.get_payload_as_bytes()
        if payload.startswith(b"!"):
            self._obey(transport, payload[1:].decode())
            return
        numbers = numbers_of(payload)
        wanted = (self.number, self.received)
        self.soak.tally.check(numbers == wanted, "server: expected", wanted, "got", numbers)
        self.received += 1
        transport.send(message.opcode, message)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self.soak.tally.check(not self.gone.done(), "server: disconnected twice", self.number)
        self.gone.set_result(transport.disconnect_cause.kind)
        self.transport_kept = None

    def _obey(self, transport: WSTransport, order: str) -> None:
        name, _, argument = order.partition(" ")
        if name == "close":
            transport.send_close(WSCloseCode.GOING_AWAY, "as you wish")
        elif name == "abort":
            transport.disconnect(graceful=False)
        elif name == "flood":
            with contextlib.suppress(WSStateError):  # the queue's limit ends it
                for index in range(int(argument)):
                    content = self.soak.contents.make(self.number, index, FLOOD_SIZE)
                    transport.send(WSMsgType.BINARY, content)


class ClientListener(WSMessageListener):
    """The client's side: sends numbered messages and checks that they come back."""

    def __init__(self, number: int, soak: Soak) -> None:
        self.number = number
        self.soak = soak
        self.choice = random.Random(soak.seed * 1_000_003 + number)
        self.think_time = THINK_TIME if number % HURRIED else HURRY
        self.sent = 0
        self.received = 0
        self.expected: Deque[Tuple[int, int, int]] = deque()
        self.is_sending = False
        self.drained: Optional[asyncio.Future[None]] = None
        self.disconnects = 0

    def on_ws_message(self, transport: WSTransport, message: WSMessage) -> None:
        tally = self.soak.tally
        payload = message.get_payload_as_bytes()
        if not self.expected:
            tally.check(False, "client: nothing was expected, got", numbers_of(payload))
            return
        number, size, opcode = self.expected.popleft()
        is_same = payload == self.soak.contents.make(self.number, number, size)
        tally.check(
            is_same and message.opcode == opcode,
            f"client: expected message {number} of connection {self.number}, {size} bytes, got",
            message,
            payload[:16],
        )
        self.received += 1
        tally.counts["messages"] += 1
        tally.counts["bytes"] += len(payload)
        if self.drained is not None and not self.expected and not self.drained.done():
            self.drained.set_result(None)
        if self.is_sending:
            self.soak.loop.call_later(self.choice.uniform(*self.think_time), self.send)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self.disconnects += 1
        self.is_sending = False
        if self.drained is not None and not self.drained.done():
            self.drained.set_result(None)

    def start(self) -> None:
        """Begin to send."""
        self.is_sending = True
        for _ in range(self.choice.randint(1, WINDOW)):
            self.send()

    def send(self) -> None:
        """Send the next message, whole or in fragments."""
        if not self.is_sending:
            return
        size = self.choice.choices(SIZES, SIZE_WEIGHTS)[0]
        opcode = self.choice.choice((WSMsgType.TEXT, WSMsgType.BINARY))
        payload = self.soak.contents.make(self.number, self.sent, size)
        self.expected.append((self.sent, size, opcode))
        self.sent += 1
        if self.choice.random() < 0.8:
            self.transport.send(opcode, payload)
            return
        with self.transport.cork() if self.choice.random() < 0.5 else contextlib.nullcontext():
            middle = self.choice.randint(0, len(payload))
            self.transport.send(opcode, payload[:middle], fin=False)
            self.transport.send_ping(b"between")
            self.transport.send(WSMsgType.CONTINUATION, payload[middle:])


# The soak


class Soak:
    """One run."""

    def __init__(self, connections: int, seconds: float, seed: int) -> None:
        self.loop = asyncio.get_running_loop()
        self.connections = connections
        self.seconds = seconds
        self.seed = seed
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
        kinds = list(KINDS)
        weights = [weight for _, weight in KINDS.values()]
        while not self.over.is_set():
            kind = self.choice.choices(kinds, weights)[0]
            number = next(self.numbers)
            try:
                await asyncio.wait_for(KINDS[kind][0](self, number), PATIENCE + LIFETIME[1])
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
        """After a close in order: nothing was lost on the way, neither there nor back."""
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
        """Say now and then how it goes."""
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


# Connections of our client, and how they end


async def closed_by_client(soak: Soak, number: int) -> None:
    """The client sends CLOSE behind its last message, and gets all answers before the server's."""
    transport, listener = await soak.connect(number)
    listener.start()
    await soak.live()
    listener.is_sending = False
    transport.send_close(WSCloseCode.NORMAL_CLOSURE, "enough")
    await soak.client_gone(transport, listener, WSDisconnectKind.LOCAL_CLOSE)
    soak.check_complete(listener, await soak.server_gone(number, WSDisconnectKind.PEER_CLOSE))


async def closed_by_server(soak: Soak, number: int) -> None:
    """The server sends CLOSE behind its last answer."""
    transport, listener = await soak.connect(number)
    listener.start()
    await soak.live()
    listener.is_sending = False
    transport.send(WSMsgType.TEXT, "!close")
    await soak.client_gone(transport, listener, WSDisconnectKind.PEER_CLOSE)
    soak.check_complete(listener, await soak.server_gone(number, WSDisconnectKind.LOCAL_CLOSE))


async def disconnected_by_client(soak: Soak, number: int) -> None:
    """The client wants no answers any more; the server gets everything all the same."""
    transport, listener = await soak.connect(number)
    listener.start()
    await soak.live()
    listener.is_sending = False
    transport.disconnect()
    await soak.client_gone(transport, listener, WSDisconnectKind.LOCAL_CLOSE)
    server = await soak.server_gone(number, WSDisconnectKind.PEER_CLOSE)
    soak.tally.check(server.received == listener.sent, "server lost", listener.sent, number)


async def aborted_by_client(soak: Soak, number: int) -> None:
    """The client drops the connection."""
    transport, listener = await soak.connect(number)
    listener.start()
    await soak.live()
    listener.is_sending = False
    transport.disconnect(graceful=False)
    await soak.client_gone(transport, listener, WSDisconnectKind.LOCAL_ABORT)
    server = await soak.server_gone(number, WSDisconnectKind.CONNECTION_LOST)
    soak.tally.check(server.received <= listener.sent, "server got more than was sent", number)


async def aborted_by_server(soak: Soak, number: int) -> None:
    """The server drops the connection."""
    transport, listener = await soak.connect(number)
    listener.start()
    await soak.live()
    listener.is_sending = False
    transport.send(WSMsgType.TEXT, "!abort")
    await soak.client_gone(transport, listener, WSDisconnectKind.CONNECTION_LOST)
    await soak.server_gone(number, WSDisconnectKind.LOCAL_ABORT)


async def reset_by_client(soak: Soak, number: int) -> None:
    """The connection is reset."""
    transport, listener = await soak.connect(number)
    listener.start()
    await soak.live()
    listener.is_sending = False
    sock = transport.underlying_transport.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.disconnect(graceful=False)
    await soak.client_gone(transport, listener, WSDisconnectKind.LOCAL_ABORT)
    await soak.server_gone(number, WSDisconnectKind.CONNECTION_LOST)


async def slow_reader(soak: Soak, number: int) -> None:
    """The client lets the server's messages wait for a while, and gets them all in the end."""
    transport, listener = await soak.connect(number)
    listener.expected.extend((index, FLOOD_SIZE, WSMsgType.BINARY) for index in range(FLOOD_COUNT))
    listener.drained = soak.loop.create_future()
    transport.underlying_transport.pause_reading()
    transport.send(WSMsgType.TEXT, f"!flood {FLOOD_COUNT}")
    await asyncio.sleep(soak.choice.uniform(0.2, 2.0))
    transport.underlying_transport.resume_reading()
    await asyncio.wait_for(listener.drained, PATIENCE)
    soak.tally.check(listener.received == FLOOD_COUNT, "slow reader got", listener.received)
    transport.send_close()
    await soak.client_gone(transport, listener, WSDisconnectKind.LOCAL_CLOSE)
    await soak.server_gone(number, WSDisconnectKind.PEER_CLOSE)


# Peers that misbehave


async def never_reads(soak: Soak, number: int) -> None:
    """The server gives up on a peer that reads nothing."""
    async with soak.never_reading:
        sock = await soak.raw_connect(number)
        with sock:
            await soak.loop.sock_sendall(sock, masked(0x81, b"!flood %d" % ENDLESS_FLOOD_COUNT))
            await soak.server_gone(number, WSDisconnectKind.SLOW_CONSUMER)


async def stalls_in_handshake(soak: Soak, number: int) -> None:
    """The server does not wait for the rest of a request."""
    sock = await soak.raw_socket()
    with sock:
        await soak.loop.sock_sendall(sock, b"GET / HTTP/1.1\r\nHost: loc"[: number % 25])
        started = soak.loop.time()
        with contextlib.suppress(ConnectionResetError):
            while await soak.loop.sock_recv(sock, 4096):
                pass
        waited = soak.loop.time() - started
        soak.tally.check(waited < HANDSHAKE_TIMEOUT + 5, "half a request is kept for", waited)


async def vanishes_in_frame(soak: Soak, number: int) -> None:
    """The peer is gone in the middle of a large frame."""
    sock = await soak.raw_connect(number)
    with sock:
        frame = masked(0x82, b"%08x%08x" % (number, 0) + bytes(300_000))
        await soak.loop.sock_sendall(sock, frame[: 1 + number % 200_000])
        if number % 2:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    await soak.server_gone(number, WSDisconnectKind.CONNECTION_LOST)


async def breaks_protocol(soak: Soak, number: int) -> None:
    """The peer sends what RFC 6455 forbids, behind a message that is delivered and echoed."""
    sock = await soak.raw_connect(number)
    with sock:
        good = masked(0x81, b"%08x%08x" % (number, 0))
        bad = (masked(0x83, b""), masked(0x81, b"\xff"), b"\x81\x00", masked(0x80, b""))[number % 4]
        await soak.loop.sock_sendall(sock, good + bad)
        answer = b""
        with contextlib.suppress(ConnectionResetError):
            while True:
                received = await soak.loop.sock_recv(sock, 4096)
                if not received:
                    break
                answer += received
        code = b"\x03\xef" if number % 4 == 1 else b"\x03\xea"
        expected = b"\x81\x10%08x%08x" % (number, 0)
        soak.tally.check(answer.startswith(expected), "not echoed:", answer[:20])
        soak.tally.check(answer[20:22] == code, "answered with", answer[18:])
    await soak.server_gone(number, WSDisconnectKind.PROTOCOL_ERROR)


def masked(first_byte: int, payload: bytes) -> bytes:
    """A frame of a client whose masking key is zero."""
    size = len(payload)
    if size < 126:
        return bytes([first_byte, 0x80 | size, 0, 0, 0, 0]) + payload
    return struct.pack("!BBQI", first_byte, 0xFF, size, 0) + payload


# What a connection may turn out to be, and how often
KINDS: Dict[str, Tuple[Callable[[Soak, int], Awaitable[None]], float]] = {
    "closed by the client": (closed_by_client, 30),
    "closed by the server": (closed_by_server, 20),
    "disconnected by the client": (disconnected_by_client, 10),
    "aborted by the client": (aborted_by_client, 8),
    "aborted by the server": (aborted_by_server, 8),
    "reset by the client": (reset_by_client, 8),
    "slow readers": (slow_reader, 4),
    "never reading": (never_reads, 0.5),
    "stalled in the handshake": (stalls_in_handshake, 4),
    "vanished in a frame": (vanishes_in_frame, 4),
    "broke the protocol": (breaks_protocol, 4),
}


# The process


def memory() -> float:
    """Resident memory in MB (10**6 bytes)."""
    try:
        with open("/proc/self/statm", encoding="ascii") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
    except FileNotFoundError:
        import resource  # noqa: PLC0415

        # The most there ever was: bytes on macOS.
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def descriptors() -> int:
    """How many are open."""
    return len(os.listdir("/dev/fd"))


def allow_descriptors(wanted: int) -> None:
    """Raise the limit of this process if it is too low; end the program if that cannot be done."""
    import resource  # noqa: PLC0415

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        if hard != resource.RLIM_INFINITY and hard < wanted:
            sys.exit(f"{wanted} descriptors are needed and {hard} are allowed: see ulimit -n")
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


class ErrorLog(logging.Handler):
    """Counts what picows logs as an error."""

    def __init__(self, tally: Tally) -> None:
        super().__init__(logging.WARNING)
        self._tally = tally

    def emit(self, record: logging.LogRecord) -> None:
        """Note it."""
        self._tally.check(False, "logged:", record.getMessage())


@contextlib.contextmanager
def watched_log(tally: Tally) -> Iterator[None]:
    """Errors that are logged within are violations."""
    handler = ErrorLog(tally)
    logger = logging.getLogger("picows")
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


async def soak_once(connections: int, seconds: float, seed: int) -> Tally:
    """Run and check what is left afterwards."""
    soak = Soak(connections, seconds, seed)
    before = descriptors()
    with watched_log(soak.tally):
        await soak.run()
    await asyncio.sleep(THINK_TIME[1] + 0.2)  # timers of clients that were about to send
    gc.collect()
    left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    soak.tally.check(not left, "tasks left:", left[:3])
    transports = sum(type(found) is WSTransport for found in gc.get_objects())
    soak.tally.check(not transports, "transports left:", transports)
    more = descriptors() - before
    soak.tally.check(more <= DESCRIPTORS_LEFT, "descriptors left:", more)
    return soak.tally


def main() -> None:
    """Run it and report."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", 1)[0])
    parser.add_argument("--connections", type=int, default=2000, help="at a time (%(default)s)")
    parser.add_argument("--seconds", type=float, default=60.0, help="of churn (%(default)s)")
    parser.add_argument("--loop", choices=("asyncio", "uvloop"), default="asyncio")
    parser.add_argument("--seed", type=int, default=1, help="of all choices (%(default)s)")
    arguments = parser.parse_args()
    allow_descriptors(2 * arguments.connections + 200)
    if arguments.loop == "uvloop":
        import uvloop  # noqa: PLC0415  an extra

        loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    else:
        loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    started = time.monotonic()
    at_start = memory()
    try:
        tally = loop.run_until_complete(
            soak_once(arguments.connections, arguments.seconds, arguments.seed)
        )
    finally:
        asyncio.set_event_loop(None)
        loop.close()
    counts = tally.counts
    print(f"{arguments.connections:,} connections, {time.monotonic() - started:.0f} seconds:")
    for kind in KINDS:
        print(f"  {counts[kind]:10,}  {kind}")
    print(f"  {counts['closed in order']:10,}  of these had to be complete in both directions")
    rate = counts["messages"] / arguments.seconds
    print(
        f"  {counts['messages']:10,}  messages there and back, {rate:,.0f} a second,"
        f" {counts['bytes'] / 1e6:,.0f} MB\n"
        f"  {memory():10.0f}  MB of memory at the end, {at_start:.0f} at the start"
    )
    for violation in tally.violations[:20]:
        print(f"  VIOLATION  {violation}")
    sys.exit(f"{len(tally.violations)} violations" if tally.violations else 0)


if __name__ == "__main__":
    main()
