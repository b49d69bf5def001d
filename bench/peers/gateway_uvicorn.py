"""Serving an ASGI application by uvicorn, for the gateways that are one."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import uvicorn

from bench.peers.gateway_common import say

__all__ = ["serve_by_uvicorn"]


async def serve_by_uvicorn(application: Any, *, deflate: bool) -> None:
    """Serve without access log, with all that is uvicorn's default else; tell the port."""
    config = uvicorn.Config(
        application, log_level="warning", access_log=False, ws_per_message_deflate=deflate
    )
    server = uvicorn.Server(config)
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        serving = asyncio.get_running_loop().create_task(server.serve(sockets=[sock]))
        while not server.started and not serving.done():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        say(port=sock.getsockname()[1])
        await serving
