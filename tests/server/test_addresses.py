"""Addresses of requests and transports, over the wire on every backend."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, List

from picows_server import (
    WSServer,
    WSTransport,
    WSUpgradeRequest,
    create_ssl_context,
    ws_create_server,
)
from tests.support.certificates import Certificates
from tests.support.rawclient import RawClient
from tests.support.servers import (
    Echo,
    plain_backends,
    sockname,
    tls_backends,
)


class Ends(Echo):
    """Keeps the transport, and what was known when."""

    def __init__(self, request: WSUpgradeRequest) -> None:
        super().__init__()
        self.request = request
        self.at_first = (request.remote_address, request.local_address)
        self.at_last: Any = None
        self.ended = asyncio.Event()

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self.at_last = (transport.remote_address, transport.local_address)
        self.ended.set()


async def check(server: WSServer, made: List[Ends], context: Any = None) -> None:
    is_tcp = isinstance(sockname(server), tuple)
    for ending in ("close", "reset"):
        client = await RawClient.open(sockname(server), context=context)
        expected = (client.writer.get_extra_info("sockname"), sockname(server))
        if not is_tcp:
            expected = ("", sockname(server))
        if ending == "close" or not is_tcp:
            await client.close()
        else:
            client.reset()
        listener = made[-1]
        await asyncio.wait_for(listener.ended.wait(), 10)
        assert listener.at_first == listener.at_last == expected
        ws: Any = listener.transport
        assert (ws.remote_address, ws.local_address) == expected
        assert (ws.request.remote_address, ws.request.local_address) == expected
        await client.close()


@plain_backends
async def test_tcp(backend: str) -> None:
    made: List[Ends] = []

    def factory(request: WSUpgradeRequest) -> Ends:
        made.append(Ends(request))
        return made[-1]

    async with ws_create_server("ws://127.0.0.1:0", factory, backend=backend) as server:
        await check(server, made)


@plain_backends
async def test_unix(backend: str, tmp_path: Path) -> None:
    made: List[Ends] = []

    def factory(request: WSUpgradeRequest) -> Ends:
        made.append(Ends(request))
        return made[-1]

    path = str(tmp_path / "s")
    async with ws_create_server(
        "ws://localhost", factory, unix_path=path, backend=backend
    ) as server:
        await check(server, made)


@tls_backends
async def test_tls(backend: str, certificates: Certificates) -> None:
    made: List[Ends] = []

    def factory(request: WSUpgradeRequest) -> Ends:
        made.append(Ends(request))
        return made[-1]

    async with ws_create_server(
        "wss://127.0.0.1:0",
        factory,
        ssl_context=create_ssl_context(certificates.server_chain, certificates.server_key),
        backend=backend,
    ) as server:
        await check(server, made, certificates.client_context())
