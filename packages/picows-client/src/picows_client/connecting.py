"""ws_connect, and the checks of its arguments."""

from __future__ import annotations

import asyncio
import socket
import ssl
import sys
from collections import abc  # faster to check against than typing
from functools import lru_cache, partial
from importlib import import_module
from typing import (
    TYPE_CHECKING,
    Any,
    Callable,
    Coroutine,
    Iterable,
    List,
    Literal,
    Mapping,
    Optional,
    Tuple,
    TypeVar,
    Union,
    cast,
)

from picows_client._version import __version__
from picows_client.backend import check_backend_name
from picows_client.call import WSConnectCall
from picows_client.first_hop import SocketFactory, first_hop_of
from picows_client.logs import Logger, resolve_logger
from picows_client.opening import Opening
from picows_client.option_names import MEANINGS
from picows_client.proxy import parse_proxy_url
from picows_client.redirects import Headers
from picows_client.tls import check_ssl_context
from picows_client.url import WSURL
from picows_codec import (
    WSInvalidOptionError,
    WSListener,
    WSOptions,
    WSStateError,
    WSTransport,
    WSUpgradeRequest,
    WSUpgradeResponse,
)
from picows_codec.calls import returns_call
from picows_codec.http.fields import check_field
from picows_codec.http.grammar import is_field_value
from picows_codec.listener_factory import bind_listener_factory, check_order
from picows_codec.socket_address import UnixPath

if TYPE_CHECKING:
    from http.cookiejar import CookieJar

    from typing_extensions import ParamSpec, Unpack

    from picows_client.cookies import CallCookies
    from picows_codec.option_types import WSConnectionOptions

    _P = ParamSpec("_P")

__all__ = ["bound_factory", "ws_connect"]

ListenerT = TypeVar("ListenerT", bound=WSListener)

# Some gateways refuse requests without one.
USER_AGENT = f"picows-client/{__version__} Python/{sys.version_info[0]}.{sys.version_info[1]}"


def _returns_call(
    function: Callable[_P, Coroutine[Any, Any, Tuple[WSTransport, ListenerT]]],
) -> Callable[_P, WSConnectCall[ListenerT]]:
    call: Callable[_P, WSConnectCall[ListenerT]] = returns_call(
        WSConnectCall, MEANINGS, is_server=False
    )(function)
    return call


@_returns_call
async def ws_connect(
    url: str,
    listener_factory: Union[
        ListenerT,
        Callable[[], ListenerT],
        Callable[[WSUpgradeRequest, WSUpgradeResponse], ListenerT],
    ],
    logger_name: Union[str, Logger, None] = "client",
    *,
    ssl_context: Optional[ssl.SSLContext] = None,
    server_hostname: Optional[str] = None,
    subprotocols: Iterable[str] = (),
    extra_headers: Union[Mapping[str, str], Iterable[Tuple[str, str]], None] = None,
    cookies: Union[Mapping[str, str], CookieJar, None] = None,
    user_agent: Optional[str] = USER_AGENT,
    max_redirects: int = 5,
    proxy: Union[str, Literal[True], None] = None,
    proxy_headers: Union[Mapping[str, str], Iterable[Tuple[str, str]], None] = None,
    proxy_ssl_context: Optional[ssl.SSLContext] = None,
    socket_factory: Optional[SocketFactory] = None,
    sock: Optional[socket.socket] = None,
    unix_path: Optional[UnixPath] = None,
    local_addr: Optional[Tuple[str, int]] = None,
    family: int = 0,
    backend: str = "auto",
    **options: Unpack[WSConnectionOptions],
) -> Tuple[WSTransport, ListenerT]:
    """Open a WebSocket connection (RFC 6455) in the running event loop.

    The call returns a coroutine for ``await``, ``asyncio.create_task``, ``asyncio.wait_for`` and
    ``asyncio.run``. Its result is the transport and the listener, after ``on_ws_connected`` was
    called. It also serves ``async with``, which ends the connection by ``disconnect()`` and
    ``wait_disconnected()``; if that wait is cancelled, the connection is dropped.

    What to connect to
        ``url``: ``ws://host:port/path?query``, or ``wss://`` for TLS; see :meth:`WSURL.parse`.
        User and password in it are sent as Basic authentication (RFC 7617).

        ``ssl_context``: for ``wss://`` URLs, also of redirects; it does not encrypt a ``ws://``
        URL. The default trusts the system's authorities; it is built once per process, in the
        loop's executor, and again when the authorities have changed.

        ``server_hostname``: the name for SNI and in the server's certificate, if it is not the
        URL's host.

        ``subprotocols``: names to offer, best first; ``transport.subprotocol`` is the choice.

        ``extra_headers``: more headers of the upgrade request, a mapping or pairs. A ``Host``
        replaces the URL's.

        ``cookies``: a mapping of names and values, which the URL's origin alone gets, whatever its
        path; what servers set goes with the redirects of this call. Or an
        :class:`http.cookiejar.CookieJar`, which chooses for each request by domain, path and expiry
        (``wss://`` is secure), and gets what every response sets, refusals included, before the
        listener factory is called. A ``Cookie`` in ``extra_headers`` beside it is an error.

        ``user_agent``: the ``User-Agent`` header, also of a request to an HTTP proxy. One in
        ``extra_headers`` replaces it, and None sends none; some gateways refuse such requests.

        ``max_redirects``: how many redirects are followed; 0: none. No redirect is followed from
        ``wss://`` to ``ws://``. Another origin (scheme, host and port) does not get the headers
        Authorization, Cookie, Proxy-Authorization and Host of ``extra_headers``, and
        ``server_hostname`` does not apply to it.

    How to connect
        ``proxy``: ``http://``, ``https://``, ``socks4://`` or ``socks5://``, each with
        ``user:password@host:port``. The proxy resolves the server's name. SOCKS needs the
        ``socks`` extra (python-socks, Python 3.9 and newer), and takes ASCII credentials only.
        True takes it from the environment, for each redirect anew: for ``wss://`` the first of
        ``wss_proxy``, ``https_proxy``, ``all_proxy`` that is set, for ``ws://`` of ``ws_proxy``,
        ``http_proxy``, ``all_proxy``, in lower or upper case, a value without a scheme being
        ``http://``. Hosts of ``no_proxy`` (suffixes, with or without a port, or ``*``) and
        loopback addresses are reached directly. None: no variable has an effect.

        ``proxy_headers``: more headers of the request to an HTTP proxy, a mapping or pairs.

        ``proxy_ssl_context``: for ``https://`` proxies; the default is as for ``ssl_context``.

        The first hop is the proxy or the server. The client connects to it by TCP, to one address
        of its name after another with a quarter of a second between them (RFC 8305), or by one of

        - ``socket_factory``: a callable or coroutine function that gets the first hop's URL (a
          :class:`WSURL`) and returns a stream socket, connected or not, or None for the default;
        - ``sock``: a connected stream socket. It belongs to the connection from the call on,
          and is closed if that fails; no redirect is followed;
        - ``unix_path``: the path of a Unix socket. Redirects are followed within the URL's origin.

        ``local_addr``: (host, port) to connect from; port 0: any port.

        ``family``: ``socket.AF_INET`` or ``socket.AF_INET6``, to use only addresses of that kind.

    How to run the connection
        ``listener_factory``: a :class:`WSListener` class, or a callable that returns a listener;
        it takes no arguments, or the upgrade request and response. It may also be a listener that
        belongs to no other open connection.

        ``logger_name``: a name below ``picows.``, or a logger; None is ``"client"``.

        ``backend``: ``"stream"`` (picows' own, for plain sockets on POSIX), ``"aiofastnet"``,
        ``"loop"`` (the event loop's transports), or ``"auto"``: ``"stream"`` for plain sockets and
        ``"aiofastnet"`` for TLS if they are available, else ``"loop"``. ``"auto"`` also takes
        ``"loop"`` for a TLS context that aiofastnet cannot carry, where ``"aiofastnet"`` raises an
        error (see the guide).

        ``options``: see the list at the end. ``websocket_handshake_timeout`` is the limit for
        dialling, proxy, TLS, redirects and upgrade together.

    Raises
        :class:`WSInvalidURL`, :class:`WSInvalidOptionError`, :class:`TypeError`: the call is
        wrong. :class:`OSError`: the system's errors of dialling, and those of TLS.
        :class:`WSProxyError`: the proxy opens no tunnel. :class:`WSHandshakeTimeout`: time is up.
        Other kinds of :class:`WSHandshakeError`: the server refuses, or is no WebSocket server.
        An exception of the listener factory or of ``on_ws_connected`` passes through, after it was
        logged with its traceback.

        After every exception, also after a cancellation, no socket is open and no task or callback
        is left.
    """
    try:
        check_order("ws_connect", url, listener_factory)
        checked_options = _options_of(options)
        check_ssl_context("ssl_context", ssl_context)
        check_ssl_context("proxy_ssl_context", proxy_ssl_context)
        check_backend_name(backend)
        parsed_url = WSURL.parse(url)
        headers = _with_user_agent(_checked_headers(extra_headers, parsed_url), user_agent)
        opening = Opening(
            parsed_url,
            bound_factory(listener_factory),
            loop=asyncio.get_running_loop(),
            logger=resolve_logger(logger_name),
            options=checked_options,
            first_hop=first_hop_of(sock, unix_path, socket_factory, local_addr, family),
            proxy_for=_proxy_choice(proxy, proxy_headers, proxy_ssl_context),
            proxy_headers=_checked_proxy_headers(proxy_headers),
            ssl_context=ssl_context,
            proxy_ssl_context=proxy_ssl_context,
            server_hostname=_checked_server_hostname(server_hostname),
            subprotocols=_checked_subprotocols(subprotocols),
            extra_headers=headers,
            cookies=None if cookies is None else _call_cookies(cookies, parsed_url, headers),
            max_redirects=_checked_max_redirects(max_redirects),
            backend=backend,
        )
        return await opening.run()
    except BaseException:
        if isinstance(sock, socket.socket):
            sock.close()
        raise


@lru_cache(maxsize=32, typed=True)
def _remembered_options(**options: Any) -> WSOptions:
    checked_options = WSOptions(**options)
    if checked_options.compression is not None:
        import_module("picows_codec.deflate.extension")  # before a socket is opened
    return checked_options


def _options_of(options: WSConnectionOptions) -> WSOptions:
    """Make the options, or reuse those of an earlier call with equal ones: they are immutable."""
    if options.get("tap") is not None:  # would be kept alive
        import_module("picows_codec.connection.tapping")
        return WSOptions(**options)
    try:
        return _remembered_options(**cast("Any", options))
    except TypeError:
        pass  # also for an unhashable value; WSOptions says what is wrong with it
    return WSOptions(**options)


def bound_factory(factory: Any) -> Callable[..., Any]:
    """Check what a caller passes as listener factory; what is returned takes request, response."""
    if isinstance(factory, type):
        if not issubclass(factory, WSListener):
            raise TypeError(f"listener_factory must make a WSListener, which {factory!r} is not")
    elif isinstance(factory, WSListener):
        _check_is_free(factory)  # before anything is dialled
        return partial(_give_free, factory)
    return bind_listener_factory(factory)


def _give_free(listener: WSListener, _: WSUpgradeRequest, __: WSUpgradeResponse) -> WSListener:
    """The factory of a given listener, which another connection may have got meanwhile."""
    _check_is_free(listener)
    return listener


def _check_is_free(listener: WSListener) -> None:
    transport: Optional[WSTransport] = listener.transport
    if transport is not None and not transport.is_disconnected:
        raise WSStateError(
            f"{listener!r} is the listener of {transport!r} already: pass a class or callable that"
            " makes one for each connection"
        )


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


def _checked_subprotocols(names: Iterable[str]) -> List[str]:
    # Tuples first, because a check against an abstract class takes longer.
    if isinstance(names, (str, bytes)) or not isinstance(names, (tuple, abc.Iterable)):
        raise TypeError(
            f"subprotocols must be an iterable of str, not {type(names).__name__}: {names!r}"
        )
    return list(names)


def _checked_headers(headers: Any, url: WSURL) -> List[Tuple[str, str]]:
    pairs = _pairs_of("extra_headers", headers)
    if url.username is not None and any(name.lower() == "authorization" for name, _ in pairs):
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


def _call_cookies(cookies: Any, url: WSURL, headers: Headers) -> CallCookies:
    # Not imported by others: http.cookiejar takes longer than all of picows.
    made: CallCookies = import_module("picows_client.cookies").call_cookies(cookies, url, headers)
    return made


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
