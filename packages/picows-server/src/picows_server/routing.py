"""From a request to a listener: the server's path, then the user's listener factory."""

from __future__ import annotations

import inspect
import logging
import re
from typing import Any, Awaitable, Callable, Mapping, Optional, Union

from picows_codec import (
    WSListener,
    WSUpgradeRequest,
    WSUpgradeResponse,
    WSUpgradeResponseWithListener,
)
from picows_codec.deferred_response import DeferredResponse
from picows_codec.listener_factory import bind_route
from picows_codec.log_text import quoted
from picows_codec.socket_address import format_address
from picows_server.logs import Logger, log_fields, resolve_logger
from picows_server.origins import OriginSet, is_upgrade

__all__ = [
    "FOR_SERVE",
    "Decision",
    "ListenerFactory",
    "MountedHandler",
    "Route",
    "RouteResult",
    "Routing",
    "is_handler_error",
    "log_refusal",
    "make_route",
    "takes_scope",
    "target_path",
]

Decision = Union[
    WSListener, WSUpgradeResponseWithListener, WSUpgradeResponse, DeferredResponse, None
]
RouteResult = Union[Decision, Awaitable[Decision]]
Route = Callable[[WSUpgradeRequest], RouteResult]
ListenerFactory = Union[Callable[[], RouteResult], Route]
# One factory for all requests, or one for each path.
Routing = Union[ListenerFactory, Mapping[str, ListenerFactory]]

#: What to do with a coroutine function that takes a connection.
FOR_SERVE = (
    "it is a handler: write serve(handler, url), run(url, handler=...) or --handler instead of"
    " passing it as the listener factory, which gets the request; process_request= serves other"
    " paths beside it"
)

# What Python says of a request that is used like a connection, before there is one.
_HANDLER_ERROR = re.compile(
    "'async for' requires .*WSUpgradeRequest"
    "|WSUpgradeRequest' object has no attribute '(recv|send|ping|close|transport)"
)


class MountedHandler:
    """An HTTP handler that wants to know under which path of a mapping it is."""

    def mounted_at(self, path: str) -> Route:
        """Return the handler for this path; raises ValueError for one that it cannot serve."""
        raise NotImplementedError

    def __call__(self, request: WSUpgradeRequest) -> RouteResult:
        """Respond to a request, whose path is below the root."""
        raise NotImplementedError


def make_route(
    listener_factory: ListenerFactory,
    path: Optional[str],
    origins: Optional[OriginSet] = None,
    logger: Optional[Logger] = None,
) -> Route:
    """Make the function that answers a request; None from it means 404.

    ``listener_factory`` is a class or another callable without arguments, or with one: the
    request; a coroutine function, too. If ``path`` is given, only requests for it reach the
    factory; if ``origins`` are, only upgrades from there: the others get a 403. ``logger`` (None:
    that of :func:`resolve_logger`) gets a line for each request that is refused so.

    Raises :class:`TypeError` if ``listener_factory`` cannot be called like that, is a class of
    objects that are not listeners, or is a listener. The result of another callable is checked
    after each call.
    """
    if isinstance(listener_factory, type) and not issubclass(listener_factory, WSListener):
        raise TypeError(
            "listener_factory must be a WSListener class, or a callable that returns a listener,"
            f" not {listener_factory!r}"
        )
    if isinstance(listener_factory, WSListener):
        raise TypeError(
            "listener_factory must make a new listener for each connection, and"
            f" {listener_factory!r} is a single one: pass its class, or a callable that returns one"
        )
    if _takes_connection(listener_factory):
        raise TypeError(f"{listener_factory!r} takes a WSConnection, so {FOR_SERVE}")
    route = _bound(listener_factory)
    if path is None and origins is None:
        return route

    log = resolve_logger(logger)

    def route_within_limits(request: WSUpgradeRequest) -> RouteResult:
        if path is not None:
            wanted = target_path(request.path)
            if wanted != path:
                why = f"path {quoted(wanted)} is not the server's"
                log_refusal(log, request, "404 Not Found", why)
                return None
        if origins is not None:
            refusal = origins.refusal(request)
            if refusal is not None:
                log_refusal(log, request, "403 Forbidden", origins.why_not(request))
                return refusal
        return route(request)

    return route_within_limits


def _bound(listener_factory: ListenerFactory) -> Route:
    try:
        route: Route = bind_route(listener_factory)
    except TypeError:
        if takes_scope(listener_factory):
            raise TypeError(
                f"{listener_factory!r} takes three arguments, as an ASGI application does: pass"
                " picows_server.asgi.asgi_listener(app)"
            ) from None
        raise
    return route


def _takes_connection(function: Any) -> bool:
    """Whether a coroutine function says of itself that it is a handler of :func:`serve`."""
    if not inspect.iscoroutinefunction(function):
        return False
    annotations = [each.annotation for each in inspect.signature(function).parameters.values()]
    names = [getattr(each, "__name__", str(each)) for each in annotations]
    return any(name.rpartition(".")[2] == "WSConnection" for name in names)


def is_handler_error(error: Optional[BaseException]) -> bool:
    """Whether a listener factory has failed because it is a handler of :func:`serve`."""
    return (
        isinstance(error, (AttributeError, TypeError))
        and _HANDLER_ERROR.search(str(error)) is not None
    )


def takes_scope(function: Any) -> bool:
    """Whether a function needs three arguments, as an ASGI application does."""
    if not callable(function):
        return False
    try:
        signature = inspect.signature(function)
        signature.bind(None, None, None)
    except (TypeError, ValueError):
        return False
    return True


def log_refusal(logger: Logger, request: WSUpgradeRequest, status: str, why: str) -> None:
    """Write the line about a request that the server refuses by itself."""
    if not logger.isEnabledFor(logging.INFO):
        return  # headers are not parsed for nothing
    peer = format_address(request.remote_address)
    logger.info(
        "%s: %s: %s: %s",
        peer,
        "the opening handshake failed"
        if is_upgrade(request)
        else f"{quoted(request.method)} without an upgrade failed",
        status,
        why,
        extra=log_fields(peer, target_path(request.path)),
    )


def target_path(target: str) -> str:
    """The path of a request target: no query, nor scheme and authority (RFC 9112, 3.2.2)."""
    path = target.partition("?")[0]
    if path.startswith("/"):
        return path
    return "/" + path.partition("://")[2].partition("/")[2]
