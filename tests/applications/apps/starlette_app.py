"""Starlette."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

last = {"code": 0}


async def echo(websocket: WebSocket) -> None:
    await websocket.accept()
    try:
        while True:
            message = await websocket.receive()
            if message["type"] == "websocket.disconnect":
                raise WebSocketDisconnect(message["code"])
            if message.get("text") is not None:
                await websocket.send_text(message["text"])
            else:
                await websocket.send_bytes(message["bytes"])
    except WebSocketDisconnect as error:
        last["code"] = error.code


async def last_code(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_text(str(last["code"]))
    await websocket.close()


async def forget(websocket: WebSocket) -> None:
    last["code"] = 0
    await last_code(websocket)


async def refuse(websocket: WebSocket) -> None:
    await websocket.close()


async def subprotocol(websocket: WebSocket) -> None:
    await websocket.accept(subprotocol=websocket.scope["subprotocols"][-1])
    await websocket.receive()


async def close(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.receive_text()
    await websocket.close(4001, "enough")


async def fail(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.receive_text()
    raise ValueError("broken")


async def flood(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.receive_text()
    for number in range(200):
        await websocket.send_text(f"{number:06}" * 10000)
    await websocket.close()


app = Starlette(
    routes=[
        WebSocketRoute("/echo", echo),
        WebSocketRoute("/last", last_code),
        WebSocketRoute("/forget", forget),
        WebSocketRoute("/refuse", refuse),
        WebSocketRoute("/subprotocol", subprotocol),
        WebSocketRoute("/close", close),
        WebSocketRoute("/fail", fail),
        WebSocketRoute("/flood", flood),
    ]
)
