"""picows_server.sni.backend: each client gets the certificate for the name that it sends."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
import socket
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

import pytest

from picows_server import (
    WSInvalidOptionError,
    WSListener,
    serve,
    ws_create_server,
)
from picows_server.backend import HAS_AIOFASTNET
from picows_server.protocol import ServerProtocol
from tests.support.authority import Authority
from tests.support.client_hellos import hello_by_hand, hello_of_openssl, name_extension, records
from tests.support.foreign import environment
from tests.support.leaks import count_instances, eventually, leaked_since, open_descriptors
from tests.support.rawclient import RawClient
from tests.support.servers import (
    Echo,
    echo,
    needs_aiofastnet,
    quiet_logger,
    serving,
    sockname,
    tls_backends,
)

ANY_TLS_PORT = "wss://127.0.0.1:0"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def contexts(authority: Authority) -> Dict[str, ssl.SSLContext]:
    return {
        "a.example": authority.server_context("a.example"),
        "*.b.example": authority.server_context("*.b.example"),
        "*": authority.server_context("other.example"),
    }


async def connect(name: Any, context: ssl.SSLContext, server_name: Optional[str]) -> RawClient:
    reader, writer = await asyncio.open_connection(
        *name[:2], ssl=context, server_hostname=server_name or ""
    )
    return RawClient(reader, writer)


async def name_shown(name: Any, context: ssl.SSLContext, server_name: Optional[str]) -> str:
    """The name in the certificate that a client gets, after an echo."""
    async with await connect(name, context, server_name) as client:
        assert (await client.upgrade()).status == 101
        await echo(client)
        certificate = client.writer.get_extra_info("peercert")
        return str(certificate["subjectAltName"][0][1])


@tls_backends
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_names(
    backend: str,
    version: ssl.TLSVersion,
    authority: Authority,
    contexts: Dict[str, ssl.SSLContext],
) -> None:
    client = authority.client_context(checks_name=False)
    client.minimum_version = client.maximum_version = version
    async with serving(url=ANY_TLS_PORT, ssl_context=contexts, backend=backend) as server:
        assert server.backend == backend
        for sent, shown in (
            ("a.example", "a.example"),
            ("A.Example", "a.example"),
            ("x.b.example", "*.b.example"),
            ("y.x.b.example", "other.example"),
            ("b.example", "other.example"),
            (None, "other.example"),
        ):
            assert await name_shown(sockname(server), client, sent) == shown


@tls_backends
async def test_names_are_checked_by_clients(
    backend: str, authority: Authority, contexts: Dict[str, ssl.SSLContext]
) -> None:
    client = authority.client_context()
    async with serving(url=ANY_TLS_PORT, ssl_context=contexts, backend=backend) as server:
        assert await name_shown(sockname(server), client, "a.example") == "a.example"
        with pytest.raises(ssl.SSLCertVerificationError):
            await connect(sockname(server), client, "c.example")


@tls_backends
@pytest.mark.parametrize("sent", ["c.example", None])
async def test_unknown_names(
    backend: str,
    sent: Optional[str],
    authority: Authority,
    contexts: Dict[str, ssl.SSLContext],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "picows.server")
    known = {"a.example": contexts["a.example"]}
    async with serving(url=ANY_TLS_PORT, ssl_context=known, backend=backend) as server:
        with pytest.raises(ssl.SSLError, match="UNRECOGNIZED_NAME"):
            await connect(sockname(server), authority.client_context(checks_name=False), sent)
        await eventually(lambda: server.connections == 0)
    (line,) = [record for record in caplog.records if "handshake" in record.getMessage()]
    assert line.levelno == logging.INFO
    assert line.exc_info is None
    assert vars(line)["cause"] == "handshake_failure"
    assert 0 <= vars(line)["seconds"] < 60
    wanted = (
        "the client sends no server name, and ssl_context has no '*'"
        if sent is None
        else "ssl_context has no 'c.example', the server name sent"
    )
    assert line.getMessage().endswith(f": the TLS handshake failed: {wanted}")


async def answer_to(name: Any, sent: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(*name[:2])
    writer.write(sent)
    try:
        return await reader.read()
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


@tls_backends
@pytest.mark.parametrize(
    ("sent", "answer", "text"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", b"", "the peer does not speak TLS"),
        (records(b"\2\0\0\0"), b"\x15\3\3\0\2\2\x0a", "the first message is no ClientHello"),
        (
            records(hello_by_hand([name_extension(b"a\nb")])),
            b"\x15\3\3\0\2\2\x2f",
            "the server name is no host name",
        ),
    ],
)
async def test_what_is_no_client_hello(
    backend: str,
    sent: bytes,
    answer: bytes,
    text: str,
    contexts: Dict[str, ssl.SSLContext],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "picows.server")
    async with serving(url=ANY_TLS_PORT, ssl_context=contexts, backend=backend) as server:
        assert await answer_to(sockname(server), sent) == answer
        await eventually(lambda: server.connections == 0)
    assert f"the TLS handshake failed: {text}" in caplog.text


@tls_backends
async def test_a_peer_that_stops_within_its_client_hello(
    backend: str, contexts: Dict[str, ssl.SSLContext], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "picows.server")
    async with serving(
        url=ANY_TLS_PORT,
        ssl_context=contexts,
        backend=backend,
        websocket_handshake_timeout=0.1,
    ) as server:
        # What was not read makes it a reset.
        with contextlib.suppress(ConnectionResetError):
            await answer_to(sockname(server), hello_of_openssl("a.example")[:90])
        await eventually(lambda: server.pending_handshakes == 0)
    assert "is taking longer than 0.1 seconds" in caplog.text


@tls_backends
async def test_a_server_that_is_closed_meanwhile(
    backend: str, contexts: Dict[str, ssl.SSLContext]
) -> None:
    before = open_descriptors()
    async with serving(url=ANY_TLS_PORT, ssl_context=contexts, backend=backend) as server:
        name = sockname(server)
        with socket.create_connection(name) as silent, socket.create_connection(name) as half:
            half.sendall(hello_of_openssl("a.example")[:90])
            await eventually(lambda: server.pending_handshakes == 2)
            server.close()
            await server.wait_closed()
            silent.close()
    assert leaked_since(before) == []


@tls_backends
async def test_a_client_hello_in_pieces(
    backend: str, authority: Authority, contexts: Dict[str, ssl.SSLContext]
) -> None:
    """The engine gets every byte, in TCP segments of one byte."""
    loop = asyncio.get_running_loop()
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = authority.client_context().wrap_bio(incoming, outgoing, server_hostname="a.example")
    async with serving(url=ANY_TLS_PORT, ssl_context=contexts, backend=backend) as server:
        with socket.create_connection(sockname(server)) as sock:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while True:
                try:
                    tls.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    for byte in outgoing.read():
                        await loop.sock_sendall(sock, bytes([byte]))
                    incoming.write(await loop.sock_recv(sock, 65536))
            assert tls.getpeercert()["subjectAltName"] == (("DNS", "a.example"),)  # type: ignore[index]


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="no Unix sockets")
@tls_backends
async def test_unix_sockets(
    backend: str, authority: Authority, contexts: Dict[str, ssl.SSLContext], tmp_path: Path
) -> None:
    path = str(tmp_path / "s")
    async with serving(
        url="wss://a.example", unix_path=path, ssl_context=contexts, backend=backend
    ):
        reader, writer = await asyncio.open_unix_connection(
            path, ssl=authority.client_context(), server_hostname="a.example"
        )
        async with RawClient(reader, writer) as client:
            assert (await client.upgrade()).status == 101
            await echo(client)


@needs_aiofastnet
async def test_a_context_that_needs_the_loop(
    authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    """Only the clients of its name are carried by the loop."""
    modules: List[str] = []

    class Listener(WSListener):
        def on_ws_connected(self, transport: Any) -> None:
            modules.append(type(transport.underlying_transport).__module__.partition(".")[0])

    special = authority.server_context("special.example")
    special.sni_callback = lambda *_: None
    contexts = {"a.example": authority.server_context("a.example"), "special.example": special}
    client = authority.client_context()
    async with serving(Listener, ANY_TLS_PORT, ssl_context=contexts) as server:
        assert server.backend == "aiofastnet"
        for name in contexts:
            async with await connect(sockname(server), client, name) as connection:
                assert (await connection.upgrade()).status == 101
    assert modules[0] == "aiofastnet"
    assert modules[1] != "aiofastnet"
    assert caplog.text.count("sni_callback is set") == 1
    with pytest.raises(WSInvalidOptionError, match=r"ssl_context\['special.example'\]: backend="):
        await ws_create_server(ANY_TLS_PORT, Echo, ssl_context=contexts, backend="aiofastnet")


async def test_one_context_for_several_names(authority: Authority) -> None:
    """They share what carries their connections, and nothing of it is left."""
    context = authority.server_context("a.example", "b.example")
    client = authority.client_context()
    before = open_descriptors()
    async with serving(
        url=ANY_TLS_PORT, ssl_context={"a.example": context, "b.example": context}
    ) as server:
        for name in ("a.example", "b.example"):
            assert await name_shown(sockname(server), client, name) == "a.example"
        assert server.backend == ("aiofastnet" if HAS_AIOFASTNET else "loop")
    assert leaked_since(before) == []


@needs_aiofastnet
async def test_contexts_share_a_poller(contexts: Dict[str, ssl.SSLContext]) -> None:
    before = open_descriptors()
    async with serving(url=ANY_TLS_PORT, ssl_context=contexts):
        pollers = [name for name in leaked_since(before) if "eventpoll" in name]
        assert len(pollers) <= 1
    assert leaked_since(before) == []


async def test_the_mapping_is_read_once(
    authority: Authority, contexts: Dict[str, ssl.SSLContext]
) -> None:
    given = dict(contexts)
    async with serving(url=ANY_TLS_PORT, ssl_context=given) as server:
        given.clear()
        shown = await name_shown(sockname(server), authority.client_context(), "a.example")
        assert shown == "a.example"


@pytest.mark.parametrize(
    ("given", "error", "text"),
    [
        ({}, WSInvalidOptionError, "is empty"),
        ({"a b": 1}, WSInvalidOptionError, "'a b' is no host name"),
        ({"a": 1}, TypeError, r"ssl_context\['a'\] must be an ssl.SSLContext, not int"),
        ([("a", 1)], TypeError, "or a mapping of server names to them, not list"),
    ],
)
async def test_wrong_mappings(given: Any, error: Any, text: str) -> None:
    before = open_descriptors()
    with pytest.raises(error, match=text):
        await ws_create_server(ANY_TLS_PORT, Echo, ssl_context=given)
    assert leaked_since(before) == []


async def test_mappings_are_for_tls(contexts: Dict[str, ssl.SSLContext]) -> None:
    with pytest.raises(WSInvalidOptionError, match="for wss:// URLs"):
        await ws_create_server("ws://127.0.0.1:0", Echo, ssl_context=contexts)
    with pytest.raises(WSInvalidOptionError, match="carries plain sockets"):
        await ws_create_server(ANY_TLS_PORT, Echo, ssl_context=contexts, backend="stream")


async def test_serve_takes_a_mapping(
    authority: Authority, contexts: Dict[str, ssl.SSLContext]
) -> None:
    async def handler(connection: Any) -> None:
        async for message in connection:
            await connection.send(message)

    async with serve(handler, ANY_TLS_PORT, ssl_context=contexts) as server:
        shown = await name_shown(sockname(server), authority.client_context(), "a.example")
        assert shown == "a.example"


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl")
@tls_backends
@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
async def test_s_client(
    backend: str, version: str, authority: Authority, contexts: Dict[str, ssl.SSLContext]
) -> None:
    async def ask(port: int, *options: str) -> Tuple[str, int]:
        process = await asyncio.create_subprocess_exec(
            "openssl",
            *("s_client", "-connect", f"127.0.0.1:{port}", version, *options),
            env=environment(),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
        return output.decode("latin-1"), process.returncode or 0

    known = {name: context for name, context in contexts.items() if name != "*"}
    async with serving(url=ANY_TLS_PORT, ssl_context=known, backend=backend) as server:
        port = sockname(server)[1]
        shown, _ = await ask(port, "-servername", "x.b.example")
        assert "BEGIN CERTIFICATE" in shown
        for options in (["-servername", "c.example"], ["-noservername"]):
            shown, status = await ask(port, *options)
            assert "unrecognized name" in shown
            assert status != 0


def test_who_does_not_use_it_does_not_import_it(tmp_path: Path, authority: Authority) -> None:
    chain, key = authority.pair("localhost")
    program = (
        "import asyncio, sys, picows_server as p\n"
        "async def main():\n"
        f"    tls = p.create_ssl_context({str(chain)!r}, {str(key)!r})\n"
        "    async with p.ws_create_server('wss://127.0.0.1:0', p.WSListener, ssl_context=tls):\n"
        "        pass\n"
        "asyncio.run(main())\n"
        "print(*[name for name in sys.modules if name.startswith(('picows_server.sni',"
        " 'picows_server.certificates.', 'picows_server.kernel'))])\n"
    )
    output = subprocess.run(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, encoding="utf-8", check=True
    )
    assert output.stdout.split() == ["picows_server.certificates.files"]


@tls_backends
@pytest.mark.usefixtures("without_collector")
async def test_nothing_is_left_behind(
    backend: str, authority: Authority, contexts: Dict[str, ssl.SSLContext]
) -> None:
    known = {name: context for name, context in contexts.items() if name != "*"}
    client = authority.client_context(checks_name=False)
    logger = quiet_logger()
    before, protocols = open_descriptors(), count_instances(ServerProtocol)
    async with serving(
        url=ANY_TLS_PORT, ssl_context=known, backend=backend, logger_name=logger
    ) as server:
        name = sockname(server)
        assert await name_shown(name, client, "a.example") == "a.example"
        with pytest.raises(ssl.SSLError, match="UNRECOGNIZED_NAME"):
            await connect(name, client, "c.example")
        await answer_to(name, b"GET / HTTP/1.1\r\n\r\n")
        with socket.create_connection(name) as sock:
            sock.sendall(hello_of_openssl("a.example")[:90])
            await eventually(lambda: server.pending_handshakes)
        await eventually(lambda: server.connections == 0)
        await eventually(lambda: count_instances(ServerProtocol) <= protocols)
    assert leaked_since(before) == []
