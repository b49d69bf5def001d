"""The write side of a stream transport: what the kernel takes, the queue, the watermarks."""

from __future__ import annotations

import asyncio
import random
import sys
import tracemalloc
from typing import Any, List

import pytest

from picows_codec import WSDisconnectKind, WSFrame, WSPreparedMessage, WSState, broadcast
from tests.support import frames
from tests.support.connection import Recorder, both_roles
from tests.support.frames import BINARY, CLOSE, PING, TEXT, Frame
from tests.support.leaks import eventually
from tests.support.stream_link import Link, Run, echo, kind_of, reset, watched_by


@both_roles
@watched_by
@pytest.mark.parametrize("kind", ["bytes", "str", "frame", "memoryview", "view of a frame"])
def test_queue_of_what_cannot_change(run: Run, role: str, polled: bool, kind: str) -> None:
    """A server's large payload is not copied into the queue, and stays as it is when it is."""
    listener = Recorder()
    kept: List[WSFrame] = []
    listener.act("on_ws_frame", lambda transport, frame: kept.append(frame))

    async def main() -> None:
        async with Link(role, listener, polled=polled, buffer_size=4096) as link:
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
        async with Link("server", polled=polled, buffer_size=4096) as link:
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
        async with Link(role, polled=polled, buffer_size=1, tcp=False) as link:
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
        async with Link(role, echo(), polled=polled, buffer_size=4096) as link:
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
        async with Link(role, echo(), polled=polled) as link:
            await link.send(link.build(TEXT, b"x") * 50)
            data = await link.read_some()
            assert len(frames.parse_all(data)[0]) == 50

    run(main)


@both_roles
@watched_by
def test_sending_into_a_broken_connection_comes_to_an_end(
    run: Run, role: str, polled: bool
) -> None:
    """In one callback, before anybody could tell that the connection has broken."""

    async def main() -> None:
        async with Link(role, polled=polled, tcp=True) as link:
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
        async with Link(
            role,
            polled=polled,
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
        async with Link(
            role,
            polled=polled,
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


@both_roles
@watched_by
def test_close_with_a_queue(run: Run, role: str, polled: bool) -> None:
    async def main() -> None:
        async with Link(role, polled=polled, buffer_size=4096) as link:
            for i in range(20):
                link.ws.send(BINARY, bytes([i]) * 10_000)
            link.transport.close()
            link.transport.close()
            assert link.transport.is_closing()
            assert not link.transport.is_reading()
            found, rest = frames.parse_all(await link.read_to_end())
            assert [frame.payload for frame in found] == [bytes([i]) * 10_000 for i in range(20)]
            assert rest == b""
            await link.lost()
            assert link.ws.disconnect_cause is not None
            assert link.ws.disconnect_cause.unsent_bytes == 0

    run(main)


@both_roles
@watched_by
def test_disconnect_with_a_queue(run: Run, role: str, polled: bool) -> None:
    async def main() -> None:
        async with Link(role, polled=polled, buffer_size=4096) as link:
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
        async with Link(role, polled=polled, buffer_size=4096, close_timeout=0.05) as link:
            link.ws.send(BINARY, b"x" * 1_000_000)
            link.ws.disconnect()
            await link.lost()
            assert kind_of(link) is WSDisconnectKind.CLOSE_TIMEOUT
            assert link.ws.disconnect_cause is not None
            assert link.ws.disconnect_cause.unsent_bytes > 900_000

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
def test_a_large_frame_on_a_broken_connection(run: Run, role: str) -> None:
    async def main() -> None:
        async with Link(role, tcp=True) as link:
            reset(link.peer)
            payload = bytes(300_000)
            while not link.transport.is_closing():
                link.ws.send(BINARY, payload)
            assert link.ws.write_queue_size >= len(payload)
            await link.lost()
            assert kind_of(link) is WSDisconnectKind.CONNECTION_LOST
            assert link.ws.disconnect_cause is not None
            assert link.ws.disconnect_cause.unsent_bytes >= len(payload)

    run(main)


@both_roles
@watched_by
def test_write_eof_waits_for_the_queue(run: Run, role: str, polled: bool) -> None:
    async def main() -> None:
        async with Link(role, polled=polled, buffer_size=4096) as link:
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
            link.transport.write(bytes(100_000))
            assert link.transport.get_write_buffer_size() == 100_010

    run(main)


@watched_by
@pytest.mark.parametrize("size", [1, 256, 20_000, 300_000])
def test_queue_of_prepared_messages(run: Run, polled: bool, size: int) -> None:
    """What a server prepared is queued by reference, unless it is tiny."""

    async def main() -> None:
        options: Any = {"buffer_size": 4096, "coalesce_writes": False}
        async with Link("server", polled=polled, **options) as link:
            payload = random.Random(size).getrandbits(8 * size).to_bytes(size, "big")
            message = WSPreparedMessage(BINARY, payload)
            while not link.transport.get_write_buffer_size():  # the first one may leave in part
                link.ws.send_prepared(message)
            tracemalloc.start()
            before, _ = tracemalloc.get_traced_memory()
            for _ in range(50):
                link.ws.send_prepared(message)
            after, _ = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            assert after - before < 10_000
            assert link.transport.get_write_buffer_size() >= 50 * size
            for frame in await link.recv(51):
                assert frame == Frame(BINARY, message.payload)

    run(main)


@watched_by
def test_queue_of_tiny_prepared_messages(run: Run, polled: bool) -> None:
    """It takes about the memory that max_write_queue_size counts."""

    async def main() -> None:
        options: Any = {"buffer_size": 4096, "coalesce_writes": False}
        async with Link("server", polled=polled, **options) as link:
            message = WSPreparedMessage(BINARY, b"x")
            link.ws.send(BINARY, bytes(200_000))
            assert link.transport.get_write_buffer_size()
            tracemalloc.start()
            before, _ = tracemalloc.get_traced_memory()
            for _ in range(20_000):
                link.ws.send_prepared(message)
            after, _ = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            assert after - before < 100_000
            _, *found = await link.recv(20_001)
            assert {frame.payload for frame in found} == {b"x"}

    run(main)


@watched_by
def test_order_of_prepared_and_other_messages_in_the_queue(run: Run, polled: bool) -> None:
    async def main() -> None:
        async with Link("server", polled=polled, buffer_size=4096) as link:
            link.ws.send(BINARY, bytes(200_000))
            assert link.transport.get_write_buffer_size()
            prepared = WSPreparedMessage(TEXT, "prepared")
            buffer = bytearray(b"copied")
            for _ in range(100):
                link.ws.send(BINARY, buffer)
                link.ws.send_prepared(prepared)
                link.ws.send_many(TEXT, ["many", "more"])
                assert broadcast([link.ws], prepared) == 1
            buffer[:] = b"xxxxxx"
            _, *found = await link.recv(501)
            assert [frame.payload for frame in found] == 100 * [
                *(b"copied", b"prepared", b"many", b"more", b"prepared")
            ]

    run(main)


@both_roles
@watched_by
def test_broadcast_to_one_that_has_reset(run: Run, role: str, polled: bool) -> None:
    async def main() -> None:
        links = [Link(role, polled=polled, tcp=True) for _ in range(3)]
        for link in links:
            await link.open()
        reset(links[1].peer)
        message = WSPreparedMessage(BINARY, bytes(1000))
        for _ in range(3):  # the first one may leave before the reset is known
            broadcast([link.ws for link in links], message)
            await asyncio.sleep(0)
        await links[1].lost()
        assert broadcast([link.ws for link in links], message) == 2
        for link in (links[0], links[2]):
            assert await link.recv(4) == [Frame(BINARY, message.payload)] * 4
            await link.__aexit__()

    run(main)
