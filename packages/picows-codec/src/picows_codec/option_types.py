"""The type of ``**options`` of ``ws_connect`` and ``ws_create_server``, for type checkers.

Written by tools/options.py from option_table.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Optional, TypedDict, Union

from picows_codec.constants import WSAutoPingStrategy

if TYPE_CHECKING:
    from picows_codec.deflate.parameters import WSPermessageDeflate
    from picows_codec.tap_types import AnyTap

__all__ = ["WSConnectionOptions"]


class WSConnectionOptions(TypedDict, total=False):
    """Options of a connection, for a function of your own that passes them on.

    ``def connect(url: str, **options: Unpack[WSConnectionOptions])``, where ``Unpack`` is that of
    typing (Python 3.11) or of typing_extensions.
    """

    disconnect_on_exception: bool
    """An exception of the listener ends its connection; False: it is only logged; without
    effect on connect and serve, which have no listener of yours. Default: True."""
    websocket_handshake_timeout: Optional[float]
    """Seconds for the whole opening handshake, however slowly its bytes arrive; None: no limit.
    Default: 5.0."""
    close_timeout: Optional[float]
    """Seconds for the closing handshake, after which the connection is aborted; None: no limit.
    Default: 5.0."""
    stall_timeout: Optional[float]
    """Seconds within which a frame that has begun to arrive, or a write queue above its high
    watermark, must be complete or 64 KiB further, and a message that ``WSMessageListener``
    gathers must get another fragment; a peer that stalls longer is disconnected after at most
    twice that time; None: no limit. Default: 60.0."""
    data_timeout: Optional[float]
    """Seconds without a TEXT, BINARY or CONTINUATION frame after which the peer is
    disconnected, up to a quarter later; pongs do not count, and neither do frames that
    ``is_user_specific_pong`` recognises; None: no limit. Default: None."""
    enable_auto_ping: bool
    """Send pings, and end connections that do not reply. Default: False."""
    auto_ping_idle_timeout: float
    """Seconds until a ping is sent: without a byte from the peer (``PING_WHEN_IDLE``), or since
    the last ping (``PING_PERIODICALLY``). Default: 10.0; server: 20.0."""
    auto_ping_reply_timeout: float
    """Seconds to wait for the pong. Default: 10.0; server: 20.0."""
    auto_ping_strategy: WSAutoPingStrategy
    """Whether to ping an idle peer, or every peer periodically; pings of the application's own
    mostly need ``PING_PERIODICALLY``. Default: PING_WHEN_IDLE."""
    enable_auto_pong: bool
    """Answer pings; False: the listener does. Default: True."""
    max_frame_size: int
    """Bytes of payload of one frame, at least 125; a larger one fails the connection with 1009.
    Default: 16 MiB."""
    max_message_size: int
    """Bytes of payload of one message; a larger one fails the connection with 1009. Default: 16
    MiB."""
    max_fragments_per_message: int
    """Frames of one message; more fail the connection with 1008. Default: 131072."""
    max_handshake_line_size: int
    """Bytes of one line of the peer's handshake. Default: 8192."""
    max_handshake_headers: int
    """Header lines of the peer's handshake. Default: 128."""
    max_handshake_size: int
    """Bytes of the peer's handshake altogether. Default: 65536."""
    write_high_watermark: int
    """Bytes in the write queue above which the listener is told to pause writing. Default:
    65536."""
    write_low_watermark: Optional[int]
    """Bytes in the write queue at or below which the listener is told to resume; None: a
    quarter of ``write_high_watermark``. Default: None."""
    max_write_queue_size: int
    """Bytes in the write queue above which a slow consumer is disconnected; one message of any
    size is taken while the queue is below its high watermark. Default: 16 MiB."""
    read_buffer_init_size: int
    """Bytes of the read buffer, which all connections of a thread share where the transport
    allows it. Default: 131072."""
    coalesce_writes: bool
    """Frames sent after the first in one iteration of the loop leave together at its end;
    False: each at once. Default: True."""
    compression: Optional[Union[str, WSPermessageDeflate]]
    """Permessage-deflate (RFC 7692): ``"deflate"``, or a ``WSPermessageDeflate`` with
    parameters; None: not negotiated. Default: None."""
    tap: Optional[AnyTap]
    """Called as ``tap(direction, data, time_ns)`` with the bytes of every read and write, the
    handshake's included; or a ``WSTap``, or an object with ``new_tap(role, url)``, which makes
    one for each connection; see Taps; None: nobody sees them. Default: None."""
    collect_stats: bool
    """Count what each connection does, for ``stats()`` of its transport. Default: False."""
    busy_poll: bool
    """The loop polls instead of sleeping. Default: False."""
