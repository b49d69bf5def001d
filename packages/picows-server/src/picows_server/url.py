"""The server's URL: where to listen, and which path to serve (RFC 6455, 3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

from picows_codec.url_grammar import DEFAULT_PORTS, host_in_url, invalid_url, split_url

__all__ = ["ServerURL", "parse_server_url"]


@dataclass(frozen=True)
class ServerURL:
    """What a server's URL says. ``path`` is None where every path is served."""

    scheme: str
    host: str
    port: int
    path: Optional[str]

    @property
    def is_secure(self) -> bool:
        """True for ``wss://``."""
        return self.scheme == "wss"

    def with_port(self, port: int) -> str:
        """The URL that clients call when the server got ``port`` (which 0 asked for).

        It also writes other schemes, whose port is always there.
        """
        suffix = "" if port == DEFAULT_PORTS.get(self.scheme) else f":{port}"
        return f"{self.scheme}://{host_in_url(self.host)}{suffix}{self.path or ''}"


def parse_server_url(url: str) -> ServerURL:
    """Take ``ws://host:port/path`` or ``wss://host:port/path`` apart.

    The host is a name, an IPv4 address or an IPv6 address in brackets. The port defaults to 80
    or 443; 0 leaves the choice to the operating system. The path ``/`` is the same as none
    (RFC 3986, 6.2.3).

    Raises :class:`TypeError` for anything but a string and :class:`WSInvalidURL` for anything
    that a server cannot listen on; that includes a query, a fragment and user information.
    """
    if not isinstance(url, str):
        raise TypeError(f"url must be a str, not {type(url).__name__}")
    parts = split_url(
        url,
        DEFAULT_PORTS,
        lowest_port=0,
        without_host="no host; every interface is 0.0.0.0 (IPv4) or [::] (IPv6)",
    )
    if parts.query is not None:
        raise invalid_url(
            url,
            "a server has no query; read request.path in the listener factory or process_request,"
            " or connection.request.path in the handler",
        )
    if parts.username is not None:
        raise invalid_url(url, "user information is not allowed")
    port = DEFAULT_PORTS[parts.scheme] if parts.port is None else parts.port
    return ServerURL(parts.scheme, parts.host, port, None if parts.path == "/" else parts.path)
