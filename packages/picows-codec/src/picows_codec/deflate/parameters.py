"""``WSPermessageDeflate``: what a user says about compression (RFC 7692)."""

from __future__ import annotations

from typing import Any, Optional

from picows_codec.errors import WSInvalidOptionError

__all__ = ["WSPermessageDeflate"]

_NAMES = (
    "level",
    "memory_level",
    "min_size",
    "server_max_window_bits",
    "client_max_window_bits",
    "server_no_context_takeover",
    "client_no_context_takeover",
    "client_compresses",
)


class WSPermessageDeflate:
    """Parameters of the extension permessage-deflate (RFC 7692), for the option ``compression``.

    ``compression="deflate"`` is the same as ``compression=WSPermessageDeflate()``. Immutable, and
    usable by any number of connections and threads. A value outside its range raises
    :exc:`WSInvalidOptionError`, a wrong type :exc:`TypeError`.

    What this side does with the messages that it sends:

    :param level: of zlib, 0 (stored) to 9 (smallest).
    :param memory_level: of zlib, 1 to 9; the compressor's tables take ``2 ** (memory_level + 9)``
        bytes.
    :param min_size: bytes of payload; a message with less is sent as it is. For a fragmented
        message the first fragment decides.
    :param client_compresses: whether a client compresses what it sends. False: it only inflates,
        which saves memory and time, and keeps secrets out of reach of attacks that measure the
        compressed size. A server always compresses.

    What is negotiated (RFC 7692, 7.1). A client offers exactly ``permessage-deflate;
    client_max_window_bits`` by default, and each parameter that is set adds its own:

    :param server_max_window_bits: 8 to 15, the server's largest window is two to the power of it;
        None leaves it to the server.
    :param client_max_window_bits: the same for the client's window. A server can ask this only of a
        client that offers it. With 8, nothing is compressed, because zlib cannot make such a
        window.
    :param server_no_context_takeover: the server compresses each message by itself, which takes
        no memory between messages and compresses less.
    :param client_no_context_takeover: the same for the client.

    Without a limit of either side a client compresses with a window of 15 bits, and a server, which
    may have many connections, with one of 13: a larger one takes more memory, and saves size and
    time.
    """

    __slots__ = _NAMES

    level: int
    memory_level: int
    min_size: int
    server_max_window_bits: Optional[int]
    client_max_window_bits: Optional[int]
    server_no_context_takeover: bool
    client_no_context_takeover: bool
    client_compresses: bool

    def __init__(
        self,
        *,
        level: int = 1,
        memory_level: int = 5,
        min_size: int = 64,
        server_max_window_bits: Optional[int] = None,
        client_max_window_bits: Optional[int] = None,
        server_no_context_takeover: bool = False,
        client_no_context_takeover: bool = False,
        client_compresses: bool = False,
    ) -> None:
        _set(self, "level", _number("level", level, 0, 9))
        _set(self, "memory_level", _number("memory_level", memory_level, 1, 9))
        _set(self, "min_size", _number("min_size", min_size, 0, 0x7FFFFFFF))
        for name, bits in (
            ("server_max_window_bits", server_max_window_bits),
            ("client_max_window_bits", client_max_window_bits),
        ):
            _set(self, name, None if bits is None else _number(name, bits, 8, 15))
        for name, flag in (
            ("server_no_context_takeover", server_no_context_takeover),
            ("client_no_context_takeover", client_no_context_takeover),
            ("client_compresses", client_compresses),
        ):
            if flag is not True and flag is not False:
                raise TypeError(f"{name} must be True or False, not {flag!r}")
            _set(self, name, flag)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable: make another one")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable: make another one")

    def _values(self) -> Any:
        return tuple(getattr(self, name) for name in _NAMES)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, WSPermessageDeflate):
            return NotImplemented
        return bool(self._values() == other._values())

    def __hash__(self) -> int:
        return hash(self._values())

    def __reduce__(self) -> Any:
        return _made, (self._values(),)

    def __repr__(self) -> str:
        values = ", ".join(f"{name}={getattr(self, name)!r}" for name in _NAMES)
        return f"WSPermessageDeflate({values})"


_set = object.__setattr__


def _made(values: Any) -> WSPermessageDeflate:
    return WSPermessageDeflate(**dict(zip(_NAMES, values)))


def _number(name: str, value: Any, low: int, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an int, not {type(value).__name__}: {value!r}")
    if not low <= value <= high:
        raise WSInvalidOptionError(f"{name}={value!r} is out of range: {low} to {high} are allowed")
    return value
