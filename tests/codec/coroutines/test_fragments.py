"""picows_codec.coroutines.fragments: iterables as messages, and what stops them."""

from __future__ import annotations

from typing import Any, AsyncIterator, Iterator, List, Tuple

import pytest

from picows_codec import WSConnectionClosed, WSDisconnectKind, WSStateError
from tests.support.connection import both_roles, kind_of
from tests.support.coroutines import CoroutineConnection
from tests.support.frames import BINARY, CLOSE, CONTINUATION, TEXT


def frames_of(link: CoroutineConnection) -> List[Tuple[int, bytes, bool]]:
    return [(frame.opcode, frame.payload, frame.fin) for frame in link.sent()]


async def later(*items: Any) -> AsyncIterator[Any]:
    for item in items:
        yield item


@both_roles
@pytest.mark.parametrize("make", [list, tuple, iter])
def test_iterables(role: str, make: Any) -> None:
    link = CoroutineConnection(role)
    link.do(link.awaited.send(make(["a", "ä", "c"])))
    link.do(link.awaited.send(make([b"a", bytearray(b"b")])))
    link.do(link.awaited.send(make(["one"])))
    link.do(link.awaited.send(make([])))
    assert frames_of(link) == [
        (TEXT, b"a", False),
        (CONTINUATION, "ä".encode(), False),
        (CONTINUATION, b"c", True),
        (BINARY, b"a", False),
        (CONTINUATION, b"b", True),
        (TEXT, b"one", True),
    ]


def test_asynchronous_iterables() -> None:
    link = CoroutineConnection()
    link.do(link.awaited.send(later("a", "b")))
    link.do(link.awaited.send(later(b"a")))
    link.do(link.awaited.send(later()))
    assert frames_of(link) == [
        (TEXT, b"a", False),
        (CONTINUATION, b"b", False),
        (CONTINUATION, b"", True),
        (BINARY, b"a", False),
        (CONTINUATION, b"", True),
    ]


def test_text_or_not() -> None:
    link = CoroutineConnection()
    link.do(link.awaited.send(["a", "ä"], text=False))
    link.do(link.awaited.send([b"a", b"b"], text=True))
    link.do(link.awaited.send(later("ä"), text=False))
    assert [frame[0] for frame in frames_of(link)] == [
        BINARY,
        CONTINUATION,
        TEXT,
        CONTINUATION,
        BINARY,
        CONTINUATION,
    ]


@pytest.mark.parametrize("message", [1, None, object(), {"a": 1}])
def test_wrong_messages(message: Any) -> None:
    link = CoroutineConnection()
    with pytest.raises(TypeError):
        link.do(link.awaited.send(message))
    link.do(link.awaited.send("a"))
    assert frames_of(link) == [(TEXT, b"a", True)]


@pytest.mark.parametrize("items", [[1], [None, "a"]])
def test_a_wrong_first_item(items: Any) -> None:
    link = CoroutineConnection()
    with pytest.raises(TypeError):
        link.do(link.awaited.send(items))
    link.do(link.awaited.send("a"))
    assert frames_of(link) == [(TEXT, b"a", True)]


def fail_after(count: int) -> Iterator[str]:
    for index in range(count):
        yield str(index)
    raise KeyError("fails")


@pytest.mark.parametrize("count", [0, 1])
def test_an_iterable_that_fails_before_a_fragment_was_sent(count: int) -> None:
    link = CoroutineConnection()
    with pytest.raises(KeyError):
        link.do(link.awaited.send(fail_after(count)))
    link.do(link.awaited.send("a"))
    assert frames_of(link) == [(TEXT, b"a", True)]


@pytest.mark.parametrize(
    "message",
    [fail_after(2), ["a", b"b"], ["a", "b", 1], later("a", 1)],
    ids=["exception", "mixed", "last", "asynchronous"],
)
def test_stopped_in_the_middle(message: Any) -> None:
    link = CoroutineConnection()
    other = link.awaited
    with pytest.raises((KeyError, TypeError)):
        link.do(link.awaited.send(message))
    sent = frames_of(link)
    assert sent[0][0] == TEXT
    assert not any(fin for opcode, _, fin in sent if opcode != CLOSE)
    assert sent[-1] == (CLOSE, b"\x03\xf3a message was not finished", True)
    assert kind_of(link) is WSDisconnectKind.LOCAL_ABORT
    with pytest.raises(WSConnectionClosed) as caught:
        link.do(other.send("more"))
    assert caught.value.code == 1011
    assert isinstance(caught.value.__cause__, WSStateError)
    assert "between its fragments" in str(caught.value)
    with pytest.raises(WSConnectionClosed):
        link.do(link.iterate())


def test_cancelled_in_the_middle() -> None:
    link = CoroutineConnection()
    event = link.loop.create_future()

    async def items() -> AsyncIterator[str]:
        yield "a"
        await event
        yield "b"

    task = link.start_task(link.awaited.send(items()))
    waiting = link.start_task(link.awaited.send("waits"))
    receiving = link.start_task(link.awaited.recv())
    link.cancel(task)
    assert isinstance(waiting.exception(), WSConnectionClosed)
    assert isinstance(receiving.exception(), WSConnectionClosed)
    assert frames_of(link) == [
        (TEXT, b"a", False),
        (CLOSE, b"\x03\xf3a message was not finished", True),
    ]


def test_cancelled_before_the_first_fragment() -> None:
    link = CoroutineConnection()
    event = link.loop.create_future()

    async def items() -> AsyncIterator[str]:
        await event
        yield "a"

    task = link.start_task(link.awaited.send(items()))
    waiting = link.start_task(link.awaited.send("waits"))
    assert not waiting.done()
    link.cancel(task)
    assert waiting.done()
    assert frames_of(link) == [(TEXT, b"waits", True)]


def test_two_messages_do_not_mix() -> None:
    link = CoroutineConnection()
    event = link.loop.create_future()

    async def items() -> AsyncIterator[str]:
        yield "a"
        await event
        yield "b"

    first = link.start_task(link.awaited.send(items()))
    second = link.start_task(link.awaited.send(["1", "2"]))
    third = link.start_task(link.awaited.send("3"))
    ping = link.start_task(link.awaited.ping())
    event.set_result(None)
    link.loop.run_ready()
    assert first.done()
    assert second.done()
    assert third.done()
    data = [frame for frame in link.sent() if not frame.opcode & 8]
    assert [frame.payload for frame in data] == [b"a", b"b", b"", b"1", b"2", b"3"]
    link.cancel(ping)


def test_the_end_in_the_middle() -> None:
    link = CoroutineConnection()

    async def items() -> AsyncIterator[str]:
        yield "a"
        link.receive_close(1001)
        yield "b"

    task = link.loop.create_task(link.awaited.send(items()))
    link.loop.run_ready()
    error = task.exception()
    assert isinstance(error, WSConnectionClosed)
    assert error.code == 1001
    assert kind_of(link) is WSDisconnectKind.PEER_CLOSE
