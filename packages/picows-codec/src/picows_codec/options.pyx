# cython: auto_pickle=False
"""Options of one endpoint: what they mean, their defaults and their ranges."""

from math import isfinite

cimport cython

from picows_codec.constants import WSAutoPingStrategy
from picows_codec.errors import WSInvalidOptionError

__all__ = ["WSOptions"]

cdef extern from *:
    Py_ssize_t PY_SSIZE_T_MAX

cdef enum:
    MAX_COUNT = 0x7FFFFFFF
    # A handshake is kept in memory and its offsets in 32 bits.
    MAX_HANDSHAKE_BYTES = 0x40000000
    # The smallest limits under which a plain opening handshake still passes.
    MIN_HANDSHAKE_LINE = 64
    MIN_HANDSHAKE_HEADERS = 5
    MIN_HANDSHAKE_BYTES = 256
    # A control frame must always fit (RFC 6455, 5.5).
    MIN_FRAME_BYTES = 125
    MIN_READ_BUFFER_BYTES = 256
    MAX_READ_BUFFER_BYTES = 0x40000000

cdef tuple _NAMES = (
    "disconnect_on_exception",
    "websocket_handshake_timeout",
    "close_timeout",
    "stall_timeout",
    "data_timeout",
    "enable_auto_ping",
    "auto_ping_idle_timeout",
    "auto_ping_reply_timeout",
    "auto_ping_strategy",
    "enable_auto_pong",
    "max_frame_size",
    "max_message_size",
    "max_fragments_per_message",
    "max_handshake_line_size",
    "max_handshake_headers",
    "max_handshake_size",
    "write_high_watermark",
    "write_low_watermark",
    "max_write_queue_size",
    "read_buffer_init_size",
    "coalesce_writes",
    "busy_poll",
)


cdef int _flag(str name, object value) except -1:
    if value is True:
        return 1
    if value is False:
        return 0
    raise TypeError(f"{name} must be True or False, not {value!r}")


cdef double _seconds(str name, object value, str alternative="") except -1.0:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(
            f"{name} must be a number of seconds{alternative}, "
            f"not {type(value).__name__}: {value!r}")
    cdef double seconds
    try:
        seconds = value
    except OverflowError:
        seconds = float("inf")
    if not isfinite(seconds) or seconds <= 0.0:
        raise WSInvalidOptionError(
            f"{name}={value!r} is out of range: "
            f"a positive, finite number of seconds{alternative} is wanted")
    return seconds


cdef object _seconds_or_none(str name, object value):
    if value is None:
        return None
    return _seconds(name, value, " or None (no limit)")


cdef Py_ssize_t _number(str name, object value, object low, object high, str unit) except -1:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an int, not {type(value).__name__}: {value!r}")
    if not low <= value <= high:
        raise WSInvalidOptionError(
            f"{name}={value!r} is out of range: {low} to {high} {unit} are allowed")
    return value


cdef object _strategy(str name, object value):
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(
            f"{name} must be a WSAutoPingStrategy, not {type(value).__name__}: {value!r}")
    try:
        return WSAutoPingStrategy(value)
    except ValueError:
        members = ", ".join([str(member) for member in WSAutoPingStrategy.__members__])
        raise WSInvalidOptionError(
            f"{name}={value!r} is out of range: one of WSAutoPingStrategy's {members} is wanted"
        ) from None


@cython.final
cdef class WSOptions:
    """Options of one WebSocket endpoint, client or server; read-only.

    All are keyword arguments. A value outside its range raises :exc:`WSInvalidOptionError`
    that names the option, the value and the range; a wrong type raises :exc:`TypeError`.

    ================================ ========= ==================================================
    option                           default   meaning
    ================================ ========= ==================================================
    ``disconnect_on_exception``      True      an exception of the listener ends its connection;
                                               False: it is only logged
    ``websocket_handshake_timeout``  5.0       seconds for the whole opening handshake, however
                                               its bytes trickle in; None: no limit
    ``close_timeout``                5.0       seconds for the closing handshake; None: no limit
    ``stall_timeout``                60.0      seconds in which a frame that has begun to arrive, or
                                               a write queue that has passed its high watermark,
                                               must be done or 64 KiB further, and a message that
                                               ``WSMessageListener`` gathers must get another
                                               fragment; a peer that stalls longer is disconnected,
                                               at the latest after twice that time; None: no limit
    ``data_timeout``                 None      seconds without a TEXT, BINARY or CONTINUATION frame
                                               after which the peer is disconnected, at the latest
                                               after a quarter more; pongs do not count, those of
                                               ``is_user_specific_pong`` included; None: no limit
    ``enable_auto_ping``             False     send pings and wait for their pongs
    ``auto_ping_idle_timeout``       10.0      seconds before a ping, see ``auto_ping_strategy``
    ``auto_ping_reply_timeout``      10.0      seconds to wait for the pong
    ``auto_ping_strategy``           WHEN_IDLE :class:`WSAutoPingStrategy`
    ``enable_auto_pong``             True      answer pings; False: the listener does
    ``max_frame_size``               16 MiB    bytes of payload of one frame, at least 125; what
                                               one unfinished frame may hold in memory
    ``max_message_size``             16 MiB    bytes of payload of one message
    ``max_fragments_per_message``    131072    frames of one message
    ``max_handshake_line_size``      8192      bytes of one line of the peer's handshake
    ``max_handshake_headers``        128       header lines of the peer's handshake
    ``max_handshake_size``           65536     bytes of the peer's handshake
    ``write_high_watermark``         65536     bytes in the write queue above which the listener
                                               is told to pause writing
    ``write_low_watermark``          a quarter bytes at or below which it is told to resume; by
                                               default a quarter of ``write_high_watermark``
    ``max_write_queue_size``         16 MiB    bytes in the write queue above which a slow
                                               consumer is disconnected; one message of any size
                                               is taken while the queue is below its watermark
    ``read_buffer_init_size``        131072    bytes of the read buffer, which all connections of
                                               a thread share where the transport allows it
    ``coalesce_writes``              True      frames sent after the first in one turn of the loop
                                               leave together at its end; False: each at once
    ``busy_poll``                    False     poll instead of sleeping: a core for latency
    ================================ ========= ==================================================
    """

    def __init__(
        self,
        *,
        disconnect_on_exception=True,
        websocket_handshake_timeout=5.0,
        close_timeout=5.0,
        stall_timeout=60.0,
        data_timeout=None,
        enable_auto_ping=False,
        auto_ping_idle_timeout=10.0,
        auto_ping_reply_timeout=10.0,
        auto_ping_strategy=WSAutoPingStrategy.PING_WHEN_IDLE,
        enable_auto_pong=True,
        max_frame_size=16 * 1024 * 1024,
        max_message_size=16 * 1024 * 1024,
        max_fragments_per_message=131072,
        max_handshake_line_size=8192,
        max_handshake_headers=128,
        max_handshake_size=65536,
        write_high_watermark=65536,
        write_low_watermark=None,
        max_write_queue_size=16 * 1024 * 1024,
        read_buffer_init_size=131072,
        coalesce_writes=True,
        busy_poll=False,
    ):
        self.disconnect_on_exception = _flag("disconnect_on_exception", disconnect_on_exception)
        self.websocket_handshake_timeout = _seconds_or_none(
            "websocket_handshake_timeout", websocket_handshake_timeout)
        self.close_timeout = _seconds_or_none("close_timeout", close_timeout)
        self.stall_timeout = _seconds_or_none("stall_timeout", stall_timeout)
        self.data_timeout = _seconds_or_none("data_timeout", data_timeout)

        self.enable_auto_ping = _flag("enable_auto_ping", enable_auto_ping)
        self.auto_ping_idle_timeout = _seconds("auto_ping_idle_timeout", auto_ping_idle_timeout)
        self.auto_ping_reply_timeout = _seconds("auto_ping_reply_timeout", auto_ping_reply_timeout)
        self.auto_ping_strategy = _strategy("auto_ping_strategy", auto_ping_strategy)
        self.enable_auto_pong = _flag("enable_auto_pong", enable_auto_pong)

        self.max_frame_size = _number(
            "max_frame_size", max_frame_size, MIN_FRAME_BYTES, PY_SSIZE_T_MAX, "bytes")
        self.max_message_size = _number(
            "max_message_size", max_message_size, 1, PY_SSIZE_T_MAX, "bytes")
        self.max_fragments_per_message = _number(
            "max_fragments_per_message", max_fragments_per_message, 1, MAX_COUNT, "frames")

        self.max_handshake_line_size = _number(
            "max_handshake_line_size", max_handshake_line_size,
            MIN_HANDSHAKE_LINE, MAX_HANDSHAKE_BYTES, "bytes")
        self.max_handshake_headers = _number(
            "max_handshake_headers", max_handshake_headers,
            MIN_HANDSHAKE_HEADERS, MAX_COUNT, "header lines")
        self.max_handshake_size = _number(
            "max_handshake_size", max_handshake_size,
            MIN_HANDSHAKE_BYTES, MAX_HANDSHAKE_BYTES, "bytes")

        self.max_write_queue_size = _number(
            "max_write_queue_size", max_write_queue_size, 1, PY_SSIZE_T_MAX, "bytes")
        self.write_high_watermark = _number(
            "write_high_watermark", write_high_watermark, 0, PY_SSIZE_T_MAX, "bytes")
        if self.write_high_watermark > self.max_write_queue_size:
            raise WSInvalidOptionError(
                f"write_high_watermark={write_high_watermark!r} is out of range: "
                f"it must not exceed max_write_queue_size={max_write_queue_size!r} bytes")
        if write_low_watermark is None:
            self.write_low_watermark = self.write_high_watermark // 4
        else:
            self.write_low_watermark = _number(
                "write_low_watermark", write_low_watermark, 0, self.write_high_watermark,
                "bytes (write_high_watermark)")

        self.read_buffer_init_size = _number(
            "read_buffer_init_size", read_buffer_init_size,
            MIN_READ_BUFFER_BYTES, MAX_READ_BUFFER_BYTES, "bytes")
        self.coalesce_writes = _flag("coalesce_writes", coalesce_writes)
        self.busy_poll = _flag("busy_poll", busy_poll)

    @staticmethod
    def names():
        """The names of all options, in the order of the table above."""
        return _NAMES

    def __repr__(self):
        options = ", ".join([f"{name}={getattr(self, name)!r}" for name in _NAMES])
        return f"WSOptions({options})"
