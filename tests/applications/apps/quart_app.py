"""Quart."""

from __future__ import annotations

import asyncio

from quart import Quart, abort, websocket

app = Quart(__name__)
last = {"code": 0}


@app.websocket("/echo")
async def echo() -> None:
    try:
        while True:
            await websocket.send(await websocket.receive())
    except asyncio.CancelledError:  # how Quart tells that the client is gone
        last["code"] = 1
        raise


@app.websocket("/last")
async def last_code() -> None:
    await websocket.send(str(last["code"]))
    await websocket.close(1000)


@app.websocket("/forget")
async def forget() -> None:
    last["code"] = 0
    await last_code()


@app.websocket("/refuse")
async def refuse() -> None:
    abort(403)


@app.websocket("/subprotocol")
async def subprotocol() -> None:
    await websocket.accept(subprotocol=websocket.requested_subprotocols[-1])
    await websocket.receive()


@app.websocket("/close")
async def close() -> None:
    await websocket.receive()
    await websocket.close(4001, "enough")


@app.websocket("/fail")
async def fail() -> None:
    await websocket.receive()
    raise ValueError("broken")


@app.websocket("/flood")
async def flood() -> None:
    await websocket.receive()
    for number in range(200):
        await websocket.send(f"{number:06}" * 10000)
    await websocket.close(1000)
