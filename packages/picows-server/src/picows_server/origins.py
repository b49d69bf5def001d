"""Which web pages may connect: the Origin header of upgrade requests (RFC 6455, 10.2)."""

from __future__ import annotations

import re
from collections import abc
from typing import Any, FrozenSet, Iterable, List, Optional, Pattern, Tuple, Union

from picows_codec import WSInvalidOptionError, WSUpgradeRequest, WSUpgradeResponse
from picows_codec.log_text import quoted

__all__ = ["OriginSet", "Origins", "is_upgrade"]

Origins = Iterable[Union[str, "Pattern[str]", None]]

# RFC 6454, 6.2: scheme, "://", host, and a port unless it is the scheme's own; or "null".
_HOST = r"\[[0-9a-f:.]+\]|[^/?#@*:\[\]\s]+"
_ORIGIN = re.compile(rf"null|([a-z][a-z0-9+.-]*)://({_HOST})(:[0-9]{{1,5}})?", re.ASCII)
_DEFAULT_PORTS = {"http": ":80", "https": ":443", "ws": ":80", "wss": ":443"}


class OriginSet:
    """The values of ``origins=``, checked once.

    A string is an origin as a browser sends it, ``"https://example.com"``; upper and lower case are
    the same, and a port that is the scheme's own is left out. A compiled pattern must match the
    whole header, in lower case. None allows requests without the header: no browser makes them.

    Raises :class:`TypeError` for other types, and :class:`WSInvalidOptionError` for a string that
    no browser sends.
    """

    def __init__(self, origins: Origins) -> None:
        if isinstance(origins, (str, bytes, re.Pattern)) or not isinstance(origins, abc.Iterable):
            raise TypeError(
                "origins must be an iterable of str, compiled patterns and None, not"
                f" {type(origins).__name__}: {origins!r}"
            )
        names: List[str] = []
        patterns: List[Pattern[str]] = []
        self._allows_none = False
        given: Iterable[Any] = origins
        for origin in given:
            if origin is None:
                self._allows_none = True
            elif isinstance(origin, str):
                names.append(_checked(origin))
            elif isinstance(origin, re.Pattern) and isinstance(origin.pattern, str):
                patterns.append(origin)
            else:
                raise TypeError(
                    f"origins: one is {origin!r}; str, a pattern of str or None is wanted"
                )
        self._names: FrozenSet[str] = frozenset(names)
        self._patterns: Tuple[Pattern[str], ...] = tuple(patterns)

    def allows(self, request: WSUpgradeRequest) -> bool:
        """Whether the request comes from one of the origins; never if it names several."""
        values = request.headers.getall("Origin", [])
        if not values:
            return self._allows_none
        if len(values) > 1:
            return False
        origin = _without_default_port(values[0].lower())
        return origin in self._names or any(
            pattern.fullmatch(origin) is not None for pattern in self._patterns
        )

    def why_not(self, request: WSUpgradeRequest) -> str:
        """Why :meth:`allows` is false, for one line of a log."""
        values = request.headers.getall("Origin", [])
        if len(values) == 1:
            return f"origin {quoted(values[0])} is not one of origins"
        if values:
            return f"the request has {len(values)} Origin headers"
        return "the request has no Origin header, and origins does not have None"

    def refusal(self, request: WSUpgradeRequest) -> Optional[WSUpgradeResponse]:
        """The 403 for an upgrade from elsewhere; None for what may go on."""
        if not is_upgrade(request) or self.allows(request):
            return None
        has_origin = "Origin" in request.headers
        which = "from this origin" if has_origin else "without an Origin header"
        return WSUpgradeResponse.create_error_response(403, f"Requests {which} are not allowed.\n")


def is_upgrade(request: WSUpgradeRequest) -> bool:
    """Whether the request asks for a WebSocket, well-formed or not."""
    protocols = ",".join(request.headers.getall("Upgrade", [])).lower().split(",")
    return any(protocol.strip() == "websocket" for protocol in protocols)


def _checked(origin: str) -> str:
    lower = origin.lower()
    if not origin.isascii() or _ORIGIN.fullmatch(lower) is None:
        raise WSInvalidOptionError(
            f"origins: {origin!r} is no origin; write scheme and host, and a port if there is one,"
            " in ASCII and without a path: 'https://example.com'. For more than one of them pass a"
            " compiled pattern; origins=None lets in all"
        )
    return _without_default_port(lower)


def _without_default_port(origin: str) -> str:
    port = _DEFAULT_PORTS.get(origin.partition("://")[0])
    return origin[: -len(port)] if port is not None and origin.endswith(port) else origin
