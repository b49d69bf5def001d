"""Whatever listeners receive and send: a server counts what its peers count, each thing once."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import AsyncExitStack
from typing import Any, Dict, List, Tuple, Union

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from picows_server import (
    WSBatchListener,
    WSConnection,
    WSFrame,
    WSListener,
    WSMessage,
    WSMessageListener,
    WSMsgType,
    WSPermessageDeflate,
    WSPreparedMessage,
    WSTransport,
    broadcast,
    serve,
    ws_create_server,
)
from tests.property.strategies import Piece, messages
from tests.support.deflate import Peer
from tests.support.frames import CLOSE, KEY, PING, PONG, build, close_payload, upgrade_request
from tests.support.leaks import eventually
from tests.support.loops import run
from tests.support.rawclient import RawClient
from tests.support.servers import ANY_PORT, quiet_logger, sockname

OFFER = b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"
COUNTS = [
    f"{what}_{way}" for what in ("frames", "messages", "bytes") for way in ("received", "sent")
]


class ByFrames(WSListener):
    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.opcode < CLOSE:
            transport.send(frame.opcode, frame, frame.fin)
        elif frame.opcode == PING:
            transport.send_pong(frame)


class ByMessages(WSMessageListener):
    """Sends in fragments, with a ping between them."""

    def on_ws_message(self, transport: WSTransport, message: WSMessage) -> None:
        payload = message.get_payload_as_bytes()
        transport.send(message.opcode, payload[:9], False)
        transport.send_ping(b"mine")
        transport.send(WSMsgType.CONTINUATION, payload[9:])


class ByBatches(WSBatchListener):
    def on_ws_batch(self, transport: WSTransport, batch: List[Union[str, bytes]]) -> None:
        if all(isinstance(message, str) for message in batch):
            transport.send_many(WSMsgType.TEXT, batch)
            return
        for message in batch:
            is_text = isinstance(message, str)
            transport.send(WSMsgType.TEXT if is_text else WSMsgType.BINARY, message)


class ToMany(WSMessageListener):
    """Sends by two ways that encode a message once for all."""

    def on_ws_message(self, transport: WSTransport, message: WSMessage) -> None:
        payload = message.get_payload_as_bytes()
        if len(payload) % 2:
            broadcast([transport], payload)
        else:
            transport.send_prepared(WSPreparedMessage(WSMsgType.BINARY, payload))


async def one_by_one(connection: WSConnection) -> None:
    async for message in connection:
        if len(message) % 2:
            await connection.send(message)
        else:
            await connection.send([message, message])  # fragments


async def all_at_once(connection: WSConnection) -> None:
    while True:
        await connection.send_many(await connection.recv_many())


SHAPES: Dict[str, Any] = {
    "frames": ByFrames,
    "messages": ByMessages,
    "batches": ByBatches,
    "broadcast": ToMany,
    "coroutine": one_by_one,
    "coroutine in batches": all_at_once,
}


class CountingPeer:
    """A client that counts what it sends and gets."""

    def __init__(self, client: RawClient, compresses: bool) -> None:
        self._client = client
        self._deflater = Peer()
        self._compresses = compresses
        self.counts = Counter(dict.fromkeys(COUNTS, 0))

    def _count(self, way: str, opcode: int, size: int) -> None:
        self.counts[f"frames_{way}"] += 1
        self.counts[f"messages_{way}"] += 0 < opcode < CLOSE
        self.counts[f"bytes_{way}"] += size

    def write(self, data: bytes) -> None:
        self._client.writer.write(data)

    def frame(self, opcode: int, payload: bytes, *, fin: bool = True, rsv: int = 0) -> bytes:
        data = build(opcode, payload, fin=fin, rsv=rsv, key=KEY)
        self._count("received", opcode, len(data))
        return data

    def message(self, pieces: List[Piece]) -> bytes:
        """The frames of a message, or as many ones of the same message compressed."""
        if not self._compresses:
            return b"".join(self.frame(p.opcode, p.payload, fin=p.fin) for p in pieces)
        parts = [piece for piece in pieces if piece.opcode < CLOSE]
        payload = self._deflater.deflate(b"".join(piece.payload for piece in parts))
        step = len(payload) // len(parts)
        data = b""
        for piece in pieces:
            mine = piece.payload
            if piece.opcode < CLOSE:
                mine = payload if piece.fin else payload[:step]
                payload = payload[len(mine) :]
            rsv = 4 if 0 < piece.opcode < CLOSE else 0
            data += self.frame(piece.opcode, mine, fin=piece.fin, rsv=rsv)
        return data

    async def read(self) -> Any:
        found = await self._client.read_frame()
        self._count("sent", found.opcode, len(build(found.opcode, found.payload)))
        return found

    async def open(self) -> None:
        request = upgrade_request(extra=OFFER if self._compresses else b"")
        self.write(request)
        head = await self._client.reader.readuntil(b"\r\n\r\n")
        assert (b"permessage-deflate" in head) is self._compresses
        self.counts["bytes_received"] += len(request)
        self.counts["bytes_sent"] += len(head)

    async def talk(self, parts: List[List[Piece]], places: List[int]) -> None:
        """Send messages and control frames cut at these places; wait for all replies; close."""
        data = b""
        replies: Counter[str] = Counter()
        for part in parts:
            if part[0].opcode > CLOSE:
                data += self.frame(part[0].opcode, part[0].payload)
            else:
                data += self.message(part)
                replies["messages"] += 1
            replies["pongs"] += sum(piece.opcode == PING for piece in part)
        edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
        for start, end in zip(edges, edges[1:]):
            self.write(data[start:end])
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        while +replies:
            found = await self.read()
            if found.opcode == PING:
                self.write(self.frame(PONG, found.payload))
            elif found.opcode == PONG:
                replies["pongs"] -= 1
            elif found.fin:
                replies["messages"] -= 1
        self.write(self.frame(CLOSE, close_payload(1000)))
        assert (await self.read()).opcode == CLOSE
        assert await self._client.read_to_end() == b""


async def check(shape: str, compresses: bool, clients: List[Tuple[Any, Any]]) -> None:
    transports: List[WSTransport] = []
    make = SHAPES[shape]
    options: Dict[str, Any] = {
        "collect_stats": True,
        "enable_auto_pong": shape != "frames",
        "compression": WSPermessageDeflate(min_size=20) if compresses else None,
    }
    if isinstance(make, type):

        class Listener(make):
            def on_ws_connected(self, transport: WSTransport) -> None:
                transports.append(transport)

        server = await ws_create_server(ANY_PORT, Listener, quiet_logger(), **options)
    else:

        async def handler(connection: WSConnection) -> None:
            transports.append(connection.transport)
            await make(connection)

        server = await serve(handler, ANY_PORT, quiet_logger(), **options)
    async with server, AsyncExitStack() as stack:
        total = Counter(dict.fromkeys(COUNTS, 0))
        peers: List[CountingPeer] = []
        for _ in clients:
            client = await stack.enter_async_context(await RawClient.connect(sockname(server)))
            peers.append(CountingPeer(client, compresses))
            await peers[-1].open()
            await eventually(lambda: len(transports) == len(peers))
        await asyncio.gather(*[peer.talk(*each) for peer, each in zip(peers, clients)])
        await eventually(lambda: not server.stats().connections)
        for peer, transport in zip(peers, transports):
            stats = transport.stats()
            assert {name: getattr(stats, name) for name in COUNTS} == dict(peer.counts)
            total.update(peer.counts)
        assert {name: getattr(server.stats(), name) for name in COUNTS} == dict(total)


controls = st.builds(Piece, st.sampled_from([PING, PONG]), st.binary(max_size=125))
parts = st.lists(st.one_of(messages(), controls.map(lambda piece: [piece])), max_size=8)
places = st.lists(st.integers(0, 100_000), max_size=10)


@pytest.mark.parametrize("compresses", [False, True], ids=["plain", "deflate"])
@pytest.mark.parametrize("shape", SHAPES)
@settings(max_examples=20)
@given(clients=st.lists(st.tuples(parts, places), min_size=1, max_size=3))
def test_counts(shape: str, compresses: bool, clients: List[Tuple[Any, Any]]) -> None:
    run(lambda: check(shape, compresses, clients))
