"""picows_server.protocol: an endpoint whose owner is told of its beginning and its end."""

from __future__ import annotations

import asyncio
from typing import List

import pytest

from picows_codec import ServerHandshake, WSListener, WSOptions
from picows_codec.testing.memory_transport import MemoryTransport
from picows_server.protocol import ProtocolOwner, ServerProtocol
from tests.support.servers import quiet_logger


def make_protocol(owner: ProtocolOwner) -> ServerProtocol:
    options = WSOptions()
    return ServerProtocol(
        owner,
        options,
        ServerHandshake(lambda request: WSListener(), options=options),
        asyncio.get_running_loop(),
        quiet_logger(),
        shared_reads=True,
        remote_address=("127.0.0.1", 80),
    )


async def test_the_owner_is_told() -> None:
    told: List[str] = []

    class Owner(ProtocolOwner):
        def connection_made(self, protocol: ServerProtocol) -> None:
            told.append(f"made {protocol is ours}")

        def connection_lost(self, protocol: ServerProtocol) -> None:
            told.append(f"lost {protocol is ours}")

        def connection_recorded(self, protocol: ServerProtocol) -> None:
            told.append(f"recorded {protocol is ours}")

    ours = make_protocol(Owner())
    ours.keep_record()
    ours.connection_made(MemoryTransport(asyncio.get_running_loop(), ours))
    assert told == ["made True"]
    ours.connection_lost(None)
    assert told == ["made True", "lost True", "recorded True"]


async def test_an_owner_must_listen() -> None:
    protocol = make_protocol(ProtocolOwner())
    with pytest.raises(NotImplementedError):
        protocol.connection_made(MemoryTransport(asyncio.get_running_loop(), protocol))
    with pytest.raises(NotImplementedError):
        protocol.connection_lost(None)
    protocol.give_up()
