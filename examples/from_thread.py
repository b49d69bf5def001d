"""From a thread: a program without coroutines uses a connection that lives on a loop's thread.

    python examples/from_thread.py

A transport belongs to the thread of its loop; another thread asks the loop.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from contextlib import contextmanager
from typing import Any, Coroutine, Iterator, TypeVar

from picows_client import (
    WSMessage,
    WSMessageListener,
    WSMsgType,
    WSThreadError,
    WSTransport,
    ws_connect,
)
from picows_server import WSFrame, WSListener, WSServer, ws_create_server

try:
    from uvloop import new_event_loop
except ImportError:  # uvloop is optional: asyncio's own loop serves, too
    from asyncio import new_event_loop

T = TypeVar("T")


@contextmanager
def loop_on_a_thread() -> Iterator[asyncio.AbstractEventLoop]:
    """An event loop for a program that blocks."""
    loop = new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def run_on(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on the loop and wait for its result; its exception is raised here."""
    future = asyncio.run_coroutine_threadsafe(work, loop)
    try:
        return future.result(timeout=10)
    finally:
        future.cancel()  # if the time is up, or by Ctrl-C


class Inbox(WSMessageListener):
    """Puts messages where another thread gets them; it is called on the loop's thread."""

    def __init__(self) -> None:
        self.messages: queue.Queue[str] = queue.Queue()

    def on_ws_message(self, transport: WSTransport, message: WSMessage) -> None:
        # A str: a message object would be reused. What waits here is bounded by nobody.
        self.messages.put(message.get_payload_as_utf8_text())


class Echo(WSListener):
    """The server's end."""

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.opcode is WSMsgType.TEXT:
            transport.send(frame.opcode, frame)


async def send(transport: WSTransport, text: str) -> None:
    transport.send(WSMsgType.TEXT, text)


async def close(transport: WSTransport) -> None:
    transport.disconnect()
    await transport.wait_disconnected()


async def stop(server: WSServer) -> None:
    server.close()
    await server.wait_closed()


def main() -> None:
    with loop_on_a_thread() as loop:
        server = run_on(loop, ws_create_server("ws://127.0.0.1:0", Echo))
        transport, inbox = run_on(loop, ws_connect(server.url, Inbox))
        run_on(loop, send(transport, "a question"))  # returns when it is sent, or raises
        print(inbox.messages.get(timeout=10))
        # This does not wait, and what it raises is only logged.
        loop.call_soon_threadsafe(transport.send, WSMsgType.TEXT, "another question")
        print(inbox.messages.get(timeout=10))
        try:
            transport.send(WSMsgType.TEXT, "directly")
        except WSThreadError as error:
            print(f"Not from here: {error}")
        run_on(loop, close(transport))
        run_on(loop, stop(server))
    print("The loop has stopped")


if __name__ == "__main__":
    main()
