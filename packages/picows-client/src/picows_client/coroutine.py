"""connect: a connection whose messages are awaited."""

from __future__ import annotations

import socket
from importlib import import_module
from typing import TYPE_CHECKING, Callable, Iterable, Optional, Tuple, Union

from picows_client.connect_call import ConnectCall
from picows_client.connect_options import ExtraHeaders, Made, made_anew, reusable
from picows_client.connecting import ws_connect
from picows_client.logs import Logger
from picows_client.option_names import CONNECT_MEANINGS
from picows_codec import WSInvalidOptionError
from picows_codec.calls import marked_as_coroutine_function, passes_options_to
from picows_codec.coroutines.connection import WSConnection
from picows_codec.coroutines.inbox import Inbox, QueueMarks

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from picows_client.backoff import WSBackoff
    from picows_client.connect_options import WSConnectOptions
    from picows_client.transience import Outcome

__all__ = ["connect"]

# A high mark, or it and the low one; None: no limit.
Marks = Union[int, Tuple[Optional[int], Optional[int]], None]


@marked_as_coroutine_function
@passes_options_to(ws_connect, CONNECT_MEANINGS)
def connect(
    url: Made[str],
    logger_name: Union[str, Logger, None] = "client",
    *,
    max_queue: Marks = 2048,
    max_queue_bytes: Marks = 262144,
    backoff: Optional[WSBackoff] = None,
    retry: Optional[Callable[[Outcome], object]] = None,
    max_attempts: Optional[int] = None,
    max_elapsed: Optional[float] = None,
    subprotocols: Made[Iterable[str]] = (),
    extra_headers: Made[ExtraHeaders] = None,
    sock: Optional[socket.socket] = None,
    **options: Unpack[WSConnectOptions],
) -> ConnectCall:
    """Open a WebSocket connection (RFC 6455) whose messages are awaited.

    ::

        async with connect("wss://host/feed") as ws:
            await ws.send("hello")
            async for message in ws:
                ...

    The call returns a coroutine for ``await``, ``asyncio.create_task``, ``asyncio.wait_for`` and
    ``asyncio.run``. Its result is an open :class:`WSConnection`. It also serves ``async with``,
    which closes the connection on exit with 1000 and waits at most ``close_timeout`` seconds; if
    that wait is cancelled, the connection is dropped.

    ``async for`` opens one connection after another, with pauses that grow::

        async for ws in connect("wss://host/feed"):
            try:
                async for message in ws:
                    ...
            except WSConnectionClosed:
                continue

    It closes the last one first, and goes on for ever, or to an error that would come again.

    ``max_queue``: above so many messages that wait for ``recv``, reading is paused, and resumed
    when a quarter is left; a tuple has the high and the low mark. None: no limit. Default: 2048.

    ``max_queue_bytes``: the same in bytes. Default: 256 KiB. What one read has brought is always
    taken, so that both may be passed by what a read buffer holds, and on TLS by what one wake-up of
    the loop reads. Compressed messages of one read may pass it by 16 MiB, or by
    ``max_message_size`` if that is more; beyond that the connection fails with 1008.

    ``url``, ``subprotocols``, ``extra_headers``: as for :func:`ws_connect`, or a callable or
    coroutine function without arguments that makes the value for each attempt.

    ``backoff`` (None: ``WSBackoff()``), ``retry`` (None: :func:`is_transient`), ``max_attempts``,
    ``max_elapsed``: only for ``async for``; see :func:`ws_keep_connected`.

    All other options, and what is raised, are those of :func:`ws_connect`.
    """
    offered, headers = reusable(subprotocols), reusable(extra_headers)
    if "proxy_headers" in options:
        options["proxy_headers"] = reusable(options["proxy_headers"])

    rules = {
        "backoff": backoff,
        "retry": retry,
        "max_attempts": max_attempts,
        "max_elapsed": max_elapsed,
    }
    given = [f"{name}=" for name, value in rules.items() if value is not None]
    if given:  # not imported by those who connect once
        import_module("picows_client.redial").RedialRules.of(**rules)

    async def connect(*, is_iterated: bool = False) -> WSConnection:
        try:
            if given and not is_iterated:
                raise WSInvalidOptionError(
                    f"{', '.join(given)} for one connection has no effect: write"
                    " async for ws in connect(...), or call ws_keep_connected"
                )
            marks = QueueMarks(max_queue, max_queue_bytes)
            made_url = await made_anew(url)
            made_subprotocols = await made_anew(offered)
            made_headers = await made_anew(headers)
        except BaseException:
            if isinstance(sock, socket.socket):
                sock.close()
            raise
        _, listener = await ws_connect(
            made_url,
            lambda: Inbox(marks),
            logger_name,
            subprotocols=made_subprotocols,
            extra_headers=made_headers,
            sock=sock,
            **options,
        )
        return WSConnection(listener)

    return ConnectCall(connect, rules, logger_name, is_used_up=sock is not None)
