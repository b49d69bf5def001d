"""Whatever goes wrong on a client's connection: one end, told once, and nothing is left behind.

The same at every call of a transport in memory is in ``tests/codec/test_endpoint_faults.py``.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import socket
import ssl
import sys
import time
from typing import Any, Callable, Dict, List

import pytest

from picows_client import (
    WSAutoPingStrategy,
    WSDisconnectKind,
    WSFrame,
    WSHandshakeTimeout,
    WSInvalidStatusError,
    WSListener,
    WSState,
    WSTransport,
    ws_connect,
)
from picows_client import backend as backend_module
from picows_client.protocol import ClientProtocol
from tests.client.proxies import HttpProxy
from tests.conftest import Run
from tests.support.acting import ACTING_CALLBACKS, ACTIONS, Acting, AsAskedFor, raises
from tests.support.frames import BINARY, CLOSE, PING, PONG, TEXT, build, close_payload
from tests.support.leaks import count_instances, eventually
from tests.support.loops import other_tasks
from tests.support.rawpeer import RawConnection, raw_peer
from tests.support.servers import (
    plain_backends,
    quiet_logger,
    tls_backends,
)
from tests.support.tls_by_hand import TlsByHand

ENDINGS: Dict[str, Callable[[RawConnection], Any]] = {
    "closes": lambda peer: peer.write_frame(8, b"\x03\xe8"),
    "half-closes": lambda peer: None,  # as every script at its end
    "resets": lambda peer: peer.reset(),
    "leaves in a frame": lambda peer: peer.writer.write(build(TEXT, bytes(1000))[:-1]),
    "breaks a rule": lambda peer: peer.writer.write(b"\xff\xff\xff\xff"),
}


@plain_backends
@pytest.mark.usefixtures("without_collector")
def test_whatever_a_listener_and_a_server_do(run: Run, backend: str) -> None:
    async def serve(peer: RawConnection) -> None:
        await peer.accept_upgrade()
        peer.write_frame(TEXT, b"one")
        peer.write_frame(BINARY, b"two")
        ending(peer)

    async def live_and_die(url: str, listener: Acting) -> None:
        try:
            await ws_connect(
                url,
                lambda: listener,
                quiet_logger(),
                backend=backend,
                write_high_watermark=0,
                close_timeout=1.0,
            )
        except AsAskedFor as error:
            error.__traceback__ = None  # leads to this frame, which has the listener
        await listener.transport.wait_disconnected()
        assert listener.events[0] == "on_ws_connected"
        assert listener.events[-1] == "on_ws_disconnected"
        assert listener.events.count("on_ws_connected") == 1
        assert listener.events.count("on_ws_disconnected") == 1
        assert listener.transport.disconnect_cause is not None

    async def main() -> None:
        nonlocal ending
        alive = [count_instances(each) for each in (WSTransport, Acting)]
        async with raw_peer(serve) as peer:
            cases = itertools.product(ACTING_CALLBACKS, ACTIONS.values(), ENDINGS.values())
            for callback, action, ending in cases:  # noqa: B007
                await live_and_die(peer.url(), Acting(callback, action))
        await eventually(lambda: not other_tasks())
        await eventually(lambda: [count_instances(each) for each in (WSTransport, Acting)] == alive)

    ending: Callable[[RawConnection], Any] = ENDINGS["closes"]
    run(main)


@plain_backends
def test_a_socket_that_takes_little_at_a_time(run: Run, backend: str) -> None:
    """Every write finds the kernel's buffer full; all arrives, in order."""
    sizes = [0, 1, 125, 126, 1000, 16_384, 16_385, 65_535, 65_536, 200_000]

    async def read(peer: RawConnection) -> List[Any]:
        await peer.accept_upgrade()
        found = []
        for _ in sizes:
            frame = await peer.read_frame()
            found.append((frame.opcode, len(frame.payload), set(frame.payload)))
        closing = await peer.read_frame()
        peer.write_frame(closing.opcode, closing.payload)
        return found

    async def main() -> None:
        listening = socket.create_server(("127.0.0.1", 0))
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)  # inherited when accepted
        async with raw_peer(read, sock=listening) as peer:
            sock = socket.socket()
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
            sock.setblocking(False)
            await asyncio.get_running_loop().sock_connect(sock, listening.getsockname())
            transport, _ = await ws_connect(
                "ws://127.0.0.1/", WSListener, sock=sock, backend=backend, close_timeout=None
            )
            for number, size in enumerate(sizes):
                transport.send(BINARY, bytes([number]) * size)
            transport.disconnect()
            await transport.wait_disconnected()
        assert peer.results == [
            [(BINARY, size, {number} if size else set()) for number, size in enumerate(sizes)]
        ]

    run(main)


# What this side does is not held against the peer.

LIMIT = 0.2
both_strategies = pytest.mark.parametrize("strategy", list(WSAutoPingStrategy))


def block_the_loop() -> None:
    time.sleep(2 * LIMIT)


def duplicate(peer: RawConnection) -> socket.socket:
    """The peer's socket once more: for what the peer does while the loop is blocked."""
    return socket.socket(fileno=os.dup(peer.writer.get_extra_info("socket").fileno()))


async def echo_until_close(peer: RawConnection) -> None:
    await peer.accept_upgrade()
    await peer.echo_until_close()


class Pinging(WSListener):
    """Is blocked in its first ping, which is answered meanwhile."""

    def __init__(self) -> None:
        self.pings = 0
        self.peer: socket.socket
        self.frames: List[bytes] = []

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.opcode == TEXT:
            self.frames.append(frame.get_payload_as_bytes())
            transport.disconnect()

    def send_user_specific_ping(self, transport: WSTransport) -> None:
        transport.send_ping(b"x")
        self.pings += 1
        if self.pings == 1:
            self.peer.sendall(build(PONG, b"x"))
            block_the_loop()


@plain_backends
@both_strategies
def test_a_pong_that_waits_in_the_socket_of_a_blocked_loop(
    run: Run, backend: str, strategy: WSAutoPingStrategy
) -> None:
    async def serve(peer: RawConnection) -> None:
        await peer.accept_upgrade()
        sockets.append(duplicate(peer))
        await peer.echo_until_close()

    async def main() -> None:
        async with raw_peer(serve) as peer:
            transport, listener = await ws_connect(
                peer.url(),
                Pinging,
                backend=backend,
                enable_auto_ping=True,
                auto_ping_strategy=strategy,
                auto_ping_idle_timeout=LIMIT,
                auto_ping_reply_timeout=LIMIT,
            )
            await eventually(lambda: bool(sockets))
            listener.peer = sockets[0]
            await eventually(lambda: listener.pings > 0)
            for _ in range(20):
                await asyncio.sleep(0)
            transport.disconnect()
            await transport.wait_disconnected()
            assert transport.disconnect_cause is not None
            assert transport.disconnect_cause.kind is WSDisconnectKind.LOCAL_CLOSE
        for sock in sockets:
            sock.close()

    sockets: List[socket.socket] = []
    run(main)


@plain_backends
def test_a_close_that_waits_in_the_socket_of_a_blocked_loop(run: Run, backend: str) -> None:
    async def serve(peer: RawConnection) -> None:
        await peer.accept_upgrade()
        sockets.append(duplicate(peer))
        assert (await peer.read_frame()).opcode == CLOSE

    async def main() -> None:
        async with raw_peer(serve) as peer:
            transport, _ = await ws_connect(
                peer.url(), Pinging, backend=backend, close_timeout=LIMIT
            )
            await eventually(lambda: bool(sockets))
            transport.disconnect()
            sockets[0].sendall(build(CLOSE, close_payload(1000)))
            block_the_loop()
            await transport.wait_disconnected()
            assert transport.disconnect_cause is not None
            assert transport.disconnect_cause.kind is WSDisconnectKind.LOCAL_CLOSE
        for sock in sockets:
            sock.close()

    sockets: List[socket.socket] = []
    run(main)


@plain_backends
def test_a_loop_that_is_blocked_in_the_opening_handshake(run: Run, backend: str) -> None:
    async def serve(peer: RawConnection) -> None:
        await peer.accept_upgrade()
        block_the_loop()
        await peer.echo_until_close()

    async def main() -> None:
        async with raw_peer(serve) as peer:
            transport, _ = await ws_connect(
                peer.url(), Pinging, backend=backend, websocket_handshake_timeout=LIMIT
            )
            transport.disconnect()
            await transport.wait_disconnected()

    run(main)


@tls_backends
def test_a_loop_that_is_blocked_in_the_tls_handshake(
    run: Run, backend: str, server_context: ssl.SSLContext, client_context: ssl.SSLContext
) -> None:
    async def serve(listening: socket.socket) -> None:
        with (await asyncio.get_running_loop().sock_accept(listening))[0] as sock:
            peer = TlsByHand(sock, server_context, server_side=True)
            await peer.wait()
            peer.step()
            block_the_loop()
            await peer.shake_hands()
            request = await peer.receive()
            peer.send(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
            assert request.startswith(b"GET / HTTP/1.1\r\n")

    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            listening.setblocking(False)
            serving = asyncio.ensure_future(serve(listening))
            with pytest.raises(WSInvalidStatusError):
                await ws_connect(
                    f"wss://127.0.0.1:{listening.getsockname()[1]}",
                    Pinging,
                    backend=backend,
                    ssl_context=client_context,
                    websocket_handshake_timeout=LIMIT,
                )
            await serving

    run(main)


@tls_backends
@pytest.mark.parametrize("limit", [None, 1000.0])
@pytest.mark.parametrize("has_proxy", [False, True])
def test_the_tls_engines_own_limit(
    run: Run,
    loop_kind: str,
    backend: str,
    limit: Any,
    has_proxy: bool,
    server_context: ssl.SSLContext,
    client_context: ssl.SSLContext,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is longer than what may be waited for."""
    if (loop_kind, backend, has_proxy) == ("asyncio", "loop", True):
        pytest.skip("asyncio's limit does not work for TLS inside TLS")
    assert backend_module.ENGINE_TIMEOUT > 3600.0
    monkeypatch.setattr(backend_module, "ENGINE_TIMEOUT", LIMIT)

    async def stay_silent(peer: RawConnection) -> None:
        await peer.read_to_end()

    async def main() -> None:
        proxy = HttpProxy()
        async with raw_peer(stay_silent) as peer, raw_peer(
            proxy.serve, context=server_context
        ) as gate:
            options: Dict[str, Any] = {}
            if has_proxy:
                options["proxy"] = f"https://localhost:{gate.port}"
                options["proxy_ssl_context"] = client_context
            with pytest.raises(OSError, match="is taking longer than"):
                await ws_connect(
                    f"wss://127.0.0.1:{peer.port}",
                    Pinging,
                    backend=backend,
                    ssl_context=client_context,
                    websocket_handshake_timeout=limit,
                    **options,
                )

    run(main)


@tls_backends
@pytest.mark.usefixtures("without_collector")
def test_nothing_is_left_of_a_failed_tls_handshake(
    run: Run, loop_kind: str, backend: str, client_context: ssl.SSLContext
) -> None:
    if loop_kind == "asyncio" and backend == "loop" and sys.version_info < (3, 11):
        pytest.skip("asyncio's TLS kept its protocol in a reference cycle")

    async def main() -> None:
        before = count_instances(ClientProtocol)
        async with raw_peer(RawConnection.read_to_end) as peer:
            with contextlib.suppress(WSHandshakeTimeout):
                await ws_connect(
                    f"wss://127.0.0.1:{peer.port}",
                    Pinging,
                    backend=backend,
                    ssl_context=client_context,
                    websocket_handshake_timeout=LIMIT,
                )
            await eventually(lambda: count_instances(ClientProtocol) == before)

    run(main)


async def check_pause(url: str, strategy: WSAutoPingStrategy, **options: Any) -> None:
    transport, listener = await ws_connect(
        url,
        lambda: Acting("", raises),
        enable_auto_ping=True,
        auto_ping_strategy=strategy,
        auto_ping_idle_timeout=0.05,
        auto_ping_reply_timeout=0.05,
        **options,
    )
    listener._callback = "on_ws_frame"
    listener._action = lambda transport: transport.disconnect()
    transport.underlying_transport.pause_reading()
    transport.send(TEXT, b"comes back, and waits")
    await asyncio.sleep(0.5)
    assert transport.state is WSState.OPEN
    transport.underlying_transport.resume_reading()
    await transport.wait_disconnected()
    assert listener.events == ["on_ws_connected", "on_ws_frame", "on_ws_disconnected"]
    assert transport.disconnect_cause is not None
    assert transport.disconnect_cause.kind is WSDisconnectKind.LOCAL_CLOSE


@plain_backends
@both_strategies
def test_a_long_pause_of_reading(run: Run, backend: str, strategy: WSAutoPingStrategy) -> None:
    async def main() -> None:
        async with raw_peer(echo_until_close) as peer:
            await check_pause(peer.url(), strategy, backend=backend)

    run(main)


@tls_backends
@both_strategies
def test_a_long_pause_of_reading_over_tls(
    run: Run,
    backend: str,
    strategy: WSAutoPingStrategy,
    server_context: ssl.SSLContext,
    client_context: ssl.SSLContext,
) -> None:
    async def main() -> None:
        async with raw_peer(echo_until_close, context=server_context) as peer:
            await check_pause(
                peer.url(host="localhost"), strategy, backend=backend, ssl_context=client_context
            )

    run(main)


@plain_backends
def test_a_ping_behind_an_upload(run: Run, backend: str) -> None:
    """The peer reads all the time, and needs longer than the limits for what is before the ping."""
    reply_timeout = 0.5

    async def read_slowly(peer: RawConnection) -> int:
        await peer.accept_upgrade()
        start = time.monotonic()
        await peer.reader.readexactly(14)
        left = SIZE
        while left:
            if time.monotonic() < start + 2.5 * reply_timeout:
                await asyncio.sleep(0.02)
            left -= len(await peer.reader.readexactly(min(left, 200_000)))
        frame = await peer.read_frame()
        peer.write_frame(PONG, frame.payload)
        peer.write_frame(TEXT, b"the end")
        while (await peer.read_frame()).opcode != CLOSE:
            pass
        peer.write_frame(CLOSE, close_payload(1000))
        return frame.opcode

    async def main() -> None:
        async with raw_peer(read_slowly) as peer:
            transport, _ = await ws_connect(
                peer.url(),
                lambda: Acting("on_ws_frame", lambda transport: transport.disconnect()),
                backend=backend,
                enable_auto_ping=True,
                auto_ping_idle_timeout=0.05,
                auto_ping_reply_timeout=reply_timeout,
                max_write_queue_size=2 * SIZE,
            )
            transport.send(BINARY, bytes(SIZE))
            await transport.wait_disconnected()
            assert transport.disconnect_cause is not None
            assert transport.disconnect_cause.kind is WSDisconnectKind.LOCAL_CLOSE
        assert peer.results == [PING]

    SIZE = 40_000_000  # noqa: N806
    run(main)
