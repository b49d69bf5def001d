"""What a tap sees of a server's connections, over every backend."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any, Dict, List, Optional

from picows_client import ws_connect
from picows_server import (
    WSConnection,
    WSDirection,
    WSFrame,
    WSPermessageDeflate,
    WSTransport,
    create_ssl_context,
    serve,
)
from picows_server.testing import Recorder, read_recording, replay
from tests.support.certificates import Certificates
from tests.support.leaks import eventually
from tests.support.rawclient import RawClient
from tests.support.recording import Collector
from tests.support.servers import echo, plain_backends, serving, sockname, tls_backends
from tests.support.taps import Ends, Factory

RECEIVED, SENT = WSDirection.RECEIVED, WSDirection.SENT


class Echoing(Collector):
    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        super().on_ws_frame(transport, frame)
        if frame.opcode < 8:
            transport.send(frame.opcode, frame)


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


@plain_backends
async def test_recording(backend: str, tmp_path: Path) -> None:
    """Both ends in one file; each is replayed as what it was."""
    path = tmp_path / "a.rec"
    compression = WSPermessageDeflate(client_compresses=True, min_size=0)
    kept: List[Collector] = []

    def factory() -> Collector:
        kept.append(Echoing())
        return kept[-1]

    with Recorder(path) as recorder:
        options: Dict[str, Any] = {"tap": recorder, "compression": compression}
        async with serving(factory, backend=backend, **options) as server:
            transport, listener = await ws_connect(server.url, Collector, **options)
            for number in range(50):
                transport.send(1, b"message %d " % number * 30)
            await eventually(lambda: len(listener.events) == 51)
            transport.send_close(1000)
            await transport.wait_disconnected()
            await eventually(lambda: kept[0].events[-1] == "disconnected")
        assert len({record.connection for record in read_recording(path)}) == 2
    roles = {r.role: r.connection for r in read_recording(path) if r.kind == "open"}
    for role, live in (("client", listener), ("server", kept[0])):
        again = Collector()
        await replay(path, again, connection=roles[role])
        assert again.events == live.events


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
