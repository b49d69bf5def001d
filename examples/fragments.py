"""Fragmented messages: sent while they are made, seen as frames or as a whole (RFC 6455, 5.4).

    python examples/fragments.py

The client sends a message without knowing its size beforehand. The server looks at the fragments
and passes each on as it comes; the client gets the echo as one message.
"""

from __future__ import annotations

from typing import Iterable

from picows_client import ws_connect
from picows_server import (
    WSFrame,
    WSListener,
    WSMessage,
    WSMessageListener,
    WSMsgType,
    WSTransport,
    ws_create_server,
)

try:
    from uvloop import run
except ImportError:  # uvloop is optional: asyncio's own loop serves, too
    from asyncio import run  # type: ignore[assignment]


def send_in_fragments(transport: WSTransport, parts: Iterable[str]) -> None:
    """Send one text message; only its first fragment says that it is text."""
    opcode = WSMsgType.TEXT
    for part in parts:
        transport.send(opcode, part, fin=False)
        opcode = WSMsgType.CONTINUATION
    transport.send(opcode, None, fin=True)


class FragmentListener(WSListener):
    """Works on fragments: needs no memory for the whole message."""

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.opcode < WSMsgType.CLOSE:
            last = ", the last one" if frame.fin else ""
            print(f"server: {frame.opcode.name} with {frame.payload_size} bytes{last}")
            transport.send(frame.opcode, frame, frame.fin)


class MessageListener(WSMessageListener):
    """Gets whole messages, however they were sent; ``max_message_size`` bounds the memory."""

    def on_ws_connected(self, transport: WSTransport) -> None:
        with transport.cork():  # what is sent in here leaves together
            send_in_fragments(transport, (f"line {number}\n" for number in range(1, 6)))

    def on_ws_message(self, transport: WSTransport, message: WSMessage) -> None:
        lines = message.get_payload_as_utf8_text().splitlines()
        print(f"client: one {message.opcode.name} message with {len(lines)} lines: {lines}")
        transport.disconnect()


async def main() -> None:
    async with ws_create_server("ws://127.0.0.1:0", FragmentListener) as server, ws_connect(
        server.url, MessageListener, max_message_size=1024 * 1024
    ) as (transport, _):
        await transport.wait_disconnected()


if __name__ == "__main__":
    run(main())
