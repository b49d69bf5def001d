"""Echo server: sends every message back to its client.

    python examples/echo_server.py [ws://HOST:PORT]     (default: ws://127.0.0.1:9001)

Ctrl-C ends it; its clients then get close code 1001, "going away".
"""

from __future__ import annotations

import sys

from picows_server import WSFrame, WSListener, WSMsgType, WSTransport, ws_create_server

try:
    from uvloop import run
except ImportError:  # uvloop is optional: asyncio's own loop serves, too
    from asyncio import run  # type: ignore[assignment]


class EchoListener(WSListener):
    def on_ws_connected(self, transport: WSTransport) -> None:
        print(f"{transport.request.path}: a client has connected")

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        # Data frames only, fragments as they come; the library answers PING and CLOSE frames.
        if frame.opcode < WSMsgType.CLOSE:
            # A frame is a buffer of its payload: no copy is made on the way.
            transport.send(frame.opcode, frame, frame.fin)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        print(f"{transport.request.path}: {transport.disconnect_cause}")


async def main(url: str) -> None:
    async with ws_create_server(url, EchoListener) as server:
        print(f"Listening on {server.url}; Ctrl-C to stop", flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    try:
        run(main(sys.argv[1] if len(sys.argv) > 1 else "ws://127.0.0.1:9001"))
    except KeyboardInterrupt:
        print("Stopped")
