"""HTTP on the server's port: a page with a WebSocket, its files, and what a balancer asks.

    python examples/routes.py

The program asks its own server for everything, as browsers and balancers do, and ends.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from pathlib import Path

from picows_client import WSHandshakeError, connect
from picows_server import (
    WSFrame,
    WSListener,
    WSMsgType,
    WSTransport,
    WSUpgradeRequest,
    WSUpgradeResponse,
    files,
    health,
    page,
    ready,
    ws_create_server,
)

try:
    from uvloop import run
except ImportError:  # uvloop is optional: asyncio's own loop serves, too
    from asyncio import run  # type: ignore[assignment]

PAGE = """\
<!doctype html>
<script src="/static/app.js"></script>
"""
SCRIPT = "new WebSocket(`ws://${location.host}/ws`).onmessage = (e) => console.log(e.data);\n"


class Database:
    """What the server needs before clients may come."""

    is_connected = False


class Greeting(WSListener):
    def on_ws_connected(self, transport: WSTransport) -> None:
        transport.send(WSMsgType.TEXT, "welcome")

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.opcode < WSMsgType.CLOSE:
            transport.send(frame.opcode, frame, frame.fin)


async def connections(request: WSUpgradeRequest) -> WSUpgradeResponse:
    """Tell how many there are: a handler may be a coroutine function."""
    await asyncio.sleep(0)  # a database would be asked here
    text = json.dumps({"connections": request.server.connections})
    return WSUpgradeResponse.create_ok_response(text, {"Content-Type": "application/json"})


async def get(url: str, path: str) -> None:
    """Ask for a path as an HTTP client does, and print the response in one line."""
    host, _, port = url.rpartition("//")[2].partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    head, _, body = (await reader.read()).decode().partition("\r\n\r\n")
    writer.close()
    status = head.partition(" ")[2].partition("\r\n")[0]
    print(f"{path}: {status}: {' '.join(body.split())}")


async def main(directory: Path) -> None:
    (directory / "index.html").write_text(PAGE, encoding="utf-8")
    (directory / "static").mkdir()
    (directory / "static" / "app.js").write_text(SCRIPT, encoding="utf-8")
    routes = {
        "/": page(directory / "index.html"),
        "/static/": files(directory / "static"),
        "/ws": Greeting,
        "/connections": connections,
        "/healthz": health,
        "/readyz": ready,
    }
    async with ws_create_server("ws://127.0.0.1:0", routes) as server:
        server.ready_checks["database"] = lambda: Database.is_connected
        print(f"Listening on {server.url}")
        await get(server.url, "/healthz")
        await get(server.url, "/readyz")
        Database.is_connected = True
        await get(server.url, "/readyz")
        await get(server.url, "/")
        await get(server.url, "/static/app.js")
        await get(server.url, "/static/../index.html")
        await get(server.url, "/ws")
        async with connect(f"{server.url}/ws") as ws:
            print(f"/ws: {await ws.recv()}")
            await get(server.url, "/connections")
        try:
            await connect(f"{server.url}/nowhere")
        except WSHandshakeError as error:
            print(f"/nowhere: refused with {error.status}")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made:
        run(main(Path(made)))
