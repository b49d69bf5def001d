"""The type of ``run``'s ``**options``, for type checkers."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Iterable, Optional, Union

from picows_codec.option_types import WSConnectionOptions
from picows_codec.socket_address import UnixPath
from picows_server.logs import Logger
from picows_server.origins import Origins
from picows_server.proxies.networks import Network

if TYPE_CHECKING:
    from picows_server.serving import Marks, ProcessRequest

__all__ = ["WSRunOptions"]


class WSRunOptions(WSConnectionOptions, total=False):
    """Options of :func:`ws_create_server` and :func:`serve` that :func:`run` passes on."""

    process_request: Optional[ProcessRequest]
    max_queue: Marks
    max_queue_bytes: Marks
    unix_path: Optional[UnixPath]
    sock: Union[socket.socket, Iterable[socket.socket], None]
    backlog: int
    reuse_address: Optional[bool]
    reuse_port: bool
    backend: str
    max_pending_handshakes: Optional[int]
    max_connections: Optional[int]
    when_full: str
    origins: Optional[Origins]
    subprotocols: Iterable[str]
    trusted_proxies: Iterable[Network]
    proxy_protocol: bool
    forwarded_header: Optional[str]
    access_log: Union[bool, str, Logger]
