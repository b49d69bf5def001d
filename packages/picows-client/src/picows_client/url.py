"""URLs of servers and proxies, taken apart and checked (RFC 6455, 3; RFC 3986; RFC 6874)."""

from __future__ import annotations

import base64
import ipaddress
import re
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import Mapping, Optional, Tuple
from urllib.parse import quote, unquote, urljoin

from picows_codec import WSInvalidURL

__all__ = ["WSURL", "WSParsedURL", "parse_url"]

_SERVER_PORTS = {"ws": 80, "wss": 443}
_HTTP_TWINS = {"ws": "http", "wss": "https"}
_MAX_PORT = 65535

_SPACE_OR_CONTROL = re.compile(r"[\x00-\x20\x7f]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_STRAY_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_HOST_NAME = re.compile(r"[a-z0-9._-]+")
_USERINFO = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=:-]|%[0-9A-Fa-f]{2}|[^\x00-\x7f])*")
_ZONE = re.compile(r"[A-Za-z0-9._~-]+")

# What stays as it is in a path or query; everything else is percent-encoded as UTF-8. "%" is
# among it because the caller's own percent-encoding must survive.
_SAFE_IN_TARGET = "%/:@!$&'()*+,;=?[]"


@dataclass(frozen=True)
class WSURL:
    """The parts of a URL: of a server (``ws``, ``wss``) or, in ``socket_factory``, of a proxy.

    ``host`` is a name in its ASCII (IDNA) form, an IPv4 address, or an IPv6 address without
    brackets, with its zone if it has one. ``path`` and ``query`` are percent-encoded; there is
    no query if it is empty. ``username`` and ``password`` are decoded.
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
        # Programs connect to the same few URLs again and again. What may be secret is not kept.
        _check_is_str(url)
        if "@" in url or "?" in url:
            return parse_url(url, _SERVER_PORTS)
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
        return f"{_bracketed(self.host.partition('%')[0])}:{self.port}"

    @cached_property
    def host_header(self) -> str:
        """The ``Host`` header: :attr:`host_and_port`, or without the port if it is the default."""
        is_default = self.port == _SERVER_PORTS.get(self.scheme)
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
        # Neither scheme is among those whose relative URLs urljoin resolves everywhere.
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
        """The URL without all that may be secret: user, password and query."""
        return f"{self._base}{self.path}"

    @property
    def _base(self) -> str:
        host = _bracketed(self.host.replace("%", "%25"))
        return f"{self.scheme}://{host}:{self.port}"


WSParsedURL = WSURL
"""The name of :class:`WSURL` in picows."""


def parse_url(url: str, default_ports: Mapping[str, int]) -> WSURL:
    """Take a URL apart whose scheme is one of ``default_ports``.

    Raises :class:`TypeError` and :class:`WSInvalidURL` as :meth:`WSURL.parse` does.
    """
    _check_is_str(url)
    blank = _SPACE_OR_CONTROL.search(url)
    if blank:
        code = ord(blank.group())
        raise _invalid(
            url, f"{blank.group()!r} at position {blank.start()}; write it as %{code:02X}"
        )
    scheme, separator, rest = url.partition("://")
    scheme = scheme.lower()
    if not separator or scheme not in default_ports:
        schemes = " or ".join(f"{name}://" for name in default_ports)
        raise _invalid(url, f"it must begin with {schemes}")
    if "#" in rest:
        raise _invalid(
            url, "a fragment is not allowed (RFC 6455, 3); write # as %23 or leave it out"
        )
    before_query, _, query = rest.partition("?")
    authority, _, path = before_query.partition("/")
    if _STRAY_PERCENT.search(path) or _STRAY_PERCENT.search(query):
        raise _invalid(url, "% without two hexadecimal digits; write it as %25")
    userinfo, at, host_and_port = authority.rpartition("@")
    username, password = _split_userinfo(url, userinfo) if at else (None, None)
    host, port = _split_host_and_port(url, host_and_port)
    try:
        path, query = quote(path, _SAFE_IN_TARGET), quote(query, _SAFE_IN_TARGET)
    except UnicodeEncodeError:
        raise _invalid(url, "it has a lone surrogate, which has no UTF-8 form") from None
    if port is None:
        port = default_ports[scheme]
    return WSURL(
        scheme, host, port, path="/" + path, query=query, username=username, password=password
    )


def _check_is_str(url: object) -> None:
    """Raise TypeError unless ``url`` is a str."""
    if not isinstance(url, str):
        raise TypeError(f"a URL must be a str, not {type(url).__name__}")


@lru_cache(maxsize=128)
def _parse_server_url(url: str) -> WSURL:
    return parse_url(url, _SERVER_PORTS)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _split_userinfo(url: str, userinfo: str) -> Tuple[str, str]:
    if "@" in userinfo:
        raise _invalid(url, "more than one @; inside user and password write it as %40")
    # Strict: what is a host to one parser must not be a user to another.
    if not _USERINFO.fullmatch(userinfo):
        raise _invalid(url, "user or password have a character that must be percent-encoded")
    try:
        username, password = (
            unquote(part, errors="strict") for part in userinfo.partition(":")[::2]
        )
        (username + password).encode()
    except UnicodeError:
        raise _invalid(url, "user or password are not UTF-8") from None
    # RFC 7617, 2
    if ":" in username or _CONTROL.search(username + password):
        raise _invalid(
            url, "a user must not have a colon, nor user or password a control character"
        )
    return username, password


def _split_host_and_port(url: str, authority: str) -> Tuple[str, Optional[int]]:
    if authority.startswith("["):
        literal, bracket, tail = authority[1:].partition("]")
        if not bracket or (tail and not tail.startswith(":")):
            raise _invalid(url, "an IPv6 address is written as [address] or [address]:port")
        return _ipv6_host(url, literal), _port(url, tail[1:])
    host, _, port = authority.partition(":")
    if ":" in port:
        raise _invalid(url, "more than one colon; an IPv6 address is written in brackets")
    if not host:
        raise _invalid(url, "there is no host")
    return _named_host(url, host), _port(url, port)


def _named_host(url: str, host: str) -> str:
    try:
        name = host.encode("idna").decode("ascii").lower()
    except UnicodeError as error:
        raise _invalid(url, f"{host!r} is not a host name: {error}") from None
    # Only now: IDNA may turn other scripts' characters into ASCII delimiters.
    if not _HOST_NAME.fullmatch(name):
        raise _invalid(url, f"{host!r} is not a host name")
    # A name cannot end in a number (RFC 3696, 2), so this was meant as an address.
    if name.rpartition(".")[2].isdigit():
        try:
            ipaddress.IPv4Address(name)
        except ValueError:
            raise _invalid(url, f"{host!r} is not an IPv4 address") from None
    return name


def _ipv6_host(url: str, literal: str) -> str:
    # RFC 6874: inside a URL the "%" before a zone is itself written "%25".
    address, percent, zone = literal.replace("%25", "%", 1).partition("%")
    try:
        host = str(ipaddress.IPv6Address(address))
    except ValueError:
        raise _invalid(url, f"{literal!r} is not an IPv6 address") from None
    if percent and not _ZONE.fullmatch(zone):
        raise _invalid(url, f"{zone!r} is not an IPv6 zone")
    return host + percent + zone


def _port(url: str, text: str) -> Optional[int]:
    if not text:
        return None  # "host:" is allowed, and means the default (RFC 3986, 3.2.3)
    # isdigit() alone also takes other scripts' digits, which int() would understand.
    is_number = text.isascii() and text.isdigit() and len(text) <= len(str(_MAX_PORT))
    if not is_number or not 1 <= int(text) <= _MAX_PORT:
        raise _invalid(url, f"{text!r} is not a port from 1 to {_MAX_PORT}")
    return int(text)


def _invalid(url: str, message: str) -> WSInvalidURL:
    # Errors end up in logs, where a password has no place, nor has a query, which may hold one.
    before, at, after = url.rpartition("@")
    user, colon, _ = before.partition("://")[2].partition(":")
    if at and colon:
        url = f"{before.partition('://')[0]}://{user}:***@{after}"
    place, mark, _ = url.partition("?")
    return WSInvalidURL(f"{place}?..." if mark else url, message)
