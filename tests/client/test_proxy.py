"""picows_client.proxy: URLs of proxies, and what proxies do instead of a tunnel."""

from __future__ import annotations

import importlib
import socket
import ssl
import struct
import sys
from typing import Any, Callable, Tuple, Type

import pytest

from picows_client import (
    WSURL,
    WSHandshakeTimeout,
    WSInvalidMessageError,
    WSInvalidOptionError,
    WSInvalidURL,
    WSProxyError,
    ws_connect,
)
from picows_client.proxy import parse_proxy_url
from tests.client.exchange import Recorder, check_echo, serve_echo
from tests.client.proxies import (
    KINDS,
    HttpProxy,
    Socks5Proxy,
    cases,
    needs_python_socks,
    proxy_url,
)
from tests.support.rawpeer import RawConnection, raw_peer

Run = Callable[..., Any]


# The proxy's URL


@pytest.mark.parametrize(
    ("url", "expected"),
    cases(
        ("http://proxy", WSURL("http", "proxy", 80)),
        ("https://proxy", WSURL("https", "proxy", 443)),
        ("socks4://proxy", WSURL("socks4", "proxy", 1080)),
        ("SOCKS5://proxy/", WSURL("socks5", "proxy", 1080)),
        ("socks5h://a:b@[::1]:1", WSURL("socks5h", "::1", 1, "/", "", "a", "b")),
    ),
)
def test_url(url: str, expected: WSURL) -> None:
    assert parse_proxy_url(url) == expected


@pytest.mark.parametrize(
    ("url", "error_type", "reason"),
    [
        ("ws://proxy", WSInvalidURL, "socks5://"),
        ("proxy:8080", WSInvalidURL, "socks5://"),
        ("ftp://x", WSInvalidURL, "^proxy 'ftp://x' is not a valid URL of a proxy: .* http://"),
        ("http://", WSInvalidURL, "no host"),
        ("http://proxy/path", WSInvalidOptionError, "neither path nor query"),
        ("http://proxy?query", WSInvalidOptionError, "neither path nor query"),
        ("http://proxy\r\n", WSInvalidURL, "%0D"),
        ("socks4://a:b@proxy", WSInvalidOptionError, "no password"),
        (f"socks5://{'a' * 256}:b@proxy", WSInvalidOptionError, "255 bytes"),
        ("socks4://%C3%A4@proxy", WSInvalidOptionError, "ASCII"),
        ("socks5://a:%C3%A4@proxy", WSInvalidOptionError, "ASCII"),
        ("socks5://a@proxy", WSInvalidOptionError, "both user and password"),
        ("socks5://:b@proxy", WSInvalidOptionError, "both user and password"),
        (None, TypeError, "proxy must be a str, not NoneType"),
        (5, TypeError, "proxy must be a str, not int"),
    ],
)
def test_wrong_url(url: Any, error_type: Type[Exception], reason: str) -> None:
    with pytest.raises(error_type, match=reason):
        parse_proxy_url(url)


@pytest.mark.parametrize("scheme", ["socks4", "socks5"])
def test_without_python_socks(run: Run, monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    monkeypatch.setitem(sys.modules, "python_socks.async_.asyncio", None)

    def factory(url: WSURL) -> socket.socket:
        raise AssertionError("nothing is to be dialled")

    async def main() -> None:
        with pytest.raises(
            WSInvalidOptionError, match=r"pip install picows-client\[socks\] \(Python 3\.9"
        ) as caught:
            await ws_connect(
                "ws://host", Recorder, proxy=f"{scheme}://proxy", socket_factory=factory
            )
        assert isinstance(caught.value.__cause__, ImportError)

    run(main)


@needs_python_socks
def test_with_an_older_python_socks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("python_socks.__version__", "2.8.2")
    with pytest.raises(WSInvalidOptionError, match="python-socks 3 or newer"):
        parse_proxy_url("socks5://proxy")


def test_context_without_a_secure_proxy(run: Run, client_context: ssl.SSLContext) -> None:
    async def main() -> None:
        for proxy in (None, "http://proxy"):
            with pytest.raises(WSInvalidOptionError, match="https:// proxy"):
                await ws_connect(
                    "ws://host", Recorder, proxy=proxy, proxy_ssl_context=client_context
                )

    run(main)


# What goes wrong


@pytest.mark.parametrize("scheme", cases(*KINDS))
def test_unreachable_server(run: Run, scheme: str) -> None:
    async def main() -> None:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            port = unused.getsockname()[1]
            async with raw_peer(KINDS[scheme]().serve) as proxy:
                with pytest.raises(WSProxyError, match=f"no tunnel to 127.0.0.1:{port}: "):
                    await ws_connect(
                        f"ws://127.0.0.1:{port}", Recorder, proxy=proxy_url(scheme, proxy)
                    )

    run(main)


def test_unreachable_proxy(run: Run) -> None:
    async def main() -> None:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            proxy = f"http://127.0.0.1:{unused.getsockname()[1]}"
            with pytest.raises(WSProxyError, match="cannot reach the proxy") as caught:
                await ws_connect("ws://localhost", Recorder, proxy=proxy)
            assert isinstance(caught.value.__cause__, ConnectionRefusedError)

    run(main)


ANSWERS = [
    ("http", b"", "closed the connection"),
    ("http", b"HTTP/1.1 200 OK\r\n", "closed the connection"),
    ("http", b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 20000, "more than 65536 bytes"),
    ("http", b"SSH-2.0-OpenSSH\r\n\r\n", "not an HTTP response"),
    ("http", b"HTTP/2 200\r\n\r\n", "not an HTTP response"),
    ("http", b"HTTP/1.1 2000 OK\r\n\r\n", "not an HTTP response"),
    ("http", b"HTTP/1.1 407 Who Are You\r\n\r\n", "HTTP status 407 Who Are You$"),
    ("http", b"HTTP/1.1 503\r\n\r\n", "HTTP status 503$"),
    ("http", b"HTTP/1.1 503 \x1b[1mNo\0\x85\r\n\r\n", r"503 \\x1b\[1mNo\\x00\\x85$"),
    ("http", b"HTTP/1.1 503 " + b"x" * 1000 + b"\r\n\r\n", r"503 x{100}\.\.\.$"),
    ("http", b"HTTP/1.1 200 OK\r\n\r\nHTTP", "sent more bytes after its response"),
    ("socks4", b"", "closed unexpectedly"),
    ("socks4", b"\x00\x5a" + bytes(5), "closed unexpectedly"),
    ("socks4", b"\x00\x5b" + bytes(6), "rejected or failed"),
    ("socks4", b"\x00\x5c" + bytes(6), "identd"),
    ("socks4", b"\x00\x01" + bytes(6), "reply code"),
    ("socks4", b"HTTP/1.1 400", "reply version"),
    ("socks5", b"", "closed unexpectedly"),
    ("socks5", b"\x05", "closed unexpectedly"),
    ("socks5", b"\x05\xff", "authentication method"),
    ("socks5", b"\x05\x02", "authentication method"),
    ("socks5", b"\x04\x00", "version number"),
    ("socks5", b"\x05\x00", "closed unexpectedly"),
    ("socks5", b"\x05\x00\x04\x00\x00\x01" + bytes(6), "version number"),
    ("socks5", b"\x05\x00\x05\x02\x00\x01" + bytes(6), "not allowed"),
    ("socks5", b"\x05\x00\x05\x63\x00\x01" + bytes(6), "reply code"),
    ("socks5", b"\x05\x00\x05\x00\x00\x05", "address type"),
    ("socks5", b"\x05\x00\x05\x00\x00\x03\x01\xff" + bytes(2), "decode"),
    ("socks5", b"\x05\x00\x05\x00\x00\x01" + bytes(5), "closed unexpectedly"),
]


@pytest.mark.parametrize(("scheme", "answer", "reason"), cases(*ANSWERS))
def test_wrong_answers(run: Run, scheme: str, answer: bytes, reason: str) -> None:
    async def serve(peer: RawConnection) -> None:
        await peer.reader.read(1)
        peer.writer.write(answer)

    async def main() -> None:
        async with raw_peer(serve) as proxy:
            url = proxy_url(scheme, proxy)
            with pytest.raises(WSProxyError, match=reason) as caught:
                await ws_connect("ws://localhost", Recorder, proxy=url)
            assert str(caught.value).startswith(f"proxy {url} opened no tunnel to localhost:80: ")
            assert caught.value.__cause__ is not None

    run(main)


@pytest.mark.parametrize("in_pieces", [False, True])
@pytest.mark.parametrize(
    ("head", "body", "expected", "goes_on"),
    [
        (b"Content-Length: 5\r\n", b"Busy.", b"Busy.", True),
        (b"Transfer-Encoding: chunked\r\n", b"3\r\nBus\r\n2\r\ny.\r\n0\r\n\r\n", b"Busy.", True),
        (b"", b"Busy.", b"Busy.", False),
        (b"Content-Length: 100000\r\n", b"Busy.", b"Busy.", False),
        (b"", b"x" * 100_000, b"x" * 65536, True),
    ],
)
def test_what_a_proxy_says(
    run: Run, head: bytes, body: bytes, expected: bytes, goes_on: bool, in_pieces: bool
) -> None:
    """A refusal's status, headers and body; of an endless body what is bearable."""

    async def serve(peer: RawConnection) -> None:
        await peer.read_request()
        answer = b"HTTP/1.1 503 Later\r\nRetry-After: 7\r\n" + head + b"\r\n" + body
        size = 10_000 if in_pieces and len(answer) > 10_000 else 1 if in_pieces else len(answer)
        for start in range(0, len(answer), size):
            peer.writer.write(answer[start : start + size])
            await peer.writer.drain()
        if goes_on:
            await peer.reader.read()

    async def main() -> None:
        async with raw_peer(serve) as proxy:
            with pytest.raises(WSProxyError, match=r"HTTP status 503 Later$") as caught:
                await ws_connect("ws://localhost", Recorder, proxy=proxy_url("http", proxy))
        error = caught.value
        assert error.status == 503
        assert error.headers is not None
        assert error.headers["retry-after"] == "7"
        assert error.body == expected

    run(main)


def test_a_body_that_never_ends_hides_no_status(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("picows_client.proxy._BODY_TIMEOUT", 0.05)

    async def serve(peer: RawConnection) -> None:
        await peer.read_request()
        peer.writer.write(b"HTTP/1.1 407 Who\r\nContent-Length: 100\r\n\r\nA name")
        await peer.reader.read()

    async def main() -> None:
        async with raw_peer(serve) as proxy:
            with pytest.raises(WSProxyError) as caught:
                await ws_connect("ws://localhost", Recorder, proxy=proxy_url("http", proxy))
        assert (caught.value.status, caught.value.body) == (407, b"A name")

    run(main)


@pytest.mark.parametrize("scheme", cases("http", "socks4", "socks5"))
def test_connection_to_the_proxy_breaks(run: Run, scheme: str) -> None:
    async def reset(peer: RawConnection) -> None:
        await peer.reader.read(1)
        sock = peer.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.writer.transport.abort()

    async def main() -> None:
        async with raw_peer(reset) as proxy:
            with pytest.raises(WSProxyError, match=r"no tunnel to localhost:80: .*reset") as caught:
                await ws_connect("ws://localhost", Recorder, proxy=proxy_url(scheme, proxy))
            assert isinstance(caught.value.__cause__, ConnectionResetError)

    run(main)


@needs_python_socks
def test_the_systems_timeout(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """python-socks takes it for its own; the reason is to be the system's."""
    python_socks = importlib.import_module("python_socks")
    python_socks_asyncio = importlib.import_module("python_socks.async_.asyncio")

    async def connect(*arguments: Any, timeout: float) -> socket.socket:
        assert timeout > 365 * 86400
        raise python_socks.ProxyTimeoutError(f"{timeout}") from TimeoutError("no route")

    monkeypatch.setattr(python_socks_asyncio.Proxy, "connect", connect)

    async def main() -> None:
        async with raw_peer(RawConnection.read_to_end) as proxy:
            with pytest.raises(WSProxyError, match=r"no tunnel to localhost:80: no route$"):
                await ws_connect("ws://localhost", Recorder, proxy=proxy_url("socks5", proxy))

    run(main)


def test_interim_answers_are_skipped(run: Run) -> None:
    class Talkative(HttpProxy):
        async def greet(self, client: RawConnection) -> Any:
            client.writer.write(b"HTTP/1.1 103 Early Hints\r\nX: y\r\n\r\n")
            return await super().greet(client)

    async def main() -> None:
        async with raw_peer(serve_echo) as server, raw_peer(Talkative().serve) as proxy:
            await check_echo(
                *await ws_connect(server.url(), Recorder, proxy=proxy_url("http", proxy))
            )

    run(main)


@needs_python_socks
def test_refused_password(run: Run) -> None:
    async def main() -> None:
        async with raw_peer(Socks5Proxy(secret="me:mine").serve) as proxy:
            url = proxy_url("socks5", proxy, "me:wrong@")
            with pytest.raises(WSProxyError, match="authentication failure"):
                await ws_connect("ws://localhost", Recorder, proxy=url)

    run(main)


def test_tls_proxy_with_an_unknown_certificate(run: Run, server_context: ssl.SSLContext) -> None:
    async def main() -> None:
        async with raw_peer(HttpProxy().serve, context=server_context) as proxy:
            with pytest.raises(WSProxyError, match="no TLS with the proxy") as caught:
                await ws_connect("ws://localhost", Recorder, proxy=proxy_url("https", proxy))
            assert isinstance(caught.value.__cause__, ssl.SSLCertVerificationError)

    run(main)


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 502 No\r\n\r\n"])
def test_tls_proxy_refuses(
    run: Run, answer: bytes, server_context: ssl.SSLContext, client_context: ssl.SSLContext
) -> None:
    async def serve(peer: RawConnection) -> None:
        await peer.read_request()
        peer.writer.write(answer)

    async def main() -> None:
        async with raw_peer(serve, context=server_context) as proxy:
            with pytest.raises(WSProxyError, match="opened no tunnel to localhost:80") as caught:
                await ws_connect(
                    "ws://localhost",
                    Recorder,
                    proxy=proxy_url("https", proxy),
                    proxy_ssl_context=client_context,
                )
        assert (caught.value.status, caught.value.body) == ((502, b"") if answer else (None, None))

    run(main)


@pytest.mark.parametrize("secure", [False, True])
def test_tls_proxy_leaves_after_its_answer(
    run: Run,
    loop_kind: str,
    secure: bool,
    server_context: ssl.SSLContext,
    client_context: ssl.SSLContext,
) -> None:
    if secure and loop_kind == "asyncio" and sys.version_info < (3, 9):
        pytest.skip("no TLS inside TLS on asyncio there: see test_tls_through_a_tls_proxy")

    async def serve(peer: RawConnection) -> None:
        await peer.read_request()
        peer.writer.write(b"HTTP/1.1 200 Go\r\n\r\n")

    async def main() -> None:
        async with raw_peer(serve, context=server_context) as proxy:
            with pytest.raises((OSError, WSInvalidMessageError)) as caught:
                await ws_connect(
                    "wss://localhost" if secure else "ws://localhost",
                    Recorder,
                    ssl_context=client_context,
                    proxy=proxy_url("https", proxy),
                    proxy_ssl_context=client_context,
                    websocket_handshake_timeout=20,
                )
            assert not isinstance(caught.value, WSHandshakeTimeout)

    run(main)


@pytest.mark.parametrize("scheme", cases("http", "socks4", "socks5", "https"))
def test_silent_proxy(
    run: Run, scheme: str, server_context: ssl.SSLContext, client_context: ssl.SSLContext
) -> None:
    context, options = (None, {})
    if scheme == "https":
        context, options = server_context, {"proxy_ssl_context": client_context}  # type: ignore[assignment]

    async def main() -> None:
        async with raw_peer(RawConnection.read_to_end, context=context) as proxy:
            with pytest.raises(WSHandshakeTimeout):
                await ws_connect(
                    "ws://localhost",
                    Recorder,
                    proxy=proxy_url(scheme, proxy),
                    websocket_handshake_timeout=0.1,
                    **options,
                )

    run(main)


def test_server_behind_the_proxy_leaves(run: Run) -> None:
    async def leave(peer: RawConnection) -> Tuple[()]:
        await peer.read_request()
        return ()

    async def main() -> None:
        async with raw_peer(leave) as server, raw_peer(HttpProxy().serve) as proxy:
            with pytest.raises(WSInvalidMessageError, match="closed before the response"):
                await ws_connect(server.url(), Recorder, proxy=proxy_url("http", proxy))

    run(main)
