"""Whatever goes wrong on a served connection: one end, told once, and nothing is left behind.

The same at every call of a transport in memory is in ``tests/codec/test_endpoint_faults.py``; here
the faults come from real sockets, on every transport.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import socket
import time
from typing import Any, AsyncIterator, Callable, List

import pytest

from picows_server import (
    WSAutoPingStrategy,
    WSDisconnectKind,
    WSFrame,
    WSListener,
    WSState,
    WSTransport,
    ws_create_server,
)
from tests.support import frames
from tests.support.acting import ACTING_CALLBACKS, ACTIONS, Acting
from tests.support.certificates import Certificates
from tests.support.frames import BINARY, CLOSE, KEY, PONG, TEXT
from tests.support.leaks import count_instances, eventually, leaked_since, open_descriptors
from tests.support.rawclient import RawClient, upgrade_request
from tests.support.servers import (
    plain_backends,
    quiet_logger,
    sockname,
    tls_backends,
)


async def closes(client: RawClient) -> None:
    client.write_close(1000)


async def half_closes(client: RawClient) -> None:
    if client.writer.can_write_eof():
        with contextlib.suppress(OSError):  # the server was faster
            client.writer.write_eof()
    else:
        client.writer.close()


async def resets(client: RawClient) -> None:
    client.reset()


async def leaves_in_a_frame(client: RawClient) -> None:
    client.writer.write(frames.build(TEXT, b"x" * 1000, key=KEY)[:-1])
    await half_closes(client)


async def breaks_a_rule(client: RawClient) -> None:
    client.writer.write(b"\xff\xff\xff\xff")


ENDINGS = [closes, half_closes, resets, leaves_in_a_frame, breaks_a_rule]


async def live_and_die(backend: str) -> None:
    """Every action in every callback, under every ending, one connection each."""
    listeners: List[Acting] = []
    cases = itertools.product(ACTING_CALLBACKS, ACTIONS.values(), ENDINGS)

    def factory() -> Acting:
        callback, action, _ = case
        listeners.append(Acting(callback, action))
        return listeners[-1]

    async def opened(number: int) -> None:
        await eventually(lambda: len(listeners) == number and listeners[-1].events)

    server = await ws_create_server(
        "ws://127.0.0.1:0",
        factory,
        quiet_logger(),
        backend=backend,
        write_high_watermark=0,
        close_timeout=1.0,
    )
    for number, case in enumerate(cases, 1):
        async with await RawClient.connect(sockname(server)) as client:
            client.writer.write(upgrade_request())
            client.write_frame(TEXT, b"one")
            client.write_frame(BINARY, b"two")
            await opened(number)
            await case[2](client)
            await client.read_to_end()
        await eventually(lambda: not server.connections)
    for listener in listeners:
        assert listener.events[0] == "on_ws_connected"
        assert listener.events[-1] == "on_ws_disconnected"
        assert listener.events.count("on_ws_connected") == 1
        assert listener.events.count("on_ws_disconnected") == 1
        assert listener.transport.disconnect_cause is not None
    assert len(listeners) == len(ACTING_CALLBACKS) * len(ACTIONS) * len(ENDINGS)
    listeners.clear()  # the server, whose factory has the list, is not a matter of connections
    server.close()
    await server.wait_closed()


async def check_nothing_is_left(live: Callable[[], Any]) -> None:
    before, tasks = open_descriptors(), asyncio.all_tasks()
    alive = [count_instances(each) for each in (WSTransport, Acting)]
    await live()
    await eventually(lambda: asyncio.all_tasks() == tasks)
    await eventually(lambda: not leaked_since(before))
    await eventually(lambda: [count_instances(each) for each in (WSTransport, Acting)] == alive)


@plain_backends
@pytest.mark.usefixtures("without_collector")
async def test_whatever_a_listener_and_a_peer_do(backend: str) -> None:
    await check_nothing_is_left(lambda: live_and_die(backend))


# EAGAIN at every write


@plain_backends
async def test_a_socket_that_takes_little_at_a_time(backend: str) -> None:
    """Every write finds the kernel's buffer full; all arrives, in order."""
    sizes = [0, 1, 125, 126, 1000, 16_384, 16_385, 65_535, 65_536, 300_000]

    class Source(WSListener):
        def on_ws_connected(self, transport: WSTransport) -> None:
            for number, size in enumerate(sizes):
                transport.send(BINARY, bytes([number]) * size)
            transport.disconnect()

    listening = socket.create_server(("127.0.0.1", 0))
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)  # inherited by what it accepts
    server = await ws_create_server("ws://127.0.0.1:0", Source, sock=listening, backend=backend)
    name = sockname(server)
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, name)
    async with RawClient(*await asyncio.open_connection(sock=sock)) as client:
        assert (await client.upgrade()).status == 101
        for number, size in enumerate(sizes):
            frame = await client.read_frame()
            assert (frame.opcode, len(frame.payload)) == (BINARY, size)
            assert set(frame.payload) <= {number}
        assert await client.read_close() == 1000
        client.write_close(1000)
        assert await client.read_to_end() == b""
    server.close()
    await server.wait_closed()


# Ends in the middle of something


@plain_backends
@pytest.mark.parametrize("ending", [resets, half_closes], ids=lambda each: each.__name__)
async def test_an_end_while_much_is_unsent(backend: str, ending: Any) -> None:
    listeners: List[Acting] = []

    def factory() -> Acting:
        listeners.append(
            Acting("on_ws_connected", lambda transport: transport.send(BINARY, bytes(30_000_000)))
        )
        return listeners[-1]

    server = await ws_create_server("ws://127.0.0.1:0", factory, backend=backend)
    async with await RawClient.open(sockname(server)) as client:
        await ending(client)
        if ending is half_closes:
            # The peer takes what was sent before: nothing of it is lost.
            (frame,), rest = frames.parse_all(await client.read_to_end())
            assert (len(frame.payload), rest) == (30_000_000, b"")
    await eventually(lambda: listeners[0].events[-1:] == ["on_ws_disconnected"])
    cause = listeners[0].transport.disconnect_cause
    assert cause is not None
    assert cause.kind is WSDisconnectKind.CONNECTION_LOST
    # Other transports forget their queue before they report that the connection is lost.
    if ending is half_closes or backend == "stream":
        assert bool(cause.unsent_bytes) == (ending is resets)
    server.close()
    await server.wait_closed()


@tls_backends
async def test_faults_of_tls_connections(backend: str, certificates: Certificates) -> None:
    """A reset, an end in a frame and a violation under TLS, with a listener that raises or not."""
    listeners: List[Acting] = []

    def factory() -> Acting:
        listeners.append(Acting("on_ws_frame", case[0]))
        return listeners[-1]

    server = await ws_create_server(
        "wss://127.0.0.1:0",
        factory,
        quiet_logger(),
        backend=backend,
        ssl_context=certificates.server_context(),
        close_timeout=1.0,
    )
    context = certificates.client_context()
    for case in itertools.product(ACTIONS.values(), ENDINGS):
        async with await RawClient.open(sockname(server), context=context) as client:
            client.write_frame(TEXT, b"one")
            await case[1](client)
            await client.read_to_end()
        await eventually(lambda: not server.connections)
        assert listeners[-1].events[-1] == "on_ws_disconnected"
        assert listeners[-1].events.count("on_ws_disconnected") == 1
    server.close()
    await server.wait_closed()


# What this side does is not held against the peer.

LIMIT = 0.2
both_strategies = pytest.mark.parametrize("strategy", list(WSAutoPingStrategy))


def block_the_loop() -> None:
    time.sleep(2 * LIMIT)


class Waiting(WSListener):
    """Is blocked in its first ping, if ``peer`` is set, which answers meanwhile."""

    def __init__(self, listeners: List[Waiting]) -> None:
        listeners.append(self)
        self.events: List[str] = []
        self.pings = 0
        self.peer: Any = None

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.events.append("connected")

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        self.events.append(frame.opcode.name)
        if frame.opcode == TEXT:
            transport.disconnect()

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self.events.append("disconnected")

    def send_user_specific_ping(self, transport: WSTransport) -> None:
        transport.send_ping(b"x")
        self.pings += 1
        if self.pings == 1 and self.peer is not None:
            self.peer.sendall(frames.build(PONG, b"x", key=KEY))
            block_the_loop()


@contextlib.asynccontextmanager
async def waiting(url: str = "ws://127.0.0.1:0", **options: Any) -> AsyncIterator[Any]:
    listeners: List[Waiting] = []
    server = await ws_create_server(url, lambda: Waiting(listeners), **options)
    try:
        yield server, listeners
    finally:
        server.close()
        server.abort_clients()
        await server.wait_closed()


async def check_local_close(listener: Waiting) -> None:
    await listener.transport.wait_disconnected()
    cause = listener.transport.disconnect_cause
    assert cause is not None
    assert cause.kind is WSDisconnectKind.LOCAL_CLOSE


async def answer_close(client: RawClient) -> None:
    while (await client.read_frame()).opcode != CLOSE:
        pass
    client.write_close(1000)


@plain_backends
@both_strategies
async def test_a_pong_that_waits_in_the_socket_of_a_blocked_loop(
    backend: str, strategy: WSAutoPingStrategy
) -> None:
    async with waiting(
        backend=backend,
        enable_auto_ping=True,
        auto_ping_strategy=strategy,
        auto_ping_idle_timeout=LIMIT,
        auto_ping_reply_timeout=LIMIT,
    ) as (server, listeners), await RawClient.open(sockname(server)) as client:
        (listener,) = listeners
        fileno = client.writer.get_extra_info("socket").fileno()
        with socket.socket(fileno=os.dup(fileno)) as listener.peer:
            await eventually(lambda: listener.pings > 0)
            for _ in range(20):
                await asyncio.sleep(0)
            listener.transport.disconnect()
            await answer_close(client)
            await check_local_close(listener)


@plain_backends
async def test_a_close_that_waits_in_the_socket_of_a_blocked_loop(backend: str) -> None:
    async with waiting(backend=backend, close_timeout=LIMIT) as (
        server,
        listeners,
    ), await RawClient.open(sockname(server)) as client:
        (listener,) = listeners
        fileno = client.writer.get_extra_info("socket").fileno()
        with socket.socket(fileno=os.dup(fileno)) as peer:
            listener.transport.disconnect()
            peer.sendall(frames.build(CLOSE, frames.close_payload(1000), key=KEY))
            block_the_loop()
            await check_local_close(listener)


@plain_backends
async def test_a_request_that_waits_in_the_socket_of_a_blocked_loop(backend: str) -> None:
    async with waiting(backend=backend, websocket_handshake_timeout=LIMIT) as (server, listeners):
        with socket.create_connection(sockname(server)) as peer:
            await eventually(lambda: server.connections == 1)
            peer.sendall(upgrade_request())
            block_the_loop()
            await eventually(lambda: bool(listeners) and bool(listeners[0].events))
            assert listeners[0].events == ["connected"]


async def check_pause(
    strategy: WSAutoPingStrategy, url: str, context: Any = None, **options: Any
) -> None:
    async with waiting(
        url,
        enable_auto_ping=True,
        auto_ping_strategy=strategy,
        auto_ping_idle_timeout=0.05,
        auto_ping_reply_timeout=0.05,
        **options,
    ) as (server, listeners), await RawClient.open(sockname(server), context=context) as client:
        await eventually(lambda: bool(listeners) and bool(listeners[0].events))
        (listener,) = listeners
        below = listener.transport.underlying_transport
        below.pause_reading()
        client.write_frame(TEXT, b"waits")
        await asyncio.sleep(0.5)
        assert listener.transport.state is WSState.OPEN
        below.resume_reading()
        await answer_close(client)
        await check_local_close(listener)
        assert listener.events == ["connected", "TEXT", "disconnected"]


@plain_backends
@both_strategies
async def test_a_long_pause_of_reading(backend: str, strategy: WSAutoPingStrategy) -> None:
    await check_pause(strategy, "ws://127.0.0.1:0", backend=backend)


@tls_backends
@both_strategies
async def test_a_long_pause_of_reading_over_tls(
    backend: str, strategy: WSAutoPingStrategy, certificates: Certificates
) -> None:
    await check_pause(
        strategy,
        "wss://127.0.0.1:0",
        certificates.client_context(),
        backend=backend,
        ssl_context=certificates.server_context(),
    )


@plain_backends
async def test_data_timeout(backend: str) -> None:
    """A peer that answers pings and sends nothing."""
    async with waiting(
        backend=backend, data_timeout=LIMIT, enable_auto_ping=True, auto_ping_idle_timeout=LIMIT
    ) as (server, listeners), await RawClient.open(sockname(server)) as client:
        while True:
            frame = await client.read_frame()
            if frame.opcode == CLOSE:
                break
            client.write_frame(PONG, frame.payload)
        assert frame.payload == frames.close_payload(1011, b"data timeout")
        await client.close()
        await listeners[0].transport.wait_disconnected()
        cause = listeners[0].transport.disconnect_cause
        assert cause is not None
        assert cause.kind is WSDisconnectKind.DATA_TIMEOUT
