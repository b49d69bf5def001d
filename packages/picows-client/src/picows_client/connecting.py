"""ws_connect, and the checks of its arguments."""

from __future__ import annotations

import asyncio
import socket
import ssl
import sys
from functools import partial
from importlib import import_module
from typing import (
    TYPE_CHECKING,
    Any,
    Callable,
    Coroutine,
    Iterable,
    Literal,
    Mapping,
    Optional,
    Tuple,
    TypeVar,
    Union,
)

from picows_client._version import __version__
from picows_client.call import WSConnectCall
from picows_client.connect_options import ExtraHeaders
from picows_client.first_hop import SocketFactory
from picows_client.logs import Logger, resolve_logger
from picows_client.opening import Opening
from picows_client.option_names import MEANINGS
from picows_client.settings import settings_of
from picows_client.tls import check_ssl_context
from picows_client.url import WSURL
from picows_codec import (
    WSListener,
    WSStateError,
    WSTransport,
    WSUpgradeRequest,
    WSUpgradeResponse,
)
from picows_codec.calls import returns_call
from picows_codec.listener_factory import bind_listener_factory, check_order
from picows_codec.socket_address import UnixPath

if TYPE_CHECKING:
    from http.cookiejar import CookieJar

    from typing_extensions import ParamSpec, Unpack

    from picows_client.cookies import CallCookies
    from picows_client.redirects import Headers
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
    extra_headers: ExtraHeaders = None,
    cookies: Union[Mapping[str, str], CookieJar, None] = None,
    user_agent: Optional[str] = USER_AGENT,
    max_redirects: int = 5,
    proxy: Union[str, Literal[True], None] = None,
    proxy_headers: ExtraHeaders = None,
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
        check_ssl_context("ssl_context", ssl_context)
        check_ssl_context("proxy_ssl_context", proxy_ssl_context)
        parsed_url = WSURL.parse(url)
        settings = settings_of(
            parsed_url,
            server_hostname,
            subprotocols,
            user_agent,
            max_redirects,
            family,
            backend,
            options,
            sock,
            unix_path,
            socket_factory,
            local_addr,
            extra_headers,
            proxy,
            proxy_headers,
            proxy_ssl_context,
        )
        opening = Opening(
            parsed_url,
            bound_factory(listener_factory),
            settings,
            asyncio.get_running_loop(),
            resolve_logger(logger_name),
            ssl_context,
            proxy_ssl_context,
            None if cookies is None else _call_cookies(cookies, parsed_url, settings.extra_headers),
        )
        return await opening.run()
    except BaseException:
        if isinstance(sock, socket.socket):
            sock.close()
        raise


def bound_factory(factory: Any) -> Callable[..., Any]:
    """Check what a caller passes as listener factory; what is returned takes request, response."""
    if isinstance(factory, type):
        if not issubclass(factory, WSListener):
            raise TypeError(f"listener_factory must make a WSListener, which {factory!r} is not")
    elif isinstance(factory, WSListener):
        _check_is_free(factory)  # before anything is dialled
        return partial(_give_free, factory)
    return bind_listener_factory(factory)


def _call_cookies(cookies: Any, url: WSURL, headers: Headers) -> CallCookies:
    # Not imported by others: http.cookiejar takes longer than all of picows.
    made: CallCookies = import_module("picows_client.cookies").call_cookies(cookies, url, headers)
    return made


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
