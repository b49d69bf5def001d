"""TLS handshakes that fail on a server: one line, which names the peer and OpenSSL's reason."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
import struct
import sys
from typing import Any, AsyncIterator, List, Tuple

import pytest

from picows_server import ws_create_server
from tests.support.certificates import Certificates
from tests.support.leaks import eventually
from tests.support.rawclient import upgrade_request
from tests.support.servers import TLS_BACKENDS, Echo, needs_aiofastnet, sockname

backends = pytest.mark.parametrize("backend", ["auto", *TLS_BACKENDS])


class Lines(logging.Handler):
    """Keeps the texts of what is logged about handshakes."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: List[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if record.levelno == logging.DEBUG:
            return  # the life of the connection
        if "handshake" in text or record.levelno >= logging.WARNING:
            assert record.exc_info is None
            assert record.levelno == logging.INFO
            self.texts.append(text)
            if "the TLS handshake failed" in text:
                check_fields(record)


def check_fields(record: Any) -> None:
    """Those by which an operator finds it: it has no line in the access log."""
    assert record.getMessage().startswith(f"{record.peer}: ")
    assert record.cause == "handshake_failure"
    assert 0 <= record.seconds < 60
    assert (record.path, record.code, record.connection_id) == (None, None, None)


@contextlib.asynccontextmanager
async def logged_server(
    url: str, context: Any, backend: str = "auto"
) -> AsyncIterator[Tuple[Any, List[str]]]:
    logger, lines = logging.Logger("picows.test"), Lines()
    logger.addHandler(lines)
    async with await ws_create_server(
        url, Echo, logger, ssl_context=context, backend=backend
    ) as server:
        yield sockname(server), lines.texts


async def hello(sock: socket.socket, context: ssl.SSLContext) -> None:
    """Shake hands as far as it goes, and send the alert that OpenSSL writes in the end."""
    loop = asyncio.get_running_loop()
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    while True:
        try:
            tls.do_handshake()
        except ssl.SSLWantReadError:
            await loop.sock_sendall(sock, outgoing.read())
            data = await loop.sock_recv(sock, 65536)
            if not data:
                return
            incoming.write(data)
        except ssl.SSLError:
            with contextlib.suppress(OSError):
                await loop.sock_sendall(sock, outgoing.read())
            return
        else:
            with contextlib.suppress(OSError):
                await loop.sock_sendall(sock, outgoing.read())
            return


async def line_after(sockname: Any, lines: List[str], act: Any) -> Tuple[str, str]:
    """What is logged after ``act(sock)`` about it, and its address."""
    loop = asyncio.get_running_loop()
    lines.clear()
    with socket.socket() as sock:
        sock.setblocking(False)
        await loop.sock_connect(sock, sockname)
        host, port = sock.getsockname()
        await act(sock)
        await eventually(lambda: bool(lines))
    (line,) = lines
    return line, f"{host}:{port}"


async def send(sock: socket.socket, data: bytes) -> None:
    await asyncio.get_running_loop().sock_sendall(sock, data)


@backends
async def test_plain_requests(backend: str, certificates: Certificates) -> None:
    context = certificates.server_context()
    async with logged_server("wss://127.0.0.1:0", context, backend) as (name, lines):
        for data in (upgrade_request(), b"HEAD / HTTP/1.1\r\n\r\n"):
            line, peer = await line_after(name, lines, lambda sock, data=data: send(sock, data))
            reason = "http request: the peer does not speak TLS"
            assert line == f"{peer}: the TLS handshake failed: {reason}"
        line, peer = await line_after(name, lines, lambda sock: send(sock, b"SSH-2.0-OpenSSH\r\n"))
        assert line.startswith(f"{peer}: the TLS handshake failed: ")
        assert line.endswith(": the peer does not speak TLS")


@backends
async def test_no_common_version(backend: str, certificates: Certificates) -> None:
    context, client = certificates.server_context(), certificates.client_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    async with logged_server("wss://127.0.0.1:0", context, backend) as (name, lines):
        line, peer = await line_after(name, lines, lambda sock: hello(sock, client))
        assert line == f"{peer}: the TLS handshake failed: unsupported protocol"


@backends
async def test_clients_that_do_not_trust(backend: str, certificates: Certificates) -> None:
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context = certificates.server_context()
    async with logged_server("wss://127.0.0.1:0", context, backend) as (name, lines):
        line, peer = await line_after(name, lines, lambda sock: hello(sock, client))
        assert line == f"{peer}: the TLS handshake failed: tlsv1 alert unknown ca"


@backends
async def test_clients_without_a_certificate(backend: str, certificates: Certificates) -> None:
    context = certificates.server_context()
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(certificates.authority)
    client = certificates.client_context()
    async with logged_server("wss://127.0.0.1:0", context, backend) as (name, lines):
        line, peer = await line_after(name, lines, lambda sock: hello(sock, client))
        assert line == f"{peer}: the TLS handshake failed: peer did not return a certificate"


@backends
@pytest.mark.parametrize("data", [b"", b"\x16\x03\x01\x02"])
@pytest.mark.parametrize("resets", [False, True])
async def test_clients_that_hang_up(
    backend: str,
    data: bytes,
    resets: bool,
    certificates: Certificates,
    capfd: pytest.CaptureFixture[str],
) -> None:
    async def leave(sock: socket.socket) -> None:
        await send(sock, data)
        if resets:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()

    context = certificates.server_context()
    async with logged_server("wss://127.0.0.1:0", context, backend) as (name, lines):
        for _ in range(3):
            line, peer = await line_after(name, lines, leave)
            assert line == f"{peer}: the TLS handshake failed: the peer closed the connection"
    assert capfd.readouterr().err == ""


@needs_aiofastnet
async def test_tls_to_a_plain_port(certificates: Certificates) -> None:
    client = certificates.client_context()
    for backend in ("auto", "aiofastnet", "loop"):
        async with logged_server("ws://127.0.0.1:0", None, backend) as (name, lines):
            line, _ = await line_after(name, lines, lambda sock: hello(sock, client))
            assert "TLS came where plain HTTP was expected" in line


@pytest.mark.skipif(sys.platform == "win32", reason="Unix sockets")
@backends
async def test_unix_sockets(backend: str, certificates: Certificates, tmp_path: Any) -> None:
    logger, lines = logging.Logger("picows.test"), Lines()
    logger.addHandler(lines)
    path = str(tmp_path / "socket")
    async with await ws_create_server(
        "wss://localhost",
        Echo,
        logger,
        ssl_context=certificates.server_context(),
        unix_path=path,
        backend=backend,
    ):
        _, writer = await asyncio.open_unix_connection(path)
        writer.write(upgrade_request())
        await eventually(lambda: bool(lines.texts))
        writer.close()
    assert lines.texts[0].startswith("unix:(unnamed): the TLS handshake failed: http request")
