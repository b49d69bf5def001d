"""The server's URL: where to listen, and which path to serve (RFC 6455, 3)."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Optional

from picows_codec import WSInvalidURL

__all__ = ["ServerAddress", "parse_server_url"]

_DEFAULT_PORTS = {"ws": 80, "wss": 443}
_MAX_PORT = 65535

_HOST_NAME = re.compile(r"[A-Za-z0-9._-]+")
_PATH = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=:@/-]|%[0-9A-Fa-f]{2})*")


@dataclass(frozen=True)
class ServerAddress:
    """What a server's URL says. ``path`` is None where every path is served."""

    scheme: str
    host: str
    port: int
    path: Optional[str]

    @property
    def is_secure(self) -> bool:
        """True for ``wss://``."""
        return self.scheme == "wss"

    def url(self, port: int) -> str:
        """The URL that clients call when the server got ``port`` (which 0 asked for)."""
        host = "[{}]".format(self.host.replace("%", "%25")) if ":" in self.host else self.host
        suffix = "" if port == _DEFAULT_PORTS[self.scheme] else f":{port}"
        return f"{self.scheme}://{host}{suffix}{self.path or ''}"


def parse_server_url(url: str) -> ServerAddress:
    """Take ``ws://host:port/path`` or ``wss://host:port/path`` apart.

    The host is a name, an IPv4 address or an IPv6 address in brackets. The port defaults to 80
    or 443; 0 leaves the choice to the operating system. The path ``/`` is the same as none
    (RFC 3986, 6.2.3).

    Raises :class:`TypeError` for anything but a string and :class:`WSInvalidURL` for anything
    that a server cannot listen on; that includes a query, a fragment and user information.
    """
    if not isinstance(url, str):
        raise TypeError(f"url must be a str, not {type(url).__name__}")
    scheme, separator, rest = url.partition("://")
    scheme = scheme.lower()
    if not separator or scheme not in _DEFAULT_PORTS:
        raise WSInvalidURL(url, "it must begin with ws:// or wss://")
    if "#" in rest:
        raise WSInvalidURL(url, "a fragment is not allowed (RFC 6455, 3)")
    if "?" in rest:
        raise WSInvalidURL(
            url, "a server has no query; read request.path in the listener factory instead"
        )
    authority, slash, path = rest.partition("/")
    if "@" in authority:
        raise WSInvalidURL(url, "user information is not allowed")
    if not _PATH.fullmatch(path):
        raise WSInvalidURL(url, "the path has a character that must be percent-encoded")
    host, port = _split_authority(url, authority)
    return ServerAddress(
        scheme,
        host,
        _DEFAULT_PORTS[scheme] if port is None else port,
        slash + path if path else None,
    )


def _split_authority(url: str, authority: str) -> tuple[str, Optional[int]]:
    if authority.startswith("["):
        literal, bracket, tail = authority[1:].partition("]")
        if not bracket or (tail and not tail.startswith(":")):
            raise WSInvalidURL(url, "the brackets around the IPv6 address are not closed")
        return _ipv6_host(url, literal), _port(url, tail[1:]) if tail else None
    host, colon, port = authority.partition(":")
    if not host:
        raise WSInvalidURL(url, "no host; every interface is 0.0.0.0 (IPv4) or [::] (IPv6)")
    if ":" in port:
        raise WSInvalidURL(url, "an IPv6 address is written in brackets")
    if not _HOST_NAME.fullmatch(host):
        raise WSInvalidURL(url, f"{host!r} is not a host name in its ASCII form")
    return host, _port(url, port) if colon else None


def _ipv6_host(url: str, literal: str) -> str:
    # RFC 6874: inside a URL the "%" before a zone is itself written "%25".
    address, percent, zone = literal.replace("%25", "%", 1).partition("%")
    try:
        ipaddress.IPv6Address(address)
    except ValueError:
        raise WSInvalidURL(url, f"{literal!r} is not an IPv6 address") from None
    if percent and not _HOST_NAME.fullmatch(zone):
        raise WSInvalidURL(url, f"{zone!r} is not an IPv6 zone")
    return address + percent + zone


def _port(url: str, text: str) -> int:
    # isdigit() alone also takes other scripts' digits, which int() would understand.
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(_MAX_PORT))):
        raise WSInvalidURL(url, f"{text!r} is not a port")
    port = int(text)
    if port > _MAX_PORT:
        raise WSInvalidURL(url, f"port {port} is above {_MAX_PORT}")
    return port
