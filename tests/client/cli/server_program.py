"""A server that does what the text it gets says, and prints what happens to its clients."""

from __future__ import annotations

import asyncio
import gzip
import ssl
import sys
from typing import Any, Union

from picows_server import (
    WSFrame,
    WSListener,
    WSMsgType,
    WSTransport,
    WSUpgradeRequest,
    WSUpgradeResponse,
    WSUpgradeResponseWithListener,
    ws_create_server,
)

EVIL = "\x1b[31mred\x9b1m\u202e\r< fake\nnext"


def tell(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


class Obedient(WSListener):
    def __init__(self, request: WSUpgradeRequest) -> None:
        self.path = request.path

    def on_ws_connected(self, transport: WSTransport) -> None:
        tell(f"connected {self.path}")
        if self.path == "/greeting":
            transport.send(WSMsgType.TEXT, "welcome")
        if self.path == "/many":
            for number in range(20_000):
                transport.send(WSMsgType.TEXT, f"message {number}")

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.opcode == WSMsgType.TEXT and self.path != "/silent":
            self.obey(transport, frame.get_payload_as_utf8_text())
        elif frame.opcode == WSMsgType.BINARY:
            tell(f"binary {frame.get_payload_as_bytes().hex()}")
            transport.send(WSMsgType.BINARY, frame)

    def obey(self, transport: WSTransport, text: str) -> None:
        word, _, rest = text.partition(" ")
        if word == "close":
            code, _, reason = rest.partition(" ")
            transport.disconnect(code=int(code), reason=reason)
        elif word == "drop":
            transport.disconnect(graceful=False)
        elif word == "evil":
            transport.send(WSMsgType.TEXT, EVIL)
        elif word == "evilclose":
            transport.disconnect(code=4001, reason="\x1b[31mred")
        elif word == "ping":
            transport.send_ping(rest)
            transport.send(WSMsgType.TEXT, "pinged")
        elif word == "gzip":
            transport.send(WSMsgType.BINARY, gzip.compress(rest.encode()))
        elif word == "bomb":
            transport.send(WSMsgType.BINARY, gzip.compress(bytes(17 * 1024 * 1024)))
        elif word == "later":
            asyncio.get_running_loop().call_later(0.1, transport.send, WSMsgType.TEXT, rest)
        else:
            transport.send(WSMsgType.TEXT, text)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        handshake = transport.close_handshake
        received = None if handshake is None else handshake.recv
        tell("lost" if received is None else f"closed {received.code:d}")


def accept(request: WSUpgradeRequest) -> Union[Obedient, Any]:
    tell(f"request {request.path}")
    if request.path.partition("?")[0] == "/refused":
        return WSUpgradeResponse.create_error_response(403, "go \x1b[31maway", {"X-Why": "no"})
    if request.path == "/headers":
        tell(request.headers.get("X-Name", "-"))
        tell(request.headers.get("Sec-WebSocket-Extensions", "-"))
    if "v2" in request.subprotocols:
        response = WSUpgradeResponse.create_101_response({"X-Evil": "\x9b1m"}, "v2")
        return WSUpgradeResponseWithListener(response, Obedient(request))
    return Obedient(request)


async def main() -> None:
    """Takes files of a certificate chain and its key for TLS, and of authorities of clients."""
    scheme = "ws"
    options: Any = {"compression": "deflate", "max_write_queue_size": 1 << 28}
    if len(sys.argv) > 1:
        scheme = "wss"
        options["ssl_context"] = context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(sys.argv[1], sys.argv[2])
        if len(sys.argv) > 3:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(sys.argv[3])
    async with ws_create_server(f"{scheme}://127.0.0.1:0", accept, **options) as server:
        tell(f"{scheme}://localhost:{server.sockets[0].getsockname()[1]}")
        await server.serve_forever()


asyncio.run(main())
