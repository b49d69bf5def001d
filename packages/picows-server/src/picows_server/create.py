"""``ws_create_server``: from a URL and a listener factory to a running server."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import abc
from importlib import import_module
from typing import TYPE_CHECKING, Any, Callable, Coroutine, Iterable, List, Optional, Tuple, Union

from picows_codec import WSInvalidOptionError, WSOptions, WSUpgradeResponse
from picows_codec.calls import returns_call
from picows_codec.listener_factory import check_order
from picows_codec.option_table import SERVER_DEFAULTS
from picows_codec.socket_address import UnixPath
from picows_server.backend import Backend, ServerTls, choose_backend
from picows_server.call import WSCreateServerCall
from picows_server.connections import Connections
from picows_server.hosting import HostedApplication
from picows_server.listen import (
    ListeningSockets,
    adopt_sockets,
    bind_tcp,
    bind_unix,
    given_sockets,
)
from picows_server.logs import Logger, resolve_logger
from picows_server.option_names import MEANINGS
from picows_server.origins import Origins, OriginSet
from picows_server.routing import Route, Routing, make_route
from picows_server.server import WSServer
from picows_server.tls import ServerContexts
from picows_server.url import ServerURL, parse_server_url

if TYPE_CHECKING:
    from typing_extensions import ParamSpec, Unpack

    from picows_codec.option_types import WSConnectionOptions
    from picows_server.access_log import AccessLog
    from picows_server.http.routes import Routes
    from picows_server.proxies.networks import Network

    _P = ParamSpec("_P")

__all__ = ["ws_create_server"]

# A C int, which listen() takes
_LONGEST_BACKLOG = 2**31 - 1


def _returns_call(
    function: Callable[_P, Coroutine[Any, Any, WSServer]],
) -> Callable[_P, WSCreateServerCall]:
    call: Callable[_P, WSCreateServerCall] = returns_call(
        WSCreateServerCall, MEANINGS, is_server=True
    )(function)
    return call


@_returns_call
async def ws_create_server(
    url: str,
    listener_factory: Routing,
    logger_name: Union[str, Logger, None] = "server",
    *,
    ssl_context: Optional[ServerContexts] = None,
    unix_path: Optional[UnixPath] = None,
    sock: Union[socket.socket, Iterable[socket.socket], None] = None,
    backlog: int = 1024,
    reuse_address: Optional[bool] = None,
    reuse_port: bool = False,
    start_serving: bool = True,
    backend: str = "auto",
    max_pending_handshakes: Optional[int] = 1024,
    max_connections: Optional[int] = None,
    when_full: str = "wait",
    origins: Optional[Origins] = None,
    subprotocols: Iterable[str] = (),
    trusted_proxies: Iterable[Network] = (),
    proxy_protocol: bool = False,
    forwarded_header: Optional[str] = None,
    access_log: Union[bool, str, Logger] = False,
    **options: Unpack[WSConnectionOptions],
) -> WSServer:
    """Start a WebSocket server (RFC 6455) in the running event loop.

    The call returns a coroutine for ``await``, ``asyncio.create_task`` and ``asyncio.wait_for``;
    its result is the :class:`WSServer`. It also serves ``async with``, which closes the server and
    waits until every connection has ended; if that wait is cancelled, connections are dropped.

    Where to listen
        ``url``: ``ws://host:port/path``, or ``wss://`` for TLS. The host is a name, an IPv4
        address or an IPv6 address in brackets; port 0 picks a free one, which
        :attr:`WSServer.url` shows. A path other than ``/`` limits the server to it: the response
        to a request for any other is 404.

        ``ssl_context``: for ``wss://``; see :func:`create_ssl_context`. Or a mapping of server
        names to contexts, of which each client gets the one whose name it sends (SNI, RFC 6066, 3):
        ``"example.com"``; ``"*.example.com"`` for one label more; ``"*"`` for all other names, and
        for clients that send none. Without ``"*"`` these get the alert unrecognized_name.

        ``unix_path``: listen on this Unix socket instead of host and port. A stale socket file
        is replaced, and the file is removed when the server is closed.

        ``sock``: listen on this bound stream socket, or on several, instead of host and port.
        The server owns them from the call on and closes them, also if the call fails.

        ``backlog``: connections that the kernel queues per listening socket. One of ``sock`` that
        listens already keeps its own.

        ``reuse_address``: SO_REUSEADDR; by default on, except on Windows.

        ``reuse_port``: SO_REUSEPORT, so that several servers share host and port.

        ``start_serving``: False only binds; see :meth:`WSServer.start_serving`.

    Whom to serve
        ``listener_factory``: a class or callable without arguments, or with one, which gets the
        :class:`WSUpgradeRequest`. It is called for every valid request, also for one that asks for
        no upgrade, such as a health check. It returns a :class:`WSListener`; a
        :class:`WSUpgradeResponseWithListener` to add response headers or choose a subprotocol; a
        :class:`WSUpgradeResponse` to refuse, or to serve a page; or None for 404. An exception of
        the factory is logged, and the response is 500. An ASGI application is served by
        :func:`picows_server.asgi.asgi_listener`.

        Instead of a factory, a mapping of paths to factories and handlers of plain HTTP requests,
        which are the same: what they return decides. Paths are exact; one with a trailing slash is
        also for what is below it, and the longest is taken. The response to other paths is 404. The
        server itself responds to OPTIONS, and with 405 to other methods than GET and HEAD. See
        :func:`page`, :func:`files`, :func:`health` and :func:`ready`.

        The factory may be a coroutine function, or return any awaitable of such a result, for
        example to look into a database first. Its task runs within ``websocket_handshake_timeout``
        (then: 503), and is cancelled if the client leaves. The connection counts as pending.

        ``origins``: upgrades from other origins get a 403 before the factory is asked (RFC 6455,
        10.2). Strings such as ``"https://example.com"``, compiled patterns that must match the
        whole Origin header in lower case, and None for clients that send none, which are no
        browsers. By default every origin is served.

        ``subprotocols``: those that the server speaks, best first. The first one that the client
        offers is chosen, unless the factory chooses one; without a common one, or if the client
        offers none, the response is 400. By default none is chosen.

        ``trusted_proxies``: from where proxies connect that tell whom they serve: addresses,
        networks (``"192.0.2.0/24"``), and ``"unix"`` for peers on a Unix socket. It needs one of
        the next two. ``request.remote_address`` and the transport's are then the client's.

        ``proxy_protocol``: every connection begins with a header of HAProxy's PROXY protocol,
        version 1 or 2, before TLS. Other connections, and those from elsewhere, are refused.

        ``forwarded_header``: the header in which the proxies add the addresses of their peers,
        ``"Forwarded"`` (RFC 7239) or ``"X-Forwarded-For"``. It is read from its end, up to the
        first address that is not a trusted proxy's. Requests from elsewhere keep their socket's
        address, whatever their headers say; the response to a header that cannot be read is 400.

        ``max_connections``: how many connections, half-open ones included, are held at a time.
        ``max_pending_handshakes``: how many of them may be in their opening handshake (TLS and
        HTTP); a refused one counts until it has ended. None: no limit. The log gets a warning when
        a limit is reached, and a line when there has been room for ten seconds.

        ``when_full``: at ``max_connections``, ``"wait"`` leaves further connections in the kernel's
        backlog until there is room. ``"refuse"`` needs ``max_connections`` and counts only open
        connections. Upgrades then get a 503 with Retry-After (RFC 9110, 15.6.4), after TLS; other
        requests, such as health checks, reach the factory. At ``max_pending_handshakes``
        connections wait in either case.

    How to serve
        ``logger_name``: a name below ``picows.``, or a logger; None is ``"server"``.

        ``access_log``: True writes a line to the logger ``picows.access`` for each connection when
        it has ended, also for plain HTTP; a name below ``picows.`` or a logger: there. It is a
        record of level INFO with pairs such as ``status=101``; see the guide.

        ``backend``: ``"stream"`` (picows' own, for plain sockets on POSIX), ``"aiofastnet"``,
        ``"loop"`` (the event loop's transports), or ``"auto"``: ``"stream"`` for ``ws://`` and
        ``"aiofastnet"`` for ``wss://`` if they are available, else ``"loop"``. ``"auto"`` also
        takes ``"loop"`` for a TLS context that aiofastnet cannot carry, where ``"aiofastnet"``
        raises an error (see the guide).

        ``options``: for each connection, see the list at the end. ``websocket_handshake_timeout``
        is the limit for the TLS handshake, and then for the upgrade request to arrive;
        ``close_timeout`` is the limit also when the server is closed.

    Raises :class:`WSInvalidURL` and :class:`WSInvalidOptionError` for a URL or an option that the
    server cannot use, :class:`TypeError` for a wrong type, and :class:`OSError` if it cannot listen
    on the address. No socket stays open then.
    """
    with given_sockets(sock) as given:
        check_order("ws_create_server", url, listener_factory)
        loop = asyncio.get_running_loop()
        parsed_url = parse_server_url(url)
        logger = resolve_logger(logger_name)
        if isinstance(listener_factory, abc.Mapping):
            listener_factory = _routes(listener_factory, parsed_url, logger)
        route = make_route(
            listener_factory,
            parsed_url.path,
            None if origins is None else OriginSet(origins),
            logger,
        )
        from picows_server.http.download import with_large_in_pieces  # noqa: PLC0415 - on use

        route = with_large_in_pieces(route)
        checked_access_log = _access_log(access_log)
        _check_flag("proxy_protocol", proxy_protocol)
        route, make_connections = _behind_proxies(
            route, logger, trusted_proxies, proxy_protocol, forwarded_header
        )
        checked_subprotocols = _checked_subprotocols(subprotocols)
        checked_options = WSOptions(**{**SERVER_DEFAULTS, **options})
        if checked_options.compression is not None:
            import_module("picows_codec.deflate.extension")  # not while serving
        if checked_options.tap is not None:
            import_module("picows_codec.connection.tapping")
        _check_flag("reuse_address", reuse_address, is_optional=True)
        _check_flag("reuse_port", reuse_port)
        _check_flag("start_serving", start_serving)
        _check_count("backlog", backlog, most=_LONGEST_BACKLOG)
        for name, limit in (
            ("max_connections", max_connections),
            ("max_pending_handshakes", max_pending_handshakes),
        ):
            if limit is not None:
                _check_count(name, limit)
        _check_when_full(when_full, max_connections)
        chosen_backend = _choose_backend(
            backend, loop, parsed_url, ssl_context, checked_options, logger
        )
        try:
            listening = await _listen(loop, parsed_url, unix_path, given, reuse_address, reuse_port)
        except BaseException:
            chosen_backend.close()
            raise
        server = WSServer(
            loop=loop,
            url=parsed_url,
            listening=listening,
            backend=chosen_backend,
            route=route,
            options=checked_options,
            subprotocols=checked_subprotocols,
            logger=logger,
            backlog=backlog,
            max_connections=max_connections,
            max_pending_handshakes=max_pending_handshakes,
            refuses_when_full=when_full == "refuse",
            access_log=checked_access_log,
            make_connections=make_connections,
            application=_hosted(listener_factory),
        )
        import_module("picows_server.draining")  # not while serving
        if start_serving:
            try:
                await server.start_serving()
            except BaseException:
                server.close()
                raise
        return server


def _access_log(value: Union[bool, str, Logger]) -> Optional[AccessLog]:
    if value is False:
        return None
    from picows_server.access_log import make_access_log  # noqa: PLC0415 - for those who use it

    return make_access_log(value)


def _routes(routes: abc.Mapping[str, Any], url: ServerURL, logger: Logger) -> Routes:
    from picows_server.http.routes import Routes  # noqa: PLC0415 - for those who use it

    if url.path is not None:
        raise WSInvalidOptionError(
            f"url: the path {url.path!r} is for a single listener factory; write paths into the"
            " mapping"
        )
    return Routes(routes, logger)


def _behind_proxies(
    route: Route,
    logger: Logger,
    trusted_proxies: Iterable[Network],
    proxy_protocol: bool,
    forwarded_header: Optional[str],
) -> Tuple[Route, Callable[..., Connections]]:
    if not proxy_protocol and forwarded_header is None and trusted_proxies == ():
        return route, Connections
    from picows_server.proxies.trust import behind_proxies  # noqa: PLC0415

    return behind_proxies(
        route,
        logger,
        trusted_proxies,
        proxy_protocol=proxy_protocol,
        forwarded_header=forwarded_header,
    )


def _hosted(listener_factory: object) -> Optional[HostedApplication]:
    if isinstance(listener_factory, HostedApplication) and listener_factory.needs_hosting:
        return listener_factory
    return None


async def _listen(
    loop: asyncio.AbstractEventLoop,
    url: ServerURL,
    unix_path: Optional[UnixPath],
    given: Optional[List[socket.socket]],
    reuse_address: Optional[bool],
    reuse_port: bool,
) -> ListeningSockets:
    is_elsewhere = given is not None or unix_path is not None
    if is_elsewhere and (reuse_address is not None or reuse_port):
        raise WSInvalidOptionError(
            "reuse_address and reuse_port are for host and port, not for unix_path and sock"
        )
    if given is not None:
        if unix_path is not None:
            raise WSInvalidOptionError("unix_path and sock exclude each other")
        return adopt_sockets(given)
    if unix_path is not None:
        return bind_unix(unix_path)
    return await bind_tcp(
        loop,
        url.host,
        url.port,
        reuse_address=reuse_address,
        reuse_port=reuse_port,
    )


def _choose_backend(
    name: str,
    loop: asyncio.AbstractEventLoop,
    url: ServerURL,
    ssl_context: Optional[ServerContexts],
    options: WSOptions,
    logger: Logger,
) -> Backend:
    if ssl_context is None:
        if url.is_secure:
            raise WSInvalidOptionError(
                "a wss:// server needs ssl_context; create_ssl_context(certfile, keyfile) makes one"
            )
        return choose_backend(name, loop, None, logger)
    if not isinstance(ssl_context, (ssl.SSLContext, abc.Mapping)):
        raise TypeError(
            "ssl_context must be an ssl.SSLContext, or a mapping of server names to them, not"
            f" {type(ssl_context).__name__}"
        )
    if not url.is_secure:
        raise WSInvalidOptionError("ssl_context is for wss:// URLs, not for ws://")
    timeout = options.close_timeout
    if timeout is not None and options.stall_timeout is not None:
        # The end of a file has this time; other connections are aborted after close_timeout.
        timeout = max(timeout, options.stall_timeout)
    if isinstance(ssl_context, ssl.SSLContext):
        if ssl_context.protocol == ssl.PROTOCOL_TLS_CLIENT:
            raise WSInvalidOptionError("ssl_context was made for clients (PROTOCOL_TLS_CLIENT)")
        return choose_backend(name, loop, ServerTls(ssl_context, timeout), logger)
    from picows_server.sni.backend import choose_backend_by_name  # noqa: PLC0415

    return choose_backend_by_name(name, loop, ssl_context, timeout, logger)


def _check_when_full(when_full: object, max_connections: Optional[int]) -> None:
    if not isinstance(when_full, str):
        raise TypeError(f"when_full must be a str, not {type(when_full).__name__}")
    if when_full not in ("wait", "refuse"):
        raise WSInvalidOptionError(f"when_full must be 'wait' or 'refuse', not {when_full!r}")
    if when_full == "refuse" and max_connections is None:
        raise WSInvalidOptionError("when_full='refuse' needs max_connections: when it is full")


def _checked_subprotocols(names: Iterable[str]) -> Tuple[str, ...]:
    if isinstance(names, (str, bytes)) or not isinstance(names, abc.Iterable):
        raise TypeError(
            f"subprotocols must be an iterable of str, not {type(names).__name__}: {names!r}"
        )
    checked = tuple(names)
    for index, name in enumerate(checked):
        WSUpgradeResponse.create_101_response(subprotocol=name)  # raises for what is no token
        if name in checked[:index]:
            raise WSInvalidOptionError(f"subprotocols: {name!r} is passed twice")
    return checked


def _check_flag(name: str, value: object, *, is_optional: bool = False) -> None:
    if isinstance(value, bool) or (is_optional and value is None):
        return
    wanted = "a bool or None" if is_optional else "a bool"
    raise TypeError(f"{name} must be {wanted}, not {type(value).__name__}")


def _check_count(name: str, value: object, most: Optional[int] = None) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} must be an int, not {type(value).__name__}")
    if value < 1:
        raise WSInvalidOptionError(f"{name} must be at least 1, not {value}")
    if most is not None and value > most:
        raise WSInvalidOptionError(f"{name} must be at most {most}, not {value}")
