"""The table of all options of a connection: every other place takes them from here.

``WSOptions`` checks values by it. The signatures, docstrings and errors of ``ws_connect`` and
``ws_create_server`` are made from it at import. ``tools/options.py`` writes the rest from it: the
fields and stubs of ``WSOptions``, the type of ``**options``, and the table in the guide.
"""

from __future__ import annotations

import inspect
import sys
from math import isfinite
from textwrap import fill
from typing import TYPE_CHECKING, Any, Dict, Mapping, Optional, Union

from picows_codec.constants import WSAutoPingStrategy
from picows_codec.errors import WSInvalidOptionError
from picows_codec.option_names import CONNECTION_MEANINGS, explain_option

if TYPE_CHECKING:
    from picows_codec.deflate.parameters import WSPermessageDeflate

__all__ = [
    "OPTIONS",
    "SERVER_DEFAULTS",
    "Deflate",
    "Flag",
    "Number",
    "Option",
    "Seconds",
    "Strategy",
    "Tap",
    "checked_options",
    "described_options",
]

_MAX_COUNT = 0x7FFFFFFF
# A handshake is kept in memory, and offsets into it have 32 bits.
_MAX_HANDSHAKE_BYTES = 0x40000000
# The smallest limits under which a plain opening handshake still passes.
_MIN_HANDSHAKE_LINE = 64
_MIN_HANDSHAKE_HEADERS = 5
_MIN_HANDSHAKE_BYTES = 256
# A control frame must always fit (RFC 6455, 5.5).
_MIN_FRAME_BYTES = 125
_MIN_READ_BUFFER_BYTES = 256
_MAX_READ_BUFFER_BYTES = 0x40000000

_MIB = 1024 * 1024


# Checks. Each has the type that it accepts (``kind``, and None if ``is_optional``), and returns the
# value that WSOptions keeps.


class Flag:
    """True or False, nothing else."""

    kind = bool
    is_optional = False

    def __call__(self, name: str, value: Any) -> Any:
        if value is True or value is False:
            return value
        raise TypeError(f"{name} must be True or False, not {value!r}")


class Seconds:
    """A positive, finite number of seconds, or None for no limit if ``is_optional``."""

    kind = float

    def __init__(self, *, is_optional: bool = False) -> None:
        self.is_optional = is_optional
        self._alternative = " or None (no limit)" if is_optional else ""

    def __call__(self, name: str, value: Any) -> Any:
        if value is None and self.is_optional:
            return None
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise TypeError(
                f"{name} must be a number of seconds{self._alternative},"
                f" not {type(value).__name__}: {value!r}"
            )
        try:
            seconds = float(value)
        except OverflowError:
            seconds = float("inf")
        if not isfinite(seconds) or seconds <= 0.0:
            raise WSInvalidOptionError(
                f"{name}={value!r} is out of range:"
                f" a positive, finite number of seconds{self._alternative} is wanted"
            )
        return seconds


class Number:
    """An int from low to high, both included; or None, which another value replaces later."""

    kind = int

    def __init__(self, low: int, high: int, unit: str, *, is_optional: bool = False) -> None:
        self.low = low
        self.high = high
        self.unit = unit
        self.is_optional = is_optional

    def __call__(self, name: str, value: Any) -> Any:
        if value is None and self.is_optional:
            return None
        if isinstance(value, bool) or not isinstance(value, int):
            raise TypeError(f"{name} must be an int, not {type(value).__name__}: {value!r}")
        if not self.low <= value <= self.high:
            raise WSInvalidOptionError(
                f"{name}={value!r} is out of range:"
                f" {self.low} to {self.high} {self.unit} are allowed"
            )
        return value


class Strategy:
    """A member of ``WSAutoPingStrategy``, or its number."""

    kind = WSAutoPingStrategy
    is_optional = False

    def __call__(self, name: str, value: Any) -> Any:
        if isinstance(value, bool) or not isinstance(value, int):
            raise TypeError(
                f"{name} must be a WSAutoPingStrategy, not {type(value).__name__}: {value!r}"
            )
        try:
            return WSAutoPingStrategy(value)
        except ValueError:
            members = ", ".join(WSAutoPingStrategy.__members__)
            raise WSInvalidOptionError(
                f"{name}={value!r} is out of range: one of WSAutoPingStrategy's {members} is wanted"
            ) from None


class Deflate:
    """None, "deflate" for the defaults, or a ``WSPermessageDeflate``."""

    # A name, because only those who ask for compression import it.
    kind = Union[str, "WSPermessageDeflate"]
    kind_name = "Union[str, WSPermessageDeflate]"
    kept_name = "WSPermessageDeflate"
    is_optional = True

    def __call__(self, name: str, value: Any) -> Any:
        if value is None:
            return None
        from picows_codec.deflate.parameters import (  # noqa: PLC0415
            WSPermessageDeflate as Parameters,
        )

        if isinstance(value, Parameters):
            return value
        if not isinstance(value, str):
            raise TypeError(
                f'{name} must be None, "deflate" or a WSPermessageDeflate,'
                f" not {type(value).__name__}: {value!r}"
            )
        if value != "deflate":
            raise WSInvalidOptionError(
                f'{name}={value!r} is unknown: None, "deflate" or a WSPermessageDeflate is wanted'
            )
        return Parameters()


class Tap:
    """None, a callable, a ``WSTap``, or what has ``new_tap``."""

    # A name, because only those who pass one import it.
    kind = "AnyTap"
    kind_name = "AnyTap"
    is_optional = True

    def __call__(self, name: str, value: Any) -> Any:
        if value is None:
            return None
        from picows_codec.tap import WSTap  # noqa: PLC0415

        if isinstance(value, type) or not (
            callable(value) or isinstance(value, WSTap) or hasattr(value, "new_tap")
        ):
            raise TypeError(
                f"{name} must be None, a callable, a WSTap or an object with new_tap(role, url),"
                f" not {type(value).__name__}: {value!r}"
            )
        called = getattr(type(value), "__call__", None)  # noqa: B004 - to look at it
        if any(map(inspect.iscoroutinefunction, (value, called))):
            raise TypeError(f"{name} must not be a coroutine function, because nobody awaits it")
        return value


class Option:
    """One row: name, check (which has the type), defaults, description in a line, and cost.

    ``default`` is the client's and that of ``WSOptions``, ``server_default`` the server's.
    """

    __slots__ = ("check", "default", "description", "memory", "name", "server_default", "speed")

    def __init__(
        self,
        name: str,
        check: Any,
        default: Any,
        description: str,
        *,
        server_default: Any = ...,
        memory: str = "none",
        speed: str = "none",
    ) -> None:
        self.name = name
        self.check = check
        self.default = default
        self.server_default = default if server_default is ... else server_default
        self.description = description
        self.memory = memory
        self.speed = speed

    @property
    def type(self) -> Any:
        """The type of its values."""
        return Optional[self.check.kind] if self.check.is_optional else self.check.kind

    def default_of(self, *, is_server: bool) -> Any:
        """Return the default of one side."""
        return self.server_default if is_server else self.default

    @property
    def default_text(self) -> str:
        """The default as documents show it, with the server's where that differs."""
        text = _shown(self.default)
        if self.server_default != self.default:
            text += f"; server: {_shown(self.server_default)}"
        return text


OPTIONS = (
    Option(
        "disconnect_on_exception",
        Flag(),
        True,
        "an exception of the listener ends its connection; False: it is only logged; without effect"
        " on connect and serve, which have no listener of yours",
    ),
    Option(
        "websocket_handshake_timeout",
        Seconds(is_optional=True),
        5.0,
        "seconds for the whole opening handshake, however slowly its bytes arrive; None: no limit",
        speed="one sweep for all connections",
    ),
    Option(
        "close_timeout",
        Seconds(is_optional=True),
        5.0,
        "seconds for the closing handshake, after which the connection is aborted; None: no limit",
        speed="the same sweep",
    ),
    Option(
        "stall_timeout",
        Seconds(is_optional=True),
        60.0,
        "seconds within which a frame that has begun to arrive, or a write queue above its high"
        " watermark, must be complete or 64 KiB further, and a message that ``WSMessageListener``"
        " gathers must get another fragment; a peer that stalls longer is disconnected after at"
        " most twice that time; None: no limit",
        speed="one look in that time",
    ),
    Option(
        "data_timeout",
        Seconds(is_optional=True),
        None,
        "seconds without a TEXT, BINARY or CONTINUATION frame after which the peer is"
        " disconnected, up to a quarter later; pongs do not count, and neither do frames that"
        " ``is_user_specific_pong`` recognises; None: no limit",
        speed="four looks in that time, nothing per frame",
    ),
    Option(
        "enable_auto_ping",
        Flag(),
        False,
        "send pings, and end connections that do not reply",
        speed="a few looks per idle timeout",
    ),
    Option(
        "auto_ping_idle_timeout",
        Seconds(),
        10.0,
        "seconds until a ping is sent: without a byte from the peer (``PING_WHEN_IDLE``), or since"
        " the last ping (``PING_PERIODICALLY``)",
        server_default=20.0,
        speed="shorter: more pings",
    ),
    Option(
        "auto_ping_reply_timeout",
        Seconds(),
        10.0,
        "seconds to wait for the pong",
        server_default=20.0,
    ),
    Option(
        "auto_ping_strategy",
        Strategy(),
        WSAutoPingStrategy.PING_WHEN_IDLE,
        "whether to ping an idle peer, or every peer periodically; pings of the application's own"
        " mostly need ``PING_PERIODICALLY``",
        speed="periodic: a ping also while busy",
    ),
    Option(
        "enable_auto_pong",
        Flag(),
        True,
        "answer pings; False: the listener does",
        speed="False: a callback per ping",
    ),
    Option(
        "max_frame_size",
        Number(_MIN_FRAME_BYTES, sys.maxsize, "bytes"),
        16 * _MIB,
        "bytes of payload of one frame, at least 125; a larger one fails the connection with 1009",
        memory="what one unfinished frame may take",
    ),
    Option(
        "max_message_size",
        Number(1, sys.maxsize, "bytes"),
        16 * _MIB,
        "bytes of payload of one message; a larger one fails the connection with 1009",
        memory="what ``WSMessageListener`` may gather; twice that while fragments come",
    ),
    Option(
        "max_fragments_per_message",
        Number(1, _MAX_COUNT, "frames"),
        131072,
        "frames of one message; more fail the connection with 1008",
        speed="bounds the work for one message",
    ),
    Option(
        "max_handshake_line_size",
        Number(_MIN_HANDSHAKE_LINE, _MAX_HANDSHAKE_BYTES, "bytes"),
        8192,
        "bytes of one line of the peer's handshake",
        memory="within ``max_handshake_size``",
    ),
    Option(
        "max_handshake_headers",
        Number(_MIN_HANDSHAKE_HEADERS, _MAX_COUNT, "header lines"),
        128,
        "header lines of the peer's handshake",
    ),
    Option(
        "max_handshake_size",
        Number(_MIN_HANDSHAKE_BYTES, _MAX_HANDSHAKE_BYTES, "bytes"),
        65536,
        "bytes of the peer's handshake altogether",
        memory="per connection until it is open; then only the bytes that arrived",
    ),
    Option(
        "write_high_watermark",
        Number(0, sys.maxsize, "bytes"),
        65536,
        "bytes in the write queue above which the listener is told to pause writing",
        memory="what a well-behaved sender may queue",
        speed="too low: many pauses",
    ),
    Option(
        "write_low_watermark",
        Number(0, sys.maxsize, "bytes", is_optional=True),
        None,
        "bytes in the write queue at or below which the listener is told to resume; None: a"
        " quarter of ``write_high_watermark``",
        speed="too low: the wire may run dry",
    ),
    Option(
        "max_write_queue_size",
        Number(1, sys.maxsize, "bytes"),
        16 * _MIB,
        "bytes in the write queue above which a slow consumer is disconnected; one message of any"
        " size is taken while the queue is below its high watermark",
        memory="per connection, only while it is queued",
    ),
    Option(
        "read_buffer_init_size",
        Number(_MIN_READ_BUFFER_BYTES, _MAX_READ_BUFFER_BYTES, "bytes"),
        131072,
        "bytes of the read buffer, which all connections of a thread share where the transport"
        " allows it",
        memory="per thread; per connection on loops that receive in the background (Windows'"
        " proactor)",
        speed="larger: fewer system calls for bursts, but a fast sender finds its window closed",
    ),
    Option(
        "coalesce_writes",
        Flag(),
        True,
        "frames sent after the first in one iteration of the loop leave together at its end;"
        " False: each at once",
        speed="one write instead of many",
    ),
    Option(
        "compression",
        Deflate(),
        None,
        'permessage-deflate (RFC 7692): ``"deflate"``, or a ``WSPermessageDeflate`` with'
        " parameters; None: not negotiated",
        memory="see Compression",
        speed="see Compression",
    ),
    Option(
        "tap",
        Tap(),
        None,
        "called as ``tap(direction, data, time_ns)`` with the bytes of every read and write, the"
        " handshake's included; or a ``WSTap``, or an object with ``new_tap(role, url)``, which"
        " makes one for each connection; see Taps; None: nobody sees them",
        speed="a copy and a call per read and write",
    ),
    Option(
        "collect_stats",
        Flag(),
        False,
        "count what each connection does, for ``stats()`` of its transport",
        memory="some 150 bytes",
        speed="a look at the clock per read",
    ),
    Option(
        "busy_poll",
        Flag(),
        False,
        "the loop polls instead of sleeping",
        speed="lowest latency for one whole core",
    ),
)

_BY_NAME = {option.name: option for option in OPTIONS}
_DEFAULTS = {option.name: option.default for option in OPTIONS}

# The server's defaults that are not the client's, for WSOptions(**{**SERVER_DEFAULTS, **options}).
SERVER_DEFAULTS: Dict[str, Any] = {
    option.name: option.server_default
    for option in OPTIONS
    if option.server_default != option.default
}


def checked_options(given: Mapping[str, Any]) -> Dict[str, Any]:
    """Return the values of all options, the given ones checked.

    Raises :exc:`TypeError` for a wrong type or an unknown name, and
    :exc:`WSInvalidOptionError` for a value out of its range.
    """
    values = dict(_DEFAULTS)
    for name, value in given.items():
        option = _BY_NAME.get(name)
        if option is None:
            text = explain_option(name, tuple(_BY_NAME), CONNECTION_MEANINGS)
            raise TypeError(f"WSOptions() has no option {text}")
        values[name] = option.check(name, value)
    _check_watermarks(values)
    return values


def _check_watermarks(values: Dict[str, Any]) -> None:
    low = values["write_low_watermark"]
    high = values["write_high_watermark"]
    most = values["max_write_queue_size"]
    if high > most:
        raise WSInvalidOptionError(
            f"write_high_watermark={high!r} is out of range:"
            f" it must not exceed max_write_queue_size={most!r} bytes"
        )
    if low is None:
        values["write_low_watermark"] = high // 4
    elif low > high:
        raise WSInvalidOptionError(
            f"write_low_watermark={low!r} is out of range:"
            f" 0 to {high} bytes (write_high_watermark) are allowed"
        )


def described_options(*, is_server: bool) -> str:
    """Return a line for each option with its default on one side, wrapped for ``help()``."""
    lines = []
    for option in OPTIONS:
        default = _shown(option.default_of(is_server=is_server))
        lines.append(
            fill(
                f"``{option.name}`` ({default}): {option.description}",
                96,
                initial_indent="    ",
                subsequent_indent="        ",
                break_on_hyphens=False,
            )
        )
    return "\n".join(lines)


def _shown(value: Any) -> str:
    if isinstance(value, WSAutoPingStrategy):
        return value.name
    if value is not True and isinstance(value, int) and value and value % _MIB == 0:
        return f"{value // _MIB} MiB"
    return repr(value)
