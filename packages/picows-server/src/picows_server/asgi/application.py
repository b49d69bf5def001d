"""``asgi_listener``: an ASGI application as the listener factory of ``ws_create_server``."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
from operator import methodcaller
from typing import Any, Callable, Dict, Optional

from picows_codec import (
    WSCloseCode,
    WSInvalidOptionError,
    WSOptions,
    WSStateError,
    WSUpgradeRequest,
    WSUpgradeResponse,
)
from picows_codec.calls import checks_options
from picows_codec.option_table import OPTIONS
from picows_server.asgi.connection import ASGIApplication, ASGIConnection, ASGIHost
from picows_server.asgi.lifespan import Lifespan
from picows_server.hosting import HostedApplication
from picows_server.logs import Logger
from picows_server.origins import is_upgrade
from picows_server.slices import in_slices

__all__ = ["asgi_listener"]

_NOT_FOUND = (
    "This server speaks WebSocket only. Plain HTTP requests of an ASGI application are for an HTTP"
    " server such as uvicorn.\n"
)


_OF_SERVERS = ("backend", "logger_name", "max_connections", "origins", "ssl_context", "when_full")
_MEANINGS = {
    **dict.fromkeys(
        (*(option.name for option in OPTIONS), *_OF_SERVERS), "it is an option of ws_create_server"
    ),
    "config": "uvicorn wants a protocol: write --ws picows_server.asgi:UvicornProtocol",
}


@checks_options(_MEANINGS)
def asgi_listener(
    app: ASGIApplication, root_path: str = "", lifespan: str = "auto"
) -> HostedApplication:
    """Serve the WebSocket side of an ASGI application.

    ::

        async with ws_create_server("ws://0.0.0.0:8000", asgi_listener(app)) as server:
            await server.serve_forever()

    :param app: an ASGI 3 application (``async def app(scope, receive, send)``).
    :param root_path: where the application is mounted, such as ``"/chat"``; comes before the path
        of a request.
    :param lifespan: ``"auto"`` starts the application by the lifespan protocol if it knows that,
        ``"on"`` insists on it, ``"off"`` does not ask. The server is not created if the startup
        fails, and :class:`LifespanError` is raised. The shutdown comes after the last connection,
        before ``wait_closed`` returns.

    Connections are accepted, refused and closed by the application. Options of the connections
    (limits, pings, compression) are those of :func:`ws_create_server`; the time for an application
    to accept is ``websocket_handshake_timeout``. Requests that ask for no upgrade are answered 404.
    When the server is closed, applications get a ``websocket.disconnect`` with 1012, and clients a
    CLOSE with that code. Applications that have not ended ``close_timeout`` seconds later are
    cancelled.

    The result serves one server at a time.

    Raises :class:`TypeError` for what is no ASGI 3 application, such as a class or function that
    makes one.
    """
    _check_app(app)
    if not isinstance(root_path, str):
        raise TypeError(f"root_path must be a str, not {type(root_path).__name__}")
    if root_path and (root_path[0] != "/" or root_path[-1] == "/"):
        raise WSInvalidOptionError(
            f"root_path must be empty, or begin with '/' and not end with it, not {root_path!r}"
        )
    if lifespan not in ("auto", "on", "off"):
        raise WSInvalidOptionError(f"lifespan must be 'auto', 'on' or 'off', not {lifespan!r}")
    return _ListenedApplication(app, root_path, lifespan)


def _check_app(app: Any) -> None:
    if not callable(app):
        raise TypeError(f"app must be an ASGI application, not {type(app).__name__}: {app!r}")
    name = getattr(app, "__qualname__", None) or repr(app)
    if isinstance(app, type) and not hasattr(app, "__await__"):
        raise TypeError(
            f"app must be an ASGI application, and {name} is a class: pass an object of it, such as"
            f" asgi_listener({name}())"
        )
    try:
        signature = inspect.signature(app, follow_wrapped=False)
    except (TypeError, ValueError):  # many compiled functions have none
        return
    try:
        signature.bind(None, None, None)
    except TypeError:
        raise TypeError(
            f"app must take three arguments, scope, receive and send, and it is {name} with"
            f" {signature}{_advice(name, signature)}"
        ) from None


def _advice(name: str, signature: inspect.Signature) -> str:
    for count, advice in (
        (0, f"; if it makes the application: asgi_listener({name}())"),
        (1, "; an ASGI 2 application needs asgiref.compatibility.guarantee_single_callable"),
    ):
        try:
            signature.bind(*[None] * count)
        except TypeError:
            continue
        return advice
    return ""


class _ListenedApplication(HostedApplication, ASGIHost):
    close_code = WSCloseCode.SERVICE_RESTART

    def __init__(self, app: ASGIApplication, root_path: str, lifespan: str) -> None:
        self.app = app
        self.root_path = root_path
        self._mode = lifespan
        self._state: Dict[str, Any] = {}
        self._lifespan: Optional[Lifespan] = None
        self._context = contextvars.copy_context()
        self._running: Dict[asyncio.Task[Any], ASGIConnection] = {}
        self._released: Optional[Callable[[], None]] = None

    def __repr__(self) -> str:
        return f"asgi_listener({self.app!r})"

    def __call__(self, request: WSUpgradeRequest) -> Any:
        """Decide about a request: the listener factory."""
        if not is_upgrade(request):
            return WSUpgradeResponse.create_error_response(404, _NOT_FOUND)
        if self._lifespan is None:
            raise WSStateError("pass the result of asgi_listener to ws_create_server")
        return ASGIConnection(self, request).opening

    # What the server calls

    async def start(self, logger: Logger, options: WSOptions) -> None:
        if self._lifespan is not None:
            raise WSStateError("a server has this asgi_listener already: make another one")
        self.logger = logger
        self.close_timeout = options.close_timeout
        self._loop = asyncio.get_running_loop()
        self._context = contextvars.copy_context()
        self._state = {}
        self._lifespan = Lifespan(self.app, self._mode, self._state, logger)
        try:
            await self._lifespan.startup()
        except BaseException:
            self._lifespan = None
            raise

    async def stop(self) -> None:
        lifespan, self._lifespan = self._lifespan, None
        if lifespan is not None:
            await lifespan.shutdown()

    def notify(self, released: Callable[[], None]) -> None:
        self._released = released

    @property
    def is_idle(self) -> bool:
        return not self._running

    def leave(self, code: int, reason: Optional[str]) -> None:
        def shut_down(connection: ASGIConnection) -> None:
            if connection.is_open:
                connection.shut_down(code, reason or "")

        in_slices(self._loop, self._running.values(), shut_down)

    def leave_one(self, listener: object, code: int, reason: Optional[str]) -> None:
        if isinstance(listener, ASGIConnection) and listener.host is self and listener.is_open:
            listener.shut_down(code, reason or "")

    def cancel(self) -> None:
        if self._running:
            self.logger.warning(
                "cancelling the ASGI applications that have not ended: %d", len(self._running)
            )
        in_slices(self._loop, self._running, methodcaller("cancel"))

    # What a connection asks of its host

    def lifespan_state(self) -> Optional[Dict[str, Any]]:
        return self._state

    def start_application(self, connection: ASGIConnection) -> asyncio.Task[Any]:
        task = self._context.run(self._loop.create_task, connection.run())
        self._running[task] = connection
        task.add_done_callback(self._task_ended, context=self._context)
        return task

    def _task_ended(self, task: asyncio.Task[Any]) -> None:
        del self._running[task]
        if self._released is not None:
            self._released()
