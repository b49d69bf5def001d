"""picows_codec.deflate.inflating: limits, bombs, and the memory that they take."""

from __future__ import annotations

import sys
import tracemalloc
import zlib
from typing import Any, Callable, List, Tuple

import pytest

from picows_codec import (
    WSCloseCode,
    WSFrame,
    WSListener,
    WSTransport,
)
from tests.support.connection import both_roles
from tests.support.deflate import (
    RANDOM,
    DeflateConnection,
    both_contexts,
    deflated,
    failed_with,
)
from tests.support.frames import BINARY, CONTINUATION

pytestmark = pytest.mark.usefixtures("each_library")

BOMB = deflated(bytes(300 << 20), level=9)
# What inflating takes besides the message: zlib's window and tables, a step of output.
CONSTANT = 400_000


def memory_of(act: Callable[[], Any]) -> Tuple[Any, int]:
    """What an act returns, and the most bytes that it had."""
    tracemalloc.start()
    try:
        return act(), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@both_roles
@both_contexts
def test_limit_of_a_frame(role: str, answer: str) -> None:
    for size, passes in ((1000, True), (1001, False), (10_000_000, False)):
        connection = DeflateConnection(role, answer=answer, max_frame_size=1000)
        connection.feed(connection.compressed(BINARY, deflated(b"a" * size)[:1000]))
        if passes:
            assert connection.messages() == [b"a" * size]
        else:
            assert failed_with(connection) == WSCloseCode.MESSAGE_TOO_BIG
            assert not connection.messages()


@both_roles
def test_limit_of_a_frame_on_the_wire(role: str) -> None:
    connection = DeflateConnection(role, max_frame_size=1000)
    connection.feed(connection.compressed(BINARY, bytes(1001)))
    assert failed_with(connection) == WSCloseCode.MESSAGE_TOO_BIG


@both_roles
@both_contexts
def test_limit_of_a_message(role: str, answer: str) -> None:
    stream = zlib.compressobj(9, zlib.DEFLATED, -15)
    first = stream.compress(b"a" * 600) + stream.flush(zlib.Z_SYNC_FLUSH)
    for size, passes in ((400, True), (401, False)):
        second = stream.copy()
        data = (second.compress(b"a" * size) + second.flush(zlib.Z_SYNC_FLUSH))[:-4]
        connection = DeflateConnection(role, answer=answer, max_message_size=1000)
        connection.feed(connection.compressed(BINARY, first, fin=False))
        connection.feed(connection.build(CONTINUATION, data))
        if passes:
            assert connection.messages() == [b"a" * 600, b"a" * 400]
        else:
            assert connection.messages() == [b"a" * 600]
            assert failed_with(connection) == WSCloseCode.MESSAGE_TOO_BIG


@both_roles
@both_contexts
def test_the_largest_limits(role: str, answer: str) -> None:
    connection = DeflateConnection(
        role, answer=answer, max_frame_size=sys.maxsize, max_message_size=sys.maxsize
    )
    connection.feed(connection.compressed(BINARY, deflated(b"a" * 100_000)))
    assert connection.messages() == [b"a" * 100_000]


@both_roles
def test_the_wire_may_be_longer_than_the_message(role: str) -> None:
    """Stored blocks: what the application gets is within its limit."""
    payload = bytes(range(200)) * 5
    connection = DeflateConnection(role, max_message_size=1000)
    connection.feed(connection.compressed(BINARY, deflated(payload, level=0)))
    assert connection.messages() == [payload]


@both_roles
@both_contexts
@pytest.mark.parametrize("limit", ["max_frame_size", "max_message_size"])
@pytest.mark.parametrize("size", [1 << 16, 1 << 20, 5_000_000])
def test_a_bomb_costs_at_most_the_limit(role: str, answer: str, limit: str, size: int) -> None:
    """And what does not depend on it: the frame on the wire, a step of output, the window."""
    connection = DeflateConnection(role, answer=answer, **{limit: size})
    data = connection.compressed(BINARY, BOMB[: size - 100])
    _, peak = memory_of(lambda: connection.feed(data))
    assert failed_with(connection) == WSCloseCode.MESSAGE_TOO_BIG
    assert not connection.messages()
    assert peak < size + 2 * len(data) + CONSTANT


@both_roles
def test_a_bomb_in_fragments_costs_at_most_the_limit(role: str) -> None:
    """Each within the limit of a frame, together above that of a message."""
    connection = DeflateConnection(role, max_message_size=1 << 20)
    connection.listener.act("on_ws_frame", lambda *_: connection.listener.events.clear())
    data = [
        connection.compressed(CONTINUATION if position else BINARY, BOMB[position:end], fin=False)
        for position, end in zip(range(0, 5000, 100), range(100, 5100, 100))
    ]
    _, peak = memory_of(lambda: connection.feed(*data))
    assert failed_with(connection) == WSCloseCode.MESSAGE_TOO_BIG
    assert peak < (1 << 20) + CONSTANT


@both_roles
@both_contexts
@pytest.mark.parametrize("payload", [b"a" * 3_000_000, RANDOM], ids=["text", "noise"])
def test_a_large_message_is_not_held_twice(role: str, answer: str, payload: bytes) -> None:
    """It has a fourth more room at most while it is inflated."""

    class Sizes(WSListener):
        def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
            sizes.append(frame.payload_size)

    sizes: List[int] = []
    connection = DeflateConnection(role, Sizes(), answer=answer)
    data = connection.compressed(BINARY, deflated(payload))
    _, peak = memory_of(lambda: connection.feed(data))
    assert sizes == [len(payload)]
    assert peak < len(payload) * 1.25 + 2 * len(data) + CONSTANT
