"""What a tap sees of a server's connections, over every backend."""

from __future__ import annotations

import ssl
from typing import Any, Optional

from picows_server import WSConnection, WSDirection, create_ssl_context, serve
from tests.support.certificates import Certificates
from tests.support.leaks import eventually
from tests.support.rawclient import RawClient
from tests.support.servers import echo, plain_backends, serving, sockname, tls_backends
from tests.support.taps import Ends, Factory

RECEIVED, SENT = WSDirection.RECEIVED, WSDirection.SENT


async def check_taps(context: Optional[ssl.SSLContext] = None, **options: Any) -> None:
    factory = Factory(Ends)
    async with serving(tap=factory, **options) as server:
        for _ in range(2):
            async with await RawClient.open(sockname(server), context=context) as client:
                await echo(client)
                client.write_close(1000)
                assert await client.read_close() == 1000
        await eventually(lambda: all(tap.causes for tap in factory.made))
    scheme = "ws" if context is None else "wss"
    port = server.url.rpartition(":")[2].rstrip("/")
    assert factory.asked == [("server", f"{scheme}://127.0.0.1:{port}/")] * 2
    for tap in factory.made:
        assert tap.bytes_of(RECEIVED).startswith(b"GET / HTTP/1.1\r\n")
        assert tap.bytes_of(SENT).startswith(b"HTTP/1.1 101 ")
        assert tap.bytes_of(SENT).endswith(b"\r\n\r\n\x81\x05hello\x88\x02\x03\xe8")


@plain_backends
async def test_plain(backend: str) -> None:
    await check_taps(backend=backend)


@tls_backends
async def test_what_is_inside_of_tls(backend: str, certificates: Certificates) -> None:
    await check_taps(
        certificates.client_context(),
        url="wss://127.0.0.1:0",
        ssl_context=create_ssl_context(certificates.server_chain, certificates.server_key),
        backend=backend,
    )


async def test_handlers() -> None:
    async def handler(ws: WSConnection) -> None:
        async for message in ws:
            await ws.send(message)

    factory = Factory(Ends)
    server = await serve(handler, "ws://127.0.0.1:0", tap=factory)
    async with server, await RawClient.open(sockname(server)) as client:
        await echo(client)
    (tap,) = factory.made
    assert b"\x81\x05hello" in tap.bytes_of(SENT)
