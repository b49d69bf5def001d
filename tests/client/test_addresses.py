"""Addresses of requests and transports, over the wire on every backend."""

from __future__ import annotations

import ssl
from typing import Any, Callable, List

import pytest

from picows_client import ws_connect
from tests.client.exchange import Recorder, check_echo, serve_echo
from tests.support.rawpeer import RawConnection, raw_peer

Run = Callable[..., Any]


@pytest.mark.parametrize("backend", ["stream", "aiofastnet", "loop"])
@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize("ending", ["close", "reset"])
def test_addresses(
    run: Run,
    backend: str,
    secure: bool,
    ending: str,
    server_context: ssl.SSLContext,
    client_context: ssl.SSLContext,
) -> None:
    if backend == "aiofastnet":
        pytest.importorskip("aiofastnet")
    if secure and backend == "stream":
        pytest.skip("stream has no TLS")
    seen: List[Any] = []

    def factory(request: Any, response: Any) -> Recorder:
        seen.append((request.remote_address, request.local_address))
        return Recorder()

    async def script(peer: RawConnection) -> None:
        seen.append(peer.writer.get_extra_info("peername"))
        if ending == "close":
            await serve_echo(peer)
        else:
            await peer.accept_upgrade()
            await peer.read_frame()
            peer.reset()

    async def main() -> None:
        async with raw_peer(script, context=server_context if secure else None) as peer:
            transport, listener = await ws_connect(
                peer.url(host="127.0.0.1"),
                factory,
                backend=backend,
                ssl_context=client_context if secure else None,
            )
            if ending == "close":
                await check_echo(transport, listener)
            else:
                transport.send(1, b"end")
                await transport.wait_disconnected()
            expected = (("127.0.0.1", peer.port), seen[0])
            assert seen[1] == expected
            for ends in (transport, transport.request):
                assert (ends.remote_address, ends.local_address) == expected

    run(main)
