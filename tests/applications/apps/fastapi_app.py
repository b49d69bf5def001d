"""FastAPI: dependencies, ``WebSocketDisconnect``, ``iter_json``, ``send_denial_response``."""

# No annotations from __future__: FastAPI reads them at run time.
from typing import Any, Dict

from fastapi import Depends, FastAPI, Response, WebSocket, WebSocketDisconnect, WebSocketException

app = FastAPI()
last = {"code": 0}


async def user(name: str = "nobody") -> str:
    if name == "intruder":
        raise WebSocketException(code=1008)
    return name


@app.websocket("/echo")
async def echo(websocket: WebSocket, name: str = Depends(user)) -> None:
    await websocket.accept(headers=[(b"x-user", name.encode())])
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


@app.websocket("/last")
async def last_code(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_text(str(last["code"]))
    await websocket.close()


@app.websocket("/forget")
async def forget(websocket: WebSocket) -> None:
    last["code"] = 0
    await last_code(websocket)


@app.websocket("/json")
async def json(websocket: WebSocket) -> None:
    await websocket.accept()
    total = 0
    async for value in websocket.iter_json():
        document: Dict[str, Any] = value
        total += document["number"]
        await websocket.send_json({"total": total})


@app.websocket("/refuse")
async def refuse(websocket: WebSocket) -> None:
    await websocket.close()


@app.websocket("/deny")
async def deny(websocket: WebSocket) -> None:
    await websocket.send_denial_response(Response("no such room", status_code=404))


@app.websocket("/subprotocol")
async def subprotocol(websocket: WebSocket) -> None:
    await websocket.accept(subprotocol=websocket.scope["subprotocols"][-1])
    await websocket.receive()


@app.websocket("/close")
async def close(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.receive_text()
    await websocket.close(4001, "enough")


@app.websocket("/fail")
async def fail(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.receive_text()
    raise ValueError("broken")


@app.websocket("/flood")
async def flood(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.receive_text()
    for number in range(200):
        await websocket.send_text(f"{number:06}" * 10000)
    await websocket.close()
