"""python-socketio."""

from __future__ import annotations

from typing import Any, Dict, List

import socketio

server = socketio.AsyncServer(async_mode="asgi", cors_allowed_origins="*")
app = socketio.ASGIApp(server)
gone: List[str] = []


@server.event
async def connect(sid: str, environ: Dict[str, Any], auth: Any) -> None:
    if auth == {"token": "wrong"}:
        raise ConnectionRefusedError("wrong token")


@server.event
async def echo(sid: str, data: Any) -> Any:
    return data


@server.event
async def fail(sid: str, data: Any) -> None:
    raise ValueError("broken")


@server.event
async def leave(sid: str, data: Any) -> None:
    await server.disconnect(sid)


@server.event
async def flood(sid: str, data: Any) -> None:
    for number in range(200):
        await server.emit("piece", f"{number:06}" * 10000, to=sid)
    await server.emit("end", to=sid)


@server.event
async def disconnect(sid: str, reason: Any = None) -> None:
    gone.append(sid)


@server.event
async def count_gone(sid: str, data: Any) -> int:
    return len(gone)
