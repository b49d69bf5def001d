"""What a tap in Python is: the direction that it is told, and the types of the option."""

from __future__ import annotations

from enum import IntEnum
from typing import Any, Callable, Optional, Protocol, Union

from picows_codec.tap import WSTap

__all__ = ["AnyTap", "TapCallable", "WSDirection", "WSTapFactory"]


class WSDirection(IntEnum):
    """Where bytes go, as this side sees it."""

    RECEIVED = 0
    SENT = 1


# Given the direction, a view of the bytes, and the time (time.time_ns()).
TapCallable = Callable[[WSDirection, memoryview, int], Any]


class WSTapFactory(Protocol):
    """An object that makes a tap for each connection."""

    def new_tap(self, role: str, url: str) -> Optional[Union[TapCallable, WSTap]]:
        """Return the tap of a connection that begins; None: it is not tapped."""


AnyTap = Union[TapCallable, WSTap, WSTapFactory]
