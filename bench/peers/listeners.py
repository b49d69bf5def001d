"""The listeners of ours and of picows: the same user code for two libraries with the same API.

Each ``new_...`` function makes a subclass of the library's WSListener, so that only the user's code
and the library's run for each message.
"""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from typing import Any, Callable, ContextManager, List, Optional, Set, Type, Union

from bench.peers.common import Adapter, Window, fail, spawn
from bench.peers.pacing import Pacer

__all__ = [
    "new_batch_sink",
    "new_broadcast_listener",
    "new_echo_client",
    "new_idle_client",
    "new_server_source",
    "new_sink",
    "new_source",
    "new_text_sink",
    "play_echo",
    "play_source",
    "play_tail",
    "send_to_each",
]


def new_echo_client(base: Type[Any], binary: Any, message: bytes, messages: int) -> Type[Any]:
    """Return a listener that answers every echo with a message; ``window`` is set from outside."""

    class EchoClient(base):  # type: ignore[misc]
        window: Window

        def __init__(self) -> None:
            self.count = 0
            self.limit = messages or -1

        def on_ws_frame(self, transport: Any, frame: Any) -> None:
            if frame.get_payload_as_bytes() != message:
                fail("the echo is not what was sent")
            self.count += 1
            if self.count == self.limit:
                self.window.close()
                return
            transport.send(binary, message)

        def on_ws_disconnected(self, transport: Any) -> None:
            if not self.window.over:
                fail("disconnected")

    return EchoClient


def _new_counter(base: Type[Any], adapter: Adapter) -> Type[Any]:
    """Return what the sinks share."""
    messages = adapter.arguments.messages

    class Counter(base):  # type: ignore[misc]
        window: Window

        def __init__(self) -> None:
            self.count = 0
            self.last: Union[str, bytes] = b""
            self.limit = messages or -1

        def check(self) -> None:
            adapter.check(self.last, self.count)

        def on_ws_connected(self, transport: Any) -> None:
            self.window.begin()

        def on_ws_disconnected(self, transport: Any) -> None:
            if not self.window.over:
                fail("disconnected")

    return Counter


def new_sink(base: Type[Any], adapter: Adapter) -> Type[Any]:
    """Return a listener that takes every payload as bytes; ``window`` is set from outside."""

    class Sink(_new_counter(base, adapter)):  # type: ignore[misc]
        def on_ws_frame(self, transport: Any, frame: Any) -> None:
            self.last = frame.get_payload_as_bytes()
            self.count += 1
            if self.count == self.limit:
                self.window.close()

    return Sink


def new_text_sink(base: Type[Any], adapter: Adapter) -> Type[Any]:
    """Return a listener that takes every payload as str; ``window`` is set from outside."""

    class TextSink(_new_counter(base, adapter)):  # type: ignore[misc]
        def on_ws_frame(self, transport: Any, frame: Any) -> None:
            self.last = frame.get_payload_as_utf8_text()
            self.count += 1
            if self.count == self.limit:
                self.window.close()

    return TextSink


def new_batch_sink(base: Type[Any], adapter: Adapter) -> Type[Any]:
    """Return a listener that takes the messages of a read as a list."""

    class BatchSink(_new_counter(base, adapter)):  # type: ignore[misc]
        def on_ws_batch(self, transport: Any, batch: List[Union[str, bytes]]) -> None:
            self.last = batch[-1]
            self.count += len(batch)
            if self.count == self.limit:
                self.window.close()

    return BatchSink


def new_source(base: Type[Any]) -> Type[Any]:
    """Return a listener for ``pump``."""

    class Source(base):  # type: ignore[misc]
        def __init__(self) -> None:
            self.count = 0
            self.closed = False
            self.writable = asyncio.Event()
            self.writable.set()

        def pause_writing(self) -> None:
            self.writable.clear()

        def resume_writing(self) -> None:
            self.writable.set()

        def on_ws_frame(self, transport: Any, frame: Any) -> None:
            # A sink sends only a CLOSE frame, when it has counted enough.
            self.closed = True
            super().on_ws_frame(transport, frame)

        def on_ws_disconnected(self, transport: Any) -> None:
            self.closed = True
            self.writable.set()

    return Source


async def pump(
    transport: Any, source: Any, opcode: Any, adapter: Adapter, window: Optional[Window] = None
) -> None:
    """Send bursts until the connection ends, or until all messages are sent."""
    arguments = adapter.arguments
    bursts = adapter.bursts()
    is_batched = arguments.listener == "batch"
    cork: Callable[[], ContextManager[object]] = transport.cork if arguments.cork else nullcontext
    send = transport.send
    while not source.closed:
        burst = next(bursts)
        if arguments.messages:
            burst = burst[: arguments.messages - source.count]
        if is_batched:
            transport.send_many(opcode, burst)
        else:
            with cork():
                for message in burst:
                    send(opcode, message)
        source.count += len(burst)
        if source.count == arguments.messages:
            # Wait, because the program ends after that, and frames may be held back or queued.
            await asyncio.sleep(0)
            while transport.underlying_transport.get_write_buffer_size():  # noqa: ASYNC110
                await asyncio.sleep(0.001)
            if window is not None:
                window.close()
            return
        await (asyncio.sleep(0) if source.writable.is_set() else source.writable.wait())


def new_server_source(base: Type[Any], opcode: Any, adapter: Adapter) -> Type[Any]:
    """Return a listener that pumps as soon as somebody connects."""
    source = new_source(base)
    pumps: List[object] = []

    class ServerSource(source):  # type: ignore[misc,valid-type]
        def on_ws_connected(self, transport: Any) -> None:
            pumps.append(spawn(pump(transport, self, opcode, adapter)))

    return ServerSource


async def play_source(transport: Any, source: Any, opcode: Any, adapter: Adapter) -> Window:
    """Play a client that pumps; ``source`` is its listener."""
    window = adapter.window(lambda: source.count)
    window.begin()
    await pump(transport, source, opcode, adapter, window)
    if not window.over:
        fail("the connection was closed early")
    return window


async def play_echo(transport: Any, listener: Any, binary: Any, adapter: Adapter) -> Window:
    """Play a client that keeps messages in flight; ``listener`` answers the echoes."""
    window: Window = adapter.window(lambda: listener.count)
    listener.window = window
    window.begin()
    for _ in range(adapter.arguments.window):
        transport.send(binary, adapter.message)
    await window.wait()
    return window


async def play_tail(connect: Callable[[Any], Any], base: Any, binary: Any, pacer: Pacer) -> Window:
    """Play a client that sends at a fixed rate."""

    class TailClient(base):  # type: ignore[misc]
        def on_ws_frame(self, transport: Any, frame: Any) -> None:
            pacer.echoed(frame.get_payload_as_bytes())

        def on_ws_disconnected(self, transport: Any) -> None:
            if not pacer.window.over:
                fail("disconnected")

    transport, _ = await connect(TailClient)

    def send(count: int) -> None:
        for _ in range(count):
            transport.send(binary, pacer.next_message())

    pacer.start(send)
    return await pacer.wait()


def send_to_each(send: Callable[[Any, Any], None]) -> Callable[[Set[Any], Any], None]:
    """Return a loop of ``send(transport, frame)``."""

    def send_to_all(everybody: Set[Any], frame: Any) -> None:
        for member in everybody:
            send(member, frame)

    return send_to_all


def new_broadcast_listener(
    base: Type[Any], send_to_all: Callable[[Set[Any], Any], object]
) -> Type[Any]:
    """Return a listener that sends every frame to all: ``send_to_all(transports, frame)``."""
    everybody: Set[Any] = set()

    class Member(base):  # type: ignore[misc]
        def on_ws_connected(self, transport: Any) -> None:
            everybody.add(transport)

        def on_ws_disconnected(self, transport: Any) -> None:
            everybody.discard(transport)

        def on_ws_frame(self, transport: Any, frame: Any) -> None:
            send_to_all(everybody, frame)

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
