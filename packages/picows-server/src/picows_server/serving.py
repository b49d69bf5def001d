"""``serve``: a server whose connections are served by coroutines."""

from __future__ import annotations

import builtins
import contextvars
import functools
import inspect
import socket
from types import FunctionType, MethodType
from typing import (
    TYPE_CHECKING,
    Any,
    Awaitable,
    Callable,
    Coroutine,
    Iterable,
    Optional,
    Tuple,
    Union,
)

from picows_codec import (
    WSInvalidOptionError,
    WSListener,
    WSUpgradeRequest,
    WSUpgradeResponse,
    WSUpgradeResponseWithListener,
)
from picows_codec.calls import returns_call
from picows_codec.coroutines.inbox import Inbox, QueueMarks
from picows_codec.deferred_response import DeferredResponse
from picows_codec.socket_address import UnixPath, format_address
from picows_server.call import WSCreateServerCall
from picows_server.create import ws_create_server
from picows_server.handlers import Handler, Handlers
from picows_server.hosting import HostedApplication
from picows_server.listen import given_sockets
from picows_server.logs import Logger, log_fields, resolve_logger
from picows_server.option_names import SERVE_MEANINGS
from picows_server.origins import Origins, is_upgrade
from picows_server.routing import (
    Decision,
    ListenerFactory,
    RouteResult,
    takes_scope,
    target_path,
)
from picows_server.server import WSServer
from picows_server.tls import ServerContexts

if TYPE_CHECKING:
    from typing_extensions import ParamSpec, Unpack

    from picows_codec.option_types import WSConnectionOptions
    from picows_server.proxies.networks import Network

    _P = ParamSpec("_P")

__all__ = ["serve"]

# A high mark, or it and the low one; None: no limit.
Marks = Union[int, Tuple[Optional[int], Optional[int]], None]

Response = Union[WSUpgradeResponse, DeferredResponse, None]
ProcessRequest = Callable[[WSUpgradeRequest], Union[Response, Awaitable[Response]]]


def _returns_call(
    function: Callable[_P, Coroutine[Any, Any, WSServer]],
) -> Callable[_P, WSCreateServerCall]:
    call: Callable[_P, WSCreateServerCall] = returns_call(
        WSCreateServerCall, SERVE_MEANINGS, is_server=True
    )(function)
    return call


@_returns_call
async def serve(
    handler: Handler,
    url: str,
    logger_name: Union[str, Logger, None] = "server",
    *,
    process_request: Optional[ProcessRequest] = None,
    max_queue: Marks = 2048,
    max_queue_bytes: Marks = 262144,
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
    """Start a WebSocket server (RFC 6455) with a coroutine for each connection.

    ::

        async def handler(connection):
            async for message in connection:
                await connection.send(message)

        async with serve(handler, "ws://127.0.0.1:9001") as server:
            await server.serve_forever()

    What the call returns is used like that of :func:`ws_create_server`, and its result is the same
    :class:`WSServer`.

    ``handler``: a coroutine function, or another callable that returns an awaitable; it gets the
    :class:`WSConnection`. It runs as a task, one for each connection. When it returns, the
    connection is closed with 1000. An exception is logged with the peer's address, and the
    connection closed with 1011; a :class:`WSConnectionClosed` of the handler's own connection is no
    error. A handler that is cancelled closes with 1011, too.

    When the server is closed, handlers see the end of their connections (1001): iteration ends,
    ``recv`` and ``send`` raise. They have ``close_timeout`` seconds, and are cancelled then.
    :meth:`WSServer.wait_closed` waits for them in any case.

    ``process_request``: called with the :class:`WSUpgradeRequest` before a connection is accepted,
    and for requests that ask for no upgrade. It returns None to go on; or a
    :class:`WSUpgradeResponse` to refuse, or to serve a page; or
    ``WSUpgradeResponse.create_101_response(headers, subprotocol)`` to accept with headers or a
    subprotocol of your choice. It may be a coroutine function, whose task runs within
    ``websocket_handshake_timeout`` (then: 503), and is cancelled if the client leaves. Its
    exception is logged, and the response is 500.

    Context variables (:mod:`contextvars`) are those of this call, and those that
    ``process_request`` sets are seen by the handler: for example, which user has logged in.

    ``max_queue``: above so many messages that wait for ``recv``, reading is paused, and resumed
    when a quarter is left; a tuple has the high and the low mark. None: no limit. Default: 2048.

    ``max_queue_bytes``: the same in bytes. Default: 256 KiB. What one read has brought is always
    taken, so that both may be passed by what a read buffer holds, and on TLS by what one wake-up of
    the loop reads. Compressed messages of one read may pass it by 16 MiB, or by
    ``max_message_size`` if that is more; beyond that the connection fails with 1008.

    All other options, and what is raised, are those of :func:`ws_create_server`.
    """
    with given_sockets(sock) as given:
        _check_order(handler, url, logger_name)
        _check_handler(handler)
        marks = QueueMarks(max_queue, max_queue_bytes)
        logger = resolve_logger(logger_name)
        handlers = Handlers(handler, logger)
        route: ListenerFactory = lambda: Inbox(marks, handlers.start)  # noqa: E731
        if process_request is not None:
            _check_callable("process_request", process_request, "request")
            route = _RequestProcessor(process_request, marks, handlers, logger)
        server: WSServer = await ws_create_server(
            url,
            route,
            logger_name,
            ssl_context=ssl_context,
            unix_path=unix_path,
            sock=given,
            backlog=backlog,
            reuse_address=reuse_address,
            reuse_port=reuse_port,
            start_serving=start_serving,
            backend=backend,
            max_pending_handshakes=max_pending_handshakes,
            max_connections=max_connections,
            when_full=when_full,
            origins=origins,
            subprotocols=subprotocols,
            trusted_proxies=trusted_proxies,
            proxy_protocol=proxy_protocol,
            forwarded_header=forwarded_header,
            access_log=access_log,
            **options,
        )
    # No connection is accepted before the loop runs again.
    server._use_handlers(handlers)  # noqa: SLF001
    return server


class _RequestProcessor:
    """The route of a server whose user has passed ``process_request``."""

    def __init__(
        self,
        process_request: ProcessRequest,
        marks: QueueMarks,
        handlers: Handlers,
        logger: Logger,
    ) -> None:
        self._process: Callable[[WSUpgradeRequest], Any] = process_request
        self._marks = marks
        self._handlers = handlers
        self._logger = logger

    def __call__(self, request: WSUpgradeRequest) -> RouteResult:
        context = self._handlers.context.copy()
        try:
            result = context.run(self._process, request)
            if inspect.isawaitable(result) and not isinstance(result, DeferredResponse):
                return self._decide_later(request, result, context)
            return self._decide(request, result, context)
        except Exception as error:  # noqa: BLE001 - whatever the user's function raises
            return self._fail(request, error)

    async def _decide_later(
        self, request: WSUpgradeRequest, awaitable: Awaitable[object], context: contextvars.Context
    ) -> Decision:
        # This is a task, whose context is its own.
        for variable, value in context.items():
            variable.set(value)
        try:
            return self._decide(request, await awaitable, contextvars.copy_context())
        except Exception as error:  # noqa: BLE001 - whatever the user's function raises
            return self._fail(request, error)

    def _decide(
        self, request: WSUpgradeRequest, response: object, context: contextvars.Context
    ) -> Decision:
        if response is None:
            return self._accept(context)
        if isinstance(response, DeferredResponse):  # a file that is sent in pieces
            return response
        if not isinstance(response, WSUpgradeResponse):
            raise TypeError(
                f"process_request must return a WSUpgradeResponse or None, not {response!r}"
            )
        if response.status == 101:
            subprotocol = response.subprotocol
            is_offered = subprotocol is None or subprotocol in request.subprotocols
            if not is_offered and is_upgrade(request):
                raise WSInvalidOptionError(
                    f"process_request chose subprotocol={subprotocol!r}, which the client does not"
                    " offer: choose one of request.subprotocols or None"
                )
            return WSUpgradeResponseWithListener(response, self._accept(context))
        return response

    def _accept(self, context: contextvars.Context) -> Inbox:
        return Inbox(self._marks, functools.partial(self._handlers.start, context=context))

    def _fail(self, request: WSUpgradeRequest, error: Exception) -> Decision:
        peer = format_address(request.remote_address)
        self._logger.error(
            "%s: process_request failed",
            peer,
            exc_info=error,
            extra=log_fields(peer, target_path(request.path)),
        )
        return WSUpgradeResponse.create_error_response(500, b"Internal Server Error\n")


def _check_order(handler: Any, url: Any, logger_name: Any) -> None:
    if isinstance(handler, (str, bytes)) and callable(url):
        raise TypeError(
            f"the handler comes first, then the URL: serve({_name_of(url)}, {handler!r}, ...)"
        )
    if isinstance(logger_name, int) and (not url or (isinstance(url, str) and "://" not in url)):
        url = url or "0.0.0.0"  # noqa: S104 - what asyncio and websockets mean by None
        host = f"[{url}]" if ":" in url else url
        raise TypeError(
            "host and port are parts of the URL:"
            f" serve({_name_of(handler)}, 'ws://{host}:{logger_name}', ...)"
        )


def _check_handler(handler: Any) -> None:
    is_class = isinstance(handler, type) and issubclass(handler, WSListener)
    if is_class or isinstance(handler, WSListener):
        raise TypeError(
            f"handler must be a coroutine function, and {_name_of(handler)} is a listener: call"
            " ws_create_server(url, listener_factory) for listeners"
        )
    if isinstance(handler, HostedApplication):
        raise TypeError(
            f"{handler!r} is for ws_create_server(url, asgi_listener(app)); the handler of serve is"
            " a coroutine function"
        )
    if any(handler is each for each in vars(builtins).values() if callable(each)):
        raise TypeError(f"handler must be a coroutine function (async def), not {handler!r}")
    _check_callable("handler", handler, "connection")
    function = _function_behind(handler)
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError(f"handler must be a coroutine function without yield, not {handler!r}")
    # Other callables, and functions that say what they return, may return a coroutine.
    if (
        isinstance(function, FunctionType)
        and not inspect.iscoroutinefunction(function)
        and function.__name__ != "<lambda>"
        and function.__annotations__.get("return") in (None, "None")
    ):
        raise TypeError(
            "handler must be a coroutine function (async def), or a function with an annotation"
            f" that it returns an awaitable, not {handler!r}"
        )


def _function_behind(handler: Any) -> Any:
    """The function that runs for a bound method, a partial or an object with ``__call__``."""
    handler = inspect.unwrap(handler)
    while isinstance(handler, functools.partial):
        handler = inspect.unwrap(handler.func)
    if not isinstance(handler, (FunctionType, MethodType, type)):
        handler = type(handler).__call__
    return inspect.unwrap(getattr(handler, "__func__", handler))


def _check_callable(name: str, function: Any, argument: str) -> None:
    if not callable(function):
        wanted = "a coroutine function" if name == "handler" else "a function, also a coroutine one"
        raise TypeError(f"{name} must be {wanted}, not {function!r}")
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # many compiled functions have none
        return
    try:
        signature.bind(None)
    except TypeError:
        advice = ""
        if name == "handler" and takes_scope(function):
            advice = "; for an ASGI application write ws_create_server(url, asgi_listener(app))"
        raise TypeError(
            f"{name} must take one argument, the {argument}, and it is {function!r} with"
            f" {signature}{advice}"
        ) from None


def _name_of(function: Any) -> object:
    return getattr(function, "__qualname__", function)
