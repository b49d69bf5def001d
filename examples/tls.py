"""TLS: a wss:// server with a certificate from files, and a client that trusts its authority.

    pip install trustme
    python examples/tls.py

A real server has its certificate from a public authority: the client then needs no ssl_context.
"""

from __future__ import annotations

import ssl
import tempfile
from pathlib import Path

import trustme

from picows_client import ws_connect
from picows_server import (
    WSFrame,
    WSListener,
    WSMsgType,
    WSTransport,
    create_ssl_context,
    ws_create_server,
)

try:
    from uvloop import run
except ImportError:  # uvloop is optional: asyncio's own loop serves, too
    from asyncio import run  # type: ignore[assignment]


class EchoListener(WSListener):
    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.opcode is WSMsgType.TEXT:
            transport.send(frame.opcode, frame)


class Client(WSListener):
    def on_ws_connected(self, transport: WSTransport) -> None:
        print(f"Encrypted: {transport.is_secure}")
        transport.send(WSMsgType.TEXT, "for your eyes only")

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.opcode is WSMsgType.TEXT:
            print(f"Echo reply: {frame.get_payload_as_utf8_text()}")
            transport.disconnect()


async def main(directory: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(directory / "authority.pem"))
    certificate = authority.issue_cert("localhost")
    certificate.private_key_and_cert_chain_pem.write_to_path(str(directory / "server.pem"))

    server_context = create_ssl_context(directory / "server.pem")
    async with ws_create_server(
        "wss://localhost:0", EchoListener, ssl_context=server_context
    ) as server:
        print(f"Listening on {server.url}")
        try:
            await ws_connect(server.url, Client, ssl_context=ssl.create_default_context())
        except ssl.SSLCertVerificationError as error:
            print(f"A client that does not know the authority: {error.verify_message}")

        client_context = ssl.create_default_context(cafile=str(directory / "authority.pem"))
        async with ws_connect(server.url, Client, ssl_context=client_context) as (transport, _):
            await transport.wait_disconnected()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        run(main(Path(temporary)))
