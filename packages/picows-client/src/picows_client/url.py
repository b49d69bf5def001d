"""URLs of servers and proxies, taken apart and checked (RFC 6455, 3; RFC 3986; RFC 6874)."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import Any, Mapping, Optional, Tuple
from urllib.parse import urljoin

from picows_codec import WSInvalidURL
from picows_codec.url_grammar import DEFAULT_PORTS, host_in_url, split_url

__all__ = ["WSURL", "WSParsedURL", "parse_url"]

_HTTP_TWINS = {"ws": "http", "wss": "https"}


@dataclass(frozen=True)
class WSURL:
    """The parts of a URL: of a server (``ws``, ``wss``) or, in ``socket_factory``, of a proxy.

    ``scheme`` is in lower case. ``port`` is that of the scheme if the URL has none. ``host`` is a
    name in its ASCII (IDNA) form, an IPv4 address, or an IPv6 address without brackets, with its
    zone if it has one. ``path`` and ``query`` are percent-encoded; there is no query if it is
    empty. ``username`` and ``password`` are decoded.
    """

    scheme: str
    host: str
    port: int
    path: str = "/"
    query: str = ""
    username: Optional[str] = None
    password: Optional[str] = field(default=None, repr=False)

    @classmethod
    def parse(cls, url: str) -> WSURL:
        """Take a ``ws://`` or ``wss://`` URL apart.

        A host beyond ASCII becomes its IDNA form; a path or query beyond ASCII is
        percent-encoded as UTF-8. The port defaults to 80 or 443.

        Raises :class:`TypeError` for anything but a string, and :class:`WSInvalidURL` for
        anything that is not such a URL. A fragment is an error (RFC 6455, 3).
        """
        # Kept, because programs connect to the same few URLs; but not what may be secret.
        _check_is_str(url)
        if "@" in url or "?" in url:
            return parse_url(url, DEFAULT_PORTS)
        return _parse_server_url(url)

    @property
    def is_secure(self) -> bool:
        """True for ``wss://``."""
        return self.scheme == "wss"

    @property
    def origin(self) -> Tuple[str, str, int]:
        """Scheme, host and port: what a secret in a header belongs to (RFC 6454, 4)."""
        return self.scheme, self.host, self.port

    @cached_property
    def target(self) -> str:
        """The request target: path and query (RFC 6455, 3, "resource name")."""
        return f"{self.path}?{self.query}" if self.query else self.path

    @property
    def resource_name(self) -> str:
        """The same as :attr:`target`, under the RFC's name."""
        return self.target

    @property
    def user_info(self) -> Optional[Tuple[str, str]]:
        """User and password, or None if either is missing."""
        if self.username is None or self.password is None:
            return None
        return self.username, self.password

    @property
    def bare_host(self) -> str:
        """The host without an IPv6 zone or a name's final dot: what a certificate names."""
        return self.host.partition("%")[0].rstrip(".")

    @property
    def host_and_port(self) -> str:
        """``host:port`` for other computers: IPv6 in brackets, but without its zone."""
        return f"{host_in_url(self.host.partition('%')[0])}:{self.port}"

    @cached_property
    def host_header(self) -> str:
        """The ``Host`` header: :attr:`host_and_port`, or without the port if it is the default."""
        is_default = self.port == DEFAULT_PORTS.get(self.scheme)
        return self.host_and_port.rpartition(":")[0] if is_default else self.host_and_port

    @property
    def basic_credentials(self) -> Optional[str]:
        """``Basic ...`` for an (Proxy-)Authorization header (RFC 7617), if there is a user."""
        if self.username is None:
            return None
        pair = f"{self.username}:{self.password or ''}"
        return "Basic " + base64.b64encode(pair.encode()).decode("ascii")

    def join(self, location: str) -> WSURL:
        """Resolve a redirect's ``Location`` (RFC 9110, 10.2.2), which may be relative.

        ``http`` and ``https`` mean ``ws`` and ``wss``, and a fragment is dropped. User and
        password stay with their origin unless the location has its own.

        Raises :class:`WSInvalidURL`.
        """
        # Under http, because urljoin does not know that ws and wss have relative URLs.
        base = _HTTP_TWINS[self.scheme] + str(self)[len(self.scheme) :]
        try:
            joined = urljoin(base, location).partition("#")[0]
        except ValueError as error:  # brackets that do not match
            raise WSInvalidURL(location, str(error)) from None
        scheme, separator, rest = joined.partition("://")
        for twin, http in _HTTP_TWINS.items():
            if scheme.lower() == http:
                scheme = twin
        url = WSURL.parse(scheme + separator + rest)
        if url.username is not None or url.origin != self.origin:
            return url
        return replace(url, username=self.username, password=self.password)

    def __str__(self) -> str:
        """The URL without user and password."""
        return f"{self._base}{self.target}"

    @property
    def for_log(self) -> str:
        """The URL without what may be secret: user, password and query."""
        return f"{self._base}{self.path}"

    @property
    def _base(self) -> str:
        return f"{self.scheme}://{host_in_url(self.host)}:{self.port}"


WSParsedURL = WSURL
"""The name of :class:`WSURL` in picows."""


def parse_url(url: str, default_ports: Mapping[str, int]) -> WSURL:
    """Take a URL apart whose scheme is one of ``default_ports``.

    Raises :class:`TypeError` and :class:`WSInvalidURL` as :meth:`WSURL.parse` does.
    """
    _check_is_str(url)
    parts = split_url(url, default_ports)
    port = default_ports[parts.scheme] if parts.port is None else parts.port
    return WSURL(
        parts.scheme,
        parts.host,
        port,
        parts.path,
        parts.query or "",
        parts.username,
        parts.password,
    )


def _check_is_str(url: Any) -> None:
    """Raise TypeError unless ``url`` is a str."""
    if not isinstance(url, str):
        more = "; ws_keep_connected and connect take a function" if callable(url) else ""
        raise TypeError(f"a URL must be a str, not {type(url).__name__}{more}")


@lru_cache(maxsize=128)
def _parse_server_url(url: str) -> WSURL:
    return parse_url(url, DEFAULT_PORTS)
