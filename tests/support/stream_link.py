"""An endpoint on the codec's own transport; the peer is a socket that the test reads and writes."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Callable, Iterator, List, Optional, Tuple

import pytest

from picows_codec import (
    ClientHandshake,
    ServerHandshake,
    WSDisconnectKind,
    WSEndpoint,
    WSOptions,
    WSState,
    WSTransport,
)
from tests.support import frames
from tests.support.connection import Log, Recorder
from tests.support.frames import CLOSE, Frame
from tests.support.leaks import eventually

stream = pytest.importorskip("picows_codec.stream")
fcntl = pytest.importorskip("fcntl")
termios = pytest.importorskip("termios")

Run = Callable[..., Any]

needs_epoll = pytest.mark.skipif(sys.platform != "linux", reason="epoll is Linux's")
watched_by = pytest.mark.parametrize(
    "polled",
    [
        pytest.param(False, id="loop"),
        pytest.param(True, id="poller", marks=needs_epoll),
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
    """An endpoint on one end of a pair of sockets; the test has the other end.

    Watched by the loop, by ``poller``, or, if it is ``polled``, by a poller of its own, which is
    closed when ``async with`` leaves the link.
    """

    def __init__(
        self,
        role: str = "server",
        listener: Any = None,
        *,
        poller: Any = None,
        polled: bool = False,
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
        self._own_poller = contextlib.ExitStack()
        if polled:
            poller = self._own_poller.enter_context(poller_for(polled))
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
        self._own_poller.close()

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


def reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def run_with_fresh_buffers(run: Run, main: Callable[[], Any]) -> None:
    """In a thread of its own: a thread's read buffer is as large as the largest that it needed."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(run, main).result()
