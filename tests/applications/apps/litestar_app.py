"""Litestar."""

from litestar import Litestar, WebSocket, websocket
from litestar.exceptions import WebSocketDisconnect

last = {"code": 0}


@websocket("/echo")
async def echo(socket: WebSocket) -> None:
    await socket.accept()
    while True:
        message = await socket.receive()
        if message["type"] == "websocket.disconnect":
            last["code"] = message["code"]
            return
        if message.get("text") is not None:
            await socket.send_text(message["text"])
        else:
            await socket.send_bytes(message["bytes"])


@websocket("/last")
async def last_code(socket: WebSocket) -> None:
    await socket.accept()
    await socket.send_text(str(last["code"]))
    await socket.close()


@websocket("/forget")
async def forget(socket: WebSocket) -> None:
    last["code"] = 0
    await socket.accept()
    await socket.send_text("0")
    await socket.close()


@websocket("/refuse")
async def refuse(socket: WebSocket) -> None:
    await socket.close()


@websocket("/subprotocol")
async def subprotocol(socket: WebSocket) -> None:
    await socket.accept(subprotocols=socket.scope["subprotocols"][-1])
    try:
        await socket.receive_text()
    except WebSocketDisconnect:
        return


@websocket("/close")
async def close(socket: WebSocket) -> None:
    await socket.accept()
    await socket.receive_text()
    await socket.close(4001, "enough")


@websocket("/fail")
async def fail(socket: WebSocket) -> None:
    await socket.accept()
    await socket.receive_text()
    raise ValueError("broken")


@websocket("/flood")
async def flood(socket: WebSocket) -> None:
    await socket.accept()
    await socket.receive_text()
    for number in range(200):
        await socket.send_text(f"{number:06}" * 10000)
    await socket.close()


app = Litestar([echo, last_code, forget, refuse, subprotocol, close, fail, flood])
