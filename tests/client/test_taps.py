"""What a tap sees of a client's connections: redirects, reconnecting, coroutines, every backend."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any, Callable

import pytest

from picows_client import WSDirection, connect, ws_connect, ws_keep_connected
from tests.client.exchange import Recorder, check_echo, plain_choices, serve_echo, tls_choices
from tests.support.rawpeer import RawConnection, raw_peer
from tests.support.taps import Ends, Factory, Tap

Run = Callable[..., Any]
RECEIVED, SENT = WSDirection.RECEIVED, WSDirection.SENT


async def check_tap(url: str, **options: Any) -> None:
    tap = Tap()
    transport, listener = await ws_connect(url, Recorder, tap=tap, **options)
    await check_echo(transport, listener)
    assert tap.bytes_of(SENT).startswith(transport.request.raw_header)
    response = transport.response.raw_header
    assert response is not None
    assert tap.bytes_of(RECEIVED).startswith(response)
    assert tap.bytes_of(RECEIVED)[len(response) :] == b"\x81\x05Hello\x88\x02\x03\xe8"


@plain_choices
def test_plain(run: Run, backend: str) -> None:
    async def main() -> None:
        async with raw_peer(serve_echo) as peer:
            await check_tap(peer.url(), backend=backend)

    run(main)


@tls_choices
def test_what_is_inside_of_tls(
    run: Run, backend: str, server_context: ssl.SSLContext, client_context: ssl.SSLContext
) -> None:
    async def main() -> None:
        async with raw_peer(serve_echo, context=server_context) as peer:
            await check_tap(peer.url(), backend=backend, ssl_context=client_context)

    run(main)


def test_a_tap_for_each_hop(run: Run) -> None:
    """Neither user and password nor the fragment are in the URL."""

    async def script(peer: RawConnection) -> None:
        request = await peer.read_request()
        if request.target == "/first?a=1":
            peer.respond("302 Found", [("Location", "/second"), ("Content-Length", "0")])
            return
        peer.accept(request)
        await peer.echo_until_close()

    async def main() -> None:
        factory = Factory(Ends)
        async with raw_peer(script) as peer:
            url = peer.url("/first?a=1").replace("ws://", "ws://user:secret@")
            async with ws_connect(url, Recorder, tap=factory):
                pass
            assert factory.asked == [
                ("client", peer.url("/first?a=1")),
                ("client", peer.url("/second")),
            ]
        assert [len(tap.causes) for tap in factory.made] == [1, 1]
        assert factory.made[0].bytes_of(RECEIVED).startswith(b"HTTP/1.1 302")
        assert factory.made[1].bytes_of(RECEIVED).startswith(b"HTTP/1.1 101")

    run(main)


def test_coroutines(run: Run) -> None:
    async def main() -> None:
        tap = Tap()
        async with raw_peer(serve_echo) as peer, connect(peer.url(), tap=tap) as ws:
            await ws.send("hello")
            assert await ws.recv() == "hello"
        assert tap.bytes_of(RECEIVED).endswith(b"\x81\x05hello\x88\x02\x03\xe8")

    run(main)


def test_reconnecting(run: Run) -> None:
    async def script(peer: RawConnection) -> None:
        await peer.accept_upgrade()
        peer.write_frame(8, b"\x03\xe8")
        await peer.read_frame()

    async def main() -> None:
        factory = Factory(Ends)
        async with raw_peer(script) as peer:
            link = ws_keep_connected(peer.url(), Recorder, tap=factory)
            async with link:
                while len(factory.made) < 2 or not factory.made[1].seen:
                    await asyncio.sleep(0.01)
        assert factory.made[0].bytes_of(RECEIVED).endswith(b"\x88\x02\x03\xe8")

    run(main)


def test_option_is_checked(run: Run) -> None:
    async def main() -> None:
        with pytest.raises(TypeError, match="tap must be None, a callable"):
            await ws_connect("ws://127.0.0.1:1/", Recorder, tap=3)

    run(main)


def test_large_messages(run: Run) -> None:
    """More than the kernel takes at once, more than one read buffer holds."""

    async def main() -> None:
        tap = Tap()
        async with raw_peer(serve_echo) as peer, connect(peer.url(), tap=tap) as ws:
            payload = bytes(1_000_000)
            await ws.send(payload)
            assert await ws.recv() == payload
        received = tap.bytes_of(RECEIVED)
        assert received.endswith(payload + b"\x88\x02\x03\xe8")
        assert len(tap.bytes_of(SENT)) > len(payload)

    run(main)
