"""An asyncio transport of which only a few methods can be relied on."""

from __future__ import annotations

from typing import Any

__all__ = ["fit_transport"]

# What the codec uses beyond get_extra_info, write, close, is_closing, pause_reading and
# resume_reading.
_FURTHER = (
    "abort",
    "can_write_eof",
    "get_write_buffer_size",
    "is_reading",
    "set_write_buffer_limits",
    "write_eof",
)


def fit_transport(transport: Any) -> Any:
    """Return the transport itself, or one that adds what it lacks."""
    if all(hasattr(transport, name) for name in _FURTHER):
        try:
            transport.is_reading()
            transport.get_write_buffer_size()
        except NotImplementedError:  # TLS of asyncio before Python 3.11
            return _LeanTransport(transport)
        return transport
    return _LeanTransport(transport)


class _LeanTransport:
    def __init__(self, below: Any) -> None:
        self._below = below
        self._is_reading = True
        self.write = below.write
        self.get_extra_info = below.get_extra_info
        self.is_closing = below.is_closing
        self.close = below.close

    def pause_reading(self) -> None:
        if self._is_reading:
            self._is_reading = False
            self._below.pause_reading()

    def resume_reading(self) -> None:
        if not self._is_reading:
            self._is_reading = True
            self._below.resume_reading()

    def is_reading(self) -> bool:
        return self._is_reading

    def abort(self) -> None:
        getattr(self._below, "abort", self._below.close)()

    def set_write_buffer_limits(self, high: int, low: int) -> None:
        set_limits = getattr(self._below, "set_write_buffer_limits", None)
        if set_limits is not None:
            set_limits(high=high, low=low)

    def get_write_buffer_size(self) -> int:
        size_of = getattr(self._below, "get_write_buffer_size", None)
        try:
            return 0 if size_of is None else int(size_of())
        except NotImplementedError:
            return 0

    def can_write_eof(self) -> bool:
        # Closing does as well, and is all that is certain to be there.
        return False

    def write_eof(self) -> None:
        raise NotImplementedError
