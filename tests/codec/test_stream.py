"""The fast lane, over real sockets; the peer is a socket that the test reads and writes."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
import sys
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Awaitable, Callable, Dict, Iterator, List, Optional, Tuple

import pytest

from picows_codec import (
    ClientHandshake,
    ServerHandshake,
    WSDisconnectKind,
    WSEndpoint,
    WSFrame,
    WSListener,
    WSOptions,
    WSState,
    WSTransport,
)
from tests.support import frames
from tests.support.connection import Log, Recorder, both_roles
from tests.support.frames import BINARY, CLOSE, PING, PONG, TEXT, Frame
from tests.support.leaks import eventually, open_descriptors

stream = pytest.importorskip("picows_codec.stream")
fcntl = pytest.importorskip("fcntl")
termios = pytest.importorskip("termios")

Run = Callable[..., Any]

linux = sys.platform == "linux"
watched_by = pytest.mark.parametrize(
    "polled",
    [
        pytest.param(False, id="loop"),
        pytest.param(
            True, id="poller", marks=pytest.mark.skipif(not linux, reason="epoll is Linux's")
        ),
    ],
)


class Protocol(WSEndpoint, asyncio.BufferedProtocol):
    __slots__ = ()


def socket_pair(tcp: bool) -> Tuple[socket.socket, socket.socket]:
    if not tcp:
        return socket.socketpair()
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(1)
        ours = socket.create_connection(server.getsockname())
        theirs, _ = server.accept()
    return ours, theirs


class Link:
    """An endpoint on one end of a pair of sockets; the test has the other end."""

    def __init__(
        self,
        role: str = "server",
        listener: Any = None,
        *,
        poller: Any = None,
        tcp: bool = False,
        buffer_size: Optional[int] = None,
        **options: Any,
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.role = role
        self.listener = listener if listener is not None else Recorder()
        self.log = Log()
        ours, self.peer = socket_pair(tcp)
        for sock in (ours, self.peer):
            sock.setblocking(False)
            if buffer_size is not None:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer_size)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_size)
        self.socket: Any = ours
        made = self.listener
        options_object = WSOptions(**options)
        handshake: Any
        if role == "client":
            handshake = ClientHandshake("/", "localhost", lambda *_: made, options=options_object)
        else:
            handshake = ServerHandshake(lambda _: made, options=options_object)
        self.endpoint: Any = Protocol(options_object, handshake, self.loop, self.log)
        self.ws: WSTransport = self.endpoint.transport
        self.transport: Any = stream.attach(self.loop, ours, self.endpoint, poller=poller)
        self._received = b""

    async def __aenter__(self) -> Link:
        await self.open()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        if not self.ws.is_disconnected:
            self.ws.disconnect(graceful=False)
            await self.ws.wait_disconnected()
        self.peer.close()

    async def open(self) -> None:
        """Complete the opening handshake."""
        if self.role == "client":
            request = await self.read_head()
            await self.send(frames.upgrade_response(request))
        else:
            await self.send(frames.upgrade_request())
            await self.read_head()
        await eventually(lambda: self.ws.state is not WSState.CONNECTING)

    async def read_head(self) -> bytes:
        while b"\r\n\r\n" not in self._received:
            self._received += await self.read_some()
        head, _, self._received = self._received.partition(b"\r\n\r\n")
        return head + b"\r\n\r\n"

    async def read_some(self, size: int = 1 << 20) -> bytes:
        return await asyncio.wait_for(self.loop.sock_recv(self.peer, size), 10.0)

    async def send(self, data: bytes) -> None:
        await asyncio.wait_for(self.loop.sock_sendall(self.peer, data), 10.0)

    def build(self, opcode: int, payload: bytes = b"", **options: Any) -> bytes:
        options.setdefault("key", frames.KEY if self.role == "server" else None)
        return frames.build(opcode, payload, **options)

    async def send_frame(self, opcode: int, payload: bytes = b"", **options: Any) -> None:
        await self.send(self.build(opcode, payload, **options))

    async def recv(self, count: int, size: int = 1 << 20) -> List[Frame]:
        """The next frames, in reads of at most ``size`` bytes."""
        found: List[Frame] = []
        data = bytearray(self._received)
        while len(found) < count:
            whole = frames.size_of(data)
            if whole is None or len(data) < whole:
                more = await self.read_some(size)
                assert more, "the connection was closed"
                data += more
                continue
            frame, _ = frames.parse(bytes(data[:whole]))
            assert frame is not None
            found.append(Frame(frame.opcode, frame.payload, frame.fin, frame.rsv))
            del data[:whole]
        self._received = bytes(data)
        return found

    async def read_to_end(self) -> bytes:
        """What is left until the connection is closed."""
        data, self._received = self._received, b""
        while True:
            try:
                more = await self.read_some()
            except ConnectionError:
                return data
            if not more:
                return data
            data += more

    async def lost(self) -> None:
        await asyncio.wait_for(self.ws.wait_disconnected(), 10.0)


@contextlib.contextmanager
def poller_for(polled: bool) -> Iterator[Any]:
    if not polled:
        yield None
        return
    poller = stream.Poller(asyncio.get_running_loop())
    try:
        yield poller
        assert len(poller) == 0
    finally:
        poller.close()


def receivable(sock: socket.socket) -> int:
    """How many bytes the kernel has for us (SIOCINQ, FIONREAD)."""
    return int(struct.unpack("i", fcntl.ioctl(sock, termios.FIONREAD, bytes(4)))[0])


def kind_of(link: Link) -> WSDisconnectKind:
    assert link.ws.disconnect_cause is not None
    return link.ws.disconnect_cause.kind


def echo(**options: Any) -> Recorder:
    listener = Recorder()
    listener.act(
        "on_ws_frame",
        lambda transport, frame: frame.opcode == CLOSE or transport.send(frame.opcode, frame),
    )
    return listener


# Frames


@both_roles
@watched_by
@pytest.mark.parametrize("tcp", [True, False])
def test_echo(run: Run, role: str, polled: bool, tcp: bool) -> None:
    async def main() -> None:
        with poller_for(polled) as poller:
            async with Link(role, echo(), poller=poller, tcp=tcp) as link:
                for size in (0, 1, 125, 126, 16384, 16385, 65535, 65536):
                    payload = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
                    await link.send_frame(BINARY, payload)
                    assert await link.recv(1) == [Frame(BINARY, payload)]
                await link.send_frame(PING, b"p")
                assert await link.recv(1) == [Frame(PONG, b"p")]
                assert link.ws.write_queue_size == 0
                assert link.ws.underlying_transport is link.transport

    run(main)


@both_roles
@watched_by
def test_byte_by_byte(run: Run, role: str, polled: bool) -> None:
    async def main() -> None:
        with poller_for(polled) as poller:
            async with Link(role, echo(), poller=poller) as link:
                for byte in link.build(BINARY, b"x" * 200) + link.build(TEXT, b"y"):
                    await link.send(bytes([byte]))
                    await asyncio.sleep(0)
                assert await link.recv(2) == [Frame(BINARY, b"x" * 200), Frame(TEXT, b"y")]

    run(main)


@both_roles
@watched_by
def test_large_frames(run: Run, role: str, polled: bool) -> None:
    """Received into a block of their own, and partly beyond its end into the read buffer."""

    async def main() -> None:
        with poller_for(polled) as poller:
            listener = echo()
            async with Link(role, listener, poller=poller) as link:
                generator = random.Random(5)
                payloads = [
                    generator.getrandbits(8 * size).to_bytes(size, "big")
                    for size in (1_000_000, 5, 3_000_000, 131_072, 1)
                ]
                data = b"".join(link.build(BINARY, payload) for payload in payloads)
                sending = asyncio.ensure_future(link.send(data))
                found = await link.recv(len(payloads))
                await sending
                assert [frame.payload for frame in found] == payloads
                assert [frame[1] for frame in listener.frames] == payloads

    run(main)


@both_roles
@watched_by
def test_large_frame_that_has_arrived_takes_one_turn(run: Run, role: str, polled: bool) -> None:
    """It is larger than the read buffer, and yet takes no more turns than a small one."""

    async def turns_for(link: Link, payload: bytes) -> int:
        data = link.build(BINARY, payload)
        before = len(link.listener.frames)
        link.transport.pause_reading()
        await link.send(data)
        await eventually(lambda: receivable(link.socket) == len(data))
        link.transport.resume_reading()
        turns = 0
        while len(link.listener.frames) == before:
            await asyncio.sleep(0)
            turns += 1
        assert link.listener.frames[-1][1] == payload
        return turns

    async def main() -> None:
        with poller_for(polled) as poller:
            async with Link(role, poller=poller, read_buffer_init_size=512, tcp=True) as link:
                link.peer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
                link.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
                small = await turns_for(link, b"x" * 100)
                assert await turns_for(link, b"x" * 150_000) == small

    run_with_fresh_buffers(run, main)


@both_roles
@watched_by
@pytest.mark.parametrize("kind", ["bytes", "str", "frame", "memoryview", "view of a frame"])
def test_queue_of_what_cannot_change(run: Run, role: str, polled: bool, kind: str) -> None:
    """A server's large payload is not copied into the queue, and stays as it is when it is."""
    listener = Recorder()
    kept: List[WSFrame] = []
    listener.act("on_ws_frame", lambda transport, frame: kept.append(frame))

    async def main() -> None:
        with poller_for(polled) as poller:
            async with Link(role, listener, poller=poller, buffer_size=4096) as link:
                payload = b"y" * 300_000
                await link.send_frame(BINARY, payload)
                await eventually(lambda: kept)
                frame = kept.pop()
                message: Any = {
                    "bytes": b"z" * 300_000,
                    "str": "\u00fc" * 150_000,
                    "frame": frame,
                    "memoryview": memoryview(b"m" * 300_000),
                    "view of a frame": memoryview(frame),
                }[kind]
                wanted = message.encode() if kind == "str" else bytes(message)
                holder: Any = message
                if kind in ("frame", "view of a frame"):
                    holder = frame.get_payload_as_bytes()
                elif kind == "memoryview":
                    holder = message.obj
                before = sys.getrefcount(holder)
                for _ in range(3):
                    link.ws.send(TEXT if kind == "str" else BINARY, message)
                assert link.transport.get_write_buffer_size() > 600_000
                assert sys.getrefcount(holder) == before + (3 if role == "server" else 0)
                found = await link.recv(3)
                assert [one.payload for one in found] == [wanted] * 3
                assert sys.getrefcount(holder) == before

    run(main)


@watched_by
def test_queue_of_what_may_change(run: Run, polled: bool) -> None:
    async def main() -> None:
        with poller_for(polled) as poller:
            async with Link("server", poller=poller, buffer_size=4096) as link:
                buffer = bytearray(b"a" * 100_000)
                large = bytes(1_000_000)
                before = sys.getrefcount(large)
                link.ws.send(BINARY, buffer)
                link.ws.send(BINARY, memoryview(buffer))
                link.ws.send(BINARY, memoryview(large)[:50_000])
                assert sys.getrefcount(large) == before  # a part does not keep all of it alive
                buffer[:] = b"b" * 100_000
                found = await link.recv(3)
                assert [one.payload for one in found] == [b"a" * 100_000] * 2 + [bytes(50_000)]

    run(main)


@both_roles
@watched_by
@pytest.mark.parametrize("reads", [7, 1000, 100_000])
def test_partial_writes(run: Run, role: str, polled: bool, reads: int) -> None:
    """Every path of a write, with a kernel that takes a little at a time: nothing out of order."""

    async def main() -> None:
        with poller_for(polled) as poller:
            async with Link(role, poller=poller, buffer_size=1, tcp=False) as link:
                generator = random.Random(reads)
                total = 20_000 if reads == 7 else 500_000
                expected: List[bytes] = []
                while sum(map(len, expected)) < total:
                    size = generator.choice([0, 1, 100, 1000, 16384, 16385, 40_000])
                    payload = bytes([len(expected) % 256]) * size
                    expected.append(payload)
                    way = generator.randrange(3)
                    if way == 0:
                        link.ws.send(BINARY, payload)
                    elif way == 1:
                        buffer = bytearray(14) + payload
                        link.ws.send_reuse_external_bytearray(BINARY, buffer, 14)
                        buffer[:] = b"\xff" * len(buffer)
                    else:
                        with link.ws.cork():
                            link.ws.send(PING, b"corked")
                            link.ws.send(BINARY, payload)
                    if generator.random() < 0.2:
                        await asyncio.sleep(0)
                found = []
                while len(found) < len(expected):
                    (frame,) = await link.recv(1, reads)
                    if frame.opcode == BINARY:
                        found.append(frame.payload)
                assert found == expected
                assert link.transport.get_write_buffer_size() == 0

    run(main)


@both_roles
@watched_by
def test_echo_both_ways_at_once(run: Run, role: str, polled: bool) -> None:
    async def main() -> None:
        with poller_for(polled) as poller:
            async with Link(role, echo(), poller=poller, buffer_size=4096) as link:
                payloads = [bytes([i]) * (1000 * i) for i in range(60)]
                data = b"".join(link.build(BINARY, payload) for payload in payloads)
                sending = asyncio.ensure_future(link.send(data))
                found = await link.recv(len(payloads))
                await sending
                assert [frame.payload for frame in found] == payloads

    run(main)


@both_roles
def test_reused_buffer_on_the_wire(run: Run, role: str) -> None:
    async def main() -> None:
        async with Link(role) as link:
            for size in (0, 1, 125, 126, 65535, 65536):
                buffer = bytearray(b"\xee" * 30 + b"x" * size)
                link.ws.send_reuse_external_bytearray(BINARY, buffer, 30)
                assert await link.recv(1) == [Frame(BINARY, b"x" * size)]
                # Only the room that was promised is used.
                assert buffer[:16] == b"\xee" * 16
                assert len(buffer) == 30 + size
            with pytest.raises(IndexError):
                link.ws.send_reuse_external_bytearray(BINARY, bytearray(20), 13)

    run(main)


@both_roles
@watched_by
def test_replies_to_one_read_leave_together(run: Run, role: str, polled: bool) -> None:
    async def main() -> None:
        with poller_for(polled) as poller:
            async with Link(role, echo(), poller=poller) as link:
                await link.send(link.build(TEXT, b"x") * 50)
                data = await link.read_some()
                assert len(frames.parse_all(data)[0]) == 50

    run(main)


# Kept payloads


@both_roles
@pytest.mark.parametrize("as_view", [True, False])
def test_kept_frames(run: Run, role: str, as_view: bool) -> None:
    async def main() -> None:
        kept: List[Any] = []
        listener = Recorder().act(
            "on_ws_frame",
            lambda _, frame: kept.append(memoryview(frame) if as_view else frame),
        )
        async with Link(role, listener) as link:
            payloads = [bytes([65 + i]) * size for i, size in enumerate((10, 300_000, 5, 600_000))]
            for _ in range(3):
                await link.send(b"".join(link.build(BINARY, payload) for payload in payloads))
            await eventually(lambda: len(kept) == 12)
        assert [bytes(each) for each in kept] == payloads * 3

    run(main)


# The write queue


@both_roles
@watched_by
def test_sending_into_a_broken_connection_comes_to_an_end(
    run: Run, role: str, polled: bool
) -> None:
    """In one callback, before anybody could tell that the connection has broken."""

    async def main() -> None:
        with poller_for(polled) as poller:
            async with Link(role, poller=poller, tcp=True) as link:
                reset(link.peer)
                while not link.listener.count("paused"):
                    link.ws.send(BINARY, bytes(1000))
                await link.lost()
                assert link.ws.disconnect_cause is not None
                assert link.ws.disconnect_cause.kind is WSDisconnectKind.CONNECTION_LOST
                assert link.ws.disconnect_cause.unsent_bytes > 65536

    run(main)


@both_roles
@watched_by
def test_watermarks(run: Run, role: str, polled: bool) -> None:
    async def main() -> None:
        with poller_for(polled) as poller:
            async with Link(
                role,
                poller=poller,
                buffer_size=4096,
                write_high_watermark=50_000,
                write_low_watermark=10_000,
                coalesce_writes=False,
            ) as link:
                assert link.transport.get_write_buffer_limits() == (10_000, 50_000)
                while link.listener.count("paused") == 0:
                    assert link.transport.get_write_buffer_size() <= 50_000
                    link.ws.send(BINARY, b"x" * 1000)
                assert 50_000 < link.ws.write_queue_size < 52_000
                assert link.ws.write_queue_size == link.transport.get_write_buffer_size()
                link.ws.send(BINARY, b"x" * 1000)
                assert link.listener.count("paused") == 1
                while link.listener.count("resumed") == 0:
                    assert link.transport.get_write_buffer_size() > 0
                    await link.read_some(1000)
                    await asyncio.sleep(0)
                assert link.transport.get_write_buffer_size() <= 10_000
                assert link.listener.events == [("connected",), ("paused",), ("resumed",)]

    run(main)


def test_set_write_buffer_limits(run: Run) -> None:
    async def main() -> None:
        async with Link() as link:
            transport = link.transport
            for arguments, limits in [
                ({}, (16384, 65536)),
                ({"high": 1000}, (250, 1000)),
                ({"low": 1000}, (1000, 4000)),
                ({"high": 0}, (0, 0)),
                ({"high": 5, "low": 5}, (5, 5)),
            ]:
                transport.set_write_buffer_limits(**arguments)
                assert transport.get_write_buffer_limits() == limits
            for wrong in ({"high": 1, "low": 2}, {"high": -1}, {"low": -1}):
                with pytest.raises(ValueError, match="at least"):
                    transport.set_write_buffer_limits(**wrong)

    run(main)


@both_roles
@watched_by
def test_slow_consumer(run: Run, role: str, polled: bool) -> None:
    async def main() -> None:
        with poller_for(polled) as poller:
            async with Link(
                role,
                poller=poller,
                buffer_size=4096,
                write_high_watermark=1000,
                max_write_queue_size=100_000,
            ) as link:
                while link.ws.state is WSState.OPEN:
                    link.ws.send(BINARY, b"x" * 10_000)
                await link.lost()
                assert kind_of(link) is WSDisconnectKind.SLOW_CONSUMER
                assert link.ws.disconnect_cause is not None
                assert 80_000 < link.ws.disconnect_cause.unsent_bytes < 110_000
                assert link.listener.count("disconnected") == 1

    run(main)


# Ends


@both_roles
@watched_by
def test_closing_handshake(run: Run, role: str, polled: bool) -> None:
    async def main() -> None:
        with poller_for(polled) as poller:
            async with Link(role, poller=poller) as link:
                await link.send_frame(CLOSE, frames.close_payload(1001))
                assert await link.recv(1) == [Frame(CLOSE, frames.close_payload(1001))]
                if role == "client":
                    link.peer.shutdown(socket.SHUT_WR)
                assert await link.read_to_end() == b""
                await link.lost()
                assert kind_of(link) is WSDisconnectKind.PEER_CLOSE
                assert link.socket.fileno() == -1
                assert link.listener.count("disconnected") == 1

    run(main)


@both_roles
@watched_by
def test_close_with_a_queue(run: Run, role: str, polled: bool) -> None:
    async def main() -> None:
        with poller_for(polled) as poller:
            async with Link(role, poller=poller, buffer_size=4096) as link:
                for i in range(20):
                    link.ws.send(BINARY, bytes([i]) * 10_000)
                link.transport.close()
                link.transport.close()
                assert link.transport.is_closing()
                assert not link.transport.is_reading()
                found, rest = frames.parse_all(await link.read_to_end())
                assert [frame.payload for frame in found] == [
                    bytes([i]) * 10_000 for i in range(20)
                ]
                assert rest == b""
                await link.lost()
                assert link.ws.disconnect_cause is not None
                assert link.ws.disconnect_cause.unsent_bytes == 0

    run(main)


@both_roles
@watched_by
def test_disconnect_with_a_queue(run: Run, role: str, polled: bool) -> None:
    async def main() -> None:
        with poller_for(polled) as poller:
            async with Link(role, poller=poller, buffer_size=4096) as link:
                for i in range(20):
                    link.ws.send(BINARY, bytes([i]) * 10_000)
                link.ws.disconnect()
                assert [frame.opcode for frame in await link.recv(21)] == [BINARY] * 20 + [CLOSE]
                await link.send_frame(CLOSE, frames.close_payload(1000))
                if role == "client":
                    link.peer.close()
                await link.lost()
                assert kind_of(link) is WSDisconnectKind.LOCAL_CLOSE

    run(main)


@both_roles
@watched_by
def test_peer_that_never_reads_cannot_pin_the_connection(run: Run, role: str, polled: bool) -> None:
    async def main() -> None:
        with poller_for(polled) as poller:
            async with Link(role, poller=poller, buffer_size=4096, close_timeout=0.05) as link:
                link.ws.send(BINARY, b"x" * 1_000_000)
                link.ws.disconnect()
                await link.lost()
                assert kind_of(link) is WSDisconnectKind.CLOSE_TIMEOUT
                assert link.ws.disconnect_cause is not None
                assert link.ws.disconnect_cause.unsent_bytes > 900_000

    run(main)


@both_roles
@watched_by
@pytest.mark.parametrize("queued", [True, False])
def test_abort(run: Run, role: str, polled: bool, queued: bool) -> None:
    async def main() -> None:
        with poller_for(polled) as poller:
            async with Link(role, poller=poller, buffer_size=4096) as link:
                if queued:
                    link.ws.send(BINARY, b"x" * 1_000_000)
                size = link.transport.get_write_buffer_size()
                assert (size > 0) == queued
                link.ws.disconnect(graceful=False)
                link.transport.abort()
                # Never from inside a method.
                assert link.listener.count("disconnected") == 0
                await link.lost()
                assert link.listener.count("disconnected") == 1
                assert link.ws.disconnect_cause is not None
                assert link.ws.disconnect_cause.kind is WSDisconnectKind.LOCAL_ABORT
                assert link.ws.disconnect_cause.unsent_bytes == size
                assert link.socket.fileno() == -1
                assert link.transport.get_protocol() is None

    run(main)


@both_roles
@watched_by
def test_half_close_of_the_peer(run: Run, role: str, polled: bool) -> None:
    async def main() -> None:
        with poller_for(polled) as poller:
            async with Link(role, poller=poller, buffer_size=4096) as link:
                link.ws.send(BINARY, b"x" * 100_000)
                await link.send_frame(TEXT, b"last words")
                link.peer.shutdown(socket.SHUT_WR)
                # What was queued still arrives.
                assert await link.recv(1) == [Frame(BINARY, b"x" * 100_000)]
                assert await link.read_to_end() == b""
                await link.lost()
                assert link.listener.frames == [(TEXT, b"last words", True)]
                assert kind_of(link) is WSDisconnectKind.CONNECTION_LOST

    run(main)


@both_roles
@watched_by
def test_peer_that_goes_away(run: Run, role: str, polled: bool) -> None:
    async def main() -> None:
        with poller_for(polled) as poller:
            async with Link(role, poller=poller, tcp=True) as link:
                link.peer.close()
                await link.lost()
                assert kind_of(link) is WSDisconnectKind.CONNECTION_LOST
                assert link.listener.events == [("connected",), ("disconnected",)]

    run(main)


def reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


@both_roles
@watched_by
@pytest.mark.parametrize("queued", [0, 10_000_000])
def test_reset(run: Run, role: str, polled: bool, queued: int) -> None:
    async def main() -> None:
        with poller_for(polled) as poller:
            async with Link(role, poller=poller, tcp=True) as link:
                if queued:
                    link.ws.send(BINARY, b"x" * queued)
                reset(link.peer)
                await link.lost()
                cause = link.ws.disconnect_cause
                assert cause is not None
                assert cause.kind is WSDisconnectKind.CONNECTION_LOST
                assert isinstance(cause.exception, ConnectionError)
                assert (cause.unsent_bytes > 0) == (queued > 0)
                assert link.listener.count("disconnected") == 1

    run(main)


@both_roles
def test_writes_on_a_broken_connection(run: Run, role: str) -> None:
    """They do not raise; the connection ends, and what was not sent is counted."""

    async def main() -> None:
        async with Link(role, tcp=True) as link:
            reset(link.peer)
            sent = 0
            while not link.transport.is_closing():
                link.ws.send(BINARY, b"x" * 10_000)
                sent += 1
            link.ws.send(BINARY, b"x" * 50_000)
            link.ws.send_reuse_external_bytearray(BINARY, bytearray(1014), 14)
            assert link.ws.write_queue_size >= 61_000
            assert link.listener.count("disconnected") == 0
            await link.lost()
            cause = link.ws.disconnect_cause
            assert cause is not None
            assert isinstance(cause.exception, OSError)
            assert cause.unsent_bytes >= 61_000
            assert link.listener.count("disconnected") == 1

    run(main)


@both_roles
@watched_by
def test_violation(run: Run, role: str, polled: bool) -> None:
    """The CLOSE frame is not lost to a reset although the peer goes on sending."""

    async def main() -> None:
        with poller_for(polled) as poller:
            async with Link(role, poller=poller, tcp=True) as link:
                await link.send(link.build(TEXT, b"first") + link.build(3) + b"\xff" * 100_000)
                await link.send(b"\xff" * 100_000)
                await asyncio.sleep(0.05)
                await link.send(b"\xff" * 100_000)
                (close,) = await link.recv(1)
                assert close.payload[:2] == frames.close_payload(1002)
                assert await link.read_some() == b""
                assert not link.ws.is_disconnected
                link.peer.close()
                await link.lost()
                assert kind_of(link) is WSDisconnectKind.PROTOCOL_ERROR
                assert link.listener.frames == [(TEXT, b"first", True)]

    run(main)


@both_roles
def test_violation_of_a_peer_that_stays(run: Run, role: str) -> None:
    async def main() -> None:
        async with Link(role, tcp=True, close_timeout=0.05) as link:
            await link.send(link.build(3))
            await link.lost()
            assert kind_of(link) is WSDisconnectKind.PROTOCOL_ERROR

    run(main)


@both_roles
@watched_by
def test_write_eof_waits_for_the_queue(run: Run, role: str, polled: bool) -> None:
    async def main() -> None:
        with poller_for(polled) as poller:
            async with Link(role, poller=poller, buffer_size=4096) as link:
                link.ws.send(BINARY, b"x" * 100_000)
                link.transport.write_eof()
                link.transport.write_eof()
                with pytest.raises(RuntimeError, match="write_eof"):
                    link.transport.write(b"x")
                assert len(await link.recv(1)) == 1
                assert await link.read_some() == b""
                # The other direction is still open.
                await link.send_frame(TEXT, b"still heard")
                await eventually(lambda: link.listener.frames)

    run(main)


@both_roles
@watched_by
@pytest.mark.parametrize("graceful", [True, False])
def test_disconnect_inside_a_callback(run: Run, role: str, polled: bool, graceful: bool) -> None:
    async def main() -> None:
        with poller_for(polled) as poller:
            listener = Recorder()
            listener.act("on_ws_frame", lambda transport, _: transport.disconnect(graceful))
            async with Link(role, listener, poller=poller) as link:
                await link.send(link.build(TEXT, b"1") + link.build(TEXT, b"2"))
                if graceful:
                    assert [frame.opcode for frame in await link.recv(1)] == [CLOSE]
                    await link.send_frame(CLOSE)
                    link.peer.close()
                await link.lost()
                assert listener.events == [("connected",), (TEXT, b"1", True), ("disconnected",)]

    run(main)


# Opening


@watched_by
def test_frames_behind_the_request(run: Run, polled: bool) -> None:
    async def main() -> None:
        with poller_for(polled) as poller:
            link = Link("server", echo(), poller=poller)
            await link.send(frames.upgrade_request() + link.build(TEXT, b"early"))
            await link.read_head()
            assert await link.recv(1) == [Frame(TEXT, b"early")]
            link.ws.disconnect(graceful=False)
            await link.lost()
            link.peer.close()

    run(main)


@watched_by
def test_refused_request(run: Run, polled: bool) -> None:
    async def main() -> None:
        with poller_for(polled) as poller:
            link = Link("server", poller=poller, tcp=True)
            await link.send(b"nonsense\r\n\r\n" + b"x" * 10_000)
            assert (await link.read_to_end()).startswith(b"HTTP/1.1 400 ")
            link.peer.close()
            await link.lost()
            assert kind_of(link) is WSDisconnectKind.HANDSHAKE_FAILURE
            assert link.listener.events == []

    run(main)


def test_handshake_timeout(run: Run) -> None:
    async def main() -> None:
        link = Link("server", websocket_handshake_timeout=0.05)
        await link.send(b"GET / HTTP/1.1\r\n")
        assert (await link.read_to_end()).startswith(b"HTTP/1.1 408 ")
        link.peer.close()
        await link.lost()

    run(main)


# Reading


@both_roles
@watched_by
def test_pause_reading(run: Run, role: str, polled: bool) -> None:
    async def main() -> None:
        with poller_for(polled) as poller:
            async with Link(role, poller=poller) as link:
                assert link.transport.is_reading()
                link.transport.pause_reading()
                link.transport.pause_reading()
                assert not link.transport.is_reading()
                await link.send_frame(TEXT, b"x")
                await asyncio.sleep(0.02)
                assert link.listener.frames == []
                # Writing goes on.
                link.ws.send(TEXT, b"y")
                assert await link.recv(1) == [Frame(TEXT, b"y")]
                link.transport.resume_reading()
                link.transport.resume_reading()
                await eventually(lambda: link.listener.frames)
                assert link.transport.is_reading()

    run(main)


@both_roles
@watched_by
def test_pause_reading_inside_a_callback(run: Run, role: str, polled: bool) -> None:
    async def main() -> None:
        with poller_for(polled) as poller:
            listener = Recorder().act(
                "on_ws_frame", lambda transport, _: transport.underlying_transport.pause_reading()
            )
            async with Link(role, listener, poller=poller) as link:
                await link.send(link.build(TEXT, b"1") + link.build(TEXT, b"2"))
                await eventually(lambda: listener.frames)
                await link.send_frame(TEXT, b"3")
                await asyncio.sleep(0.02)
                # What had been received is delivered.
                assert [frame[1] for frame in listener.frames] == [b"1", b"2"]
                link.transport.resume_reading()
                await eventually(lambda: len(listener.frames) == 3)

    run(main)


@both_roles
@watched_by
def test_resume_reading_after_the_end(run: Run, role: str, polled: bool) -> None:
    async def main() -> None:
        with poller_for(polled) as poller:
            async with Link(role, poller=poller) as link:
                link.transport.pause_reading()
                link.ws.disconnect(graceful=False)
                link.transport.resume_reading()
                await link.lost()
                link.transport.resume_reading()
                link.transport.pause_reading()
                link.transport.abort()
                link.transport.close()
                assert link.transport.is_closing()

    run(main)


@both_roles
@watched_by
def test_busy_poll(run: Run, role: str, polled: bool) -> None:
    async def main() -> None:
        turns = 0

        async def other_task() -> None:
            nonlocal turns
            while True:
                await asyncio.sleep(0)
                turns += 1

        task = asyncio.ensure_future(other_task())
        with poller_for(polled) as poller:
            async with Link(role, echo(), poller=poller, busy_poll=True) as link:
                await exchange(link)
                assert turns > 50
                # With company.
                async with Link(role, echo(), poller=poller, busy_poll=True) as other:
                    await exchange(other)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        # It polls no longer than the connection lives.
        await asyncio.sleep(0.01)

    async def exchange(link: Link) -> None:
        for i in range(50):
            await link.send_frame(BINARY, b"%d" % i)
            assert await link.recv(1) == [Frame(BINARY, b"%d" % i)]
        # Timers fire, too.
        await asyncio.sleep(0.01)
        link.transport.pause_reading()
        await link.send_frame(BINARY, b"unheard")
        await asyncio.sleep(0.01)
        assert len(link.listener.frames) == 50
        link.transport.resume_reading()
        await link.recv(1)

    run(main)


# Many connections


def run_with_fresh_buffers(run: Run, main: Callable[[], Any]) -> None:
    """In a thread of its own: a thread's read buffer is as large as the largest that it needed."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(run, main).result()


@pytest.mark.skipif(not linux, reason="epoll is Linux's")
@both_roles
def test_poller_with_many_connections(run: Run, role: str) -> None:
    async def main() -> None:
        poller = stream.Poller(asyncio.get_running_loop())
        links = [Link(role, echo(), poller=poller) for _ in range(200)]
        await asyncio.gather(*(link.open() for link in links))
        assert len(poller) == 200
        for turn in range(3):
            for i, link in enumerate(links):
                link.peer.send(link.build(BINARY, b"%d %d" % (turn, i)))
            for i, link in enumerate(links):
                assert await link.recv(1) == [Frame(BINARY, b"%d %d" % (turn, i))]
        for link in links[::2]:
            link.ws.disconnect(graceful=False)
        await asyncio.gather(*(link.lost() for link in links[::2]))
        assert len(poller) == 100
        for link in links[1::2]:
            await link.send_frame(TEXT, b"still here")
            assert await link.recv(1) == [Frame(TEXT, b"still here")]
        for link in links[1::2]:
            link.peer.close()
        await asyncio.gather(*(link.lost() for link in links))
        assert len(poller) == 0
        for link in links:
            link.peer.close()
        poller.close()
        poller.close()

    run(main)


@both_roles
@watched_by
def test_busy_connections_do_not_starve_others(run: Run, role: str, polled: bool) -> None:
    """One read a turn, however many small frames there are: others are served in between."""
    flood = 400

    async def main() -> None:
        with poller_for(polled) as poller, contextlib.ExitStack() as stack:
            options: Dict[str, Any] = {"poller": poller, "read_buffer_init_size": 512}
            busy = [Link(role, **options) for _ in range(3)]
            quiet = [Link(role, echo(), **options) for _ in range(2)]
            for link in busy + quiet:
                stack.callback(link.peer.close)
                await link.open()
            for link in busy:
                link.peer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
                assert link.peer.send(link.build(BINARY, b"x" * 100) * flood) > 90 * flood
            for link in quiet:
                link.peer.send(link.build(TEXT, b"me too"))
            turns = 0
            while not all(link.listener.frames for link in quiet):
                await asyncio.sleep(0)
                turns += 1
                # 512 bytes are five frames and a bit.
                assert all(len(link.listener.frames) <= 6 * (turns + 1) for link in busy)
            assert turns < 10
            assert all(len(link.listener.frames) < flood // 2 for link in busy)
            for link in quiet:
                assert await link.recv(1) == [Frame(TEXT, b"me too")]
            await eventually(lambda: all(len(link.listener.frames) == flood for link in busy))
            for link in busy + quiet:
                link.ws.disconnect(graceful=False)
                await link.lost()

    run_with_fresh_buffers(run, main)


@pytest.mark.skipif(not linux, reason="epoll is Linux's")
def test_more_ready_connections_than_a_batch(run: Run) -> None:
    """Those that a turn has no room for come next, though the first ones are ready again."""

    async def main() -> None:
        with poller_for(True) as poller, contextlib.ExitStack() as stack:
            links = [Link("server", poller=poller, read_buffer_init_size=256) for _ in range(300)]
            for link in links:
                stack.callback(link.peer.close)
            await asyncio.gather(*(link.open() for link in links))
            for link in links:
                link.peer.send(link.build(BINARY, b"x" * 100) * 100)
            turns = 0
            while not all(link.listener.frames for link in links):
                await asyncio.sleep(0)
                turns += 1
            assert turns < 10
            assert max(len(link.listener.frames) for link in links) < 50
            await eventually(lambda: all(len(link.listener.frames) == 100 for link in links))
            for link in links:
                link.ws.disconnect(graceful=False)
            await asyncio.gather(*(link.lost() for link in links))

    run_with_fresh_buffers(run, main)


@pytest.mark.skipif(not linux, reason="epoll is Linux's")
@both_roles
def test_a_callback_that_ends_the_others_of_its_batch(run: Run, role: str) -> None:
    async def main() -> None:
        def end_all(transport: WSTransport, frame: WSFrame) -> None:
            for link in links:
                link.ws.disconnect(graceful=False)

        with poller_for(True) as poller:
            links: List[Link] = []
            for _ in range(20):
                listener = Recorder().act("on_ws_frame", end_all)
                links.append(Link(role, listener, poller=poller))
                await links[-1].open()
            for link in links:
                link.peer.send(link.build(TEXT, b"x"))
            await asyncio.gather(*(link.lost() for link in links))
            assert sum(len(link.listener.frames) for link in links) == 1
            assert all(link.listener.count("disconnected") == 1 for link in links)
            for link in links:
                link.peer.close()

    run(main)


@watched_by
@pytest.mark.parametrize("error", [LookupError, asyncio.CancelledError])
def test_exceptions_of_one_listener_leave_the_others_alone(
    run: Run, polled: bool, error: Any
) -> None:
    async def main() -> None:
        def handler(transport: WSTransport, frame: WSFrame) -> None:
            raise error

        reports: List[Dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, report: reports.append(report))
        with poller_for(polled) as poller:
            bad = Link("server", Recorder().act("on_ws_frame", handler), poller=poller)
            good = Link("server", echo(), poller=poller)
            await asyncio.gather(bad.open(), good.open())
            for i in range(3):
                with contextlib.suppress(OSError):
                    bad.peer.send(bad.build(TEXT, b"x"))
                good.peer.send(good.build(TEXT, b"%d" % i))
                assert await good.recv(1) == [Frame(TEXT, b"%d" % i)]
            bad.peer.close()
            await bad.lost()
            assert kind_of(bad) is WSDisconnectKind.LISTENER_EXCEPTION
            assert bad.listener.count("disconnected") == 1
            good.ws.disconnect(graceful=False)
            await good.lost()
            good.peer.close()
        # An Exception was logged by the endpoint; anything else is for the loop to tell.
        assert len(reports) == (0 if error is LookupError else 1)

    run(main)


class Watched:
    """One end of a pair of sockets as somebody else's transport has it; ``calls`` counts."""

    def __init__(self, poller: Any) -> None:
        self.poller = poller
        self.ours, self.peer = socket.socketpair()
        self.ours.setblocking(False)
        self.fd = self.ours.fileno()
        self.received = b""
        self.writable = 0

    def read(self) -> None:
        self.received += self.ours.recv(1000)

    def write(self) -> None:
        self.writable += 1
        self.poller.remove_writer(self.fd)

    def close(self) -> None:
        self.poller.remove_reader(self.fd)
        self.poller.remove_writer(self.fd)
        self.ours.close()
        self.peer.close()


@pytest.mark.skipif(not linux, reason="epoll is Linux's")
def test_poller_for_other_transports(run: Run) -> None:
    """Its methods do what a loop's do, beside connections of its own."""

    async def main() -> None:
        with poller_for(True) as poller:
            first, second = Watched(poller), Watched(poller)
            async with Link("server", echo(), poller=poller) as link:
                assert poller.remove_reader(first.fd) is False
                assert poller.remove_writer(first.fd) is False
                assert len(poller) == 1
                for each in (first, second):
                    poller.add_reader(each.fd, each.read)
                    each.peer.send(b"a")
                await link.send_frame(TEXT, b"x")
                assert await link.recv(1) == [Frame(TEXT, b"x")]
                await eventually(lambda: (first.received, second.received) == (b"a", b"a"))
                poller.add_writer(first.fd, first.write)
                await eventually(lambda: first.writable == 1)
                first.peer.send(b"b")
                await eventually(lambda: first.received == b"ab")
                assert poller.remove_reader(first.fd) is True
                first.peer.send(b"c")
                second.peer.send(b"c")
                await eventually(lambda: second.received == b"ac")
                assert first.received == b"ab"
                assert len(poller) == 2
                with pytest.raises(TypeError):
                    poller.add_reader(link.socket.fileno(), first.read)
            first.close()
            assert len(poller) == 1
            second.peer.send(b"alone")
            await eventually(lambda: second.received == b"acalone")
            second.close()
            for wrong in (-1, 10**6):
                with pytest.raises(OSError, match="cannot watch"):
                    poller.add_reader(wrong, first.read)

    run(main)


@pytest.mark.skipif(not linux, reason="epoll is Linux's")
def test_callbacks_of_a_poller_that_raise(run: Run) -> None:
    """They are reported, and the others are called all the same."""
    reported: List[Dict[str, Any]] = []

    def fail() -> None:
        broken.read()
        raise ValueError("on purpose")

    async def main() -> None:
        nonlocal broken
        asyncio.get_running_loop().set_exception_handler(
            lambda _, context: reported.append(context)
        )
        with poller_for(True) as poller:
            broken, whole = Watched(poller), Watched(poller)
            poller.add_reader(broken.fd, fail)
            poller.add_reader(whole.fd, whole.read)
            for _ in range(2):
                broken.peer.send(b"x")
                whole.peer.send(b"x")
            await eventually(lambda: whole.received == b"xx" and broken.received == b"xx")
            broken.close()
            whole.close()

    broken: Any = None
    run(main)
    assert {str(context["exception"]) for context in reported} == {"on purpose"}
    assert "fail" in reported[0]["message"]


@pytest.mark.skipif(not linux, reason="epoll is Linux's")
def test_callback_of_a_poller_that_ends_another(run: Run) -> None:
    async def main() -> None:
        with poller_for(True) as poller:
            pair = [Watched(poller), Watched(poller)]

            def end_both() -> None:
                calls.append(1)
                for each in pair:
                    each.close()

            for each in pair:
                poller.add_reader(each.fd, end_both)
            for each in pair:
                each.peer.send(b"x")
            await eventually(lambda: calls)
            await asyncio.sleep(0.02)
            assert calls == [1]

    calls: List[int] = []
    run(main)


@pytest.mark.skipif(not linux, reason="epoll is Linux's")
def test_closed_poller(run: Run) -> None:
    async def main() -> None:
        poller = stream.Poller(asyncio.get_running_loop())
        link = Link("server", echo(), poller=poller)
        await link.open()
        poller.close()
        assert len(poller) == 0
        await link.send_frame(TEXT, b"nobody listens")
        await asyncio.sleep(0.02)
        assert link.listener.frames == []
        link.ws.disconnect(graceful=False)
        await link.lost()
        link.peer.close()
        poller.add_reader(0, print)
        assert poller.remove_reader(0) is False
        assert len(poller) == 0

    run(main)


@pytest.mark.skipif(not linux, reason="epoll is Linux's")
def test_poller_that_was_not_made(run: Run) -> None:
    async def main() -> None:
        before = open_descriptors()
        for arguments in ((), (None,), (object(),), (asyncio.get_running_loop(), 1)):
            with pytest.raises((TypeError, AttributeError)):
                stream.Poller(*arguments)
        stream.Poller.__new__(stream.Poller)
        assert open_descriptors() == before

    run(main)


# How a transport is made


def test_blocking_socket(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        options = WSOptions()
        endpoint = Protocol(options, ServerHandshake(lambda _: None, options=options), loop, Log())
        ours, theirs = socket.socketpair()
        with ours, theirs:
            with pytest.raises(ValueError, match="non-blocking"):
                stream.attach(loop, ours, endpoint)
            ours.settimeout(1.0)
            with pytest.raises(ValueError, match="non-blocking"):
                stream.attach(loop, ours, endpoint)
            for wrong in (None, "endpoint", object()):
                with pytest.raises(TypeError):
                    stream.attach(loop, ours, wrong)
            with pytest.raises(TypeError):
                stream.attach(loop, ours, endpoint, poller=object())
            assert ours.fileno() >= 0

    run(main)


def test_loop_without_readers(run: Run) -> None:
    class Readerless:
        """A loop that has everything but add_reader."""

        def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
            self._loop = loop

        def __getattr__(self, name: str) -> Any:
            return getattr(self._loop, name)

        def add_reader(self, *_: Any) -> None:
            raise NotImplementedError

        remove_reader = add_reader

    async def main() -> None:
        loop: Any = Readerless(asyncio.get_running_loop())
        options = WSOptions()
        endpoint = Protocol(options, ServerHandshake(lambda _: None, options=options), loop, Log())
        opened = endpoint.opened
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        with pytest.raises(NotImplementedError):
            stream.attach(loop, ours, endpoint)
        await asyncio.sleep(0.01)
        assert ours.fileno() == -1
        assert opened.done()
        assert opened.exception() is not None
        theirs.close()

    run(main)


def test_endpoint_that_fails_at_once(run: Run) -> None:
    class Failing(Protocol):
        __slots__ = ()

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            raise LookupError("as asked for")

    async def main() -> None:
        loop = asyncio.get_running_loop()
        options = WSOptions()
        endpoint = Failing(options, ServerHandshake(lambda _: None, options=options), loop, Log())
        opened = endpoint.opened
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        with pytest.raises(LookupError):
            stream.attach(loop, ours, endpoint)
        await asyncio.sleep(0.01)
        assert ours.fileno() == -1
        assert opened.exception() is not None
        theirs.close()

    run(main)


def test_closed_while_it_opens(run: Run) -> None:
    """A client whose server has gone before the request was written."""

    async def main() -> None:
        link = Link("client", tcp=True)
        reset(link.peer)
        await link.lost()
        assert kind_of(link) is WSDisconnectKind.HANDSHAKE_FAILURE

    run(main)


# The rest of asyncio's interface


def test_interface(run: Run) -> None:
    async def main() -> None:
        async with Link(tcp=True) as link:
            transport = link.transport
            assert transport.get_protocol() is link.endpoint
            assert transport.can_write_eof()
            assert not transport.is_closing()
            view = transport.get_extra_info("socket")
            assert view.fileno() == link.socket.fileno()
            assert view.getsockname() == link.socket.getsockname()
            assert view.family == link.socket.family
            view.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            assert view.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            with view.dup() as twin:
                assert twin.fileno() != view.fileno()
            for name in ("close", "detach", "recv", "send", "shutdown", "_sock"):
                with pytest.raises(AttributeError, match="belongs to the connection"):
                    getattr(view, name)
            assert "SocketView" in repr(view)
            assert transport.get_extra_info("peername") == link.peer.getsockname()
            assert transport.get_extra_info("sockname") == link.peer.getpeername()
            assert transport.get_extra_info("sslcontext") is None
            assert transport.get_extra_info("nothing", 5) == 5
            assert repr(transport) == (
                f"<StreamTransport fd={link.socket.fileno()} open write_queue=0>"
            )
            with pytest.raises(TypeError):
                transport.set_protocol(link.endpoint)
            for data in (b"1", bytearray(b"2"), memoryview(b"3"), b""):
                transport.write(data)
            transport.writelines([b"4", b"", bytearray(b"5")])
            for wrong in (None, "text", 5):
                with pytest.raises(TypeError):
                    transport.write(wrong)
            assert await link.read_some() == b"12345"
            link.ws.disconnect(graceful=False)
            assert "closing" in repr(transport)
            await link.lost()
            assert "closed" in repr(transport)
            assert transport.get_extra_info("socket", "gone") == "gone"
            assert transport.get_extra_info("peername", "gone") == "gone"

    run(main)


def test_writes_after_close_and_abort(run: Run) -> None:
    async def main() -> None:
        async with Link(buffer_size=4096) as link:
            link.transport.write(b"x" * 100_000)
            link.transport.close()
            # As with asyncio's transports: there is still a queue to go.
            link.transport.write(b"y")
            data = await link.read_to_end()
            assert data == b"x" * 100_000 + b"y"
            await link.lost()
        async with Link() as link:
            link.transport.abort()
            link.transport.write(b"never sent")
            assert await link.read_to_end() == b""
            await link.lost()

    run(main)


def test_made_by_attach_only() -> None:
    with pytest.raises(TypeError, match="attach"):
        stream.StreamTransport()
    empty = stream.StreamTransport.__new__(stream.StreamTransport)
    assert empty.get_write_buffer_size() == 0
    assert empty.get_protocol() is None
    assert empty.get_extra_info("socket") is None
    empty.pause_reading()
    empty.resume_reading()


def test_peername_of_a_connection_that_broke(run: Run) -> None:
    async def main() -> None:
        async with Link(tcp=True) as link:
            link.transport.pause_reading()
            reset(link.peer)
            await asyncio.sleep(0.01)
            assert link.transport.get_extra_info("peername", "gone") == "gone"
            link.transport.resume_reading()
            await link.lost()

    run(main)


def test_threads(run: Run, loop_kind: str) -> None:
    """Loops of several threads, each with buffers of its own."""
    if loop_kind == "uvloop":
        pytest.importorskip("uvloop")  # in this thread, where it skips the test

    def work() -> None:
        async def main() -> None:
            async with Link("server", echo()) as link:
                for i in range(100):
                    payload = bytes([i]) * (i * 100)
                    await link.send_frame(BINARY, payload)
                    assert await link.recv(1) == [Frame(BINARY, payload)]

        try:
            run(main)
        except BaseException as error:  # noqa: BLE001
            failures.append(error)

    failures: List[BaseException] = []
    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


# What is left

Ending = Callable[[Link], Awaitable[None]]


async def end_by_close(link: Link) -> None:
    await link.send_frame(CLOSE)
    await link.recv(1)
    link.peer.close()


async def end_by_abort(link: Link) -> None:
    link.ws.send(BINARY, b"x" * 1_000_000)
    link.ws.disconnect(graceful=False)


async def end_by_peer(link: Link) -> None:
    link.peer.close()


async def end_by_violation(link: Link) -> None:
    await link.send_frame(3)
    link.peer.close()


async def end_by_listener(link: Link) -> None:
    link.listener.act("on_ws_frame", lambda *_: {}["missing"])
    await link.send_frame(TEXT)
    link.peer.close()


@both_roles
@watched_by
@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize(
    "end", [end_by_close, end_by_abort, end_by_peer, end_by_violation, end_by_listener]
)
@pytest.mark.parametrize("busy_poll", [True, False])
def test_nothing_is_left(run: Run, role: str, polled: bool, end: Ending, busy_poll: bool) -> None:
    async def main() -> None:
        before = open_descriptors()
        with poller_for(polled) as poller:
            link = Link(role, poller=poller, busy_poll=busy_poll)
            await link.open()
            alive = [
                weakref.ref(each)
                for each in (link.endpoint, link.ws, link.transport, link.listener, link.socket)
            ]
            await end(link)
            await link.lost()
            link.peer.close()
            del link
            for _ in range(3):
                await asyncio.sleep(0)
            assert [each() for each in alive] == [None] * len(alive)
        assert open_descriptors() == before

    run(main)


def test_listener_of_its_own_class(run: Run) -> None:
    """A listener without any callback in Python is served without one."""

    async def main() -> None:
        async with Link("server", WSListener()) as link:
            await link.send_frame(TEXT, b"x")
            await link.send_frame(PING, b"p")
            assert await link.recv(1) == [Frame(PONG, b"p")]

    run(main)
