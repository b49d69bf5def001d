"""A transport for plain sockets, over real ones, watched by the loop and by a poller."""

from __future__ import annotations

import asyncio
import random
import socket
import threading
from typing import Any, List

import pytest

from picows_codec import ServerHandshake, WSDisconnectKind, WSOptions
from tests.support import frames
from tests.support.connection import Log, Recorder, both_roles
from tests.support.frames import BINARY, PING, PONG, TEXT, Frame
from tests.support.leaks import eventually
from tests.support.stream_link import (
    Link,
    Protocol,
    Run,
    echo,
    kind_of,
    poller_for,
    receivable,
    reset,
    run_with_fresh_buffers,
    stream,
    watched_by,
)

# Frames


@both_roles
@watched_by
@pytest.mark.parametrize("tcp", [True, False])
def test_echo(run: Run, role: str, polled: bool, tcp: bool) -> None:
    async def main() -> None:
        async with Link(role, echo(), polled=polled, tcp=tcp) as link:
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
        async with Link(role, echo(), polled=polled) as link:
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
        async with Link(role, polled=polled, read_buffer_init_size=512, tcp=True) as link:
            link.peer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
            link.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
            small = await turns_for(link, b"x" * 100)
            assert await turns_for(link, b"x" * 150_000) == small

    run_with_fresh_buffers(run, main)


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
        async with Link(role, polled=polled) as link:
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
        async with Link(role, polled=polled) as link:
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
            assert isinstance(transport.get_extra_info("socket"), stream.SocketView)
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
