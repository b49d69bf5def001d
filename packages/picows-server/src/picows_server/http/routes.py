"""``Routes``: a mapping of paths to listener factories and HTTP handlers."""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING, Any, Awaitable, Callable, Dict, List, Mapping, Optional, Tuple
from urllib.parse import unquote

from picows_codec import (
    WSInvalidOptionError,
    WSListener,
    WSOptions,
    WSUpgradeRequest,
    WSUpgradeResponse,
    WSUpgradeResponseWithListener,
)
from picows_codec.deferred_response import DeferredResponse
from picows_codec.log_text import quoted
from picows_server.hosting import HostedApplication
from picows_server.logs import Logger
from picows_server.routing import (
    Decision,
    MountedHandler,
    Route,
    RouteResult,
    log_refusal,
    make_route,
    target_path,
)

if TYPE_CHECKING:
    from picows_codec.coroutines.connection import WSConnection

__all__ = ["Routes"]

_METHODS = ("GET", "HEAD", "OPTIONS")
_ALLOW = {"Allow": ", ".join(_METHODS)}

_ENCODED = re.compile("%[0-9a-fA-F]{2}")
_KEPT_ENCODED = ("%2F", "%5C", "%00")

# What a GET without an upgrade gets, whose Content-Length is that of HEAD (RFC 9110, 8.6).
_NO_UPGRADE = "header Upgrade must list websocket (RFC 6455, 4.2.1, 3)\n"


class Routes(HostedApplication):
    """What ``ws_create_server`` makes of a mapping.

    Paths are exact, without the query; one with a trailing slash is also for what is below it, and
    the longest is taken. They are compared after percent-decoding, except for paths in which a
    slash, a backslash or a zero is encoded, once or twice: these are compared as they are.

    Raises :class:`TypeError` and :class:`WSInvalidOptionError` for what cannot be served.
    """

    def __init__(self, routes: Mapping[str, Any], logger: Logger) -> None:
        self._logger = logger
        self._exact: Dict[str, Route] = {}
        self.applications: List[HostedApplication] = []
        for path, factory in routes.items():
            _check_path(path)
            key = _comparable(path)
            if key in self._exact:
                raise WSInvalidOptionError(f"the path {path!r} is there twice")
            self._exact[key] = self._made(path, factory)
            is_new = all(factory is not application for application in self.applications)
            if isinstance(factory, HostedApplication) and is_new:
                self.applications.append(factory)
        # When the server closes, all connections get the same code: that of an application, if
        # there is one, because its framework tells the application that code and no other.
        codes = [each.close_code for each in self.applications]
        self.close_code = next((code for code in codes if code != self.close_code), self.close_code)
        prefixes = [path for path in self._exact if path.endswith("/")]
        self._prefixes: List[Tuple[str, Route]] = [
            (path, self._exact[path]) for path in sorted(prefixes, key=len, reverse=True)
        ]

    def __call__(self, request: WSUpgradeRequest) -> RouteResult:
        """Respond, or let what is mapped to the path respond."""
        method = request.method
        if method == "OPTIONS" and request.path == "*":  # RFC 9110, 9.3.7
            return WSUpgradeResponse.create_response(204, None, _ALLOW)
        path = target_path(request.path)
        route = self._find(path)
        if route is None:
            log_refusal(self._logger, request, "404 Not Found", f"no route for {quoted(path)}")
            return None
        if method == "GET":
            return route(request)
        if method == "HEAD":
            return _for_head(route(request))
        if method == "OPTIONS":
            return WSUpgradeResponse.create_response(204, None, _ALLOW)
        log_refusal(self._logger, request, "405 Method Not Allowed", f"method {quoted(method)}")
        return WSUpgradeResponse.create_error_response(
            405, f"The methods are {_ALLOW['Allow']}.\n", _ALLOW
        )

    def _find(self, path: str) -> Optional[Route]:
        path = _comparable(path)
        route = self._exact.get(path)
        if route is None:
            for prefix, below in self._prefixes:
                if path.startswith(prefix):
                    return below
        return route

    def _made(self, path: str, factory: Any) -> Route:
        try:
            if isinstance(factory, MountedHandler):
                return factory.mounted_at(path)
            return make_route(factory, None)
        except ValueError as error:
            raise WSInvalidOptionError(f"the path {path!r}: {error}") from None
        except TypeError as error:
            raise TypeError(f"the path {path!r}: {error}") from None

    # The applications among them

    @property
    def needs_hosting(self) -> bool:
        return bool(self.applications)

    async def start(self, logger: Logger, options: WSOptions) -> None:
        started: List[HostedApplication] = []
        try:
            for application in self.applications:
                await application.start(logger, options)
                started.append(application)
        except BaseException:
            for application in reversed(started):
                await application.stop()
            raise

    async def stop(self) -> None:
        for application in reversed(self.applications):
            await application.stop()

    def notify(self, released: Callable[[], None]) -> None:
        for application in self.applications:
            application.notify(released)

    @property
    def is_idle(self) -> bool:
        return all(application.is_idle for application in self.applications)

    @property
    def open_connections(self) -> List[WSConnection]:
        return [each for application in self.applications for each in application.open_connections]

    def leave(self, code: int, reason: Optional[str]) -> None:
        for application in self.applications:
            application.leave(code, reason)

    def leave_one(self, listener: object, code: int, reason: Optional[str]) -> None:
        for application in self.applications:
            application.leave_one(listener, code, reason)

    def cancel(self) -> None:
        for application in self.applications:
            application.cancel()


def _comparable(path: str) -> str:
    if "%" not in path:
        return path
    # RFC 3986, 6.2.2.1: the digits of an encoded byte have no case.
    normal = _ENCODED.sub(lambda byte: byte[0].upper(), path)
    decoded = unquote(path)
    # Also where it is the result of decoding ("%252F"), or two paths would look alike.
    kept = any(byte in text for byte in _KEPT_ENCODED for text in (normal, decoded.upper()))
    return normal if kept else decoded


def _check_path(path: object) -> None:
    if not isinstance(path, str):
        raise TypeError(f"a path must be a str, not {type(path).__name__}: {path!r}")
    if not path.startswith("/") or any(c in "?#" or not c.isprintable() or c == " " for c in path):
        raise WSInvalidOptionError(
            f"the path {path!r} must begin with a slash and have no query, fragment or space"
        )


def _for_head(result: RouteResult) -> RouteResult:
    if isinstance(result, DeferredResponse) or not inspect.isawaitable(result):
        return _without_listener(result)
    return _later_without_listener(result)


def _without_listener(result: Decision) -> Decision:
    """RFC 9110, 9.3.2: the response to HEAD is that to GET, which is no upgrade here."""
    if isinstance(result, WSUpgradeResponseWithListener):
        result = result.response if result.listener is None else result.listener
    if isinstance(result, WSListener) or (
        isinstance(result, DeferredResponse) and result.is_for_upgrades
    ):
        return WSUpgradeResponse.create_error_response(426, _NO_UPGRADE)
    return result


async def _later_without_listener(awaitable: Awaitable[Decision]) -> Decision:
    return _without_listener(await awaitable)
