"""TLS sessions: resumed within a worker; at another worker a full handshake takes place."""

from __future__ import annotations

import asyncio
import functools
import os
import socket
import ssl
import sys
from pathlib import Path
from typing import Any, List, Optional, Tuple

import pytest

from picows_server import create_ssl_context, reload_certificate
from tests.support.authority import Authority
from tests.support.rawclient import upgrade_request
from tests.support.servers import TLS_BACKENDS, serving, sockname, tls_backends

ROOT = Path(__file__).parents[2]
ANY_TLS_PORT = "wss://127.0.0.1:0"
versions = pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])

# Seconds for a client that waits for a server, so that a test that fails also ends.
TIMEOUT = 30.0


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


def _visit(
    name: Any, context: ssl.SSLContext, server_name: str, session: Optional[ssl.SSLSession]
) -> Tuple[ssl.SSLSession, bool]:
    """A connection by Python's blocking sockets, which can resume a session."""
    with socket.create_connection(name[:2], TIMEOUT) as sock, context.wrap_socket(
        sock, server_hostname=server_name, session=session
    ) as tls:
        tls.sendall(upgrade_request())
        head = b""
        while b"\r\n\r\n" not in head:  # the tickets of TLS 1.3 come before it
            part = tls.recv(4096)
            assert part, head
            head += part
        assert head.startswith(b"HTTP/1.1 101 ")
        found, is_resumed = tls.session, bool(tls.session_reused)
    assert found is not None
    return found, is_resumed


async def visit(
    server: Any,
    context: ssl.SSLContext,
    session: Optional[ssl.SSLSession] = None,
    server_name: str = "localhost",
) -> Tuple[ssl.SSLSession, bool]:
    name = server if isinstance(server, tuple) else sockname(server)
    call = functools.partial(_visit, name, context, server_name, session)
    return await asyncio.get_running_loop().run_in_executor(None, call)


def client_context(authority: Authority, version: ssl.TLSVersion) -> ssl.SSLContext:
    context = authority.client_context()
    context.minimum_version = context.maximum_version = version
    return context


@tls_backends
@versions
async def test_resumed(backend: str, version: ssl.TLSVersion, authority: Authority) -> None:
    context = create_ssl_context(*authority.pair("localhost"))
    client = client_context(authority, version)
    async with serving(url=ANY_TLS_PORT, ssl_context=context, backend=backend) as server:
        session, is_resumed = await visit(server, client)
        assert not is_resumed
        for _ in range(2):
            session, is_resumed = await visit(server, client, session)
            assert is_resumed
    assert context.session_stats()["hits"] == 2


@versions
async def test_resumed_on_another_backend(version: ssl.TLSVersion, authority: Authority) -> None:
    """The session belongs to the context, whatever carries its connections."""
    context = create_ssl_context(*authority.pair("localhost"))
    client = client_context(authority, version)
    session = None
    for backend in ("auto", "loop", "auto"):
        async with serving(url=ANY_TLS_PORT, ssl_context=context, backend=backend) as server:
            session, is_resumed = await visit(server, client, session)
    assert is_resumed


@tls_backends
@versions
async def test_resumed_after_a_reload(
    backend: str, version: ssl.TLSVersion, authority: Authority
) -> None:
    context = create_ssl_context(*authority.pair("localhost"))
    client = client_context(authority, version)
    async with serving(url=ANY_TLS_PORT, ssl_context=context, backend=backend) as server:
        session, _ = await visit(server, client)
        reload_certificate(context, *authority.pair("localhost"))
        _, is_resumed = await visit(server, client, session)
        assert is_resumed


@tls_backends
@versions
async def test_with_client_certificates(
    backend: str, version: ssl.TLSVersion, certificates: Any
) -> None:
    context = create_ssl_context(
        certificates.server_chain, certificates.server_key, client_ca=certificates.authority
    )
    client = certificates.client_context(with_certificate=True)
    client.minimum_version = client.maximum_version = version
    async with serving(url=ANY_TLS_PORT, ssl_context=context, backend=backend) as server:
        session, _ = await visit(server, client)
        _, is_resumed = await visit(server, client, session)
        assert is_resumed


@tls_backends
@versions
async def test_names(backend: str, version: ssl.TLSVersion, authority: Authority) -> None:
    """Each name has a context of its own, so a session is resumed under its name only."""
    names = ("a.example", "b.example")
    contexts = {name: create_ssl_context(*authority.pair(*names)) for name in names}
    client = client_context(authority, version)
    async with serving(url=ANY_TLS_PORT, ssl_context=contexts, backend=backend) as server:
        session, _ = await visit(server, client, None, "a.example")
        assert (await visit(server, client, session, "a.example"))[1]
        assert not (await visit(server, client, session, "b.example"))[1]


@tls_backends
@versions
async def test_another_context(backend: str, version: ssl.TLSVersion, authority: Authority) -> None:
    """What one cannot decrypt is no error: a full handshake follows, and a ticket of its own."""
    files = authority.pair("localhost")
    client = client_context(authority, version)
    session = None
    for _ in range(2):
        async with serving(
            url=ANY_TLS_PORT, ssl_context=create_ssl_context(*files), backend=backend
        ) as server:
            session, is_resumed = await visit(server, client, session)
            assert not is_resumed
            session, is_resumed = await visit(server, client, session)
            assert is_resumed


WORKER = """
import asyncio, sys
from picows_server import WSListener, create_ssl_context, ws_create_server

async def main(certfile, keyfile, backend):
    context = create_ssl_context(certfile, keyfile)
    async with ws_create_server(
        "wss://127.0.0.1:0", WSListener, ssl_context=context, backend=backend
    ) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.parametrize("backend", TLS_BACKENDS)
@versions
async def test_another_worker(backend: str, version: ssl.TLSVersion, authority: Authority) -> None:
    files = [str(path) for path in authority.pair("localhost")]
    client = client_context(authority, version)
    workers: List[Any] = []
    try:
        for _ in range(2):
            worker = await asyncio.create_subprocess_exec(
                *(sys.executable, "-c", WORKER, *files, backend),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
            )
            workers.append(worker)
        ports = [int(await worker.stdout.readline()) for worker in workers]
        one, other = (("127.0.0.1", port) for port in ports)
        session, _ = await visit(one, client)
        assert (await visit(one, client, session))[1]
        assert not (await visit(other, client, session))[1]
    finally:
        for worker in workers:
            worker.stdin.close()
            await worker.wait()
    assert [worker.returncode for worker in workers] == [0, 0]
