"""What ``ws_connect`` is told about a connection, checked.

Most programs connect with the same few arguments again and again. Their settings are made once and
remembered: to check them takes as long as the rest of what Python does for a connection. What may
be secret (headers, proxies, subprotocols, which some servers take tokens from) is not remembered,
nor what would be kept alive (sockets, callables).
"""

from __future__ import annotations

import socket
import ssl
from collections import abc  # faster to check against than typing
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from typing import Any, Callable, Iterable, List, Literal, Mapping, Optional, Tuple, Union

from picows_client.backend import check_backend_name
from picows_client.first_hop import FirstHop, SocketFactory
from picows_client.proxy import parse_proxy_url
from picows_client.redirects import Headers
from picows_client.url import WSURL
from picows_codec import WSInvalidOptionError, WSOptions
from picows_codec.http.fields import check_field
from picows_codec.http.grammar import is_field_value
from picows_codec.socket_address import UnixPath

__all__ = ["Settings", "settings_of"]


@dataclass(frozen=True)
class Settings:
    """The arguments of ``ws_connect`` that hold for each hop of its way; never changed.

    ``proxy_for`` tells the proxy for a URL. ``extra_headers`` have the User-Agent.
    """

    options: WSOptions
    first_hop: FirstHop
    backend: str
    server_hostname: Optional[str]
    subprotocols: Tuple[str, ...]
    extra_headers: Headers
    max_redirects: int
    proxy_for: Callable[[WSURL], Optional[WSURL]]
    proxy_headers: Headers


def settings_of(
    url: WSURL,
    server_hostname: Optional[str],
    subprotocols: Iterable[str],
    user_agent: Optional[str],
    max_redirects: int,
    family: int,
    backend: str,
    options: Mapping[str, Any],
    sock: Optional[socket.socket] = None,
    unix_path: Optional[UnixPath] = None,
    socket_factory: Optional[SocketFactory] = None,
    local_addr: Optional[Tuple[str, int]] = None,
    extra_headers: Any = None,
    proxy: Union[str, Literal[True], None] = None,
    proxy_headers: Any = None,
    proxy_ssl_context: Optional[ssl.SSLContext] = None,
) -> Settings:
    """Check the arguments of ``ws_connect``, or reuse what an earlier call with equal ones made.

    Raises :class:`TypeError` and :class:`WSInvalidOptionError`.
    """
    common: Any = (server_hostname, subprotocols, user_agent, max_redirects, family, backend)
    ways: Any = (sock, unix_path, socket_factory, local_addr)
    others: Any = (extra_headers, proxy, proxy_headers, proxy_ssl_context)
    is_plain = ways == others == (None, None, None, None) and options.get("tap") is None
    if is_plain and type(subprotocols) is tuple and not subprotocols:
        try:
            return _remembered_settings(*common, **options)
        except TypeError:
            pass  # also for an unhashable value; below it is said what is wrong with it
    return _made_settings(url, _options_of(options), *common, *ways, *others)


@lru_cache(maxsize=32, typed=True)
def _remembered_settings(*common: Any, **options: Any) -> Settings:
    return _made_settings(None, _options_of(options), *common)


def _made_settings(
    url: Optional[WSURL],
    options: WSOptions,
    server_hostname: Optional[str],
    subprotocols: Iterable[str],
    user_agent: Optional[str],
    max_redirects: int,
    family: int,
    backend: str,
    sock: Optional[socket.socket] = None,
    unix_path: Optional[UnixPath] = None,
    socket_factory: Optional[SocketFactory] = None,
    local_addr: Optional[Tuple[str, int]] = None,
    extra_headers: Any = None,
    proxy: Union[str, Literal[True], None] = None,
    proxy_headers: Any = None,
    proxy_ssl_context: Optional[ssl.SSLContext] = None,
) -> Settings:
    """Check the arguments; ``url`` is looked at if there are ``extra_headers``."""
    check_backend_name(backend)
    return Settings(
        options=options,
        first_hop=FirstHop(sock, unix_path, socket_factory, local_addr, family),
        backend=backend,
        server_hostname=_checked_server_hostname(server_hostname),
        subprotocols=_checked_subprotocols(subprotocols),
        extra_headers=_with_user_agent(_checked_headers(extra_headers, url), user_agent),
        max_redirects=_checked_max_redirects(max_redirects),
        proxy_for=_proxy_choice(proxy, proxy_headers, proxy_ssl_context),
        proxy_headers=_checked_proxy_headers(proxy_headers),
    )


@lru_cache(maxsize=32, typed=True)
def _remembered_options(**options: Any) -> WSOptions:
    checked_options = WSOptions(**options)
    if checked_options.compression is not None:
        import_module("picows_codec.deflate.extension")  # before a socket is opened
    return checked_options


def _options_of(options: Mapping[str, Any]) -> WSOptions:
    """Make the options, or reuse those of an earlier call with equal ones: they are immutable."""
    if options.get("tap") is not None:  # would be kept alive
        import_module("picows_codec.connection.tapping")
        return WSOptions(**options)
    try:
        return _remembered_options(**options)
    except TypeError:
        pass  # also for an unhashable value; WSOptions says what is wrong with it
    return WSOptions(**options)


def _proxy_choice(
    proxy: Union[str, Literal[True], None],
    proxy_headers: Any,
    proxy_ssl_context: Optional[ssl.SSLContext],
) -> Callable[[WSURL], Optional[WSURL]]:
    """Return what tells the proxy for a URL."""
    if proxy is True:
        # Not imported by others: urllib.request takes longer than all of picows.
        chosen: Callable[[WSURL], Optional[WSURL]]
        chosen = import_module("picows_client.environment").proxy_of_environment
        return chosen
    parsed = None if proxy is None else parse_proxy_url(proxy)
    if proxy_ssl_context is not None and (parsed is None or parsed.scheme != "https"):
        raise WSInvalidOptionError("proxy_ssl_context is for an https:// proxy")
    if proxy_headers is not None and (parsed is None or not parsed.scheme.startswith("http")):
        raise WSInvalidOptionError("proxy_headers is for an http:// or https:// proxy")
    return lambda _: parsed


def _checked_server_hostname(name: Optional[str]) -> Optional[str]:
    if name is not None and not isinstance(name, str):
        raise TypeError(f"server_hostname must be a str, not {type(name).__name__}")
    if name == "":
        raise WSInvalidOptionError(
            "server_hostname must not be empty; to accept any name, pass an ssl_context with"
            " check_hostname=False"
        )
    return name


def _checked_subprotocols(names: Iterable[str]) -> Tuple[str, ...]:
    # Tuples first, because a check against an abstract class takes longer.
    if isinstance(names, (str, bytes)) or not isinstance(names, (tuple, abc.Iterable)):
        raise TypeError(
            f"subprotocols must be an iterable of str, not {type(names).__name__}: {names!r}"
        )
    return tuple(names)


def _checked_headers(headers: Any, url: Optional[WSURL]) -> List[Tuple[str, str]]:
    pairs = _pairs_of("extra_headers", headers)
    has_user = url is not None and url.username is not None
    if has_user and any(name.lower() == "authorization" for name, _ in pairs):
        raise WSInvalidOptionError(
            "credentials are in the URL and in extra_headers (Authorization); leave one of them out"
        )
    return pairs


def _pairs_of(option: str, headers: Any) -> List[Tuple[str, str]]:
    """Make a list of pairs, to reuse it in redirects; who sends them checks names and values."""
    if headers is None:
        return []
    if isinstance(headers, (str, bytes)) or not isinstance(headers, abc.Iterable):
        raise TypeError(f"{option} must be a mapping or pairs of str, not {type(headers).__name__}")
    pairs = []
    for pair in headers.items() if isinstance(headers, abc.Mapping) else headers:
        if not isinstance(pair, (tuple, list)) or len(pair) != 2 or not isinstance(pair[0], str):
            raise TypeError(f"{option} must be a mapping or pairs of str; one is {pair!r}")
        pairs.append((pair[0], pair[1]))
    return pairs


def _checked_proxy_headers(headers: Any) -> List[Tuple[str, str]]:
    pairs = _pairs_of("proxy_headers", headers)
    for name, value in pairs:
        check_field(name, value, "proxy_headers")
        if name.lower() == "host":
            raise WSInvalidOptionError("proxy_headers: header 'Host' is set by the library")
    return pairs


def _with_user_agent(headers: List[Tuple[str, str]], user_agent: Optional[str]) -> Headers:
    """Add the User-Agent, unless the caller's headers have one or ``user_agent`` is None."""
    if user_agent is None:
        return headers
    if not isinstance(user_agent, str):
        raise TypeError(f"user_agent must be a str or None, not {type(user_agent).__name__}")
    if not user_agent:
        raise WSInvalidOptionError("user_agent must not be empty; None sends no User-Agent")
    if not is_field_value(user_agent.encode("utf-8", "surrogateescape")):
        raise WSInvalidOptionError(
            f"user_agent={user_agent!r} has a line break or another control character"
            " (RFC 9110, 5.5)"
        )
    if all(name.lower() != "user-agent" for name, _ in headers):
        headers.append(("User-Agent", user_agent))
    return headers


def _checked_max_redirects(count: object) -> int:
    if not isinstance(count, int) or isinstance(count, bool):
        raise TypeError(f"max_redirects must be an int, not {type(count).__name__}")
    if count < 0:
        raise WSInvalidOptionError(f"max_redirects must be 0 or more, not {count}")
    return count
