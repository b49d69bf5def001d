"""Graceful shutdown: stop accepting, say goodbye, finish, and only then end the program.

    python examples/graceful_shutdown.py [SECONDS]

The server stops on SIGTERM or Ctrl-C, here also by itself after SECONDS (default: 1).
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys

from picows_client import ws_connect
from picows_server import WSListener, WSTransport, ws_create_server

try:
    from uvloop import run
except ImportError:  # uvloop is optional: asyncio's own loop serves, too
    from asyncio import run  # type: ignore[assignment]


class Session(WSListener):
    def on_ws_disconnected(self, transport: WSTransport) -> None:
        # Save what belongs to this client here, because this is called for every connection.
        print(f"server: session ended: {transport.disconnect_cause}")


class Client(WSListener):
    def on_ws_disconnected(self, transport: WSTransport) -> None:
        closing = transport.close_handshake
        if closing and closing.recv:
            print(f"client: the server closed with code {closing.recv.code:d}")


async def serve(stop: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):  # Windows; Ctrl-C works there as well
            loop.add_signal_handler(number, stop.set)

    # close_timeout: seconds that a client has to answer the CLOSE frame before it is cut off.
    server = await ws_create_server("ws://127.0.0.1:0", Session, close_timeout=2.0)
    print(f"Listening on {server.url}", flush=True)
    clients = [await ws_connect(server.url, Client) for _ in range(2)]
    try:
        await stop.wait()
    finally:
        print(f"Shutting down {server.connections} connections")
        server.close()  # nobody new is let in, and everybody gets close code 1001
        await server.wait_closed()
    for transport, _ in clients:
        await transport.wait_disconnected()
    print("Nothing is left")


async def main(seconds: float) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().call_later(seconds, stop.set)
    await serve(stop)


if __name__ == "__main__":
    run(main(float(sys.argv[1]) if len(sys.argv) > 1 else 1.0))
