"""ws_keep_connected, and what it makes anew for every attempt."""

from __future__ import annotations

import inspect
from typing import (
    TYPE_CHECKING,
    Callable,
    Iterable,
    Optional,
    Tuple,
    TypeVar,
    Union,
)

from picows_client.backoff import WSBackoff
from picows_client.connect_options import ExtraHeaders, Made, made_anew, reusable
from picows_client.connecting import bound_factory, ws_connect
from picows_client.link import WSLink
from picows_client.logs import Logger, resolve_logger
from picows_client.option_names import KEEP_CONNECTED_MEANINGS
from picows_client.redial import RedialRules
from picows_client.transience import Outcome
from picows_codec import WSListener, WSTransport, WSUpgradeRequest, WSUpgradeResponse
from picows_codec.calls import passes_options_to
from picows_codec.listener_factory import check_order

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from picows_client.connect_options import WSConnectOptions

__all__ = ["ws_keep_connected"]

ListenerT = TypeVar("ListenerT", bound=WSListener)


@passes_options_to(ws_connect, KEEP_CONNECTED_MEANINGS, without=("sock",))
def ws_keep_connected(
    url: Made[str],
    listener_or_factory: Union[
        ListenerT,
        Callable[[], ListenerT],
        Callable[[WSUpgradeRequest, WSUpgradeResponse], ListenerT],
    ],
    logger_name: Union[str, Logger, None] = "client",
    *,
    backoff: Optional[WSBackoff] = None,
    retry: Optional[Callable[[Outcome], object]] = None,
    max_attempts: Optional[int] = None,
    max_elapsed: Optional[float] = None,
    on_change: Optional[Callable[[WSLink[ListenerT]], object]] = None,
    subprotocols: Made[Iterable[str]] = (),
    extra_headers: Made[ExtraHeaders] = None,
    **options: Unpack[WSConnectOptions],
) -> WSLink[ListenerT]:
    """Keep a WebSocket connection open: connect again whenever it has ended.

    ::

        async with ws_keep_connected("wss://host/feed", Feed, enable_auto_ping=True) as link:
            await link.wait_closed()

    Each connection calls ``on_ws_connected`` of its listener: subscribe there. What was sent on a
    connection that ended is never sent again, and nothing is kept while there is none. Leaving the
    block ends it at any moment, an open connection by a closing handshake.

    ``url``, ``subprotocols``, ``extra_headers``: as for :func:`ws_connect`, or a callable or
    coroutine function without arguments that makes the value for each attempt: a fresh token, the
    next of several servers.

    ``listener_or_factory``: one listener for all connections, or what makes one for each.

    ``backoff``: the pauses between attempts. None: ``WSBackoff()``.

    ``retry``: called with the exception of an attempt that failed, or with the
    :class:`WSDisconnectCause` of a connection that ended; a false result ends the link with that
    error. None: :func:`is_transient`, which goes on unless another attempt would end the same way;
    it also decides where ``retry`` raises an exception, which is logged.

    ``max_attempts``: end with the last error after so many attempts in a row without a stable
    connection (see :class:`WSBackoff`). None: no limit.

    ``max_elapsed``: the same after so many seconds. None: no limit.

    ``on_change``: called with the link whenever its ``state`` has changed, first to CONNECTING; an
    exception of it is logged.

    The first of several attempts in a row that fail is logged at WARNING, the others and the end of
    a connection at INFO. It is WARNING if the peer's close code complains of this side (1002, 1003,
    1007 to 1010, 4000 to 4999), and ERROR, with a traceback, for an exception that comes neither
    from the network nor from a server: that of a function of yours.

    All other options are those of :func:`ws_connect`, without ``sock``.

    An error that ends the link is raised by :meth:`WSLink.wait_connected`,
    :meth:`WSLink.wait_closed`, or when the block is left; that of a wrong option when it is
    entered.
    """
    check_order("ws_keep_connected", url, listener_or_factory)
    rules = RedialRules.of(backoff, retry, max_attempts, max_elapsed)
    if on_change is not None and (
        inspect.iscoroutinefunction(on_change) or not callable(on_change)
    ):
        raise TypeError(f"on_change must be a function, and no coroutine function: {on_change!r}")
    offered, headers = reusable(subprotocols), reusable(extra_headers)
    if "proxy_headers" in options:
        options["proxy_headers"] = reusable(options["proxy_headers"])
    logger = resolve_logger(logger_name)
    make = bound_factory(listener_or_factory)

    async def attempt(link: WSLink[ListenerT]) -> Tuple[WSTransport, ListenerT]:
        def make_listener(request: WSUpgradeRequest, response: WSUpgradeResponse) -> ListenerT:
            listener: ListenerT = make(request, response)
            if isinstance(listener, WSListener):
                link._note_listener(listener)  # noqa: SLF001 - the link is made for this
            return listener

        return await ws_connect(
            await made_anew(url),
            make_listener,
            logger,
            subprotocols=await made_anew(offered),
            extra_headers=await made_anew(headers),
            **options,
        )

    return WSLink(attempt, rules, logger, on_change)
