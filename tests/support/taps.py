"""Taps that remember."""

from __future__ import annotations

from typing import Any, List, Tuple

from picows_codec import WSDirection

__all__ = ["Ends", "Factory", "Tap"]


class Tap:
    """Notes what it is given."""

    def __init__(self) -> None:
        self.seen: List[Tuple[WSDirection, bytes]] = []
        self.views: List[memoryview] = []
        self.times: List[int] = []

    def __call__(self, direction: WSDirection, data: memoryview, time_ns: int) -> None:
        assert data.readonly
        assert data.contiguous
        self.seen.append((direction, bytes(data)))
        self.views.append(data)
        self.times.append(time_ns)

    def bytes_of(self, direction: WSDirection) -> bytes:
        return b"".join(data for each, data in self.seen if each is direction)


class Factory:
    """Makes a tap for each connection."""

    def __init__(self, make: Any = Tap) -> None:
        self.make = make
        self.asked: List[Tuple[str, str]] = []
        self.made: List[Any] = []

    def new_tap(self, role: str, url: str) -> Any:
        self.asked.append((role, url))
        self.made.append(self.make())
        return self.made[-1]


class Ends(Tap):
    def __init__(self) -> None:
        super().__init__()
        self.causes: List[Any] = []

    def on_end(self, cause: Any) -> None:
        self.causes.append(cause)
