"""Peers that break rules or exhaust: they are closed with the right code, others are served."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import io
import socket
from typing import Any, AsyncIterator, Callable, List, Tuple

import pytest

from picows_server import (
    WSAutoPingStrategy,
    WSDisconnectKind,
    WSFrame,
    WSListener,
    WSMessage,
    WSMessageListener,
    WSPingTimeout,
    WSProtocolError,
    WSServer,
    WSSlowConsumer,
    WSTransport,
    ws_create_server,
)
from tests.support import frames
from tests.support.certificates import Certificates
from tests.support.chunking import byte_by_byte, in_odd_pieces, whole
from tests.support.frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    KEY,
    PING,
    PONG,
    TEXT,
    mixed_flood,
)
from tests.support.leaks import eventually
from tests.support.rawclient import RawClient, upgrade_request
from tests.support.servers import (
    Echo,
    echo,
    plain_backends,
    sockname,
    tls_backends,
)


class Site:
    """A server whose listeners are kept in ``listeners``, in the order of their requests."""

    def __init__(self, factory: Callable[[], WSListener]) -> None:
        self._factory = factory
        self.listeners: List[Any] = []
        self.server: WSServer

    def make(self) -> WSListener:
        listener = self._factory()
        self.listeners.append(listener)
        return listener

    async def open(self, **options: Any) -> RawClient:
        return await RawClient.open(sockname(self.server), **options)


@contextlib.asynccontextmanager
async def serving(
    factory: Callable[[], WSListener] = Echo, url: str = "ws://127.0.0.1:0", **options: Any
) -> AsyncIterator[Site]:
    """A server that is closed at the end, without patience for clients."""
    site = Site(factory)
    site.server = await ws_create_server(url, site.make, **options)
    try:
        yield site
    finally:
        site.server.close()
        site.server.abort_clients()
        await site.server.wait_closed()


def build(opcode: int, payload: bytes = b"", **options: Any) -> bytes:
    """A frame of a client."""
    return frames.build(opcode, payload, **{"key": KEY, **options})


async def ended(listener: Any) -> Any:
    """Wait for the end of a listener's connection; returns its cause."""
    await eventually(lambda: listener.transport.disconnect_cause and listener.events[-1:])
    await eventually(lambda: listener.events[-1] == "disconnected")
    assert listener.events.count("connected") == 1
    assert listener.events.count("disconnected") == 1
    return listener.transport.disconnect_cause


# Violations, on the wire

VIOLATIONS: List[Tuple[bytes, int]] = [
    (build(3, b"x"), 1002),
    (build(0xB), 1002),
    (build(TEXT, b"x", rsv=4), 1002),
    (build(PING, fin=False), 1002),
    (frames.header(PING, 126, key=KEY), 1002),
    (build(TEXT, b"x", key=None), 1002),
    (frames.header(BINARY, 125, key=KEY, width=16), 1002),
    (frames.header(BINARY, 65535, key=KEY, width=64), 1002),
    (frames.header(BINARY, 2**63, key=KEY), 1002),
    (frames.header(BINARY, 2**63 - 1, key=KEY), 1009),
    (build(CONTINUATION, b"x"), 1002),
    (build(TEXT, b"a", fin=False) + build(TEXT, b"b"), 1002),
    (build(TEXT, b"\xc3\x28"), 1007),
    (build(TEXT, b"\xe2\x82"), 1007),
    (build(CLOSE, b"\x03"), 1002),
    (build(CLOSE, frames.close_payload(1005)), 1002),
    (build(CLOSE, frames.close_payload(1000, b"\xff")), 1007),
]


async def check_violation(site: Site, client: RawClient, stream: List[bytes], code: int) -> None:
    for piece in stream:
        client.writer.write(piece)
        await asyncio.sleep(0)
    assert (await client.read_frame()).payload == b"first"
    answer = await client.read_frame()
    if answer.opcode == TEXT:
        assert (answer.payload, answer.fin) == (b"a", False)  # the valid part of a message
        answer = await client.read_frame()
    assert answer.opcode == CLOSE
    assert answer.payload[:2] == frames.close_payload(code)
    assert await client.read_to_end() == b""
    await client.close()
    cause = await ended(site.listeners[-1])
    assert cause.kind is WSDisconnectKind.PROTOCOL_ERROR
    assert isinstance(cause.exception, WSProtocolError)
    assert cause.exception.code == code


@plain_backends
@pytest.mark.parametrize("feeding", [whole, byte_by_byte])
async def test_violations(backend: str, feeding: Callable[[bytes], List[bytes]]) -> None:
    async with serving(backend=backend) as site, await site.open() as bystander:
        for bad, code in VIOLATIONS:
            client = await site.open()
            stream = build(TEXT, b"first") + bad + build(TEXT, b"never seen")
            await check_violation(site, client, feeding(stream), code)
        await echo(bystander)


@tls_backends
async def test_violations_over_tls(backend: str, certificates: Certificates) -> None:
    async with serving(
        url="wss://127.0.0.1:0", backend=backend, ssl_context=certificates.server_context()
    ) as site:
        for bad, code in VIOLATIONS:
            client = await site.open(context=certificates.client_context())
            await check_violation(site, client, [build(TEXT, b"first") + bad], code)


@plain_backends
async def test_data_and_a_second_close_after_a_close(backend: str) -> None:
    async with serving(backend=backend) as site, await site.open() as client:
        late = build(TEXT, b"late") + build(CLOSE, frames.close_payload(1001)) + b"\xff" * 100
        client.writer.write(build(CLOSE, frames.close_payload(4000)) + late)
        assert await client.read_close() == 4000
        assert await client.read_to_end() == b""
        cause = await ended(site.listeners[0])
        assert cause.kind is WSDisconnectKind.PEER_CLOSE
        assert site.listeners[0].events == ["connected", "CLOSE", "disconnected"]


# The opening handshake: what is refused gets an answer that another HTTP parser understands

KEY_LINE = b"Sec-WebSocket-Key: "
MARK = b"nothing-of-this-comes-back"
REQUEST = upgrade_request(headers=[("X-Mark", MARK.decode())])
REFUSALS: List[Tuple[bytes, int]] = [
    (b"nonsense " + MARK + b"\r\n\r\n", 400),
    (REQUEST.replace(b"Host: localhost\r\n", b""), 400),
    (REQUEST.replace(b"Host:", b"Host: a\r\nHost:"), 400),
    (REQUEST.replace(b"Host:", b"Host :"), 400),
    (REQUEST.replace(b"X-Mark: ", b"X-Mark: a\r\n "), 400),
    (REQUEST.replace(b"X-Mark: ", b"X-Mark: \x00"), 400),
    (REQUEST.replace(b"\r\nX-Mark", b"\nX-Mark"), 400),
    (REQUEST.replace(KEY_LINE, KEY_LINE + b"x"), 400),
    (REQUEST.replace(b"X-Mark: ", b"Transfer-Encoding: chunked\r\nX-Mark: "), 400),
    (REQUEST.replace(b"X-Mark: ", b"Content-Length: 5\r\nX-Mark: "), 400),
    (REQUEST.replace(b"GET / ", b"GET /elsewhere/" + MARK + b" "), 404),
    (REQUEST.replace(b"GET", b"POST"), 405),
    (REQUEST.replace(b"GET / ", b"GET /" + MARK * 1000 + b" "), 414),
    (REQUEST.replace(b"Upgrade: websocket", b"Upgrade: h2c"), 426),
    (REQUEST.replace(b"Version: 13", b"Version: 8"), 426),
    (REQUEST.replace(b"X-Mark: ", b"X-Mark: " + MARK * 1000), 431),
    (REQUEST.replace(b"X-Mark: ", b"X-A: a\r\n" * 200 + b"X-Mark: "), 431),
    (REQUEST.replace(b"HTTP/1.1", b"HTTP/1.0"), 505),
    (REQUEST.replace(b"HTTP/1.1", b"HTTP/2.0"), 505),
]


class Received:
    """What ``http.client`` wants of a socket."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, *_: Any, **__: Any) -> io.BytesIO:
        return io.BytesIO(self._data)


@plain_backends
async def test_refused_requests(backend: str) -> None:
    for path in ("", "/here"):
        refusals = [(each, status) for each, status in REFUSALS if (status == 404) == bool(path)]
        async with serving(url=f"ws://127.0.0.1:0{path}", backend=backend) as site:
            await check_refusals(site, refusals)


async def check_refusals(site: Site, refusals: List[Tuple[bytes, int]]) -> None:
    for request, status in refusals:
        async with await RawClient.connect(sockname(site.server)) as client:
            client.writer.write(request)
            answer = await client.read_to_end()
        response = http.client.HTTPResponse(Received(answer))  # type: ignore[arg-type]
        response.begin()
        assert response.status == status, request
        body = response.read()
        assert len(body) == int(response.headers["Content-Length"])
        assert answer.endswith(body)
        assert MARK not in answer
        if status == 426:
            assert response.headers["Sec-WebSocket-Version"] == "13"
            assert response.headers["Upgrade"] == "websocket"
    # The factory may have been asked, but nothing was opened.
    assert all(listener.events == [] for listener in site.listeners)
    await eventually(lambda: site.server.connections == 0)


@plain_backends
async def test_frames_right_behind_the_request(backend: str) -> None:
    async with serving(backend=backend) as site, await RawClient.connect(
        sockname(site.server)
    ) as client:
        client.writer.write(upgrade_request() + build(TEXT, b"early") + build(PING, b"p"))
        assert (await client.read_response()).status == 101
        assert (await client.read_frame()).payload == b"early"
        assert (await client.read_frame()).opcode == PONG


# Floods


class Counter(Echo):
    """Counts what it gets, and echoes only text of more than one byte."""

    def __init__(self) -> None:
        super().__init__()
        self.frames = 0

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        self.frames += 1
        if frame.payload_size > 1:
            transport.send(frame.opcode, frame)


@plain_backends
async def test_a_million_tiny_frames(backend: str) -> None:
    async with serving(
        Counter, backend=backend
    ) as site, await site.open() as bystander, await site.open() as offender:
        piece = build(TEXT, b"x") * 10_000

        async def flood() -> None:
            while True:
                offender.writer.write(piece)
                await offender.writer.drain()

        flooding = asyncio.ensure_future(flood())
        served = 0
        # It never stops, and yet there is an answer to every message of somebody else.
        while site.listeners[1].frames < 1_000_000 or served < 3:
            await echo(bystander)
            served += 1
        assert not flooding.done()
        flooding.cancel()
        await asyncio.gather(flooding, return_exceptions=True)
        # It broke no rule.
        await echo(offender)


@plain_backends
@pytest.mark.parametrize("payload", [b"", b"x" * 100])
async def test_endless_fragments(backend: str, payload: bytes) -> None:
    class Gatherer(WSMessageListener):
        def __init__(self) -> None:
            self.events: List[str] = []

        def on_ws_connected(self, transport: WSTransport) -> None:
            self.events.append("connected")

        def on_ws_message(self, transport: WSTransport, message: WSMessage) -> None:
            transport.send(message.opcode, message)

        def on_ws_disconnected(self, transport: WSTransport) -> None:
            self.events.append("disconnected")

    async with serving(
        Gatherer, backend=backend, max_fragments_per_message=1000, max_message_size=50_000
    ) as site, await site.open() as bystander, await site.open() as offender:
        offender.write_frame(TEXT, fin=False)

        async def flood() -> None:
            while True:
                offender.writer.write(build(CONTINUATION, payload, fin=False) * 100)
                await offender.writer.drain()

        flooding = asyncio.ensure_future(flood())
        assert await offender.read_close() == (1009 if payload else 1008)
        assert await offender.read_to_end() == b""
        flooding.cancel()
        await asyncio.gather(flooding, return_exceptions=True)
        await offender.close()
        cause = await ended(site.listeners[1])
        assert cause.kind is WSDisconnectKind.PROTOCOL_ERROR
        await echo(bystander)


@plain_backends
async def test_a_mixed_flood_in_odd_pieces(backend: str) -> None:
    flood = mixed_flood(200)
    async with serving(backend=backend) as site, await site.open() as client:

        async def write() -> None:
            for piece in in_odd_pieces(b"".join(build(*frame) for frame in flood)):
                client.writer.write(piece)
                await client.writer.drain()
                await asyncio.sleep(0)

        writing = asyncio.ensure_future(write())
        replies = [await client.read_frame() for _ in flood]
        await writing
        assert [(reply.opcode, reply.payload) for reply in replies] == [
            (PONG if opcode == PING else opcode, payload) for opcode, payload in flood
        ]
        await echo(client)


async def fill(client: RawClient, piece: bytes, enough: Callable[[], Any]) -> None:
    """Write without reading, until there is enough of it."""
    while not enough():
        client.writer.write(piece)
        with contextlib.suppress(OSError):
            await client.writer.drain()
        await asyncio.sleep(0)


@plain_backends
async def test_a_flood_of_pings_by_a_peer_that_does_not_read(backend: str) -> None:
    async with serving(
        backend=backend, write_high_watermark=10_000
    ) as site, await site.open() as bystander, await site.open() as offender:
        offender.writer.transport.pause_reading()  # type: ignore[attr-defined]
        transport = site.listeners[1].transport
        most = 0

        def full() -> bool:
            nonlocal most
            most = max(most, transport.write_queue_size)
            return most > 10_000

        piece = build(PING, b"p" * 125) * 100
        await fill(offender, piece, full)
        for _ in range(100):  # for which there are no pongs
            offender.writer.write(piece)
            await offender.writer.drain()
            full()
        # The watermark, and a write buffer that was under way when it was passed.
        assert most < 10_000 + 192 * 1024
        await echo(bystander)
        # It may read after all, and the latest pong is there.
        offender.writer.write(build(PING, b"latest"))
        offender.writer.transport.resume_reading()  # type: ignore[attr-defined]
        latest = frames.build(PONG, b"latest")
        received = b""
        while not received.endswith(latest):
            received = (received + await offender.reader.read(1 << 20))[-100:]
        await echo(offender)


@plain_backends
async def test_a_peer_that_does_not_read(backend: str) -> None:
    async with serving(
        backend=backend, max_write_queue_size=300_000
    ) as site, await site.open() as bystander, await site.open() as offender:
        offender.writer.transport.pause_reading()  # type: ignore[attr-defined]
        listener = site.listeners[1]
        piece = build(BINARY, b"x" * 50_000)
        await fill(offender, piece, lambda: listener.transport.disconnect_cause)
        cause = await ended(listener)
        assert cause.kind is WSDisconnectKind.SLOW_CONSUMER
        assert isinstance(cause.exception, WSSlowConsumer)
        assert cause.unsent_bytes <= 350_000
        await echo(bystander)


@plain_backends
async def test_a_peer_that_never_finishes_a_frame(backend: str) -> None:
    async with serving(
        backend=backend,
        enable_auto_ping=True,
        auto_ping_strategy=WSAutoPingStrategy.PING_PERIODICALLY,
        auto_ping_idle_timeout=0.05,
        auto_ping_reply_timeout=0.05,
    ) as site, await site.open() as offender:
        offender.writer.write(frames.header(BINARY, 1_000_000, key=KEY))
        listener = site.listeners[0]
        while listener.transport.disconnect_cause is None:
            offender.writer.write(b"x")
            await asyncio.sleep(0.005)
        assert (await offender.read_frame()).opcode == PING
        assert await offender.read_close() == 1011
        assert await offender.read_to_end() == b""
        await offender.close()
        cause = await ended(listener)
        assert cause.kind is WSDisconnectKind.PING_TIMEOUT
        assert isinstance(cause.exception, WSPingTimeout)
        assert listener.events == ["connected", "disconnected"]


@plain_backends
async def test_stall_timeout(backend: str) -> None:
    """One that stops in a frame and one that does not read are cut off without any ping."""
    async with serving(
        backend=backend, stall_timeout=0.1
    ) as site, await site.open() as bystander, await site.open() as stopped:
        stopped.writer.write(frames.header(BINARY, 1_000_000, key=KEY) + b"x")
        assert await stopped.read_close() == 1008
        assert await stopped.read_to_end() == b""
        await stopped.close()
        cause = await ended(site.listeners[1])
        assert cause.kind is WSDisconnectKind.PROTOCOL_ERROR
        with socket.create_connection(sockname(site.server)) as deaf:
            deaf.sendall(upgrade_request())
            await eventually(lambda: len(site.listeners) == 3 and site.listeners[2].events)
            site.listeners[2].transport.send(BINARY, bytes(12_000_000))
            cause = await ended(site.listeners[2])
        assert cause.kind is WSDisconnectKind.SLOW_CONSUMER
        assert "stall_timeout (0.1 seconds)" in str(cause)
        await echo(bystander)


@plain_backends
async def test_a_peer_that_does_not_read_cannot_pin_a_closing_connection(backend: str) -> None:
    async with serving(backend=backend, close_timeout=0.1) as site:
        with socket.create_connection(sockname(site.server)) as offender:
            offender.sendall(upgrade_request())
            await eventually(lambda: site.listeners and site.listeners[0].events)
            transport = site.listeners[0].transport
            transport.send(BINARY, bytes(30_000_000))
            transport.disconnect()
            cause = await ended(site.listeners[0])
            assert cause.kind is WSDisconnectKind.CLOSE_TIMEOUT
            assert cause.unsent_bytes > 0
            await eventually(lambda: site.server.connections == 0)


@plain_backends
async def test_a_crowd_of_offenders(backend: str) -> None:
    """All at once, and whoever behaves is served all the time."""
    async with serving(backend=backend) as site, await site.open() as bystander:

        async def offend(bad: bytes, code: int) -> None:
            async with await site.open() as client:
                client.writer.write(bad)
                answer = await client.read_frame()
                while answer.opcode != CLOSE:
                    answer = await client.read_frame()
                assert answer.payload[:2] == frames.close_payload(code)
                await client.read_to_end()

        offending = asyncio.gather(*(offend(*each) for each in VIOLATIONS * 5))
        while not offending.done():
            await echo(bystander)
        await offending
        await eventually(lambda: site.server.connections == 1)
        for listener in site.listeners[1:]:
            assert (await ended(listener)).kind is WSDisconnectKind.PROTOCOL_ERROR
