"""picows_server.http.download: files that are sent in pieces."""

from __future__ import annotations

import asyncio
import gc
import os
import re
import socket
import time
from contextlib import AsyncExitStack
from io import FileIO
from pathlib import Path
from typing import Any, List, Tuple

import pytest

from picows_server import (
    WSConnection,
    WSServer,
    WSUpgradeResponse,
    WSUpgradeResponseWithListener,
    create_ssl_context,
    files,
    serve,
    ws_create_server,
)
from picows_server.http.download import PIECE, FileDownload
from tests.support.access_lines import Access
from tests.support.certificates import Certificates
from tests.support.judge import ask
from tests.support.rawclient import RawClient
from tests.support.servers import (
    ANY_PORT,
    plain_backends,
    quiet_logger,
    serving,
    sockname,
    tls_backends,
)

SIZE = 5_000_000
CONTENT = os.urandom(SIZE)
REQUEST = b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """A file that no queue and no socket holds, in a directory of its own."""
    file = tmp_path / "large"
    file.write_bytes(CONTENT)
    return file


class Opened:
    """The files that downloads have opened, and the most that was queued for their clients."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.files: List[FileIO] = []
        self.most_queued = 0
        opened = self

        class Watched(FileDownload):
            __slots__ = ()

            def __init__(self, response: Any, file: FileIO, size: int, **options: Any) -> None:
                opened.files.append(file)
                super().__init__(response, file, size, **options)

            def _go_on(self) -> None:
                endpoint = self._endpoint
                super()._go_on()
                queued = 0 if endpoint is None else endpoint.write_queue_size
                opened.most_queued = max(opened.most_queued, queued)

        monkeypatch.setattr("picows_server.http.files.FileDownload", Watched)

    async def wait_until_closed(self) -> None:
        while not self.files or not all(file.closed for file in self.files):
            await asyncio.sleep(0.001)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Opened:
    return Opened(monkeypatch)


@plain_backends
async def test_a_large_file(backend: str, large: Path, opened: Opened) -> None:
    async with serving({"/": files(large.parent)}, backend=backend) as server:
        response = await ask(sockname(server), "/large")
        assert response.status == 200
        assert response.body == CONTENT
        tag = [("If-None-Match", response.tag)]
        assert (await ask(sockname(server), "/large", headers=tag)).status == 304
        head = await ask(sockname(server), "/large", method="HEAD")
        assert head.headers_without_date == response.headers_without_date
        assert (head.status, head.body) == (200, b"")
        await opened.wait_until_closed()
    assert opened.most_queued <= 65536 + PIECE + 512


@tls_backends
async def test_over_tls(
    backend: str, large: Path, opened: Opened, certificates: Certificates
) -> None:
    tls = create_ssl_context(certificates.server_chain, certificates.server_key)
    starting = serving(
        {"/": files(large.parent)}, "wss://127.0.0.1:0", backend=backend, ssl_context=tls
    )
    async with starting as server:
        context = certificates.client_context()
        response = await ask(sockname(server), "/large", context=context)
        assert response.body == CONTENT
        await opened.wait_until_closed()
    assert opened.most_queued < 4 * PIECE


@pytest.mark.parametrize("size", [PIECE, PIECE + 1, 2 * PIECE, 2 * PIECE + 1])
async def test_sizes(size: int, tmp_path: Path) -> None:
    content = os.urandom(size)
    (tmp_path / "file").write_bytes(content)
    async with serving({"/": files(tmp_path)}) as server:
        assert (await ask(sockname(server), "/file")).body == content


@plain_backends
async def test_a_client_that_ends_its_side(backend: str, large: Path) -> None:
    """As ``nc -N`` and some HTTP/1.0 clients do."""
    async with serving({"/": files(large.parent)}, backend=backend) as server:
        async with await RawClient.connect(sockname(server)) as client:
            client.writer.write(REQUEST)
            client.writer.write_eof()
            response = await client.read_response()
        assert response.body == CONTENT


@plain_backends
async def test_a_slow_client(backend: str, large: Path, opened: Opened) -> None:
    """It is waited for beyond websocket_handshake_timeout."""
    starting = serving({"/": files(large.parent)}, backend=backend, websocket_handshake_timeout=0.5)
    async with starting as server, await RawClient.connect(sockname(server)) as client:
        client.writer.write(REQUEST)
        await client.reader.readuntil(b"\r\n\r\n")
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await asyncio.sleep(0.7)
        assert not opened.files[0].closed
        client.writer.transport.resume_reading()  # type: ignore[attr-defined]
        assert await client.reader.readexactly(SIZE) == CONTENT
        await opened.wait_until_closed()


async def later() -> WSUpgradeResponse:
    await asyncio.sleep(0)
    return WSUpgradeResponse.create_error_response(410, CONTENT)


RESPONSES = {
    "/function": lambda: WSUpgradeResponse.create_ok_response(CONTENT),
    "/pair": lambda: WSUpgradeResponseWithListener(
        WSUpgradeResponse.create_response(203, CONTENT, {"X-Size": str(SIZE)}), None
    ),
    "/coroutine": later,
}


@plain_backends
@pytest.mark.parametrize("is_mapped", [True, False], ids=["mapping", "factory"])
@pytest.mark.parametrize(
    ("path", "status"), [("/function", 200), ("/pair", 203), ("/coroutine", 410)]
)
async def test_a_slow_client_of_a_handler(
    backend: str, path: str, status: int, is_mapped: bool
) -> None:
    """As long as it reads, it is waited for beyond close_timeout, too."""
    access = Access()
    options: Any = {"backend": backend, "close_timeout": 0.2, "access_log": access.logger}
    served: Any = RESPONSES if is_mapped else RESPONSES[path]
    async with serving(served, **options) as server:
        async with await RawClient.connect(sockname(server)) as client:
            client.writer.write(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            client.writer.transport.pause_reading()  # type: ignore[attr-defined]
            await asyncio.sleep(0.5)
            client.writer.transport.resume_reading()  # type: ignore[attr-defined]
            response = await client.read_response()
        assert (response.status, response.body == CONTENT) == (status, True)
        assert response.headers.get("x-size") == (str(SIZE) if status == 203 else None)
        line = await access.line()
        assert (line["status"], line["cause"]) == (str(status), "-")
        assert server.stats().responses == {status: 1}


async def test_a_slow_client_of_process_request() -> None:
    async def handle(connection: WSConnection) -> None:
        """Nobody connects."""

    served = serve(handle, ANY_PORT, process_request=lambda request: later(), close_timeout=0.2)
    async with served as server:
        async with await RawClient.connect(sockname(server)) as client:
            client.writer.write(REQUEST)
            client.writer.transport.pause_reading()  # type: ignore[attr-defined]
            await asyncio.sleep(0.5)
            client.writer.transport.resume_reading()  # type: ignore[attr-defined]
            response = await client.read_response()
        assert (response.status, response.body == CONTENT) == (410, True)


async def test_head_of_a_large_response() -> None:
    async with serving(RESPONSES["/function"]) as server:
        head = await ask(sockname(server), "/", method="HEAD")
    assert (head.status, head.body) == (200, b"")
    assert head.headers["content-length"] == str(SIZE)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.filterwarnings("error")
async def test_a_coroutine_that_returns_another(
    method: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The error is about that one, which is closed."""

    async def factory() -> Any:
        return later()

    async with serving({"/": factory}) as server:
        response = await ask(sockname(server), "/", method=method)
        gc.collect()
    assert response.status == 500
    assert re.search("not coroutine: <coroutine object later .*; nobody awaits it", caplog.text)


async def test_a_client_of_a_handler_that_does_not_read() -> None:
    access = Access()
    options: Any = {"stall_timeout": 0.3, "access_log": access.logger}
    async with serving(RESPONSES, **options) as server:
        async with await RawClient.connect(sockname(server)) as client:
            client.writer.write(b"GET /coroutine HTTP/1.1\r\nHost: a\r\n\r\n")
            client.writer.transport.pause_reading()  # type: ignore[attr-defined]
            line = await access.line()
        assert (line["status"], line["cause"]) == ("410", "slow_consumer")
        assert server.stats().responses == {410: 1}
        assert server.stats().slow_consumers == 1


@plain_backends
async def test_a_client_that_does_not_read(backend: str, large: Path, opened: Opened) -> None:
    starting = serving({"/": files(large.parent)}, backend=backend, stall_timeout=0.5)
    async with starting as server, await RawClient.connect(sockname(server)) as client:
        client.writer.write(REQUEST)
        await client.reader.readuntil(b"\r\n\r\n")
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await opened.wait_until_closed()
        while server.connections:
            await asyncio.sleep(0.001)
        assert server.pending_handshakes == 0


@tls_backends
async def test_a_client_that_does_not_read_over_tls(
    backend: str, large: Path, opened: Opened, certificates: Certificates
) -> None:
    tls = create_ssl_context(certificates.server_chain, certificates.server_key)
    starting = serving(
        {"/": files(large.parent)},
        "wss://127.0.0.1:0",
        backend=backend,
        ssl_context=tls,
        stall_timeout=0.5,
    )
    async with starting as server:
        client = await RawClient.connect(sockname(server), context=certificates.client_context())
        async with client:
            client.writer.write(REQUEST)
            await client.reader.readuntil(b"\r\n\r\n")
            client.writer.transport.pause_reading()  # type: ignore[attr-defined]
            await opened.wait_until_closed()
            while server.connections:
                await asyncio.sleep(0.001)


@plain_backends
async def test_slow_clients_do_not_keep_others_out(backend: str, large: Path) -> None:
    """They count as connections, not as handshakes."""
    starting = serving({"/": files(large.parent)}, backend=backend, max_pending_handshakes=1)
    async with starting as server, await RawClient.connect(sockname(server)) as client:
        client.writer.write(REQUEST)
        await client.reader.readuntil(b"\r\n\r\n")
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        assert (server.connections, server.pending_handshakes) == (1, 0)
        assert (await ask(sockname(server), "/nothing")).status == 404


@plain_backends
async def test_slow_clients_of_a_full_server(backend: str, large: Path) -> None:
    """It accepts more connections than it may hold, so the limit of the others is theirs."""
    limits: Any = {"max_connections": 1, "max_pending_handshakes": 2, "when_full": "refuse"}
    async with serving({"/": files(large.parent)}, backend=backend, **limits) as server:
        name = sockname(server)
        async with AsyncExitStack() as stack:
            for expected in ((1, 0), (2, 1), (3, 2)):
                client = await stack.enter_async_context(await RawClient.connect(name))
                client.writer.write(REQUEST)
                await client.reader.readuntil(b"\r\n\r\n")
                client.writer.transport.pause_reading()  # type: ignore[attr-defined]
                assert (server.connections, server.pending_handshakes) == expected


@plain_backends
async def test_the_end_for_a_slow_client(backend: str, tmp_path: Path) -> None:
    """close_timeout is for closing handshakes."""
    content = os.urandom(PIECE + 4000)
    (tmp_path / "file").write_bytes(content)
    starting = serving({"/": files(tmp_path)}, backend=backend, close_timeout=0.1)
    async with starting as server:
        (sock,) = server.sockets
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
        client = socket.socket()
        with client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
            client.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(client, sockname(server))
            await loop.sock_sendall(client, REQUEST.replace(b"/large", b"/file"))
            await asyncio.sleep(0.5)
            received = b""
            while True:
                data = await loop.sock_recv(client, PIECE)
                if not data:
                    break
                received += data
    assert received.partition(b"\r\n\r\n")[2] == content


@tls_backends
async def test_the_end_for_a_slow_client_over_tls(
    backend: str, tmp_path: Path, certificates: Certificates
) -> None:
    content = os.urandom(PIECE + 4000)
    (tmp_path / "file").write_bytes(content)
    tls = create_ssl_context(certificates.server_chain, certificates.server_key)
    starting = serving(
        {"/": files(tmp_path)},
        "wss://127.0.0.1:0",
        backend=backend,
        ssl_context=tls,
        close_timeout=0.1,
    )

    def receive(name: Any) -> bytes:
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
            client.connect(name)
            context = certificates.client_context()
            with context.wrap_socket(client, server_hostname="localhost") as wrapped:
                wrapped.sendall(REQUEST.replace(b"/large", b"/file"))
                time.sleep(0.5)
                return b"".join(iter(lambda: wrapped.recv(PIECE), b""))

    async with starting as server:
        (sock,) = server.sockets
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
        loop = asyncio.get_running_loop()
        received = await loop.run_in_executor(None, receive, sockname(server))
    assert received.partition(b"\r\n\r\n")[2] == content


@plain_backends
@pytest.mark.parametrize("is_reset", [True, False])
async def test_a_client_that_leaves(
    backend: str, is_reset: bool, large: Path, opened: Opened
) -> None:
    async with serving({"/": files(large.parent)}, backend=backend) as server:
        client = await RawClient.connect(sockname(server))
        client.writer.write(REQUEST)
        await client.reader.readuntil(b"\r\n\r\n")
        if is_reset:
            client.reset()
        await client.close()
        await opened.wait_until_closed()
        while server.connections:
            await asyncio.sleep(0.001)


@plain_backends
async def test_closing_the_server_ends_it(backend: str, large: Path, opened: Opened) -> None:
    server = await ws_create_server(ANY_PORT, {"/": files(large.parent)}, backend=backend)
    async with await RawClient.connect(sockname(server)) as client:
        client.writer.write(REQUEST)
        await client.reader.readuntil(b"\r\n\r\n")
        server.close()
        await server.wait_closed()
    await opened.wait_until_closed()


async def check_counts(server: WSServer, access: Access, cause: str) -> None:
    line = await access.line()
    assert (line["method"], line["path"]) == ("GET", '"/large"')
    assert (line["status"], line["cause"], line["code"]) == ("200", cause, "-")
    assert (int(line["sent"]) > SIZE) is (cause == "-")
    stats = server.stats()
    assert stats.responses == {200: 1}
    assert stats.refused == {}
    assert not any(stats.closed.values())
    assert stats.slow_consumers == (cause == "slow_consumer")


@plain_backends
@pytest.mark.parametrize(
    ("end", "cause"),
    [("read", "-"), ("close", "connection_lost"), ("reset", "connection_lost")],
)
async def test_it_is_counted_by_its_status(backend: str, end: str, cause: str, large: Path) -> None:
    access = Access()
    starting = serving({"/": files(large.parent)}, backend=backend, access_log=access.logger)
    async with starting as server, await RawClient.connect(sockname(server)) as client:
        client.writer.write(REQUEST)
        await client.reader.readuntil(b"\r\n\r\n")
        if end == "read":
            await client.read_to_end()
        elif end == "reset":
            client.reset()
        await client.close()
        await check_counts(server, access, cause)


@tls_backends
async def test_it_is_counted_by_its_status_over_tls(
    backend: str, large: Path, certificates: Certificates
) -> None:
    access = Access()
    starting = serving(
        {"/": files(large.parent)},
        "wss://127.0.0.1:0",
        backend=backend,
        ssl_context=create_ssl_context(certificates.server_chain, certificates.server_key),
        access_log=access.logger,
    )
    async with starting as server:
        client = await RawClient.connect(sockname(server), context=certificates.client_context())
        async with client:
            client.writer.write(REQUEST)
            await client.reader.readuntil(b"\r\n\r\n")
        await check_counts(server, access, "connection_lost")


@plain_backends
async def test_a_client_that_does_not_read_is_a_slow_consumer(backend: str, large: Path) -> None:
    access = Access()
    starting = serving(
        {"/": files(large.parent)}, backend=backend, access_log=access.logger, stall_timeout=0.5
    )
    async with starting as server, await RawClient.connect(sockname(server)) as client:
        client.writer.write(REQUEST)
        await client.reader.readuntil(b"\r\n\r\n")
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await check_counts(server, access, "slow_consumer")


async def test_a_file_that_becomes_shorter(
    large: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    read = FileDownload._read

    def shorten(self: FileDownload) -> bytes:
        os.truncate(large, PIECE)
        return read(self)

    monkeypatch.setattr(FileDownload, "_read", shorten)
    access = Access()
    starting = serving({"/": files(large.parent)}, access_log=access.logger)
    async with starting as server, await RawClient.connect(sockname(server)) as client:
        client.writer.write(REQUEST)
        received = await client.reader.read()
        await check_counts(server, access, "local_abort")
    assert b"Content-Length: 5000000\r\n" in received
    assert len(received) < SIZE
    assert "could not be sent: it has become shorter meanwhile" in caplog.text


async def test_a_file_that_becomes_longer(large: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = FileDownload._read

    def lengthen(self: FileDownload) -> bytes:
        with large.open("ab") as file:
            file.write(b"more")
        return read(self)

    monkeypatch.setattr(FileDownload, "_read", lengthen)
    async with serving({"/": files(large.parent)}) as server:
        assert (await ask(sockname(server), "/large")).body == CONTENT


async def test_others_are_served_meanwhile(large: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each iteration of the loop reads one piece."""
    steps: List[Tuple[str, int]] = []
    read = FileDownload._read

    def noted(self: FileDownload) -> bytes:
        data = read(self)
        steps.append(("read", len(data)))
        return data

    monkeypatch.setattr(FileDownload, "_read", noted)

    async def count_iterations() -> None:
        while True:
            await asyncio.sleep(0)
            steps.append(("iteration", 0))

    async with serving({"/": files(large.parent)}) as server:
        counting = asyncio.ensure_future(count_iterations())
        await ask(sockname(server), "/large")
        counting.cancel()
    reads = [size for step, size in steps if step == "read"]
    assert max(reads) == PIECE
    names = [step for step, _ in steps]
    assert ("read", "read") not in set(zip(names, names[1:]))


async def test_pipelined_requests_are_not_read(large: Path) -> None:
    starting = serving({"/": files(large.parent)})
    async with starting as server, await RawClient.connect(sockname(server)) as client:
        client.writer.write(REQUEST * 3)
        response = await client.read_response()
        assert response.body == CONTENT
        assert await client.reader.read() == b""


def test_one_that_never_begins(large: Path) -> None:
    file = FileIO(large)
    response = WSUpgradeResponse.create_ok_response()
    made = FileDownload(response, file, SIZE, is_head=False, logger=quiet_logger())
    made.cancel()
    assert file.closed
