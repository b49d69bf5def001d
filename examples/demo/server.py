"""The demo's servers, in a process of their own: each sends back what it gets."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import Dict, Iterator

from picows_server import (
    WSConnection,
    WSFrame,
    WSListener,
    WSMsgType,
    WSTransport,
    create_ssl_context,
    serve,
    ws_create_server,
)

try:
    from uvloop import run
except ImportError:
    from asyncio import run  # type: ignore[assignment]

START_TIMEOUT = 30.0  # seconds
ANY_PORT = "ws://127.0.0.1:0"


class Echo(WSListener):
    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.opcode in (WSMsgType.TEXT, WSMsgType.BINARY):
            transport.send(frame.opcode, frame)


async def echo(ws: WSConnection) -> None:
    async for message in ws:
        await ws.send(message)


async def serve_all(certificate: str) -> None:
    """Print the URLs by the names of the demo's lines; serve until standard input ends."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def wait_for_parent() -> None:
        sys.stdin.read()
        loop.call_soon_threadsafe(stop.set)

    async with ws_create_server(ANY_PORT, Echo) as plain, ws_create_server(
        "wss://localhost:0", Echo, ssl_context=create_ssl_context(certificate)
    ) as secure, serve(echo, ANY_PORT) as coroutines, ws_create_server(
        ANY_PORT, Echo, compression="deflate"
    ) as compressed:
        threading.Thread(target=wait_for_parent, daemon=True).start()
        urls = {
            "plain": plain.url,
            "TLS": secure.url,
            "coroutines": coroutines.url,
            "compressed": compressed.url,
            "burst": plain.url,
        }
        print(json.dumps(urls), flush=True)
        await stop.wait()


@contextmanager
def running_servers(certificate: Path) -> Iterator[Dict[str, str]]:
    """Run this file in a process of its own; yields its URLs."""
    # It ends with its standard input. Ctrl-C, which a terminal sends to both, is the client's.
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        process = subprocess.Popen(
            [sys.executable, __file__, str(certificate)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="ascii",
        )
    finally:
        signal.signal(signal.SIGINT, before)
    watchdog = threading.Timer(START_TIMEOUT, process.kill)
    watchdog.start()
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        watchdog.cancel()
        if not line:
            raise RuntimeError(f"the servers did not start within {START_TIMEOUT:g} seconds")
        yield json.loads(line)
    finally:
        watchdog.cancel()
        process.communicate()


if __name__ == "__main__":
    run(serve_all(sys.argv[1]))
