"""What is said to a proxy so that it opens a tunnel to the server.

HTTP CONNECT (RFC 9110, 9.3.6), SOCKS4 with its extension 4A, and SOCKS5 (RFC 1928, RFC 1929).
Names of servers are resolved by the proxy.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Optional

from picows_client.url import WSURL, parse_url
from picows_client.wire import Wire
from picows_codec import WSInvalidOptionError, WSProxyError

__all__ = ["open_tunnel", "parse_proxy_url"]

_PROXY_PORTS = {
    "http": 80,
    "https": 443,
    "socks4": 1080,
    "socks4a": 1080,
    "socks5": 1080,
    "socks5h": 1080,
}

_STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([0-9]{3})(?: ([^\r\n]*))?\r\n")

# Bytes of the header of an HTTP proxy's answer; of a name in SOCKS (RFC 1928, 5; RFC 1929, 2).
_MAX_ANSWER_SIZE = 65536
_MAX_SOCKS_FIELD_SIZE = 255

_SOCKS4_REQUEST = b"\x04\x01"
_SOCKS4_REPLY_SIZE = 8
_SOCKS4_GRANTED = 90
_SOCKS4_REFUSALS = {
    91: "request rejected or failed",
    92: "it cannot reach identd on this host",
    93: "identd does not know this user",
}

_SOCKS5_NO_AUTHENTICATION = 0
_SOCKS5_PASSWORD = 2
_SOCKS5_REQUEST = b"\x05\x01\x00"
_SOCKS5_IPV4, _SOCKS5_NAME, _SOCKS5_IPV6 = 1, 3, 4
_SOCKS5_REFUSALS = {
    1: "general failure",
    2: "not allowed by its rules",
    3: "network unreachable",
    4: "host unreachable",
    5: "connection refused",
    6: "TTL expired",
    7: "command not supported",
    8: "address type not supported",
}


class _Refusal(Exception):
    """Why there is no tunnel."""


def parse_proxy_url(url: str) -> WSURL:
    """Take ``scheme://user:password@host:port`` apart.

    Schemes: ``http``, ``https`` (TLS to the proxy), ``socks4`` (= ``socks4a``), ``socks5``
    (= ``socks5h``). Ports default to 80, 443 and 1080.

    Raises :class:`TypeError`, :class:`WSInvalidURL`, and :class:`WSInvalidOptionError` for what
    the proxy's protocol cannot express.
    """
    proxy = parse_url(url, _PROXY_PORTS)
    if proxy.target != "/":
        raise WSInvalidOptionError(f"proxy {proxy}: a proxy has neither path nor query")
    if proxy.scheme.startswith("socks"):
        for part in (proxy.username, proxy.password):
            if part and len(part.encode()) > _MAX_SOCKS_FIELD_SIZE:
                raise WSInvalidOptionError(
                    f"proxy {proxy}: user and password have at most 255 bytes each in SOCKS"
                )
    if proxy.scheme.startswith("socks4") and proxy.password:
        raise WSInvalidOptionError(f"proxy {proxy}: SOCKS4 has no password; use SOCKS5")
    return proxy


async def open_tunnel(wire: Wire, proxy: WSURL, server: WSURL) -> None:
    """Ask ``proxy`` at the other end of ``wire`` for a tunnel to ``server``.

    When it returns, ``wire`` carries the tunnel and nothing else has been read from it.

    Raises :class:`WSProxyError` with the proxy's reason.
    """
    try:
        if proxy.scheme.startswith("http"):
            await _connect_http(wire, proxy, server)
        elif proxy.scheme.startswith("socks4"):
            await _connect_socks4(wire, proxy, server)
        else:
            await _connect_socks5(wire, proxy, server)
        if wire.unread_size:
            # Servers do not speak first, so this comes from the proxy.
            raise _Refusal("it went on talking after its answer")
    except EOFError as error:
        raise _failure(proxy, server, "it closed the connection") from error
    except (_Refusal, OSError) as error:
        raise _failure(proxy, server, str(error)) from error


async def _connect_http(wire: Wire, proxy: WSURL, server: WSURL) -> None:
    lines = [f"CONNECT {server.host_and_port} HTTP/1.1", f"Host: {server.host_and_port}"]
    if proxy.basic_credentials is not None:
        lines.append(f"Proxy-Authorization: {proxy.basic_credentials}")
    await wire.send("\r\n".join([*lines, "", ""]).encode("ascii"))
    while True:
        answer = await wire.read_until(b"\r\n\r\n", _MAX_ANSWER_SIZE)
        if answer is None:
            raise _Refusal(f"its answer has more than {_MAX_ANSWER_SIZE} bytes")
        status_line = _STATUS_LINE.match(answer)
        if status_line is None:
            raise _Refusal(f"not an HTTP answer: {answer[:80]!r}")
        status = int(status_line[1])
        if status >= 200:
            break  # else interim (RFC 9110, 15.2): another answer follows
    if status >= 300:
        reason = (status_line[2] or b"").decode("latin-1").strip()
        raise _Refusal(f"HTTP status {status} {reason}".rstrip())


async def _connect_socks4(wire: Wire, proxy: WSURL, server: WSURL) -> None:
    address = _address_of(server)
    name = b""
    if address is None:
        # SOCKS4A: an address 0.0.0.x that cannot be meant says that a name follows.
        packed, name = b"\x00\x00\x00\x01", server.host.encode("ascii") + b"\x00"
    elif len(address) == 4:
        packed = address
    else:
        raise _Refusal("SOCKS4 has no IPv6; use SOCKS5")
    user = (proxy.username or "").encode() + b"\x00"
    await wire.send(_SOCKS4_REQUEST + server.port.to_bytes(2, "big") + packed + user + name)
    version, code = (await wire.read_exactly(_SOCKS4_REPLY_SIZE))[:2]
    if version != 0:
        raise _Refusal(f"not a SOCKS4 answer (it begins with {version})")
    if code != _SOCKS4_GRANTED:
        raise _Refusal(_SOCKS4_REFUSALS.get(code, f"SOCKS4 code {code}"))


async def _connect_socks5(wire: Wire, proxy: WSURL, server: WSURL) -> None:
    await _authenticate_socks5(wire, proxy)
    address = _address_of(server)
    if address is None:
        name = server.host.encode("ascii")
        if len(name) > _MAX_SOCKS_FIELD_SIZE:
            raise _Refusal("a host name has at most 255 bytes in SOCKS5")
        destination = bytes([_SOCKS5_NAME, len(name)]) + name
    else:
        destination = bytes([_SOCKS5_IPV4 if len(address) == 4 else _SOCKS5_IPV6]) + address
    await wire.send(_SOCKS5_REQUEST + destination + server.port.to_bytes(2, "big"))
    version, code, _, kind = await wire.read_exactly(4)
    _check_socks5_version(version)
    if code != 0:
        raise _Refusal(_SOCKS5_REFUSALS.get(code, f"SOCKS5 code {code}"))
    # The proxy's own address: of no use, but it has to be read.
    sizes = {_SOCKS5_IPV4: 4, _SOCKS5_IPV6: 16}
    if kind == _SOCKS5_NAME:
        size = (await wire.read_exactly(1))[0]
    elif kind in sizes:
        size = sizes[kind]
    else:
        raise _Refusal(f"it answered with an address of the unknown type {kind}")
    await wire.read_exactly(size + 2)


async def _authenticate_socks5(wire: Wire, proxy: WSURL) -> None:
    methods = [_SOCKS5_NO_AUTHENTICATION]
    if proxy.username is not None:
        methods.append(_SOCKS5_PASSWORD)
    await wire.send(bytes([5, len(methods), *methods]))
    version, method = await wire.read_exactly(2)
    _check_socks5_version(version)
    if method not in methods:
        raise _Refusal(
            "it accepts no way of authentication that was offered"
            if proxy.username is not None
            else "it wants authentication; write user and password into the proxy's URL"
        )
    if method == _SOCKS5_PASSWORD:
        user, password = (proxy.username or "").encode(), (proxy.password or "").encode()
        await wire.send(bytes([1, len(user)]) + user + bytes([len(password)]) + password)
        _, status = await wire.read_exactly(2)
        if status != 0:
            raise _Refusal("it does not accept user and password")


def _check_socks5_version(version: int) -> None:
    if version != 5:
        raise _Refusal(f"not a SOCKS5 answer (it begins with {version})")


def _address_of(server: WSURL) -> Optional[bytes]:
    """The address that the URL names, packed; None for a name."""
    try:
        return ipaddress.ip_address(server.host.partition("%")[0]).packed
    except ValueError:
        return None


def _failure(proxy: WSURL, server: WSURL, reason: str) -> WSProxyError:
    place = f"{proxy.scheme}://{proxy.host_and_port}"
    return WSProxyError(f"proxy {place} opened no tunnel to {server.host_and_port}: {reason}")
