"""Servers that break rules, stall and flood: typed errors, right close codes, nothing left open."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from typing import Any, Callable, List, Tuple, Type

import pytest

from picows_client import (
    WSAutoPingStrategy,
    WSDisconnectKind,
    WSFrame,
    WSHandshakeError,
    WSHandshakeTimeout,
    WSInvalidHeaderError,
    WSInvalidMessageError,
    WSInvalidStatusError,
    WSInvalidUpgradeError,
    WSPingTimeout,
    WSProtocolError,
    WSSlowConsumer,
    WSTransport,
    ws_connect,
)
from tests.client.exchange import Recorder
from tests.conftest import Run
from tests.support import frames
from tests.support.chunking import byte_by_byte, in_odd_pieces, whole
from tests.support.frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    KEY,
    PING,
    PONG,
    TEXT,
    build,
    mixed_flood,
)
from tests.support.leaks import eventually
from tests.support.rawpeer import RawConnection, raw_peer, upgrade_headers
from tests.support.servers import plain_backends, tls_backends

# Violations, on the wire

VIOLATIONS: List[Tuple[bytes, int]] = [
    (build(3, b"x"), 1002),
    (build(0xB), 1002),
    (build(TEXT, b"x", rsv=4), 1002),
    (build(PING, fin=False), 1002),
    (frames.header(PING, 126), 1002),
    (build(TEXT, b"x", key=KEY), 1002),
    (build(TEXT, b"x", key=bytes(4)), 1002),
    (frames.header(BINARY, 125, width=16), 1002),
    (frames.header(BINARY, 65535, width=64), 1002),
    (frames.header(BINARY, 2**63), 1002),
    (frames.header(BINARY, 2**63 - 1), 1009),
    (build(CONTINUATION, b"x"), 1002),
    (build(TEXT, b"a", fin=False) + build(TEXT, b"b"), 1002),
    (build(TEXT, b"\xc3\x28"), 1007),
    (build(TEXT, b"\xe2\x82"), 1007),
    (build(CLOSE, b"\x03"), 1002),
    (build(CLOSE, frames.close_payload(1005)), 1002),
    (build(CLOSE, frames.close_payload(1000, b"\xff")), 1007),
]


async def check_violations(
    feeding: Callable[[bytes], List[bytes]], backend: str, server: Any = None, client: Any = None
) -> None:
    async def break_a_rule(peer: RawConnection) -> None:
        await peer.accept_upgrade()
        for piece in feeding(build(TEXT, b"first") + bad + build(TEXT, b"never seen")):
            peer.writer.write(piece)
            await asyncio.sleep(0)
        answer = await peer.read_frame()
        answers.append((answer.opcode, answer.payload[:2], answer.masked))
        assert await peer.read_to_end() == b""

    answers: List[Any] = []
    async with raw_peer(break_a_rule, context=server) as peer:
        for bad, code in VIOLATIONS:
            transport, listener = await ws_connect(
                peer.url(host="localhost" if server else "127.0.0.1"),
                Recorder,
                backend=backend,
                ssl_context=client,
            )
            await transport.wait_disconnected()
            valid_part = [(TEXT, b"a")] if bad.startswith(build(TEXT, b"a", fin=False)) else []
            assert listener.frames == [(TEXT, b"first"), *valid_part]
            assert listener.events == ["connected", "disconnected"]
            cause = transport.disconnect_cause
            assert cause is not None
            assert cause.kind is WSDisconnectKind.PROTOCOL_ERROR
            assert isinstance(cause.exception, WSProtocolError)
            assert cause.exception.code == code
        await peer.finished()
    assert answers == [(CLOSE, frames.close_payload(code), True) for _, code in VIOLATIONS]


@plain_backends
@pytest.mark.parametrize("feeding", [whole, byte_by_byte])
def test_violations(run: Run, backend: str, feeding: Callable[[bytes], List[bytes]]) -> None:
    run(lambda: check_violations(feeding, backend))


@tls_backends
def test_violations_over_tls(
    run: Run, backend: str, server_context: ssl.SSLContext, client_context: ssl.SSLContext
) -> None:
    run(lambda: check_violations(whole, backend, server_context, client_context))


# The opening handshake: what each wrong answer becomes

Answer = Callable[[RawConnection, Any], Any]


def accepted(*changes: Tuple[str, str], status: str = "101 OK", drop: str = "") -> Answer:
    """An acceptance with a header less, or with more or other ones."""

    def answer(peer: RawConnection, request: Any) -> None:
        names = {drop, *(name for name, _ in changes)}
        headers = [pair for pair in upgrade_headers(request) if pair[0] not in names]
        peer.respond(status, [*headers, *changes])

    return answer


def says(data: bytes) -> Answer:
    return lambda peer, request: peer.writer.write(data)


WRONG_ANSWERS: List[Tuple[str, Answer, Type[WSHandshakeError]]] = [
    ("no upgrade", accepted(drop="Upgrade"), WSInvalidUpgradeError),
    ("another upgrade", accepted(("Upgrade", "h2c")), WSInvalidUpgradeError),
    ("no connection", accepted(drop="Connection"), WSInvalidUpgradeError),
    ("another connection", accepted(("Connection", "close")), WSInvalidUpgradeError),
    ("no accept", accepted(drop="Sec-WebSocket-Accept"), WSInvalidHeaderError),
    ("wrong accept", accepted(("Sec-WebSocket-Accept", "AAAA")), WSInvalidHeaderError),
    ("subprotocol", accepted(("Sec-WebSocket-Protocol", "chat")), WSInvalidHeaderError),
    ("extension", accepted(("Sec-WebSocket-Extensions", "x")), WSInvalidHeaderError),
    ("HTTP/1.0", says(b"HTTP/1.0 101 OK\r\n\r\n"), WSInvalidMessageError),
    ("HTTP/2", says(b"HTTP/2 101\r\n\r\n"), WSInvalidMessageError),
    ("garbage", says(b"\x00\xff\x13\r\n\r\n"), WSInvalidMessageError),
    ("bare LF", says(b"HTTP/1.1 101 OK\nUpgrade: websocket\n\n"), WSInvalidMessageError),
    ("folded header", says(b"HTTP/1.1 101 OK\r\nA: b\r\n c\r\n\r\n"), WSInvalidMessageError),
    ("NUL", says(b"HTTP/1.1 101 OK\r\nA: \x00\r\n\r\n"), WSInvalidMessageError),
    ("early close", says(b""), WSInvalidMessageError),
    ("half a head", says(b"HTTP/1.1 101 OK\r\nUpgra"), WSInvalidMessageError),
    ("interim answers", says(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 9), WSInvalidMessageError),
    ("nothing but one", says(b"HTTP/1.1 100 Continue\r\n\r\n"), WSInvalidMessageError),
    ("plain page", says(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"), WSInvalidStatusError),
    ("no content", says(b"HTTP/1.1 204 None\r\n\r\n"), WSInvalidStatusError),
    ("redirect to nowhere", says(b"HTTP/1.1 302 Found\r\n\r\n"), WSHandshakeError),
    ("unauthorized", says(b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n"), WSInvalidStatusError),
]


@plain_backends
def test_wrong_answers(run: Run, backend: str) -> None:
    async def respond(peer: RawConnection) -> None:
        answer(peer, await peer.read_request())

    async def main() -> None:
        nonlocal answer
        async with raw_peer(respond) as peer:
            for name, answer, error_type in WRONG_ANSWERS:  # noqa: B007
                with pytest.raises(WSHandshakeError) as caught:
                    await ws_connect(peer.url(), Recorder, backend=backend)
                if error_type is not WSHandshakeError:
                    assert type(caught.value) is error_type, name

    answer: Answer = says(b"")
    run(main)


@pytest.mark.parametrize("reason", ["", "OK", "Web Socket Protocol Handshake", "\u00fc"])
def test_any_reason(run: Run, reason: str) -> None:
    async def accept(peer: RawConnection) -> None:
        accepted(status=f"101 {reason}")(peer, await peer.read_request())
        await peer.echo_until_close()

    async def main() -> None:
        async with raw_peer(accept) as peer:
            transport, _ = await ws_connect(peer.url(), Recorder)
            transport.disconnect()
            await transport.wait_disconnected()

    run(main)


@pytest.mark.parametrize("end", ["closes", "floods"])
@pytest.mark.parametrize("length", ["Content-Length: 1000000000", "X-None: none"])
def test_what_there_was_of_an_answer(run: Run, end: str, length: str) -> None:
    """A refusal that never ends: status, headers and the body as far as it came."""

    async def refuse(peer: RawConnection) -> None:
        await peer.read_request()
        peer.writer.write(f"HTTP/1.1 503 Wait\r\nX-Why: because\r\n{length}\r\n\r\n".encode())
        peer.writer.write(b"a part")
        while end == "floods":
            peer.writer.write(b" and a part" * 10_000)
            await peer.writer.drain()

    async def main() -> None:
        async with raw_peer(refuse) as peer:
            with pytest.raises(WSInvalidStatusError) as caught:
                await ws_connect(peer.url(), Recorder, websocket_handshake_timeout=None)
        error = caught.value
        assert error.status == 503
        assert error.response is not None
        assert error.response.headers["X-Why"] == "because"
        assert error.raw_body is not None
        assert error.raw_body.startswith(b"a part")
        assert len(error.raw_body) <= 65536

    run(main)


def test_a_head_that_trickles(run: Run) -> None:
    """A byte now and then does not stretch the deadline."""

    async def trickle(peer: RawConnection) -> None:
        await peer.read_request()
        peer.writer.write(b"HTTP/1.1 101 OK\r\nX: ")
        while True:
            peer.writer.write(b"x")
            await peer.writer.drain()
            await asyncio.sleep(0.01)

    async def main() -> None:
        async with raw_peer(trickle) as peer:
            with pytest.raises(WSHandshakeTimeout):
                await ws_connect(peer.url(), Recorder, websocket_handshake_timeout=0.1)

    run(main)


# Floods


async def until_lost(peer: RawConnection, piece: bytes, pause: float = 0.0) -> None:
    """Write the same again and again, until the client has had enough."""
    with contextlib.suppress(OSError):
        while not peer.writer.transport.is_closing():
            peer.writer.write(piece)
            await peer.writer.drain()
            await asyncio.sleep(pause)


@plain_backends
@pytest.mark.parametrize("payload", [b"", b"x" * 100])
def test_endless_fragments(run: Run, backend: str, payload: bytes) -> None:
    async def flood(peer: RawConnection) -> int:
        await peer.accept_upgrade()
        peer.write_frame(TEXT, b"", fin=False)
        piece = build(CONTINUATION, payload, fin=False) * 100
        flooding = asyncio.ensure_future(until_lost(peer, piece))
        frame = await peer.read_frame()
        flooding.cancel()
        await asyncio.gather(flooding, return_exceptions=True)
        return int.from_bytes(frame.payload[:2], "big")

    async def main() -> None:
        async with raw_peer(flood) as peer:
            transport, listener = await ws_connect(
                peer.url(),
                Recorder,
                backend=backend,
                max_fragments_per_message=1000,
                max_message_size=50_000,
            )
            await transport.wait_disconnected()
        assert peer.results == [1009 if payload else 1008]
        assert transport.disconnect_cause is not None
        assert transport.disconnect_cause.kind is WSDisconnectKind.PROTOCOL_ERROR
        assert len(listener.frames) == (501 if payload else 1000)

    run(main)


@plain_backends
def test_a_mixed_flood_in_odd_pieces(run: Run, backend: str) -> None:
    flood = mixed_flood(200)

    async def pour(peer: RawConnection) -> None:
        await peer.accept_upgrade()
        for piece in in_odd_pieces(b"".join(build(*frame) for frame in flood)):
            peer.writer.write(piece)
            await peer.writer.drain()
            await asyncio.sleep(0)
        for payload in (payload for opcode, payload in flood if opcode == PING):
            pong = await peer.read_frame()
            assert (pong.opcode, pong.payload) == (PONG, payload)
        peer.write_frame(CLOSE)

    async def main() -> None:
        async with raw_peer(pour) as peer:
            transport, listener = await ws_connect(peer.url(), Recorder, backend=backend)
            await transport.wait_disconnected()
            await peer.finished()
        assert listener.frames[:-1] == [frame for frame in flood if frame[0] != PING]
        assert transport.disconnect_cause is not None
        assert transport.disconnect_cause.kind is WSDisconnectKind.PEER_CLOSE

    run(main)


@plain_backends
def test_a_flood_of_pings_by_a_server_that_does_not_read(run: Run, backend: str) -> None:
    async def flood(peer: RawConnection) -> None:
        await peer.accept_upgrade()
        peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
        piece = build(PING, b"p" * 125) * 100
        while most < 10_000:
            peer.writer.write(piece)
            await peer.writer.drain()
            await asyncio.sleep(0)
        for _ in range(100):  # for which there are no pongs
            peer.writer.write(piece)
            await peer.writer.drain()
        peer.writer.write(build(PING, b"latest") + build(TEXT, b"the end"))
        await eventually(lambda: has_seen_the_end)
        peer.writer.transport.resume_reading()  # type: ignore[attr-defined]
        received = b""
        while frames.mask(received[-6:], received[-10:-6] or KEY) != b"latest":
            received = (received + await peer.reader.read(1 << 20))[-100:]

    async def main() -> None:
        nonlocal most, has_seen_the_end
        async with raw_peer(flood) as peer:
            transport, listener = await ws_connect(
                peer.url(), Recorder, backend=backend, write_high_watermark=10_000
            )
            while not listener.frames:
                most = max(most, transport.write_queue_size)
                await asyncio.sleep(0)
            # The watermark, and a write buffer that was under way when it was passed.
            assert most < 10_000 + 192 * 1024
            has_seen_the_end = True
            await transport.wait_disconnected()
        assert len(peer.results) == 1

    most = 0
    has_seen_the_end = False
    run(main)


@plain_backends
def test_a_server_that_does_not_read(run: Run, backend: str) -> None:
    class Producer(Recorder):
        def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
            transport.send(BINARY, bytes(50_000))

    async def stare(peer: RawConnection) -> None:
        await peer.accept_upgrade()
        peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await until_lost(peer, build(TEXT, b"more") * 10)

    async def main() -> None:
        async with raw_peer(stare) as peer:
            transport, listener = await ws_connect(
                peer.url(), Producer, backend=backend, max_write_queue_size=300_000
            )
            await transport.wait_disconnected()
            assert listener.events == ["connected", "disconnected"]
            cause = transport.disconnect_cause
            assert cause is not None
            assert cause.kind is WSDisconnectKind.SLOW_CONSUMER
            assert isinstance(cause.exception, WSSlowConsumer)
            assert cause.unsent_bytes <= 350_100

    run(main)


@plain_backends
def test_stall_timeout(run: Run, backend: str) -> None:
    async def stop(peer: RawConnection) -> int:
        await peer.accept_upgrade()
        peer.writer.write(frames.header(BINARY, 1_000_000) + b"x")
        frame = await peer.read_frame()
        return int.from_bytes(frame.payload[:2], "big")

    async def main() -> None:
        async with raw_peer(stop) as peer:
            transport, listener = await ws_connect(
                peer.url(), Recorder, backend=backend, stall_timeout=0.1
            )
            await transport.wait_disconnected()
        assert peer.results == [1008]
        assert listener.events == ["connected", "disconnected"]
        assert transport.disconnect_cause is not None
        assert transport.disconnect_cause.kind is WSDisconnectKind.PROTOCOL_ERROR

    run(main)


@plain_backends
def test_a_server_that_never_finishes_a_frame(run: Run, backend: str) -> None:
    async def trickle(peer: RawConnection) -> List[int]:
        await peer.accept_upgrade()
        peer.writer.write(frames.header(BINARY, 1_000_000))
        trickling = asyncio.ensure_future(until_lost(peer, b"x", 0.005))
        found = [(await peer.read_frame()).opcode for _ in range(2)]
        trickling.cancel()
        await asyncio.gather(trickling, return_exceptions=True)
        return found

    async def main() -> None:
        async with raw_peer(trickle) as peer:
            transport, listener = await ws_connect(
                peer.url(),
                Recorder,
                backend=backend,
                enable_auto_ping=True,
                auto_ping_strategy=WSAutoPingStrategy.PING_PERIODICALLY,
                auto_ping_idle_timeout=0.05,
                auto_ping_reply_timeout=0.05,
            )
            await transport.wait_disconnected()
        assert peer.results == [[PING, CLOSE]]
        assert listener.events == ["connected", "disconnected"]
        assert transport.disconnect_cause is not None
        assert isinstance(transport.disconnect_cause.exception, WSPingTimeout)

    run(main)


@plain_backends
def test_a_server_that_does_not_read_cannot_pin_a_closing_connection(
    run: Run, backend: str
) -> None:
    async def stare(peer: RawConnection) -> None:
        request = await peer.read_request()
        peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
        peer.accept(request)
        await eventually(lambda: transports and transports[0].is_disconnected)
        peer.writer.transport.resume_reading()  # type: ignore[attr-defined]

    async def main() -> None:
        async with raw_peer(stare) as peer:
            transport, _ = await ws_connect(
                peer.url(), Recorder, backend=backend, close_timeout=0.1
            )
            transports.append(transport)
            transport.send(BINARY, bytes(30_000_000))
            transport.disconnect()
            await transport.wait_disconnected()
            assert transport.disconnect_cause is not None
            assert transport.disconnect_cause.kind is WSDisconnectKind.CLOSE_TIMEOUT

    transports: List[WSTransport] = []
    run(main)


@plain_backends
def test_data_and_a_second_close_after_a_close(run: Run, backend: str) -> None:
    async def close_twice(peer: RawConnection) -> Any:
        await peer.accept_upgrade()
        late = build(TEXT, b"late") + build(CLOSE, frames.close_payload(1001)) + b"\xff" * 100
        peer.writer.write(build(CLOSE, frames.close_payload(4000)) + late)
        frame = await peer.read_frame()
        return frame.opcode, frame.payload

    async def main() -> None:
        async with raw_peer(close_twice) as peer:
            transport, listener = await ws_connect(peer.url(), Recorder, backend=backend)
            await transport.wait_disconnected()
        assert peer.results == [(CLOSE, frames.close_payload(4000))]
        assert listener.frames == [(CLOSE, frames.close_payload(4000))]
        assert transport.disconnect_cause is not None
        assert transport.disconnect_cause.kind is WSDisconnectKind.PEER_CLOSE

    run(main)
