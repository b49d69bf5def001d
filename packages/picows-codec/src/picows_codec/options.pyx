# cython: auto_pickle=False
"""Options of one endpoint, in fields that are read from C.

Written by tools/options.py from option_table.py.
"""

cimport cython

from picows_codec.option_table import OPTIONS, checked_options

__all__ = ["WSOptions"]

cdef tuple _NAMES = tuple([option.name for option in OPTIONS])


@cython.final
cdef class WSOptions:
    """Options of one WebSocket endpoint, client or server; read-only.

    All are keyword arguments. A value outside its range raises :exc:`WSInvalidOptionError`
    that names the option, the value and the range; a wrong type and an unknown name raise
    :exc:`TypeError`. The defaults are those of a client; where ``ws_create_server`` has
    another, it stands beside.

    ``disconnect_on_exception`` (True): an exception of the listener ends its connection; False:
        it is only logged; without effect on connect and serve, which have no listener of yours
    ``websocket_handshake_timeout`` (5.0): seconds for the whole opening handshake, however
        slowly its bytes arrive; None: no limit
    ``close_timeout`` (5.0): seconds for the closing handshake, after which the connection is
        aborted; None: no limit
    ``stall_timeout`` (60.0): seconds within which a frame that has begun to arrive, or a write
        queue above its high watermark, must be complete or 64 KiB further, and a message that
        ``WSMessageListener`` gathers must get another fragment; a peer that stalls longer is
        disconnected after at most twice that time; None: no limit
    ``data_timeout`` (None): seconds without a TEXT, BINARY or CONTINUATION frame after which
        the peer is disconnected, up to a quarter later; pongs do not count, and neither do
        frames that ``is_user_specific_pong`` recognises; None: no limit
    ``enable_auto_ping`` (False): send pings, and end connections that do not reply
    ``auto_ping_idle_timeout`` (10.0; server: 20.0): seconds until a ping is sent: without a
        byte from the peer (``PING_WHEN_IDLE``), or since the last ping (``PING_PERIODICALLY``)
    ``auto_ping_reply_timeout`` (10.0; server: 20.0): seconds to wait for the pong
    ``auto_ping_strategy`` (PING_WHEN_IDLE): whether to ping an idle peer, or every peer
        periodically; pings of the application's own mostly need ``PING_PERIODICALLY``
    ``enable_auto_pong`` (True): answer pings; False: the listener does
    ``max_frame_size`` (16 MiB): bytes of payload of one frame, at least 125; a larger one fails
        the connection with 1009
    ``max_message_size`` (16 MiB): bytes of payload of one message; a larger one fails the
        connection with 1009
    ``max_fragments_per_message`` (131072): frames of one message; more fail the connection with
        1008
    ``max_handshake_line_size`` (8192): bytes of one line of the peer's handshake
    ``max_handshake_headers`` (128): header lines of the peer's handshake
    ``max_handshake_size`` (65536): bytes of the peer's handshake altogether
    ``write_high_watermark`` (65536): bytes in the write queue above which the listener is told
        to pause writing
    ``write_low_watermark`` (None): bytes in the write queue at or below which the listener is
        told to resume; None: a quarter of ``write_high_watermark``
    ``max_write_queue_size`` (16 MiB): bytes in the write queue above which a slow consumer is
        disconnected; one message of any size is taken while the queue is below its high
        watermark
    ``read_buffer_init_size`` (131072): bytes of the read buffer, which all connections of a
        thread share where the transport allows it
    ``coalesce_writes`` (True): frames sent after the first in one iteration of the loop leave
        together at its end; False: each at once
    ``compression`` (None): permessage-deflate (RFC 7692): ``"deflate"``, or a
        ``WSPermessageDeflate`` with parameters; None: not negotiated
    ``tap`` (None): called as ``tap(direction, data, time_ns)`` with the bytes of every read and
        write, the handshake's included; or a ``WSTap``, or an object with ``new_tap(role,
        url)``, which makes one for each connection; see Taps; None: nobody sees them
    ``collect_stats`` (False): count what each connection does, for ``stats()`` of its transport
    ``busy_poll`` (False): the loop polls instead of sleeping
    """

    def __init__(self, **options):
        cdef dict values = checked_options(options)
        self.disconnect_on_exception = values["disconnect_on_exception"]
        self.websocket_handshake_timeout = values["websocket_handshake_timeout"]
        self.close_timeout = values["close_timeout"]
        self.stall_timeout = values["stall_timeout"]
        self.data_timeout = values["data_timeout"]
        self.enable_auto_ping = values["enable_auto_ping"]
        self.auto_ping_idle_timeout = values["auto_ping_idle_timeout"]
        self.auto_ping_reply_timeout = values["auto_ping_reply_timeout"]
        self.auto_ping_strategy = values["auto_ping_strategy"]
        self.enable_auto_pong = values["enable_auto_pong"]
        self.max_frame_size = values["max_frame_size"]
        self.max_message_size = values["max_message_size"]
        self.max_fragments_per_message = values["max_fragments_per_message"]
        self.max_handshake_line_size = values["max_handshake_line_size"]
        self.max_handshake_headers = values["max_handshake_headers"]
        self.max_handshake_size = values["max_handshake_size"]
        self.write_high_watermark = values["write_high_watermark"]
        self.write_low_watermark = values["write_low_watermark"]
        self.max_write_queue_size = values["max_write_queue_size"]
        self.read_buffer_init_size = values["read_buffer_init_size"]
        self.coalesce_writes = values["coalesce_writes"]
        self.compression = values["compression"]
        self.tap = values["tap"]
        self.collect_stats = values["collect_stats"]
        self.busy_poll = values["busy_poll"]

    @staticmethod
    def names():
        """The names of all options, in the order of the table above."""
        return _NAMES

    def __repr__(self):
        options = ", ".join([f"{name}={getattr(self, name)!r}" for name in _NAMES])
        return f"WSOptions({options})"
