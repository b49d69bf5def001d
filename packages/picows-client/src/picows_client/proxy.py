"""Ask a proxy to open a tunnel to the server.

python-socks speaks SOCKS. HTTP CONNECT (RFC 9110, 9.3.6) is spoken here, because python-socks takes
the result of one recv() for the whole response of an HTTP proxy, and has no TLS to the proxy over a
given socket. The proxy resolves the server's name.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
from typing import Any, Optional, Tuple

from multidict import CIMultiDict

from picows_client.dialogue import Dialogue
from picows_client.redirects import Headers
from picows_client.tasks import DeadlinePassed, run_with_deadline
from picows_client.url import WSURL, parse_url
from picows_codec import WSInvalidOptionError, WSInvalidURL, WSProxyError
from picows_codec.http.body import ChunkedDecoder, parse_content_length
from picows_codec.log_text import one_line

__all__ = ["open_http_tunnel", "open_socks_tunnel", "parse_proxy_url"]

_PROXY_PORTS = {
    "http": 80,
    "https": 443,
    "socks4": 1080,
    "socks4a": 1080,
    "socks5": 1080,
    "socks5h": 1080,
}

_STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([0-9]{3})(?: ([^\r\n]*))?\r\n")

# The body of a refusal only explains it: the bytes that are kept, and the seconds that it may take.
_MAX_BODY_SIZE = 65536
_BODY_TIMEOUT = 1.0

# Characters of a proxy's reason phrase in the text of an error.
_MAX_REASON_SIZE = 100

# Bytes of the head of an HTTP proxy's response; of a name in SOCKS (RFC 1928, 5; RFC 1929, 2).
_MAX_RESPONSE_SIZE = 65536
_MAX_SOCKS_FIELD_SIZE = 255

# The first major version of python-socks that takes a connected socket (``forward``).
_PYTHON_SOCKS = 3

# Seconds, some thirty years, because the caller has a deadline and None means 60 to python-socks.
_NO_TIMEOUT = 1e9


class _Refusal(Exception):
    """Why there is no tunnel, and the proxy's response, if there was one."""

    def __init__(
        self,
        reason: str,
        status: Optional[int] = None,
        headers: Optional[CIMultiDict[str]] = None,
        body: Optional[bytes] = None,
    ) -> None:
        super().__init__(reason)
        self.response = (status, headers, body)


class _Dialled:
    """The connected socket as python-socks' ``forward``, which it calls to reach the proxy."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    async def connect(
        self, dest_host: str, dest_port: int, timeout: Optional[float] = None
    ) -> socket.socket:
        return self._sock


def parse_proxy_url(url: str) -> WSURL:
    """Take ``scheme://user:password@host:port`` apart.

    Schemes: ``http``, ``https`` (TLS to the proxy), ``socks4`` (= ``socks4a``), ``socks5``
    (= ``socks5h``). Ports default to 80, 443 and 1080.

    Raises :class:`TypeError`, :class:`WSInvalidURL`, and :class:`WSInvalidOptionError` for
    credentials that the proxy cannot get, or for SOCKS if python-socks is not installed.
    """
    if not isinstance(url, str):
        raise TypeError(f"proxy must be a str, not {type(url).__name__}; None connects directly")
    try:
        proxy = parse_url(url, _PROXY_PORTS)
    except WSInvalidURL as error:
        # The caller has given two URLs, and this one is not the WebSocket's.
        error.args = (f"proxy {error}".replace("WebSocket URL", "URL of a proxy", 1),)
        raise
    if proxy.target != "/":
        raise WSInvalidOptionError(f"proxy {proxy}: a proxy has neither path nor query")
    if proxy.scheme.startswith("socks"):
        _check_socks(proxy)
    return proxy


def _check_socks(proxy: WSURL) -> None:
    for part in (proxy.username or "", proxy.password or ""):
        if not part.isascii() or len(part) > _MAX_SOCKS_FIELD_SIZE:
            raise WSInvalidOptionError(
                f"proxy {proxy}: user and password have at most 255 bytes of ASCII each in SOCKS"
            )
    if proxy.scheme.startswith("socks4"):
        if proxy.password:
            raise WSInvalidOptionError(f"proxy {proxy}: SOCKS4 has no password; use SOCKS5")
    elif bool(proxy.username) != bool(proxy.password):
        # RFC 1929, 2: neither is empty.
        raise WSInvalidOptionError(f"proxy {proxy}: SOCKS5 has both user and password, or neither")
    cause: Optional[ImportError] = None
    try:
        import python_socks.async_.asyncio  # noqa: PLC0415  an extra

        if int(python_socks.__version__.split(".")[0]) >= _PYTHON_SOCKS:
            return
    except ImportError as error:
        cause = error
    raise WSInvalidOptionError(
        f"proxy {proxy}: SOCKS needs python-socks {_PYTHON_SOCKS} or newer: pip install"
        " picows-client[socks] (Python 3.9 or newer)"
    ) from cause


async def open_http_tunnel(
    dialogue: Dialogue, proxy: WSURL, server: WSURL, headers: Headers
) -> None:
    """Ask the HTTP ``proxy`` at the other end of ``dialogue`` for a tunnel to ``server``.

    When it returns, ``dialogue`` carries the tunnel and nothing else has been read from it.

    Raises :class:`WSProxyError` with the proxy's reason.
    """
    try:
        await _connect_http(dialogue, proxy, server, headers)
        if dialogue.unread_size:
            # Servers do not speak first, so this comes from the proxy.
            raise _Refusal("it sent more bytes after its response")
    except EOFError as error:
        raise _failure(proxy, server, "it closed the connection") from error
    except _Refusal as error:
        raise _failure(proxy, server, str(error), *error.response) from error
    except OSError as error:
        raise _failure(proxy, server, str(error)) from error


async def _connect_http(dialogue: Dialogue, proxy: WSURL, server: WSURL, headers: Headers) -> None:
    lines = [f"CONNECT {server.host_and_port} HTTP/1.1", f"Host: {server.host_and_port}"]
    lines.extend(f"{name}: {value}" for name, value in headers)
    is_authorized = any(name.lower() == "proxy-authorization" for name, _ in headers)
    if proxy.basic_credentials is not None and not is_authorized:
        lines.append(f"Proxy-Authorization: {proxy.basic_credentials}")
    await dialogue.send("\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape"))
    while True:
        response = await dialogue.read_until(b"\r\n\r\n", _MAX_RESPONSE_SIZE)
        if response is None:
            raise _Refusal(f"its response has more than {_MAX_RESPONSE_SIZE} bytes")
        status_line = _STATUS_LINE.match(response)
        if status_line is None:
            raise _Refusal(f"not an HTTP response: {response[:80]!r}")
        status = int(status_line[1])
        if status >= 200:
            break  # else interim (RFC 9110, 15.2): another response follows
    if status >= 300:
        response_headers = _headers_of(response)
        body = await _read_body(dialogue, response_headers)
        raise _Refusal(
            f"HTTP status {status} {_printable(status_line[2] or b'')}".rstrip(),
            status,
            response_headers,
            body,
        )


def _printable(reason: bytes) -> str:
    """A proxy's words for the text of an error: escaped and bounded."""
    text = one_line(reason.decode("latin-1")).strip()
    return text if len(text) <= _MAX_REASON_SIZE else f"{text[:_MAX_REASON_SIZE]}..."


def _headers_of(head: bytes) -> CIMultiDict[str]:
    """Read the headers of a response; a line without a header is ignored."""
    headers: CIMultiDict[str] = CIMultiDict()
    for line in head.decode("utf-8", "surrogateescape").split("\r\n")[1:]:
        name, colon, value = line.partition(":")
        if colon:
            headers.add(name.strip(), value.strip())
    return headers


async def _read_body(dialogue: Dialogue, headers: CIMultiDict[str]) -> bytes:
    """Read the body that explains a refusal, as much as comes soon (RFC 9112, 6.3)."""
    is_chunked = "chunked" in headers.get("Transfer-Encoding", "").lower()
    size = _MAX_BODY_SIZE
    if not is_chunked:
        length = parse_content_length(headers.get("Content-Length", "").encode("utf-8", "replace"))
        size = size if length is None else min(length, size)

    async def receive() -> None:
        # A chunked body ends with its last chunk.
        while dialogue.unread_size < size and not (is_chunked and _decoded(dialogue.unread)[1]):
            await dialogue.receive()

    with contextlib.suppress(DeadlinePassed, EOFError, OSError):
        await run_with_deadline(receive(), _BODY_TIMEOUT, lambda _: None)
    body = dialogue.unread[:size]
    return _decoded(body)[0] if is_chunked else body


def _decoded(data: bytes) -> Tuple[bytes, bool]:
    """Decode the chunks that have arrived, and say whether the last one is among them."""
    decoder = ChunkedDecoder()
    decoded = decoder.feed(data)
    return decoded, decoder.done or decoder.broken


async def open_socks_tunnel(
    loop: asyncio.AbstractEventLoop, sock: socket.socket, proxy: WSURL, server: WSURL
) -> None:
    """Ask the SOCKS ``proxy`` at the other end of ``sock`` for a tunnel to ``server``.

    ``sock`` is non-blocking. When this returns, ``sock`` carries the tunnel and only the proxy's
    response has been read from it. When this raises, python-socks may have closed ``sock``.

    Raises :class:`WSProxyError` with the proxy's reason.
    """
    from python_socks import ProxyError, ProxyType  # noqa: PLC0415  an extra
    from python_socks.async_.asyncio import Proxy  # noqa: PLC0415

    kind = ProxyType.SOCKS4 if proxy.scheme.startswith("socks4") else ProxyType.SOCKS5
    host = server.host.partition("%")[0]
    if kind == ProxyType.SOCKS4 and ":" in host:
        raise _failure(proxy, server, "SOCKS4 has no IPv6; use SOCKS5")
    if len(host) > _MAX_SOCKS_FIELD_SIZE:
        raise _failure(proxy, server, "a host name has at most 255 bytes in SOCKS")
    client = Proxy(
        kind,
        proxy.host,
        proxy.port,
        proxy.username,
        proxy.password,
        rdns=True,
        forward=_Dialled(sock),  # type: ignore[arg-type]  # nothing but connect() is called
        loop=loop,
    )
    try:
        await client.connect(host, server.port, timeout=_NO_TIMEOUT)
    except (ProxyError, OSError, ValueError) as error:  # ValueError: bytes that are not text
        # The cause of a ProxyTimeoutError is the system's error; no time has passed.
        raise _failure(proxy, server, str(error.__cause__ or error)) from error


def _failure(proxy: WSURL, server: WSURL, reason: str, *response: Any) -> WSProxyError:
    """Make the error; ``response``: status, headers and body, if the proxy sent them."""
    place = f"{proxy.scheme}://{proxy.host_and_port}"
    return WSProxyError(
        f"proxy {place} opened no tunnel to {server.host_and_port}: {reason}", *response
    )
