"""picows_server.proxies.connections: connections that begin with the PROXY protocol."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from typing import Any, List

import pytest

from picows_server import WSTransport, create_ssl_context, ws_create_server
from picows_server.proxies.connections import ProxiedConnections
from tests.support.certificates import Certificates
from tests.support.judge import ask
from tests.support.leaks import eventually
from tests.support.rawclient import RawClient
from tests.support.servers import (
    ANY_PORT,
    Echo,
    echo,
    plain_backends,
    quiet_logger,
    serving,
    sockname,
    tls_backends,
)

TRUSTED = {"trusted_proxies": ["127.0.0.0/8"], "proxy_protocol": True}
LINE = b"PROXY TCP4 203.0.113.9 10.0.0.1 4711 443\r\n"
BINARY = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xcb\0\x71\x09\x0a\0\0\1\x12\x67\1\xbb"
LOCAL = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"
MANY = 1_000_000
CLIENT = ("203.0.113.9", 4711)


class Noting(Echo):
    """Notes whose connections there are."""

    def __init__(self, seen: List[Any], request: Any) -> None:
        super().__init__()
        self.seen = seen
        seen.append(request.remote_address)

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.seen.append(transport.remote_address)


@plain_backends
@pytest.mark.parametrize("header", [LINE, BINARY])
async def test_the_clients_address(backend: str, header: bytes) -> None:
    seen: List[Any] = []
    starting = serving(lambda request: Noting(seen, request), backend=backend, **TRUSTED)
    async with starting as server:
        for pieces in ([header], [header[:5], header[5:20], header[20:]]):
            async with await RawClient.connect(sockname(server)) as client:
                for piece in pieces:
                    client.writer.write(piece)
                    await asyncio.sleep(0.01)
                assert (await client.upgrade()).status == 101
                await echo(client)
        async with await RawClient.connect(sockname(server)) as client:
            for index in range(len(header)):
                client.writer.write(header[index : index + 1])
                await asyncio.sleep(0)
            assert (await client.upgrade()).status == 101
    assert seen == [CLIENT] * 6


@tls_backends
async def test_names_behind_a_proxy(backend: str, certificates: Certificates) -> None:
    """The ClientHello is looked for behind the header, in whatever pieces both arrive."""
    context = create_ssl_context(certificates.server_chain, certificates.server_key)
    seen: List[Any] = []
    starting = serving(
        lambda request: Noting(seen, request),
        "wss://127.0.0.1:0",
        ssl_context={"localhost": context},
        backend=backend,
        **TRUSTED,
    )
    async with starting as server:
        for header in (LINE, BINARY):
            with socket.create_connection(sockname(server)) as sock:
                async with await upgrade_behind(
                    sock, header, certificates.client_context()
                ) as client:
                    await echo(client)
    assert seen == [CLIENT] * 4


async def upgrade_behind(sock: socket.socket, header: bytes, context: ssl.SSLContext) -> RawClient:
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(sock, header)
    streams = await asyncio.open_connection(sock=sock, ssl=context, server_hostname="localhost")
    client = RawClient(*streams)
    assert (await client.upgrade()).status == 101
    return client


@tls_backends
@pytest.mark.parametrize("header", [LINE, BINARY])
async def test_the_header_comes_before_tls(
    backend: str, header: bytes, certificates: Certificates
) -> None:
    seen: List[Any] = []
    tls = create_ssl_context(certificates.server_chain, certificates.server_key)
    starting = serving(
        lambda request: Noting(seen, request),
        "wss://127.0.0.1:0",
        backend=backend,
        ssl_context=tls,
        **TRUSTED,
    )
    async with starting as server:
        sock = socket.socket()
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, sockname(server))
        context = certificates.client_context()
        async with await upgrade_behind(sock, header, context) as client:
            await echo(client)
    assert seen == [CLIENT] * 2


@pytest.mark.parametrize("header", [LOCAL, b"PROXY UNKNOWN\r\n"])
async def test_a_proxy_that_speaks_for_itself(header: bytes) -> None:
    seen: List[Any] = []
    starting = serving(lambda request: Noting(seen, request), **TRUSTED)
    async with starting as server, await RawClient.connect(sockname(server)) as client:
        client.writer.write(header)
        assert (await client.upgrade()).status == 101
        own = client.writer.get_extra_info("sockname")
    assert seen == [own] * 2


async def test_plain_http() -> None:
    async with serving(**TRUSTED) as server:
        assert (await ask(sockname(server), before=LINE)).status == 426


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"PROXY TCP4 203.0.113.9 10.0.0.1 4711 x\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\x16\x03\x01\x02\x00" + bytes(300),
        BINARY[:12] + b"\x31" + BINARY[13:],
    ],
)
async def test_anything_else_is_refused(data: bytes, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        async with serving(**TRUSTED) as server:
            async with await RawClient.connect(sockname(server)) as client:
                client.writer.write(data)
                response = await client.read_response()
                assert response.status == 400
                assert b"PROXY protocol is wanted" in response.body
                assert await client.reader.read() == b""
            while server.connections:
                await asyncio.sleep(0.001)
    assert "127.0.0.1:" in caplog.text
    assert "the connection was refused: " in caplog.text
    assert "113" not in caplog.text


@tls_backends
async def test_tls_without_a_header(
    backend: str, certificates: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    tls = create_ssl_context(certificates.server_chain, certificates.server_key)
    starting = serving(Echo, "wss://127.0.0.1:0", backend=backend, ssl_context=tls, **TRUSTED)
    with caplog.at_level(logging.INFO):
        async with starting as server:
            with pytest.raises(OSError):  # noqa: PT011 - of several kinds
                await RawClient.connect(sockname(server), context=certificates.client_context())
            while server.connections:
                await asyncio.sleep(0.001)
    assert "does not begin with the PROXY protocol" in caplog.text


@pytest.mark.parametrize("header", [LINE, BINARY, b""])
async def test_others_are_refused(header: bytes, caplog: pytest.LogCaptureFixture) -> None:
    options: Any = {**TRUSTED, "trusted_proxies": ["10.0.0.0/8"]}
    with caplog.at_level(logging.INFO):
        async with serving(**options) as server:
            async with await RawClient.connect(sockname(server)) as client:
                client.writer.write(header + b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                response = await client.read_response()
                assert (response.status, response.body) == (
                    403,
                    b"Connections come through a proxy.\n",
                )
                assert "date" in response.headers
            while server.connections:
                await asyncio.sleep(0.001)
    (record,) = [each for each in caplog.records if "was refused" in each.getMessage()]
    assert "the peer is not one of trusted_proxies" in record.getMessage()
    assert record.levelno == logging.INFO
    assert vars(record)["peer"].startswith("127.0.0.1:")
    assert vars(record)["cause"] == "handshake_failure"
    assert 0 <= vars(record)["seconds"] < 60


async def test_descriptors_before_the_header() -> None:
    async with serving(Echo, **TRUSTED) as server:
        (listening,) = server.sockets
        with socket.create_connection(sockname(server)):
            await eventually(lambda: server.pending_handshakes == 1)
            assert len(server._descriptors()) == 2
        await eventually(lambda: server.connections == 0)
        assert server._descriptors() == [listening.fileno()]


async def test_the_time_is_up_while_a_refused_peer_stays(caplog: pytest.LogCaptureFixture) -> None:
    """What was refused in time stays refused, however long its peer takes to leave."""
    caplog.set_level(logging.INFO, "picows.server")
    starting = serving(Echo, websocket_handshake_timeout=0.05, **TRUSTED)
    async with starting as server, await RawClient.connect(sockname(server)) as client:
        client.writer.write(b"GET / HTTP/1.1\r\n")
        assert (await client.read_response()).status == 400
        await eventually(lambda: not server.pending_handshakes)
        assert server.stats().refused == {400: 1}
    assert not [text for text in caplog.messages if "did not come" in text]


async def test_a_refused_peer_that_never_stops_sending(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop serves others meanwhile, also where sock_recv returns without waiting."""
    reads: List[int] = []
    loop = asyncio.get_running_loop()

    class Flooded:
        def __getattr__(self, name: str) -> Any:
            return getattr(loop, name)

        async def sock_recv(self, _: object, size: int) -> bytes:
            reads.append(size)
            if len(reads) == MANY:
                raise OSError("the loop does nothing else")
            return b"x"

    options: Any = {**TRUSTED, "trusted_proxies": ["10.0.0.0/8"]}
    async with serving(**options) as server:
        monkeypatch.setattr(server._connections, "_loop", Flooded())
        monkeypatch.setattr("picows_server.proxies.connections._LINGER", 0.01)
        async with await RawClient.connect(sockname(server)) as client:
            assert (await client.read_response()).status == 403
            while server.connections:
                await asyncio.sleep(0.001)
    assert 0 < len(reads) < MANY


@pytest.mark.parametrize("start", [b"", LINE[:20], BINARY[:14]])
async def test_a_header_that_does_not_come(start: bytes, caplog: pytest.LogCaptureFixture) -> None:
    options: Any = {**TRUSTED, "websocket_handshake_timeout": 0.05}
    with caplog.at_level(logging.INFO):
        async with serving(**options) as server:
            async with await RawClient.connect(sockname(server)) as client:
                client.writer.write(start)
                assert await client.reader.read() == b""
            assert server.connections == 0
    assert "did not come within websocket_handshake_timeout (0.05 seconds)" in caplog.text


@pytest.mark.parametrize("start", [b"", LINE[:20]])
async def test_a_peer_that_leaves(start: bytes, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        async with serving(**TRUSTED) as server:
            async with await RawClient.connect(sockname(server)) as client:
                client.writer.write(start)
                client.writer.write_eof()
                await client.reader.read()
            async with await RawClient.connect(sockname(server)) as client:
                client.writer.write(start)
                while server.connections != 1:
                    await asyncio.sleep(0.001)
                client.reset()
            while server.connections:
                await asyncio.sleep(0.001)
    assert caplog.text.count("the connection was refused: ") == 2


async def test_limits_count_those_without_a_header() -> None:
    starting = serving(max_pending_handshakes=1, **TRUSTED)
    async with starting as server, await RawClient.connect(sockname(server)) as first:
        while server.pending_handshakes != 1:
            await asyncio.sleep(0.001)
        assert server.connections == 1
        async with await RawClient.connect(sockname(server)) as second:
            second.writer.write(LINE)
            first.writer.write(LINE)
            assert (await first.upgrade()).status == 101
            assert (await second.upgrade()).status == 101


@pytest.mark.parametrize("ends", ["close", "abort_clients"])
async def test_closing_drops_them(ends: str) -> None:
    server = await ws_create_server(ANY_PORT, Echo, quiet_logger(), **TRUSTED)
    async with await RawClient.connect(sockname(server)) as client:
        while server.connections != 1:
            await asyncio.sleep(0.001)
        getattr(server, ends)()
        assert await client.reader.read() == b""
        server.close()
        await server.wait_closed()


@pytest.mark.parametrize("has_header", [True, False])
async def test_closing_drops_one_whose_header_has_just_come(
    has_header: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its task cannot be cancelled any more."""
    read_header = ProxiedConnections._read_header

    async def read_and_close(self: ProxiedConnections, sock: Any, peer: Any) -> Any:
        try:
            return await read_header(self, sock, peer)
        finally:
            asyncio.get_running_loop().call_soon(server.close)

    monkeypatch.setattr(ProxiedConnections, "_read_header", read_and_close)
    server = await ws_create_server(ANY_PORT, Echo, **TRUSTED)
    async with await RawClient.connect(sockname(server)) as client:
        client.writer.write(LINE if has_header else LINE[:5])
        if not has_header:
            client.writer.write_eof()
        while not server.is_draining:
            await asyncio.sleep(0)
        for _ in range(5):
            await asyncio.sleep(0)
        assert server.connections == 0
        await server.wait_closed()
    assert "refused" not in caplog.text


async def test_unix_sockets(tmp_path: Any) -> None:
    if not hasattr(socket, "AF_UNIX"):
        pytest.skip("no Unix sockets")
    seen: List[Any] = []
    path = str(tmp_path / "s")
    options: Any = {**TRUSTED, "trusted_proxies": ["unix"]}
    starting = serving(lambda request: Noting(seen, request), unix_path=path, **options)
    async with starting, await RawClient.connect(path) as client:
        client.writer.write(LINE)
        assert (await client.upgrade()).status == 101
    assert seen[0] == CLIENT


async def test_a_backend_that_fails(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(**TRUSTED) as server:
        backend = type(server._backend)

        def fail(*_: object) -> None:
            raise ValueError("no transport")

        monkeypatch.setattr(backend, "connect", fail)
        async with await RawClient.connect(sockname(server)) as client:
            client.writer.write(LINE)
            assert await client.reader.read() == b""
        assert server.connections == 0
        assert sum(server.stats().closed.values()) == 1
        assert server.stats().refused == {}
    assert "the connection could not be served" in caplog.text
