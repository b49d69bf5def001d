"""URLs taken apart and checked (RFC 3986; RFC 6455, 3; RFC 6874), without looking anything up.

Client and server read URLs by these rules; what else each of them refuses is in its own room.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Collection, NamedTuple, Optional, Tuple
from urllib.parse import quote, unquote

from picows_codec.errors import WSInvalidURL

__all__ = ["DEFAULT_PORTS", "URLParts", "host_in_url", "invalid_url", "split_url"]

DEFAULT_PORTS = {"ws": 80, "wss": 443}
_MAX_PORT = 65535

_SPACE_OR_CONTROL = re.compile(r"[\x00-\x20\x7f]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_STRAY_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_HOST_NAME = re.compile(r"[a-z0-9._-]+")
_USERINFO = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=:-]|%[0-9A-Fa-f]{2}|[^\x00-\x7f])*")
_ZONE = re.compile(r"[A-Za-z0-9._~-]+")

# These characters stay as they are in a path or query; all others are percent-encoded as UTF-8.
# "%" is one of them, because the caller's own percent-encoding must survive.
_SAFE_IN_TARGET = "%/:@!$&'()*+,;=?[]"


class URLParts(NamedTuple):
    """The parts of a URL; None: the URL has no such part.

    ``scheme`` is in lower case. ``host`` is a name in its ASCII (IDNA) form and in lower case, an
    IPv4 address, or an IPv6 address without brackets, with its zone if it has one. ``path``, which
    begins with ``/``, and ``query`` are percent-encoded, ``username`` and ``password`` decoded.
    """

    scheme: str
    host: str
    port: Optional[int]
    path: str
    query: Optional[str]
    username: Optional[str]
    password: Optional[str]


def split_url(
    url: str,
    schemes: Collection[str],
    *,
    lowest_port: int = 1,
    without_host: str = "there is no host",
) -> URLParts:
    """Take a URL apart whose scheme is one of ``schemes``.

    A host beyond ASCII becomes its IDNA form; a path or query beyond ASCII is percent-encoded as
    UTF-8. A fragment is an error (RFC 6455, 3). ``without_host``: the text of the error for a URL
    without a host.

    Raises :class:`WSInvalidURL`, which shows neither password nor query.
    """
    blank = _SPACE_OR_CONTROL.search(url)
    if blank:
        code = ord(blank.group())
        raise invalid_url(
            url, f"{blank.group()!r} at position {blank.start()}; write it as %{code:02X}"
        )
    scheme, separator, rest = url.partition("://")
    scheme = scheme.lower()
    if not separator or scheme not in schemes:
        wanted = " or ".join(f"{name}://" for name in schemes)
        raise invalid_url(url, f"it must begin with {wanted}")
    if "#" in rest:
        raise invalid_url(
            url, "a fragment is not allowed (RFC 6455, 3); write # as %23 or leave it out"
        )
    before_query, mark, query = rest.partition("?")
    authority, _, path = before_query.partition("/")
    if _STRAY_PERCENT.search(path) or _STRAY_PERCENT.search(query):
        raise invalid_url(url, "% without two hexadecimal digits; write it as %25")
    userinfo, at, host_and_port = authority.rpartition("@")
    username, password = _split_userinfo(url, userinfo) if at else (None, None)
    host, port_text = _split_host_and_port(url, host_and_port, without_host)
    port = _port(url, port_text, lowest_port)
    try:
        path, query = quote(path, _SAFE_IN_TARGET), quote(query, _SAFE_IN_TARGET)
    except UnicodeEncodeError:
        raise invalid_url(url, "it has a lone surrogate, which has no UTF-8 form") from None
    return URLParts(scheme, host, port, "/" + path, query if mark else None, username, password)


def host_in_url(host: str) -> str:
    """Write a host as URLs have it: IPv6 in brackets, and the % before a zone as %25 (RFC 6874)."""
    return "[{}]".format(host.replace("%", "%25")) if ":" in host else host


def invalid_url(url: str, message: str) -> WSInvalidURL:
    """Make the error about ``url``, without what may be secret in it."""
    # Errors end up in logs, which must show neither a password nor a query, which may hold one.
    before, at, after = url.rpartition("@")
    user, colon, _ = before.partition("://")[2].partition(":")
    if at and colon:
        url = f"{before.partition('://')[0]}://{user}:***@{after}"
    place, mark, _ = url.partition("?")
    return WSInvalidURL(f"{place}?..." if mark else url, message)


def _split_userinfo(url: str, userinfo: str) -> Tuple[str, str]:
    if "@" in userinfo:
        raise invalid_url(url, "more than one @; inside user and password write it as %40")
    # Strict: what is a host to one parser must not be a user to another.
    if not _USERINFO.fullmatch(userinfo):
        raise invalid_url(url, "user or password have a character that must be percent-encoded")
    try:
        username, password = (
            unquote(part, errors="strict") for part in userinfo.partition(":")[::2]
        )
        (username + password).encode()
    except UnicodeError:
        raise invalid_url(url, "user or password are not UTF-8") from None
    # RFC 7617, 2
    if ":" in username or _CONTROL.search(username + password):
        raise invalid_url(
            url, "a user must not have a colon, nor user or password a control character"
        )
    return username, password


def _split_host_and_port(url: str, authority: str, without_host: str) -> Tuple[str, str]:
    if authority.startswith("["):
        literal, bracket, tail = authority[1:].partition("]")
        if not bracket or (tail and not tail.startswith(":")):
            raise invalid_url(url, "an IPv6 address is written as [address] or [address]:port")
        return _ipv6_host(url, literal), tail[1:]
    host, _, port = authority.partition(":")
    if ":" in port:
        raise invalid_url(url, "more than one colon; an IPv6 address is written in brackets")
    if not host:
        raise invalid_url(url, without_host)
    return _named_host(url, host), port


def _named_host(url: str, host: str) -> str:
    try:
        name = host.encode("idna").decode("ascii").lower()
    except UnicodeError as error:
        raise invalid_url(url, f"{host!r} is not a host name: {error}") from None
    # Only now: IDNA may turn other scripts' characters into ASCII delimiters.
    if not _HOST_NAME.fullmatch(name):
        raise invalid_url(url, f"{host!r} is not a host name")
    # A name cannot end in a number (RFC 3696, 2), so this was meant as an address.
    if name.rpartition(".")[2].isdigit():
        try:
            ipaddress.IPv4Address(name)
        except ValueError:
            raise invalid_url(url, f"{host!r} is not an IPv4 address") from None
    return name


def _ipv6_host(url: str, literal: str) -> str:
    # RFC 6874: inside a URL the "%" before a zone is itself written "%25".
    address, percent, zone = literal.replace("%25", "%", 1).partition("%")
    try:
        host = str(ipaddress.IPv6Address(address))
    except ValueError:
        raise invalid_url(url, f"{literal!r} is not an IPv6 address") from None
    if percent and not _ZONE.fullmatch(zone):
        raise invalid_url(url, f"{zone!r} is not an IPv6 zone")
    return host + percent + zone


def _port(url: str, text: str, lowest: int) -> Optional[int]:
    if not text:
        return None  # "host:" is allowed, and means the default (RFC 3986, 3.2.3)
    # isdigit() alone also takes other scripts' digits, which int() would understand.
    is_number = text.isascii() and text.isdigit() and len(text) <= len(str(_MAX_PORT))
    if not is_number or not lowest <= int(text) <= _MAX_PORT:
        raise invalid_url(url, f"{text!r} is not a port from {lowest} to {_MAX_PORT}")
    return int(text)
