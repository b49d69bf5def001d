"""permessage-deflate against npm's ws, on either side, with a look at the frames on the wire."""

from __future__ import annotations

import asyncio
import contextlib
import os
import zlib
from typing import Any, AsyncIterator, Callable, Dict, List, NamedTuple, Union

import pytest

from picows_client import (
    WSCloseInfo,
    WSConnection,
    WSDisconnectKind,
    WSMsgType,
    WSPermessageDeflate,
    connect,
    ws_connect,
)
from picows_server import serve, ws_create_server
from tests.interop.conftest import LARGE, TEXTS, Setting
from tests.interop.endings import cause_of, closing_of
from tests.interop.node_ws import WsClient, connect_ws, serve_ws
from tests.interop.test_our_client import Collector
from tests.interop.test_our_server import FrameEcho, MessageEcho
from tests.interop.wire_tap import Recording, Tap, inflate_messages, tap_server
from tests.support.frames import CONTINUATION, Frame
from tests.support.leaks import eventually

Run = Callable[..., Any]
Message = Union[str, bytes]

PLAIN = Setting("auto")
QUOTES = '{"symbol":"BTCUSDT","price":"60000.10","quantity":"0.001"}' * 300
# The last but one refers back as far as the window allows, the last has nothing to refer to.
MESSAGES: List[Message] = [
    *TEXTS,
    *(QUOTES[:size] for size in (1, 125, 126, 262, 4096)),
    b"",
    b"\x00",
    bytes(range(256)) * 8,
    QUOTES * 10,
    os.urandom(70_001),
]


class Agreement(NamedTuple):
    """Parameters of both sides, the headers that follow, and what each may send then.

    Bits are those of the window with which everything can be inflated; 0: nothing is compressed.
    """

    ours: Dict[str, Any]
    theirs: Dict[str, Any]
    offer: str
    answer: str
    server_bits: int = 15
    client_bits: int = 15
    server_takeover: bool = True
    client_takeover: bool = True


ALONE = "server_no_context_takeover; client_no_context_takeover"

TO_OUR_SERVER = {
    "default": Agreement({}, {}, "client_max_window_bits", ""),
    "theirs-alone": Agreement(
        {},
        {"serverNoContextTakeover": True, "clientNoContextTakeover": True},
        f"{ALONE}; client_max_window_bits",
        ALONE,
        server_takeover=False,
        client_takeover=False,
    ),
    "ours-alone": Agreement(
        {"server_no_context_takeover": True, "client_no_context_takeover": True},
        {},
        "client_max_window_bits",
        ALONE,
        server_takeover=False,
        client_takeover=False,
    ),
    "only-the-server-alone": Agreement(
        {"server_no_context_takeover": True},
        {},
        "client_max_window_bits",
        "server_no_context_takeover",
        server_takeover=False,
    ),
    "their-windows": Agreement(
        {},
        {"serverMaxWindowBits": 10, "clientMaxWindowBits": 11},
        "server_max_window_bits=10; client_max_window_bits=11",
        "server_max_window_bits=10; client_max_window_bits=11",
        server_bits=10,
        client_bits=11,
    ),
    "our-windows": Agreement(
        {"server_max_window_bits": 9, "client_max_window_bits": 9},
        {},
        "client_max_window_bits",
        "server_max_window_bits=9; client_max_window_bits=9",
        server_bits=9,
        client_bits=9,
    ),
    "largest-windows": Agreement(
        {"server_max_window_bits": 15, "client_max_window_bits": 15},
        {},
        "client_max_window_bits",
        "server_max_window_bits=15; client_max_window_bits=15",
    ),
    "their-fixed-window": Agreement(
        {"client_max_window_bits": 9}, {"clientMaxWindowBits": False}, "", ""
    ),
    "a-window-that-zlib-cannot-make": Agreement(
        {},
        {"serverMaxWindowBits": 8},
        "server_max_window_bits=8; client_max_window_bits",
        "server_max_window_bits=8",
        server_bits=0,
    ),
}

TO_THEIR_SERVER = {
    "default": Agreement({}, {}, "client_max_window_bits", ""),
    "a-client-that-only-inflates": Agreement(
        {"client_compresses": False}, {}, "client_max_window_bits", "", client_bits=0
    ),
    "ours-alone": Agreement(
        {"server_no_context_takeover": True, "client_no_context_takeover": True},
        {},
        f"{ALONE}; client_max_window_bits",
        ALONE,
        server_takeover=False,
        client_takeover=False,
    ),
    "theirs-alone": Agreement(
        {},
        {"serverNoContextTakeover": True, "clientNoContextTakeover": True},
        "client_max_window_bits",
        ALONE,
        server_takeover=False,
        client_takeover=False,
    ),
    "only-the-client-alone": Agreement(
        {"client_no_context_takeover": True},
        {},
        "client_no_context_takeover; client_max_window_bits",
        "client_no_context_takeover",
        client_takeover=False,
    ),
    "our-windows": Agreement(
        {"server_max_window_bits": 9, "client_max_window_bits": 10},
        {},
        "server_max_window_bits=9; client_max_window_bits=10",
        "server_max_window_bits=9; client_max_window_bits=10",
        server_bits=9,
        client_bits=10,
    ),
    "their-windows": Agreement(
        {},
        {"serverMaxWindowBits": 9, "clientMaxWindowBits": 10},
        "client_max_window_bits",
        "server_max_window_bits=9; client_max_window_bits=10",
        server_bits=9,
        client_bits=10,
    ),
    "a-window-that-zlib-cannot-make": Agreement(
        {"client_max_window_bits": 8},
        {},
        "client_max_window_bits=8",
        "client_max_window_bits=8",
        client_bits=0,
    ),
}


def every(agreements: Dict[str, Agreement]) -> Any:
    return pytest.mark.parametrize("agreement", agreements.values(), ids=agreements)


def our_options(agreement: Agreement) -> Dict[str, Any]:
    parameters = {"min_size": 0, "client_compresses": True, **agreement.ours}
    return {"compression": WSPermessageDeflate(**parameters)}


def their_options(agreement: Agreement) -> Dict[str, Any]:
    # The threshold counts without context takeover only.
    return {"perMessageDeflate": {"threshold": 0, **agreement.theirs}}


def encoded(messages: List[Message]) -> List[bytes]:
    return [each.encode() if isinstance(each, str) else each for each in messages]


def check_extensions(agreement: Agreement, recording: Recording) -> None:
    """Compare the headers, parameter by parameter: their order is free."""
    for found, wanted in zip(recording.extensions(), (agreement.offer, agreement.answer)):
        parameters = [each for each in wanted.split("; ") if each]
        assert sorted(found.split("; ")) == sorted(["permessage-deflate", *parameters])


def check_frames(
    frames: List[Frame], messages: List[Message], *, window_bits: int, takeover: bool
) -> None:
    """They carry these messages, all of them compressed as agreed, or none (``window_bits=0``).

    Without context takeover a message may stay as it is if compression makes it no smaller.
    """
    assert not any(frame.rsv for frame in frames if frame.opcode == CONTINUATION)
    flags = [frame.rsv for frame in frames if frame.opcode != CONTINUATION]
    for flag, message in zip(flags, encoded(messages)):
        if takeover or len(zlib.compress(message)) < len(message):
            assert flag == (4 if window_bits else 0)
    found = inflate_messages(frames, window_bits=window_bits or 15, takeover=takeover)
    assert found == encoded(messages)
    if window_bits and any(map(len, messages)):
        assert sum(len(frame.payload) for frame in frames) < sum(map(len, found))


def check_connection(agreement: Agreement, tap: Tap, messages: List[Message]) -> None:
    """All messages went to and fro."""
    recording = tap.recording
    check_extensions(agreement, recording)
    check_frames(
        recording.client_frames(),
        messages,
        window_bits=agreement.client_bits,
        takeover=agreement.client_takeover,
    )
    check_frames(
        recording.server_frames(),
        messages,
        window_bits=agreement.server_bits,
        takeover=agreement.server_takeover,
    )


class ToOurServer:
    """ws as the client of a server of ours that echoes."""

    def __init__(self, client: WsClient, tap: Tap, listener: FrameEcho) -> None:
        self.client = client
        self.tap = tap
        self.listener = listener

    async def echo(self, message: Message) -> None:
        await self.client.send(message)
        assert await self.client.receive() == message


@contextlib.asynccontextmanager
async def to_our_server(
    agreement: Agreement, factory: Callable[[], Any] = FrameEcho, **options: Any
) -> AsyncIterator[ToOurServer]:
    listener = factory()
    async with ws_create_server(
        "ws://127.0.0.1:0",
        lambda: listener,
        subprotocols=["interop.v1"],
        **our_options(agreement),
        **options,
    ) as server, tap_server(server.url) as tap, connect_ws(
        tap.url, None, **their_options(agreement)
    ) as client:
        yield ToOurServer(client, tap, listener)


class ToTheirServer:
    """Our client, and a server of ws that echoes."""

    def __init__(self, transport: Any, client: Collector, tap: Tap) -> None:
        self.transport = transport
        self.client = client
        self.tap = tap

    async def echo(self, message: Message) -> None:
        self.transport.send(opcode_of(message), message)
        assert await self.client.next() == message


def opcode_of(message: Message) -> WSMsgType:
    return WSMsgType.TEXT if isinstance(message, str) else WSMsgType.BINARY


@contextlib.asynccontextmanager
async def to_their_server(
    agreement: Agreement, path: str = "/echo", **options: Any
) -> AsyncIterator[ToTheirServer]:
    async with serve_ws(PLAIN, **their_options(agreement), **options) as server, tap_server(
        server.url
    ) as tap, ws_connect(
        tap.url + path, Collector, subprotocols=["interop.v1"], **our_options(agreement)
    ) as (transport, client):
        yield ToTheirServer(transport, client, tap)


# Their client, our server


@every(TO_OUR_SERVER)
@pytest.mark.parametrize("factory", [FrameEcho, MessageEcho])
def test_our_server(run: Run, agreement: Agreement, factory: Callable[[], Any]) -> None:
    async def main() -> None:
        async with to_our_server(agreement, factory) as peers:
            for message in MESSAGES * 2:
                await peers.echo(message)
            await peers.client.close(1000, "")
        check_connection(agreement, peers.tap, MESSAGES * 2)

    run(main)


@every(TO_OUR_SERVER)
def test_our_server_gets_fragments(run: Run, agreement: Agreement) -> None:
    async def main() -> None:
        parts: List[List[Message]] = [
            ["żółw", "", ", 漢字", ", 🐢" * 1000],
            [QUOTES, QUOTES, QUOTES],
            [b"\x00" * 70_000, b"\xff", b""],
        ]
        messages: List[Message] = []
        async with to_our_server(agreement) as peers:
            for each in parts * 2:
                await peers.client.send_fragments(each)
                messages.append(type(each[0])().join(each))  # type: ignore[arg-type]
                assert await peers.client.receive() == messages[-1]
            await peers.client.close(1000, "")
        check_connection(agreement, peers.tap, messages)
        recording = peers.tap.recording
        count = 2 * sum(map(len, parts))
        # What came in several frames went back in several.
        assert len(recording.client_frames()) == count
        assert len(recording.server_frames()) == count

    run(main)


def test_our_server_gets_many_at_once(run: Run) -> None:
    async def main() -> None:
        agreement = TO_OUR_SERVER["default"]
        messages: List[Message] = [QUOTES[: number % 40] for number in range(500)]
        async with to_our_server(agreement) as peers:
            await asyncio.gather(*map(peers.client.send, messages))
            for message in messages:
                assert await peers.client.receive() == message
            await peers.client.close(1000, "")
        check_connection(agreement, peers.tap, messages)

    run(main)


@pytest.mark.parametrize("name", ["default", "theirs-alone", "our-windows"])
def test_our_server_gets_large_messages(run: Run, name: str) -> None:
    async def main() -> None:
        agreement = TO_OUR_SERVER[name]
        messages: List[Message] = [(QUOTES * (LARGE // len(QUOTES) + 1))[:LARGE], os.urandom(LARGE)]
        async with to_our_server(agreement) as peers:
            for message in messages:
                await peers.echo(message)
            await peers.client.close(1000, "")
        check_connection(agreement, peers.tap, messages)
        recording = peers.tap.recording
        for frames in (recording.client_frames(), recording.server_frames()):
            assert len(frames[0].payload) < LARGE // 2

    run(main)


def test_our_server_gets_some_uncompressed(run: Run) -> None:
    """Both decide anew for each message, by its size."""

    async def main() -> None:
        agreement = TO_OUR_SERVER["theirs-alone"]
        agreement = agreement._replace(
            ours={"min_size": 2000}, theirs={**agreement.theirs, "threshold": 1000}
        )
        messages = [QUOTES[:size] for size in (10, 999, 1000, 1999, 2000, 5000)] * 2
        async with to_our_server(agreement) as peers:
            for message in messages:
                await peers.echo(message)
            await peers.client.send(QUOTES[:5000], compress=False)
            assert await peers.client.receive() == QUOTES[:5000]
            await peers.client.close(1000, "")
        recording = peers.tap.recording
        for frames, rsv in (
            (recording.client_frames(), [0, 0, 4, 4, 4, 4] * 2 + [0]),
            (recording.server_frames(), [0, 0, 0, 0, 4, 4] * 2 + [4]),
        ):
            assert [frame.rsv for frame in frames] == rsv
            assert inflate_messages(frames, takeover=False) == encoded([*messages, QUOTES[:5000]])

    run(main)


def test_our_server_gets_a_bomb(run: Run) -> None:
    async def main() -> None:
        agreement = TO_OUR_SERVER["default"]
        async with to_our_server(
            agreement, MessageEcho, max_frame_size=100_000, max_message_size=100_000
        ) as peers:
            await peers.echo(b"\x00" * 100_000)
            transport = peers.listener.transport
            await peers.client.send(b"\x00" * 10_000_000)
            closed = await peers.client.receive()
            assert isinstance(closed, tuple)
            assert closed.code == 1009
            await asyncio.wait_for(transport.wait_disconnected(), 10)
            assert cause_of(transport).kind is WSDisconnectKind.PROTOCOL_ERROR
        assert len(peers.tap.recording.client_frames()[-1].payload) < 100_000

    run(main)


@pytest.mark.parametrize(("code", "reason"), [(1000, ""), (1001, "going"), (4999, "żółw" * 10)])
def test_their_client_closes(run: Run, code: int, reason: str) -> None:
    async def main() -> None:
        async with to_our_server(TO_OUR_SERVER["default"]) as peers:
            await peers.echo(QUOTES)
            transport = peers.listener.transport
            await peers.client.close(code, reason)
            await asyncio.wait_for(transport.wait_disconnected(), 10)
            assert cause_of(transport).kind is WSDisconnectKind.PEER_CLOSE
            assert closing_of(transport).received == WSCloseInfo(code, reason)

    run(main)


def test_no_compression_with_our_server(run: Run) -> None:
    """It is offered, and not accepted."""

    async def main() -> None:
        async with ws_create_server(
            "ws://127.0.0.1:0", FrameEcho, subprotocols=["interop.v1"]
        ) as server, tap_server(server.url) as tap, connect_ws(
            tap.url, None, perMessageDeflate={"threshold": 0}
        ) as client:
            for message in MESSAGES:
                await client.send(message)
                assert await client.receive() == message
            await client.close(1000, "")
        assert tap.recording.extensions() == ("permessage-deflate; client_max_window_bits", "")
        for frames in (tap.recording.client_frames(), tap.recording.server_frames()):
            check_frames(frames, MESSAGES, window_bits=0, takeover=True)

    run(main)


def test_our_coroutine_server(run: Run) -> None:
    async def handle(connection: WSConnection) -> None:
        async for message in connection:
            await connection.send(message)
            if len(message) > 1:
                await connection.send([message[:1], message[1:2], message[2:]])

    async def main() -> None:
        agreement = TO_OUR_SERVER["default"]
        sent: List[Message] = []
        async with serve(
            handle, "ws://127.0.0.1:0", subprotocols=["interop.v1"], **our_options(agreement)
        ) as server, tap_server(server.url) as tap, connect_ws(
            tap.url, None, **their_options(agreement)
        ) as client:
            for message in MESSAGES:
                await client.send(message)
                for _ in range(2 if len(message) > 1 else 1):
                    assert await client.receive() == message
                    sent.append(message)
            await client.close(1000, "")
        check_frames(tap.recording.client_frames(), MESSAGES, window_bits=15, takeover=True)
        check_frames(tap.recording.server_frames(), sent, window_bits=15, takeover=True)
        assert len(tap.recording.server_frames()) > len(sent)

    run(main)


# Our client, their server


@every(TO_THEIR_SERVER)
def test_our_client(run: Run, agreement: Agreement) -> None:
    async def main() -> None:
        async with to_their_server(agreement) as peers:
            for message in MESSAGES * 2:
                await peers.echo(message)
        check_connection(agreement, peers.tap, MESSAGES * 2)

    run(main)


@every(TO_THEIR_SERVER)
def test_our_client_sends_fragments(run: Run, agreement: Agreement) -> None:
    async def main() -> None:
        # Cut inside characters, with a ping in between: RFC 6455, 5.4.
        text = "żółw, 漢字, 🐢" * 1000
        data = text.encode()
        parts = [data[:2], b"", data[2:1001], data[1001:20_000], data[20_000:]]
        async with to_their_server(agreement, "/fragments") as peers:
            for _ in range(3):
                opcode = WSMsgType.TEXT
                for part in parts[:-1]:
                    peers.transport.send(opcode, part, fin=False)
                    peers.transport.send_ping(b"between")
                    opcode = WSMsgType.CONTINUATION
                peers.transport.send(opcode, parts[-1])
                assert await peers.client.next() == text
        check_connection(agreement, peers.tap, [text] * 3)
        recording = peers.tap.recording
        assert len(recording.client_frames()) == 3 * len(parts)
        assert len(recording.server_frames()) == 3 * 3

    run(main)


def test_our_client_sends_many_at_once(run: Run) -> None:
    async def main() -> None:
        agreement = TO_THEIR_SERVER["default"]
        messages: List[Message] = [QUOTES[: number % 40] for number in range(500)]
        async with to_their_server(agreement) as peers:
            with peers.transport.cork():
                for message in messages:
                    peers.transport.send(WSMsgType.TEXT, message)
            for message in messages:
                assert await peers.client.next() == message
        check_connection(agreement, peers.tap, messages)

    run(main)


@pytest.mark.parametrize("name", ["default", "ours-alone", "our-windows"])
def test_our_client_sends_large_messages(run: Run, name: str) -> None:
    async def main() -> None:
        agreement = TO_THEIR_SERVER[name]
        messages: List[Message] = [(QUOTES * (LARGE // len(QUOTES) + 1))[:LARGE], os.urandom(LARGE)]
        async with to_their_server(agreement) as peers:
            for message in messages:
                await peers.echo(message)
        check_connection(agreement, peers.tap, messages)
        recording = peers.tap.recording
        for frames in (recording.client_frames(), recording.server_frames()):
            assert len(frames[0].payload) < LARGE // 2

    run(main)


@every(TO_THEIR_SERVER)
def test_our_coroutine_client(run: Run, agreement: Agreement) -> None:
    async def main() -> None:
        async with serve_ws(PLAIN, **their_options(agreement)) as server, tap_server(
            server.url
        ) as tap:
            async with connect(
                f"{tap.url}/echo", subprotocols=["interop.v1"], **our_options(agreement)
            ) as connection:
                await connection.send_many(MESSAGES)
                received: List[Message] = []
                async for message in connection:
                    received.append(message)
                    if len(received) == len(MESSAGES):
                        break
                assert received == MESSAGES
                await connection.send([QUOTES[:100], "", QUOTES[100:]])
                assert await connection.recv() == QUOTES
            await eventually(lambda: server.closes == [(1000, "")])
        check_connection(agreement, tap, [*MESSAGES, QUOTES])
        assert len(tap.recording.client_frames()) > len(MESSAGES) + 1

    run(main)


def test_too_large_for_their_server(run: Run) -> None:
    async def main() -> None:
        async with to_their_server(TO_THEIR_SERVER["default"], maxPayload=100_000) as peers:
            await peers.echo(b"\x00" * 100_000)
            peers.transport.send(WSMsgType.BINARY, b"\x00" * 100_001)
            await asyncio.wait_for(peers.transport.wait_disconnected(), 10)
            assert cause_of(peers.transport).kind is WSDisconnectKind.PEER_CLOSE
            assert closing_of(peers.transport).received.code == 1009

    run(main)


@pytest.mark.parametrize(("code", "reason"), [(1000, ""), (1001, "gone"), (4001, "żółw")])
def test_their_server_closes(run: Run, code: int, reason: str) -> None:
    async def main() -> None:
        path = f"/close/{code}/{reason}"
        async with to_their_server(TO_THEIR_SERVER["default"], path) as peers:
            await asyncio.wait_for(peers.transport.wait_disconnected(), 10)
            assert closing_of(peers.transport).received == WSCloseInfo(code, reason)

    run(main)


def test_no_compression_with_their_server(run: Run) -> None:
    """It is offered, and not accepted."""

    async def main() -> None:
        async with serve_ws(PLAIN) as server, tap_server(server.url) as tap, ws_connect(
            f"{tap.url}/echo",
            Collector,
            compression=WSPermessageDeflate(min_size=0, client_compresses=True),
        ) as (transport, client):
            for message in MESSAGES:
                transport.send(opcode_of(message), message)
                assert await client.next() == message
        assert tap.recording.extensions() == ("permessage-deflate; client_max_window_bits", "")
        for frames in (tap.recording.client_frames(), tap.recording.server_frames()):
            check_frames(frames, MESSAGES, window_bits=0, takeover=True)

    run(main)
