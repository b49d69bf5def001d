"""The quick start's server on a free port; prints its URL."""

from __future__ import annotations

import asyncio

from picows_server import WSFrame, WSListener, WSMsgType, WSTransport, ws_create_server


class ServerClientListener(WSListener):
    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        transport.send(frame.opcode, frame.get_payload_as_bytes())
        if frame.opcode == WSMsgType.CLOSE:
            transport.disconnect()


async def main() -> None:
    async with ws_create_server("ws://127.0.0.1:0", ServerClientListener, "server") as server:
        print(server.url, flush=True)
        await server.serve_forever()


asyncio.run(main())
