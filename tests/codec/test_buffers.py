"""The memory that the connections of a thread share."""

from __future__ import annotations

import ctypes
import gc
import threading
from typing import List

import pytest

from picows_codec.buffers import ReadBuffer, ThreadBuffers, WriteBuffer
from tests.support.connection import Connection, Recorder, both_roles
from tests.support.frames import BINARY, TEXT
from tests.support.leaks import count_instances

pytestmark = pytest.mark.usefixtures("no_collector")


def test_read_buffer() -> None:
    buffer = ReadBuffer(100)
    view = memoryview(buffer)  # type: ignore[arg-type]
    assert (len(view), view.readonly, view.format) == (100, False, "B")
    with pytest.raises(MemoryError, match="-1 bytes"):
        ReadBuffer(-1)
    with pytest.raises(TypeError):
        ReadBuffer()  # type: ignore[call-arg]


@both_roles
def test_connections_share_one_buffer(role: str) -> None:
    # The first one may have to make it.
    Connection(role).receive(TEXT, b"x")
    before = count_instances(ReadBuffer), count_instances(WriteBuffer)
    listener = Recorder()
    listener.act("on_ws_frame", lambda transport, frame: transport.send(TEXT, frame))
    connections = [Connection(role, listener) for _ in range(20)]
    for connection in connections:
        connection.feed(connection.build(TEXT, b"1") + connection.build(TEXT, b"2"))
    assert (count_instances(ReadBuffer), count_instances(WriteBuffer)) == (
        before[0],
        max(before[1], 1),
    )


def test_a_larger_read_buffer_replaces_a_smaller_one() -> None:
    Connection("server", read_buffer_init_size=1 << 22).receive(TEXT, b"x")
    before = count_instances(ReadBuffer)
    buffer = Connection("server").endpoint.get_buffer(-1)
    assert len(buffer) >= 1 << 22
    assert count_instances(ReadBuffer) == before


def test_corked_connections_get_buffers_of_their_own() -> None:
    gc.collect()  # what tests with other threads have left
    connections = [Connection("server") for _ in range(5)]
    before = count_instances(WriteBuffer)
    corks = [connection.ws.cork() for connection in connections]
    for i, connection in enumerate(connections):
        corks[i].__enter__()
        connection.ws.send(TEXT, b"%d" % i)
    assert count_instances(WriteBuffer) >= 5
    for i, connection in enumerate(connections):
        corks[i].__exit__(None, None, None)
        assert [frame.payload for frame in connection.sent()] == [b"%d" % i]
    # Two, and one for large frames.
    assert count_instances(WriteBuffer) <= max(before, 3)


def test_large_frames_share_one_more_buffer() -> None:
    connections = [Connection("client") for _ in range(3)]
    connections[0].ws.send(BINARY, b"x" * 300_000)
    before = count_instances(WriteBuffer)
    for connection in connections:
        with connection.ws.cork():
            connection.ws.send(TEXT, b"first")
            connection.ws.send(BINARY, b"x" * 300_000)
    assert count_instances(WriteBuffer) <= before + 1
    with pytest.raises(MemoryError):
        WriteBuffer(-1)


def test_buffers_end_with_their_thread() -> None:
    def work() -> None:
        connection = Connection("server")
        connection.receive(TEXT, b"x")
        connection.lose()
        during.append(count_instances(ThreadBuffers))

    during: List[int] = []
    Connection("server").receive(TEXT, b"x")
    gc.collect()
    before = count_instances(ThreadBuffers), count_instances(ReadBuffer)
    for _ in range(3):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert during == [before[0] + 1] * 3
    # Lending a view of a buffer makes a reference cycle of the two, until they are reused.
    gc.collect()
    assert (count_instances(ThreadBuffers), count_instances(ReadBuffer)) == before


@pytest.mark.parametrize("shared_reads", [True, False])
@pytest.mark.parametrize("size", [256, 1000, 262_144])
def test_read_buffers_begin_a_page(shared_reads: bool, size: int) -> None:
    """What the kernel copies begins a page, too, as a rule."""
    connection = Connection("server", shared_reads=shared_reads, read_buffer_init_size=size)
    view = connection.endpoint.get_buffer(-1)
    assert len(view) >= size
    assert ctypes.addressof(ctypes.c_char.from_buffer(view)) % 4096 == 0
