"""TLS handshakes of a client that fail: errors name the server, in the same words everywhere."""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import socket
import ssl
import struct
import sys
from pathlib import Path
from typing import Any, Callable, Dict, Optional, Tuple, Type

import pytest

from picows_client import WSInvalidMessageError, WSProxyError, ws_connect
from tests.client.exchange import Recorder, serve_echo
from tests.client.proxies import HttpProxy
from tests.support.certificates import import_trustme
from tests.support.rawpeer import RawConnection, RawPeer, raw_peer

Run = Callable[..., Any]

BACKENDS = ("auto", "aiofastnet", "loop")
backends = pytest.mark.parametrize("backend", BACKENDS)

CLOSED = "the peer closed the connection"
NOT_TLS = "the peer does not speak TLS"


@pytest.fixture(autouse=True)
def _skip_without(request: pytest.FixtureRequest) -> None:
    if "backend" in request.fixturenames and request.getfixturevalue("backend") == "aiofastnet":
        pytest.importorskip("aiofastnet")


def text(peer: RawPeer, reason: str, expected: str = "localhost") -> str:
    handshake = f"the TLS handshake with localhost:{peer.port} (expected name '{expected}')"
    return f"{handshake} failed: {reason}"


async def failure(peer: RawPeer, context: ssl.SSLContext, **options: Any) -> Any:
    """What an attempt to connect raises, checked to be the same whoever looks at it."""
    with pytest.raises(OSError) as caught:  # noqa: PT011
        await ws_connect(
            f"wss://localhost:{peer.port}",
            Recorder,
            ssl_context=context,
            family=socket.AF_INET,
            **options,
        )
    return caught.value


def without_errno(error: OSError) -> str:
    return str(error).partition("] ")[2] if str(error).startswith("[Errno") else str(error)


@backends
def test_certificates(
    run: Run,
    backend: str,
    server_context: ssl.SSLContext,
    client_context: ssl.SSLContext,
) -> None:
    stranger = ssl.create_default_context(cadata=import_trustme().CA().cert_pem.bytes().decode())
    cases: Tuple[Tuple[ssl.SSLContext, str, int, str], ...] = (
        (stranger, "localhost", 20, "unable to get local issuer certificate"),
        (
            client_context,
            "other.example",
            62,
            "Hostname mismatch, certificate is not valid for 'other.example'.",
        ),
        (
            client_context,
            "127.0.0.9",
            64,
            "IP address mismatch, certificate is not valid for '127.0.0.9'.",
        ),
        (
            client_context,
            "b\u00fccher.example",
            62,
            "Hostname mismatch, certificate is not valid for 'xn--bcher-kva.example'.",
        ),
    )

    async def main() -> None:
        async with raw_peer(serve_echo, context=server_context) as peer:
            for context, name, code, message in cases:
                error = await failure(peer, context, server_hostname=name, backend=backend)
                expected = name.encode("idna").decode()
                assert type(error) is ssl.SSLCertVerificationError
                assert str(error) == text(peer, f"certificate verify failed: {message}", expected)
                assert (error.verify_code, error.verify_message) == (code, message)
                assert (error.reason, error.library) == ("CERTIFICATE_VERIFY_FAILED", "SSL")
                assert error.errno == ssl.SSL_ERROR_SSL
                assert error.args == (error.errno, str(error))

    run(main)


@backends
def test_expired_certificate(run: Run, backend: str, tmp_path: Path) -> None:
    authority = import_trustme().CA()
    long_ago = dt.datetime(2020, 1, 1, tzinfo=dt.timezone.utc)
    leaf = authority.issue_cert("localhost", not_after=long_ago)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    leaf.configure_cert(server)
    client = ssl.create_default_context(cadata=authority.cert_pem.bytes().decode())

    async def main() -> None:
        async with raw_peer(serve_echo, context=server) as peer:
            error = await failure(peer, client, backend=backend)
            assert type(error) is ssl.SSLCertVerificationError
            reason = "certificate verify failed: certificate has expired"
            assert str(error) == text(peer, reason)

    run(main)


def alert(description: int) -> bytes:
    """A fatal TLS alert (RFC 8446, 6)."""
    return b"\x15\x03\x03\x00\x02\x02" + bytes([description])


@backends
@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        pytest.param(alert(70), "tlsv1 alert protocol version", id="version"),
        pytest.param(alert(40), "sslv3 alert handshake failure", id="cipher"),
        pytest.param(alert(112), "tlsv1 unrecognized name", id="name"),
        pytest.param(b"HTTP/1.1 400 Bad\r\n\r\n", NOT_TLS, id="plain"),
        pytest.param(b"SSH-2.0-OpenSSH_9.2\r\n", NOT_TLS, id="ssh"),
    ],
)
def test_answers(
    run: Run, backend: str, answer: bytes, reason: str, client_context: ssl.SSLContext
) -> None:
    async def serve(peer: RawConnection) -> None:
        await peer.reader.read(1)
        peer.writer.write(answer)

    async def main() -> None:
        async with raw_peer(serve) as peer:
            error = await failure(peer, client_context, backend=backend)
            assert type(error) is ssl.SSLError
            if reason != NOT_TLS:
                assert str(error) == text(peer, reason)
            else:
                assert str(error).endswith(f": {NOT_TLS}")
                assert str(error).startswith(text(peer, ""))
            assert error.library == "SSL"
            assert error.reason

    run(main)


def test_the_same_words_on_every_backend(run: Run, client_context: ssl.SSLContext) -> None:
    pytest.importorskip("aiofastnet")

    async def serve(peer: RawConnection) -> None:
        await peer.reader.read(1)
        peer.writer.write(b"HTTP/1.1 400 Bad\r\n\r\n")

    async def main() -> None:
        async with raw_peer(serve) as peer:
            texts = {str(await failure(peer, client_context, backend=name)) for name in BACKENDS}
            assert len(texts) == 1

    run(main)


def reset(peer: RawConnection) -> None:
    sock: socket.socket = peer.writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.writer.transport.abort()


def leave(peer: RawConnection) -> None:
    peer.writer.close()


@backends
@pytest.mark.parametrize("end", [reset, leave])
@pytest.mark.parametrize("when", ["at once", "after the hello", "within an answer"])
def test_a_server_that_hangs_up(
    run: Run,
    backend: str,
    end: Callable[[RawConnection], None],
    when: str,
    client_context: ssl.SSLContext,
    capfd: pytest.CaptureFixture[str],
) -> None:
    async def serve(peer: RawConnection) -> None:
        if when != "at once":
            await peer.reader.read(1)
        if when == "within an answer":
            peer.writer.write(b"\x16\x03\x03\x01\x00\x02\x00")
            await asyncio.sleep(0.01)
        end(peer)

    async def main() -> None:
        async with raw_peer(serve) as peer:
            for _ in range(3):
                error = await failure(peer, client_context, backend=backend)
                assert without_errno(error) == text(peer, CLOSED)
                assert isinstance(error, (ConnectionResetError, BrokenPipeError))

    # The runner of these tests sees to it that the loop's exception handler is not called.
    run(main)
    assert capfd.readouterr().err == ""


@backends
def test_nothing_is_printed(
    backend: str, loop_kind: str, client_context: ssl.SSLContext, capfd: pytest.CaptureFixture[str]
) -> None:
    """With the loop's own exception handler, which logs."""
    from tests.support.loops import new_loop  # noqa: PLC0415

    async def serve(peer: RawConnection) -> None:
        await peer.reader.read(1)

    async def main() -> None:
        async with raw_peer(serve) as peer:
            error = await failure(peer, client_context, backend=backend)
            assert without_errno(error) == text(peer, CLOSED)

    handler = logging.StreamHandler(sys.stderr)
    logging.getLogger("asyncio").addHandler(handler)
    loop = new_loop(loop_kind)
    try:
        loop.run_until_complete(main())
    finally:
        loop.close()
        logging.getLogger("asyncio").removeHandler(handler)
    assert capfd.readouterr().err == ""


def through(proxy: RawPeer) -> str:
    return f"https://localhost:{proxy.port}"


@backends
def test_servers_behind_a_tls_proxy(
    run: Run,
    backend: str,
    loop_kind: str,
    server_context: ssl.SSLContext,
    client_context: ssl.SSLContext,
) -> None:
    if loop_kind == "asyncio" and (backend == "loop" or sys.version_info < (3, 9)):
        pytest.skip("asyncio reports a failure inside TLS to its exception handler, if it has that")
    options: Dict[str, Any] = {"backend": backend, "proxy_ssl_context": client_context}

    async def hang_up(peer: RawConnection) -> None:
        await peer.reader.read(1)

    async def main() -> None:
        async with raw_peer(HttpProxy().serve, context=server_context) as proxy:
            options["proxy"] = through(proxy)
            async with raw_peer(serve_echo, context=server_context) as peer:
                error = await failure(
                    peer, client_context, server_hostname="other.example", **options
                )
                assert type(error) is ssl.SSLCertVerificationError
                message = "Hostname mismatch, certificate is not valid for 'other.example'."
                assert str(error) == text(
                    peer, f"certificate verify failed: {message}", "other.example"
                )
            async with raw_peer(hang_up) as peer:
                error = await failure(peer, client_context, **options)
                assert without_errno(error) == text(peer, CLOSED)

    run(main)


@backends
@pytest.mark.parametrize("answer", [None, b"HTTP/1.1 400 Bad\r\n\r\n"])
def test_tls_with_the_proxy(
    run: Run,
    backend: str,
    answer: Optional[bytes],
    client_context: ssl.SSLContext,
) -> None:
    async def serve(peer: RawConnection) -> None:
        await peer.reader.read(1)
        peer.writer.write(answer or b"")

    async def main() -> None:
        async with raw_peer(serve) as proxy:
            with pytest.raises(WSProxyError) as caught:
                await ws_connect(
                    "ws://localhost",
                    Recorder,
                    proxy=through(proxy),
                    proxy_ssl_context=client_context,
                    backend=backend,
                    family=socket.AF_INET,
                )
            kind: Type[OSError] = ConnectionResetError if answer is None else ssl.SSLError
            assert type(caught.value.__cause__) is kind
            reason = CLOSED if answer is None else NOT_TLS
            assert text(proxy, "") in str(caught.value)
            assert str(caught.value).endswith(reason)

    run(main)


@pytest.mark.parametrize("backend", ["auto", "stream", "aiofastnet", "loop"])
@pytest.mark.parametrize("answer", [b"", alert(10)])
def test_plain_requests_to_a_tls_port(run: Run, backend: str, answer: bytes) -> None:
    async def serve(peer: RawConnection) -> None:
        await peer.read_request()
        peer.writer.write(answer)

    async def main() -> None:
        async with raw_peer(serve) as peer:
            with pytest.raises(WSInvalidMessageError) as caught:
                await ws_connect(peer.url(), Recorder, backend=backend)
            if answer:
                assert "TLS came where plain HTTP was expected" in str(caught.value)
            else:
                hint = f"(does 127.0.0.1:{peer.port} want TLS? Then use wss://)"
                assert str(caught.value).endswith(hint)

    run(main)
