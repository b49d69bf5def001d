"""Nothing is first imported or opened while serving: a server that may not open files serves."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import logging
import os
import ssl
import sys
import tempfile
from pathlib import Path
from typing import Any, AsyncIterator, List, Optional

import pytest

from picows_server import ws_create_server
from tests.support.certificates import Certificates
from tests.support.loops import run
from tests.support.rawclient import RawClient
from tests.support.servers import PLAIN_BACKENDS, TLS_BACKENDS, Echo, needs_aiofastnet, sockname

_ROOT = Path(__file__).parents[2]

# Seconds for a whole process, on a machine that has other things to do.
_TIMEOUT = 60.0


class Sealed:
    """A server in a process of its own, see :mod:`tests.support.sealed`."""

    def __init__(self, port: int, context: Optional[ssl.SSLContext]) -> None:
        self.sockname = ("127.0.0.1", port)
        self._context = context
        self.log = ""

    async def connect(self) -> RawClient:
        return await RawClient.connect(self.sockname, context=self._context)

    async def open(self, path: str = "/") -> RawClient:
        client = await self.connect()
        assert (await client.upgrade(path)).status == 101
        return client

    async def status(self, path: str) -> int:
        async with await self.connect() as client:
            return (await client.upgrade(path)).status

    async def status_of(self, request: bytes) -> int:
        async with await self.connect() as client:
            client.writer.write(request)
            return (await client.read_response()).status


@contextlib.asynccontextmanager
async def sealed(
    kind: str,
    backend: str,
    directory: Path,
    certificates: Optional[Certificates] = None,
    role: str = "server",
) -> AsyncIterator[Sealed]:
    if kind == "uvloop":
        pytest.importorskip("uvloop")
    files: List[str] = []
    context = None
    if certificates is not None:
        files = [str(certificates.server_chain), str(certificates.server_key)]
        context = certificates.client_context()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "tests.support.sealed", role, kind, backend, *files),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=directory,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(_ROOT), *sys.path])},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        line = await asyncio.wait_for(process.stdout.readline(), _TIMEOUT)
        if not line:
            _, errors = await process.communicate()
            pytest.fail(errors.decode())
        server = Sealed(int(line), context)
        yield server
        process.stdin.close()
        output, errors = await asyncio.wait_for(process.communicate(), _TIMEOUT)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    server.log = errors.decode()
    assert process.returncode == 0, server.log
    assert json.loads(output.splitlines()[-1]) == [], server.log


async def _one_of_each_kind(server: Sealed) -> None:
    async with await server.open() as client:
        client.write_frame(1, b"hello")
        assert (await client.read_frame()).payload == b"hello"
        client.write_close(1000)
        assert await client.read_close() == 1000
        assert await client.read_to_end() == b""
    async with await server.open() as client:
        client.write_frame(3, b"a reserved opcode")
        assert await client.read_close() == 1002
    async with await server.open() as client:
        client.write_frame(1, b"\xff\xfe")
        assert await client.read_close() == 1007
    async with await server.open() as client:
        client.write_frame(1, b"raise")
        assert await client.read_close() == 1011
    assert await server.status("/none") == 404
    assert await server.status("/page") == 200
    assert await server.status("/raise") == 500
    assert await server.status("/wrong") == 500
    assert await server.status_of(b"nonsense\r\n\r\n") == 400
    assert await server.status_of(b"GET /page HTTP/1.1\r\nHost: localhost\r\n\r\n") == 200
    assert await server.status_of(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n") == 426
    async with await server.connect() as client:
        response = await client.upgrade("/headers", [("Sec-WebSocket-Protocol", "chat")])
        assert response.status == 101
        assert response.headers["x-id"] == "1"
    async with await server.connect() as client:  # the handshake's time is up
        await client.read_to_end()
    client = await server.open()
    client.reset()
    async with await server.open() as client:  # no pong: the ping's time is up
        while (await client.read_frame()).opcode != 8:
            pass


def _check_log(log: str) -> None:
    assert "because of an error in picows" not in log
    assert log.count("listener factory failed") == 2, log


@pytest.mark.parametrize("backend", PLAIN_BACKENDS)
def test_sealed_routes(backend: str, tmp_path: Path, loop_kind: str) -> None:
    """All but files, which are opened when they are asked for."""
    proxied = b"PROXY TCP4 203.0.113.9 10.0.0.1 4711 443\r\n"
    requests = [
        (b"GET /", 200),
        (b"GET /healthz", 200),
        (b"GET /readyz", 200),
        (b"OPTIONS /", 204),
        (b"PUT /", 405),
        (b"GET /ws", 426),
        (b"GET /static/..%2f", 404),
        (b"GET /nothing", 404),
    ]

    async def main() -> None:
        async with sealed(loop_kind, backend, tmp_path, role="routes") as server:
            for line, status in requests:
                request = line + b" HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 127.0.0.1\r\n\r\n"
                assert await server.status_of(proxied + request) == status
            request = b"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: x\r\n\r\n"
            local = b"PROXY UNKNOWN\r\n"
            assert await server.status_of(local + request) == 400
            assert await server.status_of(request) == 400
            async with await server.connect() as client:
                client.writer.write(proxied)
                assert (await client.upgrade("/ws")).status == 101

    run(main)


@pytest.mark.parametrize("backend", PLAIN_BACKENDS)
def test_sealed_server(backend: str, tmp_path: Path, loop_kind: str) -> None:
    async def main() -> None:
        async with sealed(loop_kind, backend, tmp_path) as server:
            await _one_of_each_kind(server)
        _check_log(server.log)

    run(main)


@pytest.mark.parametrize("backend", PLAIN_BACKENDS)
def test_sealed_server_with_handlers(backend: str, tmp_path: Path, loop_kind: str) -> None:
    async def main() -> None:
        async with sealed(loop_kind, backend, tmp_path, role="handlers") as server:
            async with await server.open() as client:
                client.write_frame(1, b"hello")
                assert (await client.read_frame()).payload == b"hello"
                client.write_frame(1, b"fragments")
                assert (await client.read_frame()).payload == b"one"
                while not (await client.read_frame()).fin:
                    pass
                client.write_frame(1, b"ping")
                client.write_frame(10, (await client.read_frame()).payload)
                assert (await client.read_frame()).payload == b"True"
                client.write_close(1000)
                assert await client.read_close() == 1000
            async with await server.open() as client:
                client.write_frame(1, b"raise")
                assert await client.read_close() == 1011
            async with await server.open() as client:
                client.write_frame(3, b"a reserved opcode")
                assert await client.read_close() == 1002
            assert await server.status("/none") == 404
            assert await server.status("/raise") == 500
            async with await server.open() as client:
                client.reset()
            last = await server.open()
        await last.close()
        assert server.log.count("the handler failed") == 1
        assert server.log.count("process_request failed") == 1

    run(main)


@pytest.mark.parametrize("backend", TLS_BACKENDS)
@pytest.mark.parametrize("role", ["server", "names"])
def test_sealed_tls_server(
    role: str, backend: str, tmp_path: Path, loop_kind: str, certificates: Certificates
) -> None:
    async def main() -> None:
        async with sealed(loop_kind, backend, tmp_path, certificates, role) as server:
            await _one_of_each_kind(server)
            if role == "names":
                with pytest.raises(ssl.SSLError, match="UNRECOGNIZED_NAME"):
                    await asyncio.open_connection(
                        *server.sockname, ssl=certificates.client_context(), server_hostname="other"
                    )
            # Plain HTTP to a TLS port, and a peer that hangs up within the TLS handshake.
            async with await RawClient.connect(server.sockname) as client:
                client.writer.write(b"GET / HTTP/1.1\r\n\r\n")
                with contextlib.suppress(ConnectionError):
                    await client.read_to_end()
            async with await RawClient.connect(server.sockname) as client:
                client.writer.write(b"\x16\x03\x01")
        _check_log(server.log)

    run(main)


@needs_aiofastnet
@pytest.mark.parametrize("backend", ["auto", "aiofastnet"])
@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENOENT])
async def test_no_file_for_a_client_certificate(
    backend: str,
    number: int,
    certificates: Certificates,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    error = OSError(number, os.strerror(number), "/tmp/name")

    def refuse(*_: Any, **__: Any) -> None:
        raise error.with_traceback(None)

    context = certificates.server_context()
    context.load_verify_locations(certificates.authority)
    context.verify_mode = ssl.CERT_REQUIRED
    # No limit of time: a server that is not told keeps the connection.
    async with ws_create_server(
        "wss://127.0.0.1:0/",
        Echo,
        ssl_context=context,
        backend=backend,
        websocket_handshake_timeout=None,
    ) as server:
        client_context = certificates.client_context(with_certificate=True)
        monkeypatch.setattr(tempfile, "NamedTemporaryFile", refuse)
        with caplog.at_level(logging.INFO, "picows.server"), contextlib.suppress(OSError):
            async with await RawClient.connect(sockname(server), context=client_context) as client:
                await client.read_to_end()
        monkeypatch.undo()
        async with await RawClient.connect(sockname(server), context=client_context) as client:
            assert (await client.upgrade("/")).status == 101
    (line,) = [record for record in caplog.records if "TLS handshake failed" in record.getMessage()]
    assert line.levelno == logging.WARNING
    assert line.getMessage().endswith(
        ": the TLS handshake failed: aiofastnet opens a file to decode the peer's certificate, "
        f"and could not ({error}); backend='loop' needs none"
    )
