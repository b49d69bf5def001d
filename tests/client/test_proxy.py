"""picows_client.proxy and .tunnel: connections through proxies, and what proxies do instead."""

from __future__ import annotations

import base64
import socket
import ssl
import sys
from typing import Any, Callable, Dict, Tuple, Type

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
from tests.client.proxies import HttpProxy, Proxy, Socks4Proxy, Socks5Proxy
from tests.support.rawpeer import RawConnection, RawPeer, raw_peer

Run = Callable[..., Any]

KINDS: Dict[str, Type[Proxy]] = {
    "http": HttpProxy,
    "socks4": Socks4Proxy,
    "socks4a": Socks4Proxy,
    "socks5": Socks5Proxy,
    "socks5h": Socks5Proxy,
}
BACKENDS = ("auto", "aiofastnet", "loop")


def proxy_url(scheme: str, peer: RawPeer, user: str = "") -> str:
    return f"{scheme}://{user}127.0.0.1:{peer.port}"


# The proxy's URL


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://proxy", WSURL("http", "proxy", 80)),
        ("https://proxy", WSURL("https", "proxy", 443)),
        ("socks4://proxy", WSURL("socks4", "proxy", 1080)),
        ("SOCKS5://proxy/", WSURL("socks5", "proxy", 1080)),
        ("socks5h://a:b@[::1]:1", WSURL("socks5h", "::1", 1, "/", "", "a", "b")),
    ],
)
def test_url(url: str, expected: WSURL) -> None:
    assert parse_proxy_url(url) == expected


@pytest.mark.parametrize(
    ("url", "error_type", "reason"),
    [
        ("ws://proxy", WSInvalidURL, "socks5://"),
        ("proxy:8080", WSInvalidURL, "socks5://"),
        ("http://", WSInvalidURL, "no host"),
        ("http://proxy/path", WSInvalidOptionError, "neither path nor query"),
        ("http://proxy?query", WSInvalidOptionError, "neither path nor query"),
        ("http://proxy\r\n", WSInvalidURL, "%0D"),
        ("socks4://a:b@proxy", WSInvalidOptionError, "no password"),
        (f"socks5://{'a' * 256}:b@proxy", WSInvalidOptionError, "255 bytes"),
        (f"socks5://a:{'%C3%A4' * 128}@proxy", WSInvalidOptionError, "255 bytes"),
        (None, TypeError, "must be a str"),
    ],
)
def test_wrong_url(url: Any, error_type: Type[Exception], reason: str) -> None:
    with pytest.raises(error_type, match=reason):
        parse_proxy_url(url)


def test_context_without_a_secure_proxy(run: Run, client_context: ssl.SSLContext) -> None:
    async def main() -> None:
        for proxy in (None, "http://proxy"):
            with pytest.raises(WSInvalidOptionError, match="https:// proxy"):
                await ws_connect(
                    "ws://host", Recorder, proxy=proxy, proxy_ssl_context=client_context
                )

    run(main)


# Tunnels


@pytest.mark.parametrize("in_pieces", [False, True])
@pytest.mark.parametrize("scheme", KINDS)
def test_plain(run: Run, scheme: str, in_pieces: bool) -> None:
    async def main() -> None:
        script = KINDS[scheme]({"server.example": "127.0.0.1"}, in_pieces=in_pieces)
        async with raw_peer(serve_echo) as server, raw_peer(script.serve) as proxy:
            for host in ("127.0.0.1", "server.example"):
                transport, listener = await ws_connect(
                    server.url(host=host), Recorder, proxy=proxy_url(scheme, proxy)
                )
                assert not transport.is_secure
                name = type(transport.underlying_transport).__name__
                assert name == "StreamTransport"
                await check_echo(transport, listener)
        # Names are the proxy's to resolve.
        assert script.asked == [("127.0.0.1", server.port), ("server.example", server.port)]
        assert server.results[1].header("Host") == f"server.example:{server.port}"

    run(main)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("scheme", ["http", "socks4", "socks5"])
def test_tls(
    run: Run,
    scheme: str,
    backend: str,
    server_context: ssl.SSLContext,
    client_context: ssl.SSLContext,
) -> None:
    if backend == "aiofastnet":
        pytest.importorskip("aiofastnet")

    async def main() -> None:
        script = KINDS[scheme]({"localhost": "127.0.0.1"})
        async with raw_peer(serve_echo, context=server_context) as server, raw_peer(
            script.serve
        ) as proxy:
            transport, listener = await ws_connect(
                server.url(host="localhost"),
                Recorder,
                proxy=proxy_url(scheme, proxy),
                ssl_context=client_context,
                backend=backend,
            )
            assert transport.is_secure
            await check_echo(transport, listener)

    run(main)


@pytest.mark.parametrize("backend", BACKENDS)
def test_plain_through_a_tls_proxy(
    run: Run, backend: str, server_context: ssl.SSLContext, client_context: ssl.SSLContext
) -> None:
    if backend == "aiofastnet":
        pytest.importorskip("aiofastnet")

    async def main() -> None:
        script = HttpProxy()
        async with raw_peer(serve_echo) as server, raw_peer(
            script.serve, context=server_context
        ) as proxy:
            await check_echo(
                *await ws_connect(
                    server.url(),
                    Recorder,
                    proxy=proxy_url("https", proxy),
                    proxy_ssl_context=client_context,
                    backend=backend,
                )
            )

    run(main)


@pytest.mark.parametrize("backend", BACKENDS)
def test_tls_through_a_tls_proxy(
    run: Run,
    loop_kind: str,
    backend: str,
    server_context: ssl.SSLContext,
    client_context: ssl.SSLContext,
) -> None:
    if backend == "aiofastnet":
        pytest.importorskip("aiofastnet")
    has_fastnet = backend != "loop" and sys.version_info >= (3, 9)
    is_possible = has_fastnet or loop_kind == "uvloop" or sys.version_info >= (3, 11)

    async def main() -> None:
        script = HttpProxy()
        async with raw_peer(serve_echo, context=server_context) as server, raw_peer(
            script.serve, context=server_context
        ) as proxy:
            connecting = ws_connect(
                server.url(),
                Recorder,
                ssl_context=client_context,
                proxy=proxy_url("https", proxy),
                proxy_ssl_context=client_context,
                backend=backend,
            )
            if is_possible:
                await check_echo(*await connecting)
            else:
                with pytest.raises(WSInvalidOptionError, match="TLS inside TLS"):
                    await connecting

    run(main)


def test_ipv6_server(run: Run) -> None:
    async def main() -> None:
        async with raw_peer(serve_echo, host="::1") as server:
            for scheme in ("http", "socks5"):
                script = KINDS[scheme]()
                async with raw_peer(script.serve) as proxy:
                    await check_echo(
                        *await ws_connect(
                            server.url(host="[::1]"), Recorder, proxy=proxy_url(scheme, proxy)
                        )
                    )
                assert script.asked == [("::1", server.port)]

    run(main)


def test_ipv6_server_with_socks4(run: Run) -> None:
    async def main() -> None:
        async with raw_peer(Socks4Proxy().serve) as proxy:
            with pytest.raises(WSProxyError, match="no IPv6"):
                await ws_connect("ws://[::1]", Recorder, proxy=proxy_url("socks4", proxy))

    run(main)


def test_http_request(run: Run) -> None:
    async def main() -> None:
        script = HttpProxy()
        async with raw_peer(serve_echo) as server, raw_peer(script.serve) as proxy:
            await check_echo(
                *await ws_connect(
                    server.url("/path?query"),
                    Recorder,
                    extra_headers={"X-Secret": "for the server"},
                    proxy=proxy_url("http", proxy),
                )
            )
        (request,) = script.requests
        assert request.line == f"CONNECT 127.0.0.1:{server.port} HTTP/1.1"
        assert request.headers == {"host": [f"127.0.0.1:{server.port}"]}

    run(main)


@pytest.mark.parametrize(
    ("scheme", "user", "secret"),
    [
        ("http", "me:m%C3%A4@", "Basic " + base64.b64encode("me:mä".encode()).decode()),
        ("socks4", "me@", "me"),
        ("socks5", "me:m%C3%A4@", "me:mä"),
    ],
)
def test_credentials(run: Run, scheme: str, user: str, secret: str) -> None:
    async def main() -> None:
        script = KINDS[scheme](secret=secret)
        async with raw_peer(serve_echo) as server, raw_peer(script.serve) as proxy:
            url = proxy_url(scheme, proxy, user)
            await check_echo(*await ws_connect(server.url(), Recorder, proxy=url))
            for wrong in ("", "you@"):
                with pytest.raises(WSProxyError, match="opened no tunnel") as caught:
                    await ws_connect(server.url(), Recorder, proxy=proxy_url(scheme, proxy, wrong))
                assert secret not in str(caught.value)
        assert script.asked == [("127.0.0.1", server.port)]
        assert server.results[0].header("Proxy-Authorization") is None

    run(main)


def test_socket_factory_dials_the_proxy(run: Run) -> None:
    async def main() -> None:
        script = Socks5Proxy({"server.example": "127.0.0.1"})
        async with raw_peer(serve_echo) as server, raw_peer(script.serve) as proxy:

            def factory(url: WSURL) -> socket.socket:
                assert url == WSURL("socks5", "proxy.example", 1080)
                return socket.create_connection(("127.0.0.1", proxy.port))

            await check_echo(
                *await ws_connect(
                    server.url(host="server.example"),
                    Recorder,
                    proxy="socks5://proxy.example",
                    socket_factory=factory,
                )
            )

    run(main)


def test_redirect_through_the_proxy(run: Run) -> None:
    async def main() -> None:
        script = HttpProxy()
        async with raw_peer(serve_echo) as server:

            async def redirect(peer: RawConnection) -> None:
                await peer.redirect(server.url("/new"))

            async with raw_peer(redirect) as first, raw_peer(script.serve) as proxy:
                transport, listener = await ws_connect(
                    first.url(), Recorder, proxy=proxy_url("http", proxy)
                )
                await check_echo(transport, listener)
        assert script.asked == [("127.0.0.1", first.port), ("127.0.0.1", server.port)]

    run(main)


@pytest.mark.parametrize("bound", [b"\x04" + bytes(18), b"\x03\x04name" + bytes(2)])
def test_addresses_in_socks5_answers(run: Run, bound: bytes) -> None:
    async def main() -> None:
        script = Socks5Proxy()
        script.bound = bound
        async with raw_peer(serve_echo) as server, raw_peer(script.serve) as proxy:
            await check_echo(
                *await ws_connect(server.url(), Recorder, proxy=proxy_url("socks5", proxy))
            )

    run(main)


# What goes wrong


@pytest.mark.parametrize("scheme", KINDS)
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
    ("http", b"SSH-2.0-OpenSSH\r\n\r\n", "not an HTTP answer"),
    ("http", b"HTTP/2 200\r\n\r\n", "not an HTTP answer"),
    ("http", b"HTTP/1.1 2000 OK\r\n\r\n", "not an HTTP answer"),
    ("http", b"HTTP/1.1 407 Who Are You\r\n\r\n", "HTTP status 407 Who Are You$"),
    ("http", b"HTTP/1.1 503\r\n\r\n", "HTTP status 503$"),
    ("http", b"HTTP/1.1 200 OK\r\n\r\nHTTP", "went on talking"),
    ("socks4", b"", "closed the connection"),
    ("socks4", b"\x00\x5a" + bytes(5), "closed the connection"),
    ("socks4", b"\x00\x5b" + bytes(6), "rejected or failed"),
    ("socks4", b"\x00\x5c" + bytes(6), "identd"),
    ("socks4", b"\x00\x01" + bytes(6), "SOCKS4 code 1$"),
    ("socks4", b"\x00\x5a" + bytes(7), "went on talking"),
    ("socks4", b"HTTP/1.1 400", "not a SOCKS4 answer"),
    ("socks5", b"", "closed the connection"),
    ("socks5", b"\x05", "closed the connection"),
    ("socks5", b"\x05\xff", "wants authentication"),
    ("socks5", b"\x05\x02", "wants authentication"),
    ("socks5", b"\x04\x00", "not a SOCKS5 answer"),
    ("socks5", b"\x05\x00", "closed the connection"),
    ("socks5", b"\x05\x00\x04\x00\x00\x01" + bytes(6), "not a SOCKS5 answer"),
    ("socks5", b"\x05\x00\x05\x02\x00\x01" + bytes(6), "not allowed by its rules"),
    ("socks5", b"\x05\x00\x05\x63\x00\x01" + bytes(6), "SOCKS5 code 99"),
    ("socks5", b"\x05\x00\x05\x00\x00\x05", "unknown type 5"),
    ("socks5", b"\x05\x00\x05\x00\x00\x01" + bytes(5), "closed the connection"),
    ("socks5", b"\x05\x00\x05\x00\x00\x01" + bytes(7), "went on talking"),
]


@pytest.mark.parametrize(("scheme", "answer", "reason"), ANSWERS)
def test_wrong_answers(run: Run, scheme: str, answer: bytes, reason: str) -> None:
    async def serve(peer: RawConnection) -> None:
        await peer.reader.read(1)
        peer.writer.write(answer)

    async def main() -> None:
        async with raw_peer(serve) as proxy:
            with pytest.raises(WSProxyError, match=reason):
                await ws_connect("ws://localhost", Recorder, proxy=proxy_url(scheme, proxy))

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


def test_refused_password(run: Run) -> None:
    async def main() -> None:
        async with raw_peer(Socks5Proxy(secret="me:mine").serve) as proxy:
            url = proxy_url("socks5", proxy, "me:wrong@")
            with pytest.raises(WSProxyError, match="does not accept user and password"):
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
            with pytest.raises(WSProxyError, match=r"opened no tunnel to localhost:80"):
                await ws_connect(
                    "ws://localhost",
                    Recorder,
                    proxy=proxy_url("https", proxy),
                    proxy_ssl_context=client_context,
                )

    run(main)


@pytest.mark.parametrize("secure", [False, True])
def test_tls_proxy_leaves_after_its_answer(
    run: Run, secure: bool, server_context: ssl.SSLContext, client_context: ssl.SSLContext
) -> None:
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

    # aiofastnet 1.2 reports an end of the connection there, besides raising it.
    run(main, tolerated="SSL handshake failed")


@pytest.mark.parametrize("scheme", ["http", "socks4", "socks5", "https"])
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
