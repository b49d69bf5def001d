"""The listeners of ours and of picows: the same user code against two libraries with one idea.

Each ``new_...`` function makes a subclass of the library's WSListener, so that what runs per message
is nothing but the user's code and the library's.
"""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from typing import Any, Callable, ContextManager, Set, Type

from bench.peers.common import BATCH, Window, check_number, fail

__all__ = [
    "new_broadcast_listener",
    "new_echo_client",
    "new_idle_client",
    "new_sink",
    "new_source",
]


def new_echo_client(
    base: Type[Any], binary: Any, message: bytes, in_flight: int, messages: int
) -> Type[Any]:
    """Return a listener that sends a message for every echo; its ``window`` is set from outside."""

    class EchoClient(base):  # type: ignore[misc]
        window: Window

        def __init__(self) -> None:
            self.count = 0
            self.last_to_send = messages - in_flight if messages else -1

        def start(self, transport: Any) -> None:
            for _ in range(min(in_flight, messages) if messages else in_flight):
                transport.send(binary, message)

        def on_ws_frame(self, transport: Any, frame: Any) -> None:
            if frame.get_payload_as_bytes() != message:
                fail("the echo is not what was sent")
            if self.count == self.last_to_send:
                self.drain()
                return
            self.count += 1
            transport.send(binary, message)

        def drain(self) -> None:
            """Count what is still in flight; with one message at a time, that was the last."""
            self.last_to_send += 1
            self.count += 1
            if self.count >= messages:
                self.window.close()

        def on_ws_disconnected(self, transport: Any) -> None:
            if not self.window.over:
                fail("disconnected")

    return EchoClient


def new_sink(base: Type[Any], messages: int) -> Type[Any]:
    """Return a listener that takes every payload as bytes; ``window`` is set from outside."""

    class Sink(base):  # type: ignore[misc]
        window: Window

        def __init__(self) -> None:
            self.count = 0
            self.last = b""
            self.limit = messages or -1

        def check(self) -> None:
            check_number(self.last, self.count)

        def on_ws_connected(self, transport: Any) -> None:
            self.window.begin()

        def on_ws_frame(self, transport: Any, frame: Any) -> None:
            self.last = frame.get_payload_as_bytes()
            self.count += 1
            if self.count == self.limit:
                self.window.close()

        def on_ws_disconnected(self, transport: Any) -> None:
            if not self.window.over:
                fail("disconnected")

    return Sink


def new_source(
    base: Type[Any], binary: Any, message: bytes, messages: int, corked: bool
) -> Type[Any]:
    """Return a listener that can pump messages; ``window`` is set from outside, or None."""

    class Source(base):  # type: ignore[misc]
        def __init__(self) -> None:
            self.window: Any = None
            self.count = 0
            self.closed = False
            self.writable = asyncio.Event()
            self.writable.set()

        def pause_writing(self) -> None:
            self.writable.clear()

        def resume_writing(self) -> None:
            self.writable.set()

        def on_ws_disconnected(self, transport: Any) -> None:
            self.closed = True
            self.writable.set()

        async def pump(self, transport: Any) -> None:
            """Send bursts until the connection ends, or all messages are sent."""
            cork: Callable[[], ContextManager[object]] = nullcontext
            if corked:
                cork = transport.cork
            if self.window is not None:
                self.window.begin()
            while not self.closed:
                burst = min(BATCH, messages - self.count) if messages else BATCH
                with cork():
                    for _ in range(burst):
                        transport.send(binary, message)
                self.count += burst
                if self.count == messages and self.window is not None:
                    self.window.close()
                    return
                await (asyncio.sleep(0) if self.writable.is_set() else self.writable.wait())

    return Source


def new_broadcast_listener(base: Type[Any], send: Callable[[Any, Any], None]) -> Type[Any]:
    """Return a listener whose every frame goes to all: ``send(transport, frame)`` for each."""
    everybody: Set[Any] = set()

    class Member(base):  # type: ignore[misc]
        def on_ws_connected(self, transport: Any) -> None:
            everybody.add(transport)

        def on_ws_disconnected(self, transport: Any) -> None:
            everybody.discard(transport)

        def on_ws_frame(self, transport: Any, frame: Any) -> None:
            for member in everybody:
                send(member, frame)

    return Member


def new_idle_client(base: Type[Any], binary: Any, message: bytes) -> Type[Any]:
    """Return a listener that has one message echoed; ``echoed`` is done then."""

    class Idle(base):  # type: ignore[misc]
        def __init__(self) -> None:
            self.echoed = asyncio.get_running_loop().create_future()

        def on_ws_connected(self, transport: Any) -> None:
            transport.send(binary, message)

        def on_ws_frame(self, transport: Any, frame: Any) -> None:
            if frame.get_payload_as_bytes() != message:
                fail("the echo is not what was sent")
            self.echoed.set_result(None)

        def on_ws_disconnected(self, transport: Any) -> None:
            if not self.echoed.done():
                fail("disconnected")

    return Idle
