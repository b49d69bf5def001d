"""A relay between a client and a server that keeps what each of them sends."""

from __future__ import annotations

import asyncio
import contextlib
from typing import AsyncIterator, List, Tuple

from tests.support.deflate import Peer
from tests.support.frames import CONTINUATION, Frame, parse, size_of

__all__ = ["Recording", "Tap", "inflate_messages", "tap_server"]

DATA_OPCODES = (0, 1, 2)


class Recording:
    """The bytes of one connection, in both directions."""

    def __init__(self) -> None:
        self.from_client = bytearray()
        self.from_server = bytearray()

    def extensions(self) -> Tuple[str, str]:
        """What the client offered and what the server answered; empty if there was nothing."""
        return _extensions(self.from_client), _extensions(self.from_server)

    def client_frames(self) -> List[Frame]:
        """The data frames of the client."""
        return _data_frames(self.from_client)

    def server_frames(self) -> List[Frame]:
        """The data frames of the server."""
        return _data_frames(self.from_server)


class Tap:
    """``url`` leads to the server by way of the relay."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.recordings: List[Recording] = []

    @property
    def recording(self) -> Recording:
        """Of the only connection."""
        (recording,) = self.recordings
        return recording


@contextlib.asynccontextmanager
async def tap_server(url: str) -> AsyncIterator[Tap]:
    """``url`` is ``ws://HOST:PORT``."""
    scheme, _, address = url.partition("://")
    assert scheme == "ws"
    host, _, port = address.rpartition(":")
    tasks: List[asyncio.Task[None]] = []

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.append(task)
        recording = Recording()
        tap.recordings.append(recording)
        far_reader, far_writer = await asyncio.open_connection(host, int(port))
        try:
            await asyncio.gather(
                _copy(reader, far_writer, recording.from_client),
                _copy(far_reader, writer, recording.from_server),
            )
        finally:
            for each in (writer, far_writer):
                each.close()
                with contextlib.suppress(OSError):
                    await each.wait_closed()

    server = await asyncio.start_server(relay, "127.0.0.1", 0)
    tap = Tap(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    try:
        yield tap
    finally:
        server.close()
        await asyncio.wait_for(asyncio.gather(*tasks), 10)
        await server.wait_closed()


async def _copy(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, copy: bytearray
) -> None:
    with contextlib.suppress(OSError):  # a reset ends a direction, too
        while True:
            data = await reader.read(65536)
            if not data:
                break
            copy += data
            writer.write(data)
            await writer.drain()
        writer.write_eof()


def _extensions(stream: bytearray) -> str:
    head = bytes(stream).partition(b"\r\n\r\n")[0]
    values = []
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"sec-websocket-extensions":
            values.append(value.strip().decode())
    return ", ".join(values)


def _data_frames(stream: bytearray) -> List[Frame]:
    data = bytes(stream).partition(b"\r\n\r\n")[2]
    frames = []
    position = 0
    while True:
        # A frame's size is in its header, so that not all that follows is copied for each.
        size = size_of(data[position : position + 14])
        if size is None or position + size > len(data):
            return frames
        frame, _ = parse(data[position : position + size])
        assert frame is not None
        if frame.opcode in DATA_OPCODES:
            frames.append(frame)
        position += size


def inflate_messages(
    frames: List[Frame], *, window_bits: int = 15, takeover: bool = True
) -> List[bytes]:
    """The messages, by plain zlib with this window; fails for what it cannot inflate.

    Without takeover each message is inflated by itself.
    """
    peer = Peer(window_bits=window_bits, alone=not takeover)
    messages: List[bytes] = []
    payload = b""
    is_compressed = False
    for frame in frames:
        if frame.opcode != CONTINUATION:
            payload, is_compressed = b"", frame.rsv == 4
        payload += frame.payload
        if frame.fin:
            messages.append(peer.inflate(payload) if is_compressed else payload)
    return messages
