"""picows_client.coroutine, and what it returns: connections whose messages are awaited."""

from __future__ import annotations

import asyncio
import inspect
import socket
import ssl
import sys
from typing import Any, AsyncIterator, Callable, List

import pytest

import picows_client
from picows_client import (
    WSConnection,
    WSConnectionClosed,
    WSDisconnectKind,
    WSHandshakeError,
    WSInvalidOptionError,
    WSState,
    connect,
    coroutine,
    ws_connect,
)
from tests.client.exchange import serve_echo, tls_choices
from tests.support.options import OTHER_OPTIONS
from tests.support.rawpeer import RawConnection, raw_peer
from tests.support.servers import PLAIN_BACKENDS

Run = Callable[..., Any]

every_backend = pytest.mark.parametrize("backend", PLAIN_BACKENDS)


async def read_close(peer: RawConnection) -> bytes:
    """Script of a raw peer: answer the CLOSE frame; returns its payload."""
    await peer.accept_upgrade()
    frame = await peer.read_frame()
    assert frame.opcode == 8
    peer.write_frame(8, frame.payload)
    return frame.payload


async def ignore_close(peer: RawConnection) -> bytes:
    """Script of a raw peer that reads a CLOSE frame and does not answer."""
    await peer.accept_upgrade()
    frame = await peer.read_frame()
    await peer.read_to_end()
    return frame.payload


async def talk(peer: RawConnection) -> None:
    """Script of a raw peer: many messages, and a CLOSE frame."""
    await peer.accept_upgrade()
    for index in range(5000):
        peer.write_frame(1, b"%d" % index)
    peer.write_frame(8, b"\x03\xe8bye")
    assert (await peer.read_frame()).opcode == 8


@every_backend
def test_echo(run: Run, backend: str) -> None:
    async def main() -> None:
        async with raw_peer(serve_echo) as peer:
            async with connect(peer.url(), backend=backend) as ws:
                assert type(ws) is WSConnection
                for message in ("text", b"bytes", "ä" * 100_000):
                    await ws.send(message)
                    assert await ws.recv() == message
                assert await ws.ping() > 0
                assert ws.state is WSState.OPEN
            assert ws.close_code == 1000

    run(main)


@every_backend
def test_iteration(run: Run, backend: str) -> None:
    async def main() -> None:
        async with raw_peer(talk) as peer:
            ws = await connect(peer.url(), backend=backend, max_queue=100)
            assert [int(message) async for message in ws] == list(range(5000))
            with pytest.raises(WSConnectionClosed, match="bye"):
                await ws.recv()
            await ws.wait_closed()
            await ws.close()

    run(main)


@every_backend
def test_many(run: Run, backend: str) -> None:
    async def main() -> None:
        async with raw_peer(talk) as peer, connect(peer.url(), backend=backend) as ws:
            received: List[Any] = []
            while len(received) < 5000:
                received += await ws.recv_many()
            assert [int(message) for message in received] == list(range(5000))

    run(main)


@every_backend
@pytest.mark.parametrize("failed", [False, True])
def test_end_of_the_block(run: Run, backend: str, failed: bool) -> None:
    """Also after an exception in the block a client closes with 1000."""

    async def block(url: str) -> None:
        async with connect(url, backend=backend):
            if failed:
                raise KeyError("in the block")

    async def main() -> None:
        async with raw_peer(read_close) as peer:
            if failed:
                with pytest.raises(KeyError):
                    await block(peer.url())
            else:
                await block(peer.url())
            await peer.finished()
            assert peer.results == [b"\x03\xe8"]

    run(main)


@every_backend
def test_a_peer_that_does_not_close(run: Run, backend: str) -> None:
    async def main() -> None:
        async with raw_peer(ignore_close) as peer:
            async with connect(peer.url(), backend=backend, close_timeout=0.05) as ws:
                pass
            cause = ws.transport.disconnect_cause
            assert cause is not None
            assert cause.kind is WSDisconnectKind.CLOSE_TIMEOUT

    run(main)


@every_backend
def test_cancelled_block(run: Run, backend: str) -> None:
    async def main() -> None:
        opened = asyncio.Event()

        async def block(url: str) -> None:
            async with connect(url, backend=backend) as ws:
                opened.set()
                await ws.recv()

        async with raw_peer(read_close) as peer:
            task = asyncio.create_task(block(peer.url()))
            await opened.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await peer.finished()
            assert peer.results == [b"\x03\xe8"]

    run(main)


def test_options_are_those_of_ws_connect() -> None:
    own = inspect.signature(connect).parameters
    theirs = inspect.signature(ws_connect).parameters
    of_iteration = {"backoff", "retry", "max_attempts", "max_elapsed"}
    assert set(own) - set(theirs) == {"max_queue", "max_queue_bytes"} | of_iteration
    assert set(theirs) - set(own) == {"listener_factory"}
    for name in set(own) & set(theirs):
        assert own[name].default == theirs[name].default


def test_every_option_is_passed_on(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    passed: List[Any] = []

    async def record(*args: Any, **options: Any) -> Any:
        passed.append((args, options))
        return await ws_connect(*args, **options)

    async def main() -> None:
        async with raw_peer(serve_echo) as peer:
            monkeypatch.setattr(coroutine, "ws_connect", record)
            async with connect(peer.url(), **OTHER_OPTIONS) as ws:
                await ws.send("text")
                assert await ws.recv() == "text"

    run(main)
    ((args, options),) = passed
    assert {name: options[name] for name in OTHER_OPTIONS} == OTHER_OPTIONS
    own = {
        name
        for name, parameter in inspect.signature(connect).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY
    }
    of_connect = {"max_queue", "max_queue_bytes", "backoff", "retry", "max_attempts", "max_elapsed"}
    assert set(options) <= own - of_connect
    assert len(args) == 3


@tls_choices
def test_tls(
    run: Run, backend: str, server_context: ssl.SSLContext, client_context: ssl.SSLContext
) -> None:
    """Enough to pause reading and writing."""

    async def main() -> None:
        async with raw_peer(serve_echo, context=server_context) as peer, connect(
            peer.url(), ssl_context=client_context, backend=backend, max_queue=10
        ) as ws:
            assert ws.transport.is_secure
            texts = [str(index) * 1000 for index in range(300)]
            sending = asyncio.create_task(ws.send_many(texts))
            received = [await ws.recv() for _ in texts]
            await sending
            assert received == texts
        assert ws.close_code == 1000

    run(main)


@tls_choices
def test_nothing_stays_behind_when_tls_is_read_again(
    run: Run, backend: str, server_context: ssl.SSLContext, client_context: ssl.SSLContext
) -> None:
    """All of it is read, though nothing follows that would make the socket readable again."""
    counts = range(2704, 8000, 217)

    async def main() -> None:
        is_written = asyncio.Event()

        async def burst(peer: RawConnection) -> None:
            await peer.accept_upgrade()
            for count in counts:
                await peer.read_frame()
                for _ in range(count):
                    peer.write_frame(1, b"x" * 100)
                is_written.set()
            await peer.read_frame()
            peer.write_frame(8)

        async with raw_peer(burst, context=server_context) as peer, connect(
            peer.url(), ssl_context=client_context, backend=backend, max_queue=1
        ) as ws:
            for count in counts:
                is_written.clear()
                await ws.send("next")
                await is_written.wait()
                for _ in range(count):
                    await ws.recv()

    run(main)


@every_backend
def test_the_queue_is_bounded(run: Run, backend: str) -> None:
    """A peer that sends more than anybody takes has to wait, and nothing is lost."""
    count, size = 200, 65536

    async def flood(peer: RawConnection) -> None:
        await peer.accept_upgrade()
        for index in range(count):
            peer.write_frame(2, index.to_bytes(2, "big") * (size // 2))
            await peer.writer.drain()
        peer.write_frame(8, b"\x03\xe8")
        assert (await peer.read_frame()).opcode == 8

    async def main() -> None:
        async with raw_peer(flood) as peer, connect(
            peer.url(), backend=backend, max_queue_bytes=(3 * size, size)
        ) as ws:
            below = ws.transport.underlying_transport
            assert below is not None
            while below.is_reading():
                await asyncio.sleep(0)
            received = [await ws.recv() async for _ in _some(count)]
            assert [message[:2] for message in received] == [
                index.to_bytes(2, "big") for index in range(count)
            ]
            with pytest.raises(WSConnectionClosed):
                await ws.recv()

    run(main)


async def _some(count: int) -> AsyncIterator[int]:
    for index in range(count):
        yield index


@every_backend
def test_a_peer_that_vanishes(run: Run, backend: str) -> None:
    async def vanish(peer: RawConnection) -> None:
        await peer.accept_upgrade()
        peer.write_frame(1, b"last")
        await peer.writer.drain()
        peer.writer.close()

    async def main() -> None:
        async with raw_peer(vanish) as peer, connect(peer.url(), backend=backend) as ws:
            assert await ws.recv() == "last"
            with pytest.raises(WSConnectionClosed) as caught:
                await ws.__anext__()
            assert caught.value.code == 1006
            assert caught.value.received is None
            with pytest.raises(WSConnectionClosed):
                await ws.send("text")
            assert ws.close_code == 1006

    run(main)


@every_backend
def test_many_senders(run: Run, backend: str) -> None:
    """Fragments of two messages do not mix, whoever waits for whom."""

    async def main() -> None:
        async with raw_peer(collect) as peer:
            async with connect(peer.url(), backend=backend, write_high_watermark=1000) as ws:
                await asyncio.gather(
                    *(ws.send([str(index)] * 20) for index in range(20)),
                    *(ws.send(str(index) * 500) for index in range(20)),
                    *(ws.send_many([str(index)] * 5) for index in range(20)),
                )
            await peer.finished()
            (messages,) = peer.results
            assert sorted(messages) == sorted(
                [str(index) * 20 for index in range(20)]
                + [str(index) * 500 for index in range(20)]
                + [str(index) for index in range(20) for _ in range(5)]
            )

    async def collect(peer: RawConnection) -> List[str]:
        await peer.accept_upgrade()
        messages, parts = [], []
        while True:
            frame = await peer.read_frame()
            if frame.opcode == 8:
                peer.write_frame(8, frame.payload)
                return messages
            assert (frame.opcode == 0) is bool(parts)
            parts.append(frame.payload)
            if frame.fin:
                messages.append(b"".join(parts).decode())
                parts = []

    run(main)


def test_wrong_arguments(run: Run) -> None:
    async def main() -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            with pytest.raises(WSInvalidOptionError, match="max_queue"):
                await connect("ws://127.0.0.1", max_queue=0, sock=ours)
            assert ours.fileno() == -1
        with pytest.raises(TypeError, match="max_size"):
            connect("ws://127.0.0.1", max_size=1)
        with pytest.raises(ValueError, match="URL"):
            await connect("http://127.0.0.1")

    run(main)


def test_refused(run: Run) -> None:
    async def refuse(peer: RawConnection) -> None:
        await peer.read_request()
        peer.writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")

    async def main() -> None:
        async with raw_peer(refuse) as peer:
            with pytest.raises(WSHandshakeError):
                async with connect(peer.url()):
                    pytest.fail("it is not open")

    run(main)


def test_awaited_twice(run: Run) -> None:
    async def main() -> None:
        async with raw_peer(read_close) as peer:
            call = connect(peer.url())
            async with call:
                with pytest.raises(RuntimeError, match="connect"):
                    await call

    run(main)


def test_a_lazy_name() -> None:
    assert picows_client.connect is connect
    assert "connect" in picows_client.__all__


# Cancelling, as the libraries do it


async def one_by_one(peer: RawConnection) -> None:
    """Script of a raw peer: send what a message says."""
    await peer.accept_upgrade()
    while True:
        frame = await peer.read_frame()
        if frame.opcode == 8:
            peer.write_frame(8, frame.payload)
            return
        peer.write_frame(1, frame.payload)


async def check_nothing_is_lost(ws: WSConnection, give_up: Callable[[], Any]) -> None:
    """``give_up`` receives, and does not get anything; then a message comes."""
    for number in range(3):
        await give_up()
        await ws.send(str(number))
        assert await ws.recv() == str(number)


def test_wait_for(run: Run) -> None:
    async def main() -> None:
        async with raw_peer(one_by_one) as peer, connect(peer.url()) as ws:

            async def give_up() -> None:
                with pytest.raises(asyncio.TimeoutError):
                    await asyncio.wait_for(ws.recv(), 0.001)

            await check_nothing_is_lost(ws, give_up)
            await ws.send("there")
            assert await asyncio.wait_for(ws.recv(), 30) == "there"

    run(main)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="no asyncio.timeout")
def test_timeout(run: Run) -> None:
    async def main() -> None:
        async with raw_peer(one_by_one) as peer, connect(peer.url()) as ws:

            async def iterate() -> None:
                async with asyncio.timeout(0.001):  # type: ignore[attr-defined,unused-ignore]
                    async for _ in ws:
                        pytest.fail("nothing came")

            async def give_up() -> None:
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.001):  # type: ignore[attr-defined,unused-ignore]
                        await ws.recv()
                with pytest.raises(TimeoutError):
                    await iterate()

            await check_nothing_is_lost(ws, give_up)

    run(main)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="no TaskGroup")
def test_task_group(run: Run) -> None:
    async def fail() -> None:
        await asyncio.sleep(0.001)
        raise KeyError("another task fails")

    async def main() -> None:
        async with raw_peer(one_by_one) as peer, connect(peer.url()) as ws:
            received: List[Any] = []

            async def in_a_group() -> None:
                async with asyncio.TaskGroup() as group:  # type: ignore[attr-defined,unused-ignore]
                    received.append(group.create_task(ws.recv()))
                    group.create_task(fail())

            async def give_up() -> None:
                with pytest.raises(BaseException, match="unhandled errors") as caught:
                    await in_a_group()
                assert received[-1].cancelled()
                assert [type(error) for error in caught.value.exceptions] == [KeyError]  # type: ignore[attr-defined]

            await check_nothing_is_lost(ws, give_up)

    run(main)


def test_anyio(run: Run) -> None:
    anyio = pytest.importorskip("anyio")

    async def main() -> None:
        async with raw_peer(one_by_one) as peer, connect(peer.url()) as ws:

            async def receive() -> None:
                await ws.recv()

            async def give_up() -> None:
                with anyio.move_on_after(0.001) as scope:
                    await ws.recv()
                assert scope.cancelled_caught
                async with anyio.create_task_group() as group:
                    group.start_soon(receive)
                    await anyio.lowlevel.checkpoint()
                    group.cancel_scope.cancel()
                with pytest.raises(TimeoutError), anyio.fail_after(0.001):
                    await ws.recv_many()

            await check_nothing_is_lost(ws, give_up)

    run(main)


def test_gather_and_tasks(run: Run) -> None:
    async def main() -> None:
        async with raw_peer(one_by_one) as peer, connect(peer.url()) as ws:
            received, *_ = await asyncio.gather(ws.recv(), ws.send("a"), ws.send("b"))
            assert received == "a"
            assert await asyncio.create_task(ws.recv()) == "b"
            done, _ = await asyncio.wait({asyncio.ensure_future(ws.send("c"))})
            assert done.pop().exception() is None
            assert await asyncio.shield(ws.recv()) == "c"

    run(main)


def test_writing_that_is_paused(run: Run) -> None:
    """A peer that reads late: ``send`` waits, and everything arrives in order."""

    async def read_late(peer: RawConnection) -> int:
        await peer.accept_upgrade()
        await asyncio.sleep(0.02)
        for index in range(60):
            frame = await peer.read_frame()
            assert frame.payload[:2] == b"%02d" % index
        return 60

    async def main() -> None:
        async with raw_peer(read_late) as peer:
            ws = await connect(peer.url(), close_timeout=10)
            for index in range(60):
                await ws.send(b"%02d" % index + bytes(200_000))
                assert ws.transport.write_queue_size <= 65536 + 200_100
            await ws.close()
            await peer.finished()
            assert peer.results == [60]

    run(main)
