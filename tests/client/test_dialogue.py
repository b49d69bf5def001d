"""picows_client.dialogue: reads up to an end, however the bytes arrive."""

from __future__ import annotations

import asyncio
import socket
from typing import Any, Callable, List

import pytest

from picows_client.dialogue import Dialogue, SocketDialogue, TransportDialogue

Run = Callable[..., Any]


class ScriptedDialogue(Dialogue):
    """Receives what a test says, piece by piece."""

    def __init__(self, *pieces: bytes) -> None:
        super().__init__()
        self._pieces: List[bytes] = list(pieces)

    async def receive(self) -> None:
        if not self._pieces:
            raise EOFError
        self._received += self._pieces.pop(0)


def pieces_of(data: bytes, size: int) -> List[bytes]:
    return [data[i : i + size] for i in range(0, len(data), size)]


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_reads(run: Run, size: int) -> None:
    async def main() -> None:
        dialogue = ScriptedDialogue(*pieces_of(b"abc;Head: 1\r\n\r\nde", size))
        assert await dialogue.read_until(b";", 100) == b"abc;"
        assert await dialogue.read_until(b"\r\n\r\n", 100) == b"Head: 1\r\n\r\n"
        with pytest.raises(EOFError):
            await dialogue.read_until(b"\r\n\r\n", 100)
        assert dialogue.unread_size == 2

    run(main)


@pytest.mark.parametrize("size", [1, 2, 100])
def test_limit(run: Run, size: int) -> None:
    async def main() -> None:
        data = b"12345\r\n"
        assert await ScriptedDialogue(*pieces_of(data, size)).read_until(b"\r\n", 7) == data
        assert await ScriptedDialogue(*pieces_of(data, size)).read_until(b"\r\n", 6) is None
        with pytest.raises(EOFError):
            await ScriptedDialogue(*pieces_of(data[:-1], size)).read_until(b"\r\n", 7)

    run(main)


def test_socket(run: Run) -> None:
    async def main() -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.setblocking(False)
            dialogue = SocketDialogue(asyncio.get_running_loop(), ours)
            await dialogue.send(b"question")
            assert theirs.recv(100) == b"question"
            theirs.sendall(b"answer")
            assert await dialogue.read_until(b"er", 6) == b"answer"
            theirs.close()
            with pytest.raises(EOFError):
                await dialogue.read_until(b"X", 1)

    run(main)


class FakeTransport(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__()
        self.calls: List[Any] = []

    def write(self, data: Any) -> None:
        self.calls.append(bytes(data))

    def abort(self) -> None:
        self.calls.append("abort")

    def close(self) -> None:
        self.calls.append("close")

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.calls.append(protocol)


def test_transport(run: Run) -> None:
    async def main() -> None:
        dialogue, transport = TransportDialogue(asyncio.get_running_loop()), FakeTransport()
        dialogue.abort()
        with pytest.raises(RuntimeError):
            _ = dialogue.transport
        dialogue.connection_made(transport)
        await dialogue.send(b"question")
        reading = asyncio.ensure_future(dialogue.read_until(b"er", 6))
        for piece in (b"ans", b"", b"werXY"):
            await asyncio.sleep(0)
            dialogue.data_received(piece)
        assert await reading == b"answer"

        other = TransportDialogue(asyncio.get_running_loop())
        dialogue.hand_over(other)
        assert other.transport is transport
        assert await other.read_until(b"Y", 2) == b"XY"
        other.abort()
        assert transport.calls == [b"question", other, "abort"]

    run(main)


def test_transport_that_ends(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        dialogue, transport = TransportDialogue(loop), FakeTransport()
        dialogue.connection_made(transport)
        dialogue.check_open()
        reading = asyncio.ensure_future(dialogue.read_until(b"X", 1))
        await asyncio.sleep(0)
        dialogue.eof_received()
        with pytest.raises(EOFError):
            await reading
        with pytest.raises(ConnectionResetError, match="the peer closed"):
            dialogue.hand_over(TransportDialogue(loop))
        dialogue.connection_lost(ZeroDivisionError())
        with pytest.raises(ZeroDivisionError):
            dialogue.check_open()
        with pytest.raises(ZeroDivisionError):
            await dialogue.read_until(b"X", 1)

    run(main)
