"""From a request to a listener: the server's path, then the user's listener factory."""

from __future__ import annotations

from typing import Awaitable, Callable, Optional, Union

from picows_codec import (
    WSListener,
    WSUpgradeRequest,
    WSUpgradeResponse,
    WSUpgradeResponseWithListener,
)
from picows_codec.listener_factory import bind_route
from picows_server.origins import OriginSet

__all__ = ["Decision", "ListenerFactory", "Route", "RouteResult", "make_route", "target_path"]

Decision = Union[WSListener, WSUpgradeResponseWithListener, WSUpgradeResponse, None]
RouteResult = Union[Decision, Awaitable[Decision]]
Route = Callable[[WSUpgradeRequest], RouteResult]
ListenerFactory = Union[Callable[[], RouteResult], Route]


def make_route(
    listener_factory: ListenerFactory, path: Optional[str], origins: Optional[OriginSet] = None
) -> Route:
    """Make the function that answers a request; None from it means 404.

    ``listener_factory`` is a class or another callable without arguments, or with one: the
    request; a coroutine function, too. If ``path`` is given, only requests for it reach the
    factory; if ``origins`` are, only upgrades from there: the others get a 403.

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
    route: Route = bind_route(listener_factory)
    if path is None and origins is None:
        return route

    def route_within_limits(request: WSUpgradeRequest) -> RouteResult:
        if path is not None and target_path(request.path) != path:
            return None
        if origins is not None:
            refusal = origins.refusal(request)
            if refusal is not None:
                return refusal
        return route(request)

    return route_within_limits


def target_path(target: str) -> str:
    """The path of a request target: no query, nor scheme and authority (RFC 9112, 3.2.2)."""
    path = target.partition("?")[0]
    if path.startswith("/"):
        return path
    return "/" + path.partition("://")[2].partition("/")[2]
