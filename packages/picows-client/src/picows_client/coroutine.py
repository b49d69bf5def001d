"""connect: a connection whose messages are awaited."""

from __future__ import annotations

import socket
import ssl
from typing import (
    TYPE_CHECKING,
    Any,
    Callable,
    Coroutine,
    Iterable,
    Mapping,
    Optional,
    Tuple,
    Union,
)

from picows_client.connect_call import ConnectCall
from picows_client.connecting import USER_AGENT, ws_connect
from picows_client.first_hop import SocketFactory
from picows_client.logs import Logger
from picows_client.option_names import CONNECT_MEANINGS
from picows_codec.calls import returns_call
from picows_codec.coroutines.connection import WSConnection
from picows_codec.coroutines.inbox import Inbox, QueueMarks
from picows_codec.socket_address import UnixPath

if TYPE_CHECKING:
    from typing_extensions import ParamSpec, Unpack

    from picows_codec.option_types import WSConnectionOptions

    _P = ParamSpec("_P")

__all__ = ["connect"]

# A high mark, or it and the low one; None: no limit.
Marks = Union[int, Tuple[Optional[int], Optional[int]], None]


def _returns_call(
    function: Callable[_P, Coroutine[Any, Any, WSConnection]],
) -> Callable[_P, ConnectCall]:
    call: Callable[_P, ConnectCall] = returns_call(ConnectCall, CONNECT_MEANINGS, is_server=False)(
        function
    )
    return call


@_returns_call
async def connect(
    url: str,
    logger_name: Union[str, Logger, None] = "client",
    *,
    max_queue: Marks = 2048,
    max_queue_bytes: Marks = 262144,
    ssl_context: Optional[ssl.SSLContext] = None,
    server_hostname: Optional[str] = None,
    subprotocols: Iterable[str] = (),
    extra_headers: Union[Mapping[str, str], Iterable[Tuple[str, str]], None] = None,
    user_agent: Optional[str] = USER_AGENT,
    max_redirects: int = 5,
    proxy: Optional[str] = None,
    proxy_ssl_context: Optional[ssl.SSLContext] = None,
    socket_factory: Optional[SocketFactory] = None,
    sock: Optional[socket.socket] = None,
    unix_path: Optional[UnixPath] = None,
    local_addr: Optional[Tuple[str, int]] = None,
    family: int = 0,
    backend: str = "auto",
    **options: Unpack[WSConnectionOptions],
) -> WSConnection:
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

    ``max_queue``: above so many messages that wait for ``recv``, reading is paused, and resumed
    when a quarter is left; a tuple has the high and the low mark. None: no limit. Default: 2048.

    ``max_queue_bytes``: the same in bytes. Default: 256 KiB. What one read has brought is always
    taken, so that both may be passed by what a read buffer holds, and on TLS by what one wake-up of
    the loop reads. Compressed messages of one read may pass it by 16 MiB, or by
    ``max_message_size`` if that is more; beyond that the connection fails with 1008.

    All other options, and what is raised, are those of :func:`ws_connect`.
    """
    try:
        marks = QueueMarks(max_queue, max_queue_bytes)
    except BaseException:
        if isinstance(sock, socket.socket):
            sock.close()
        raise
    _, listener = await ws_connect(
        url,
        lambda: Inbox(marks),
        logger_name,
        ssl_context=ssl_context,
        server_hostname=server_hostname,
        subprotocols=subprotocols,
        extra_headers=extra_headers,
        user_agent=user_agent,
        max_redirects=max_redirects,
        proxy=proxy,
        proxy_ssl_context=proxy_ssl_context,
        socket_factory=socket_factory,
        sock=sock,
        unix_path=unix_path,
        local_addr=local_addr,
        family=family,
        backend=backend,
        **options,
    )
    return WSConnection(listener)
