"""Options of an attempt to connect: their types, and those that are made anew for each."""

from __future__ import annotations

import inspect
import ssl
from collections import abc
from typing import (
    TYPE_CHECKING,
    Any,
    Awaitable,
    Callable,
    Iterable,
    Literal,
    Mapping,
    Optional,
    Tuple,
    TypeVar,
    Union,
)

from picows_client.first_hop import SocketFactory
from picows_codec.option_types import WSConnectionOptions
from picows_codec.socket_address import UnixPath

if TYPE_CHECKING:
    from http.cookiejar import CookieJar

__all__ = ["ExtraHeaders", "Made", "WSConnectOptions", "made_anew", "reusable"]

T = TypeVar("T")
ExtraHeaders = Union[Mapping[str, str], Iterable[Tuple[str, str]], None]
Made = Union[T, Callable[[], Union[T, Awaitable[T]]]]


class WSConnectOptions(WSConnectionOptions, total=False):
    """Options of :func:`ws_connect` for functions that pass them on, for type checkers."""

    ssl_context: Optional[ssl.SSLContext]
    server_hostname: Optional[str]
    cookies: Union[Mapping[str, str], CookieJar, None]
    user_agent: Optional[str]
    max_redirects: int
    proxy: Union[str, Literal[True], None]
    proxy_headers: ExtraHeaders
    proxy_ssl_context: Optional[ssl.SSLContext]
    socket_factory: Optional[SocketFactory]
    unix_path: Optional[UnixPath]
    local_addr: Optional[Tuple[str, int]]
    family: int
    backend: str


def reusable(value: T) -> T:
    """Return the value, or a list of an iterator, which would serve one attempt only."""
    kept: Any = list(value) if isinstance(value, abc.Iterator) else value
    return kept  # type: ignore[no-any-return]


async def made_anew(value: Made[T]) -> T:
    """Return the value, or what its function makes."""
    if not callable(value):
        return value
    made: Any = value()
    result: T = await made if inspect.isawaitable(made) else made
    return result
