"""picows_client.tunnel: connections through proxies."""

from __future__ import annotations

import base64
import socket
import ssl
import sys
from pathlib import Path
from typing import Any, Callable, Dict, Optional

import pytest

from picows_client import (
    WSURL,
    WSInvalidOptionError,
    WSInvalidStatusError,
    WSProxyError,
    ws_connect,
)
from picows_client.connecting import USER_AGENT
from tests.client.exchange import Recorder, check_echo, serve_echo, tls_choices
from tests.client.proxies import (
    KINDS,
    HttpProxy,
    Socks5Proxy,
    cases,
    needs_python_socks,
    proxy_url,
)
from tests.support.certificates import Certificates
from tests.support.rawpeer import RawConnection, raw_peer

Run = Callable[..., Any]


# Tunnels


@pytest.mark.parametrize("in_pieces", [False, True])
@pytest.mark.parametrize("scheme", cases(*KINDS))
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


@tls_choices
@pytest.mark.parametrize("scheme", cases("http", "socks4", "socks5"))
def test_tls(
    run: Run,
    scheme: str,
    backend: str,
    server_context: ssl.SSLContext,
    client_context: ssl.SSLContext,
) -> None:
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


@tls_choices
def test_plain_through_a_tls_proxy(
    run: Run, backend: str, server_context: ssl.SSLContext, client_context: ssl.SSLContext
) -> None:
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


@tls_choices
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


@pytest.mark.parametrize("is_proxys", [False, True])
def test_contexts_that_aiofastnet_cannot_carry(
    run: Run,
    loop_kind: str,
    is_proxys: bool,
    server_context: ssl.SSLContext,
    client_context: ssl.SSLContext,
    certificates: Certificates,
    tmp_path: Path,
) -> None:
    pytest.importorskip("aiofastnet")
    if loop_kind == "asyncio" and sys.version_info < (3, 11):
        pytest.skip("no TLS inside TLS on asyncio there")
    keylog = certificates.client_context()
    keylog.keylog_filename = str(tmp_path / "keys.log")
    contexts = [client_context, keylog] if is_proxys else [keylog, client_context]

    async def main() -> None:
        script = HttpProxy()
        async with raw_peer(serve_echo, context=server_context) as server, raw_peer(
            script.serve, context=server_context
        ) as proxy:
            options: Any = {
                "ssl_context": contexts[0],
                "proxy": proxy_url("https", proxy),
                "proxy_ssl_context": contexts[1],
            }
            await check_echo(*await ws_connect(server.url(), Recorder, **options))
            with pytest.raises(WSInvalidOptionError, match="keylog_filename is set"):
                await ws_connect(server.url(), Recorder, backend="aiofastnet", **options)

    run(main)
    assert (tmp_path / "keys.log").stat().st_size > 0


@pytest.mark.parametrize("scheme", cases("http", "socks5"))
def test_ipv6_server(run: Run, scheme: str) -> None:
    async def main() -> None:
        script = KINDS[scheme]()
        async with raw_peer(serve_echo, host="::1") as server, raw_peer(script.serve) as proxy:
            # A zone is of this host, not of the proxy.
            for host in ("[::1]", "[::1%25lo]"):
                await check_echo(
                    *await ws_connect(
                        server.url(host=host), Recorder, proxy=proxy_url(scheme, proxy)
                    )
                )
        assert script.asked == [("::1", server.port)] * 2

    run(main)


@pytest.mark.parametrize(
    ("scheme", "host", "reason"),
    cases(
        ("socks4", "[::1]", "no IPv6"),
        ("socks4", "a." * 128, "at most 255 bytes"),
        ("socks5", "a." * 128, "at most 255 bytes"),
    ),
)
def test_host_that_socks_cannot_name(run: Run, scheme: str, host: str, reason: str) -> None:
    async def main() -> None:
        async with raw_peer(KINDS[scheme]().serve) as proxy:
            with pytest.raises(WSProxyError, match=reason):
                await ws_connect(f"ws://{host}", Recorder, proxy=proxy_url(scheme, proxy))

    run(main)


@pytest.mark.parametrize(
    ("options", "user_agent"),
    [
        ({}, USER_AGENT),
        ({"user_agent": "bot/1"}, "bot/1"),
        ({"user_agent": None}, None),
        ({"extra_headers": {"USER-agent": "bot/2"}}, "bot/2"),
    ],
)
def test_http_request(run: Run, options: Dict[str, Any], user_agent: Optional[str]) -> None:
    """Nothing that is meant for the server but the User-Agent."""

    async def main() -> None:
        script = HttpProxy()
        more = dict(options)
        headers = {"X-Secret": "for the server", **more.pop("extra_headers", {})}
        async with raw_peer(serve_echo) as server, raw_peer(script.serve) as proxy:
            await check_echo(
                *await ws_connect(
                    server.url("/path?query"),
                    Recorder,
                    extra_headers=headers,
                    proxy=proxy_url("http", proxy),
                    **more,
                )
            )
        (request,) = script.requests
        assert request.line == f"CONNECT 127.0.0.1:{server.port} HTTP/1.1"
        expected = {"host": [f"127.0.0.1:{server.port}"]}
        if user_agent is not None:
            expected["user-agent"] = [user_agent]
        assert request.headers == expected

    run(main)


@pytest.mark.parametrize(
    ("scheme", "user", "secret", "other"),
    cases(
        ("http", "me:m%C3%A4@", "Basic " + base64.b64encode("me:mä".encode()).decode(), "you@"),
        ("socks4", "me@", "me", "you@"),
        ("socks5", "me:mine%20@", "me:mine ", "you:yours@"),
    ),
)
def test_credentials(run: Run, scheme: str, user: str, secret: str, other: str) -> None:
    async def main() -> None:
        script = KINDS[scheme](secret=secret)
        async with raw_peer(serve_echo) as server, raw_peer(script.serve) as proxy:
            url = proxy_url(scheme, proxy, user)
            await check_echo(*await ws_connect(server.url(), Recorder, proxy=url))
            for wrong in ("", other):
                with pytest.raises(WSProxyError, match="opened no tunnel") as caught:
                    await ws_connect(server.url(), Recorder, proxy=proxy_url(scheme, proxy, wrong))
                assert secret not in str(caught.value)
        assert script.asked == [("127.0.0.1", server.port)]
        assert server.results[0].header("Proxy-Authorization") is None

    run(main)


@needs_python_socks
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


@needs_python_socks
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


@pytest.mark.parametrize(
    ("scheme", "greeting", "answer"),
    cases(
        ("socks4", b"", b"\x00\x5a" + bytes(6)),
        ("socks5", b"\x05\x00", b"\x05\x00\x00\x01" + bytes(6)),
        ("socks5", b"\x05\x00", b"\x05\x00\x00\x03\x04name" + bytes(2)),
    ),
)
def test_what_follows_a_socks_answer_is_the_servers(
    run: Run, scheme: str, greeting: bytes, answer: bytes
) -> None:
    async def serve(peer: RawConnection) -> None:
        await peer.reader.read(1)
        peer.writer.write(
            greeting + answer + b"HTTP/1.1 403 Too Early\r\nContent-Length: 4\r\n\r\nbody"
        )
        await peer.reader.readuntil(b"\r\n\r\n")

    async def main() -> None:
        async with raw_peer(serve) as proxy:
            with pytest.raises(WSInvalidStatusError) as caught:
                await ws_connect("ws://localhost", Recorder, proxy=proxy_url(scheme, proxy))
            assert (caught.value.status, caught.value.raw_body) == (403, b"body")

    run(main)
