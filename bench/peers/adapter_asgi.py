"""ASGI: an echo under uvicorn (by its own protocol and by ours), Granian, and our server.

The listener says who serves it: "uvicorn", "uvicorn-ours", "granian" or "asgi"; with "+fastapi"
behind it the application is FastAPI's, else it is a plain function.
"""

from __future__ import annotations

import asyncio
import ctypes
import signal
import socket
import subprocess
import sys
from typing import Any

from bench.peers.common import Adapter, main

__all__ = ["Asgi", "app", "fastapi_app"]

PR_SET_PDEATHSIG = 1
STARTING = 20.0  # seconds


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Echo, as a plain ASGI application."""
    if scope["type"] != "websocket":
        return
    await receive()
    await send({"type": "websocket.accept"})
    while True:
        event = await receive()
        if event["type"] != "websocket.receive":
            return
        text = event.get("text")
        if text is not None:
            await send({"type": "websocket.send", "text": text})
        else:
            await send({"type": "websocket.send", "bytes": event["bytes"]})


def fastapi_app() -> Any:
    """Make the same with FastAPI: receive_text and send_text."""
    from fastapi import FastAPI, WebSocket, WebSocketDisconnect  # noqa: PLC0415

    application = FastAPI()

    # Not annotated by a string, which FastAPI could not look up.
    async def echo(websocket) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
        await websocket.accept()
        try:
            while True:
                await websocket.send_text(await websocket.receive_text())
        except WebSocketDisconnect:
            return

    echo.__annotations__["websocket"] = WebSocket
    application.websocket("/")(echo)
    return application


def _end_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


class Asgi(Adapter):
    """Servers only."""

    distributions = ("uvicorn", "websockets", "httptools", "fastapi", "granian", "picows-server")

    async def serve_echo(self) -> int:
        """Start whoever the listener names."""
        who, _, framework = self.arguments.listener.partition("+")
        application = fastapi_app() if framework else app
        if who == "asgi":
            return await self._serve_ours(application)
        if who == "granian":
            return await self._serve_granian()
        return await self._serve_uvicorn(application, who)

    async def _serve_ours(self, application: Any) -> int:
        from picows_server import ws_create_server  # noqa: PLC0415
        from picows_server.asgi import asgi_listener  # noqa: PLC0415

        self._server = await ws_create_server(self.arguments.url, asgi_listener(application))
        return int(self._server.sockets[0].getsockname()[1])

    async def _serve_uvicorn(self, application: Any, who: str) -> int:
        import uvicorn  # noqa: PLC0415

        ours = "picows_server.asgi:UvicornProtocol"
        config = uvicorn.Config(
            application, ws=ours if who == "uvicorn-ours" else "auto", log_level="warning"
        )
        sock = socket.socket()
        sock.bind(("127.0.0.1", 0))
        self._uvicorn = uvicorn.Server(config)
        self._task = asyncio.get_running_loop().create_task(self._uvicorn.serve(sockets=[sock]))
        while not self._uvicorn.started:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        return int(sock.getsockname()[1])

    async def _serve_granian(self) -> int:
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            port = int(sock.getsockname()[1])
        command = [
            *(sys.executable, "-m", "granian", "--interface", "asgi", "--workers", "1"),
            *("--loop", "uvloop", "--host", "127.0.0.1", "--port", str(port), "--no-log"),
            "bench.peers.adapter_asgi:app",
        ]
        self._granian = subprocess.Popen(  # noqa: ASYNC220
            command,
            stdout=subprocess.DEVNULL,
            preexec_fn=_end_with_parent,  # noqa: PLW1509
        )
        until = asyncio.get_running_loop().time() + STARTING
        while asyncio.get_running_loop().time() < until:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.05)
            else:
                writer.close()
                break
        return port


if __name__ == "__main__":
    main(Asgi)
