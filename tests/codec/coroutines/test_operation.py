"""picows_codec.coroutines.operation: receiving, sending, cancelling; what asyncio wants."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from typing import Any, Callable, List

import pytest

from picows_codec import (
    WSConnection,
    WSConnectionClosed,
    WSMsgType,
    WSPreparedMessage,
    WSStateError,
    WSThreadError,
)
from picows_codec.coroutines.inbox import QueueMarks
from tests.support.connection import both_roles
from tests.support.coroutines import CoroutineConnection
from tests.support.frames import BINARY, CLOSE, TEXT

# A queue of 20 bytes pauses writing.
SMALL = {"write_high_watermark": 20, "write_low_watermark": 10}

Calls = Callable[[Any], Any]

every_call = pytest.mark.parametrize(
    "call",
    [
        lambda ws: ws.recv(),
        lambda ws: ws.recv_many(),
        lambda ws: ws.__anext__(),
        lambda ws: ws.send("x"),
        lambda ws: ws.send_many(["x"]),
    ],
    ids=["recv", "recv_many", "__anext__", "send", "send_many"],
)


def paused(role: str = "server", **options: Any) -> CoroutineConnection:
    """A connection with a full write queue, of which nothing was looked at."""
    link = CoroutineConnection(role, room=0, coalesce_writes=False, **{**SMALL, **options})
    link.do(link.awaited.send(b"x" * 30))
    link.sent()
    return link


def payloads(link: CoroutineConnection) -> List[bytes]:
    return [frame.payload for frame in link.sent()]


# Coroutines


@every_call
def test_nothing_happens_before_it_is_awaited(call: Calls) -> None:
    link = CoroutineConnection()
    link.texts("a")
    made = call(link.awaited)
    assert link.sent() == []
    made.close()
    assert link.do(link.awaited.recv_many()) == ["a"]
    assert link.sent() == []


@every_call
def test_by_hand(call: Calls) -> None:
    """What a task does, without one: also where CPython uses the iterator."""
    link = CoroutineConnection()
    link.texts("a")
    made = call(link.awaited)
    with pytest.raises(StopIteration):
        made.send(None)
    made = call(link.awaited)
    link.texts("b")
    with pytest.raises(StopIteration):
        next(iter(made.__await__()))
    with pytest.raises(RuntimeError, match="already awaited"):
        next(made)


def test_a_future_that_is_not_done() -> None:
    link = CoroutineConnection()
    made = link.awaited.recv()
    assert not made.send(None).done()
    with pytest.raises(RuntimeError, match="before what it waits for had come"):
        made.send(None)
    # That is the end of it.
    assert link.start_task(link.awaited.recv()).cancel()
    link.loop.run_ready()


@every_call
def test_what_is_thrown_takes_no_message(call: Calls) -> None:
    link = CoroutineConnection()
    with pytest.raises(KeyError):
        call(link.awaited).throw(KeyError("k"))
    waiting = link.awaited.recv()
    waiting.send(None)
    with pytest.raises(KeyError):
        waiting.throw(KeyError("k"))
    link.texts("a")
    assert link.do(link.awaited.recv()) == "a"


@every_call
def test_another_thread(call: Calls) -> None:
    link = CoroutineConnection()
    errors: List[BaseException] = []

    def use() -> None:
        try:
            call(link.awaited).send(None)
        except BaseException as error:  # noqa: BLE001
            errors.append(error)

    thread = threading.Thread(target=use)
    thread.start()
    thread.join()
    assert isinstance(errors[0], WSThreadError)


# Receiving


@both_roles
def test_waiting(role: str) -> None:
    link = CoroutineConnection(role)
    task = link.start_task(link.awaited.recv())
    assert not task.done()
    link.texts("a", "b")
    assert task.result() == "a"
    assert link.do(link.awaited.recv()) == "b"


def test_decode() -> None:
    link = CoroutineConnection()
    link.receive(TEXT, "ä".encode())
    link.receive(BINARY, "ä".encode())
    link.receive(TEXT, "ä".encode())
    link.receive(BINARY, "ä".encode())
    link.receive(BINARY, b"\xff")
    link.texts("last")
    ws = link.awaited
    assert link.do(ws.recv(decode=False)) == "ä".encode()
    assert link.do(ws.recv(decode=False)) == "ä".encode()
    assert link.do(ws.recv(True)) == "ä"
    assert link.do(ws.recv(True)) == "ä"
    with pytest.raises(UnicodeDecodeError):
        link.do(ws.recv(True))
    assert link.do(ws.recv(True)) == "last"


def test_many() -> None:
    link = CoroutineConnection()
    task = link.start_task(link.awaited.recv_many())
    link.texts("a", "b", "c")
    assert task.result() == ["a", "b", "c"]
    link.texts("d", "e", "f")
    assert link.do(link.awaited.recv_many(limit=2)) == ["d", "e"]
    assert link.do(link.awaited.recv_many(5)) == ["f"]


@pytest.mark.parametrize("limit", [0, -1])
def test_wrong_limits(limit: int) -> None:
    link = CoroutineConnection()
    with pytest.raises(ValueError, match="limit"):
        link.awaited.recv_many(limit)
    with pytest.raises(TypeError):
        link.awaited.recv_many("1")  # type: ignore[arg-type]


def test_a_second_receiver() -> None:
    link = CoroutineConnection()
    first = link.start_task(link.awaited.recv())
    for call in (link.awaited.recv, link.awaited.recv_many, link.awaited.__anext__):
        with pytest.raises(WSStateError, match="another task"):
            link.do(call())
    link.texts("a", "b")
    assert first.result() == "a"
    assert link.do(link.awaited.recv()) == "b"


def test_a_second_receiver_before_the_first_has_run() -> None:
    link = CoroutineConnection()
    first = link.start_task(link.awaited.recv())

    async def feed_and_receive() -> None:
        link.transport.feed(link.build(TEXT, b"a"))  # the other task goes on after this one
        with pytest.raises(WSStateError, match="another task"):
            link.awaited.recv().send(None)

    link.do(feed_and_receive())
    link.loop.run_ready()
    assert first.result() == "a"


def test_a_receiver_that_is_dropped() -> None:
    link = CoroutineConnection()
    made = link.awaited.recv()
    made.send(None)
    del made
    gc.collect()
    task = link.start_task(link.awaited.recv())
    link.texts("a")
    assert task.result() == "a"


@pytest.mark.parametrize("arrives", ["before", "after", "never"])
def test_cancelling_a_recv_loses_nothing(arrives: str) -> None:
    link = CoroutineConnection()
    task = link.start_task(link.awaited.recv())

    async def feed_and_cancel() -> None:
        link.transport.feed(link.build(TEXT, b"a"))  # the other task goes on after this one
        task.cancel()

    if arrives == "before":
        link.do(feed_and_cancel())
    task.cancel()
    if arrives == "after":
        link.transport.feed(link.build(TEXT, b"a"))
    link.loop.run_ready()
    assert task.cancelled()
    link.texts("b")
    expected = ["b"] if arrives == "never" else ["a", "b"]
    assert link.do(link.awaited.recv_many()) == expected


def test_a_consumer_that_never_waits_lets_the_loop_run() -> None:
    link = CoroutineConnection()
    link.texts(*map(str, range(2000)))
    other: List[int] = []
    taken: List[Any] = []

    async def consume() -> None:
        while len(taken) < 2000:
            taken.append(await link.awaited.recv())

    def count() -> None:
        other.append(len(taken))
        if len(taken) < 2000:
            link.loop.call_soon(count)

    link.loop.call_soon(count)
    link.start_task(consume())
    assert max(after - before for before, after in zip(other, other[1:])) <= 256
    assert taken == [str(index) for index in range(2000)]


def test_cancelled_where_it_lets_the_loop_run() -> None:
    link = CoroutineConnection()
    link.texts(*map(str, range(600)))
    taken: List[Any] = []

    async def consume() -> None:
        async for message in link.awaited:
            taken.append(message)

    task = link.loop.create_task(consume())
    link.loop.call_soon(link.loop.call_soon, task.cancel)
    link.loop.run_ready()
    assert task.cancelled()
    taken += link.do(link.awaited.recv_many())
    assert taken == [str(index) for index in range(600)]


# Sending


@both_roles
def test_messages(role: str) -> None:
    link = CoroutineConnection(role)
    for message in ("ä", b"b", bytearray(b"c"), memoryview(b"d"), ""):
        link.do(link.awaited.send(message))
    assert [(frame.opcode, frame.payload) for frame in link.sent()] == [
        (TEXT, "ä".encode()),
        (BINARY, b"b"),
        (BINARY, b"c"),
        (BINARY, b"d"),
        (TEXT, b""),
    ]


def test_text_or_not() -> None:
    link = CoroutineConnection()
    link.do(link.awaited.send(b"a", text=True))
    link.do(link.awaited.send("ä", text=False))
    link.do(link.awaited.send("a", True))
    link.do(link.awaited.send(b"a", False))
    assert [frame.opcode for frame in link.sent()] == [TEXT, BINARY, TEXT, BINARY]


def test_a_str_with_surrogates() -> None:
    link = CoroutineConnection()
    with pytest.raises(UnicodeEncodeError):
        link.do(link.awaited.send("\ud800"))
    link.do(link.awaited.send("a"))
    assert payloads(link) == [b"a"]


@both_roles
def test_it_waits_while_writing_is_paused(role: str) -> None:
    link = paused(role)
    tasks = [link.start_task(link.awaited.send(text)) for text in "abc"]
    assert not any(task.done() for task in tasks)
    assert link.sent() == []
    link.transport.room = None
    link.drain()
    assert all(task.done() for task in tasks)
    assert payloads(link) == [b"a", b"b", b"c"]


def test_nobody_overtakes() -> None:
    link = paused()
    first = link.start_task(link.awaited.send(b"1" * 25))
    second = link.start_task(link.awaited.send("2"))
    link.transport.drain()  # the first one is called, and has not run
    third = link.loop.create_task(link.awaited.send("3"))
    link.loop.run_ready()
    assert first.done()  # which fills the queue
    assert not second.done()
    assert not third.done()
    link.drain()
    link.drain()
    assert [text[:1] for text in payloads(link)] == [b"1", b"2", b"3"]


@pytest.mark.parametrize("when", ["waiting", "called"])
def test_a_cancelled_send_has_sent_nothing_and_lets_others_go_on(when: str) -> None:
    link = paused()
    first = link.start_task(link.awaited.send("1"))
    second = link.start_task(link.awaited.send("2"))
    if when == "called":
        link.transport.drain()
    first.cancel()
    if when == "waiting":
        link.transport.drain()
    link.loop.run_ready()
    assert first.cancelled()
    assert second.done()
    assert payloads(link) == [b"2"]


def test_a_failed_send_lets_others_go_on() -> None:
    link = paused()
    first = link.start_task(link.awaited.send("\ud800"))
    second = link.start_task(link.awaited.send("2"))
    link.drain()
    assert isinstance(first.exception(), UnicodeEncodeError)
    assert second.done()


def test_many_messages() -> None:
    link = CoroutineConnection()
    link.do(link.awaited.send_many(iter(["a", b"b", memoryview(b"c")])))
    link.do(link.awaited.send_many([]))
    writes = len(link.transport.writes)
    assert [(frame.opcode, frame.payload) for frame in link.sent()] == [
        (TEXT, b"a"),
        (BINARY, b"b"),
        (BINARY, b"c"),
    ]
    assert writes == 2  # the opening handshake, and one for all


def test_many_with_prepared_ones() -> None:
    link = CoroutineConnection()
    prepared = WSPreparedMessage(WSMsgType.TEXT, "p")
    link.do(link.awaited.send_many(["a", prepared, b"b", memoryview(b"c"), prepared]))
    writes = len(link.transport.writes)
    assert [(frame.opcode, frame.payload) for frame in link.sent()] == [
        (TEXT, b"a"),
        (TEXT, b"p"),
        (BINARY, b"b"),
        (BINARY, b"c"),
        (TEXT, b"p"),
    ]
    assert writes == 2


def test_many_with_a_wrong_one() -> None:
    link = CoroutineConnection()
    prepared = WSPreparedMessage(WSMsgType.TEXT, "p")
    with pytest.raises(TypeError, match="int"):
        link.awaited.send_many([prepared, 1])  # type: ignore[list-item]
    with pytest.raises(TypeError, match="int"):
        link.awaited.send_many(["a", 1])  # type: ignore[list-item]
    with pytest.raises(TypeError):
        link.awaited.send_many(1)  # type: ignore[arg-type]
    assert link.sent() == []


def test_many_wait_between_messages() -> None:
    link = CoroutineConnection(room=0, coalesce_writes=False, **SMALL)
    size = 100_000  # more than what is corked
    task = link.start_task(link.awaited.send_many([bytes(size)] * 5))
    assert not task.done()
    other = link.start_task(link.awaited.send("other"))
    for _ in range(20):
        link.drain()
    assert task.done()
    assert other.done()
    assert [len(payload) for payload in payloads(link)] == [size] * 5 + [5]


@pytest.mark.parametrize("call", [lambda ws: ws.send("a"), lambda ws: ws.send_many(["a"])])
def test_senders_learn_of_the_end(call: Calls) -> None:
    link = paused()
    waiting = [link.start_task(call(link.awaited)) for _ in range(2)]
    link.lose(OSError("gone"))
    for task in waiting:
        error = task.exception()
        assert isinstance(error, WSConnectionClosed)
        assert error.code == 1006
        assert isinstance(error.__cause__, OSError)
    with pytest.raises(WSConnectionClosed):
        link.do(call(link.awaited))


def test_senders_learn_of_the_peers_close() -> None:
    link = paused()
    task = link.start_task(link.awaited.send("a"))
    link.receive_close(1001)
    error = task.exception()
    assert isinstance(error, WSConnectionClosed)
    assert error.code == 1001
    assert link.sent()[-1].opcode == CLOSE


@pytest.mark.parametrize("call", [lambda ws: ws.send("a"), lambda ws: ws.send_many(["a"])])
def test_a_sender_that_is_dropped_lets_others_go_on(call: Calls) -> None:
    link = paused()
    dropped = call(link.awaited)
    asyncio._set_running_loop(link.loop)
    try:
        assert dropped.send(None) is not None
    finally:
        asyncio._set_running_loop(None)
    second = link.start_task(link.awaited.send("2"))
    del dropped
    link.drain()
    assert second.done()
    assert payloads(link) == [b"2"]


@both_roles
def test_a_pause_before_the_opening(role: str) -> None:
    """The opening handshake itself may fill the queue; whoever sends then must hear of its end."""
    link = CoroutineConnection(role, open=False, **SMALL)
    link.transport.room = 0
    link.start()
    link.open()
    ws = WSConnection(link.listener)
    task = link.start_task(ws.send("a"))
    assert not task.done()
    link.drain()
    assert task.done()
    assert payloads(link)[-1] == b"a"


def test_prepared_messages() -> None:
    link = paused()
    prepared = WSPreparedMessage(TEXT, "prepared")
    task = link.start_task(link.awaited.send(prepared))
    assert not task.done()
    link.drain()
    assert task.done()
    assert [(frame.opcode, frame.payload) for frame in link.sent()] == [(TEXT, b"prepared")]


@pytest.mark.parametrize(
    ("messages", "error"),
    [
        (["a", "\ud800"], UnicodeEncodeError),
        (["a", memoryview(b"abcd")[::2]], BufferError),
        (["a", None], TypeError),
        (["a", ["b"]], TypeError),
        ("text", TypeError),
        (b"bytes", TypeError),
        (None, TypeError),
    ],
)
def test_many_of_which_one_cannot_be_sent(messages: Any, error: Any) -> None:
    link = CoroutineConnection()
    with pytest.raises(error):
        link.awaited.send_many(messages)
    assert link.sent() == []


# Objects that are used again


def test_an_operation_that_somebody_keeps_is_not_used_again() -> None:
    link = CoroutineConnection()
    link.texts("a", "b", "c")
    kept = link.awaited.recv()
    assert link.do(kept) == "a"
    others = [link.awaited.recv() for _ in range(40)]
    assert all(other is not kept for other in others)
    assert link.do(others[0]) == "b"
    with pytest.raises(RuntimeError, match="already awaited"):
        kept.send(None)
    for other in others:
        other.close()
    del others, other
    assert link.do(link.awaited.recv()) == "c"


def test_nothing_of_an_earlier_use_is_left() -> None:
    first, second = CoroutineConnection(), CoroutineConnection()
    first.receive(TEXT, b"1")
    first.receive(TEXT, b"2")
    second.receive(TEXT, b"3")
    assert first.do(first.awaited.recv(decode=False)) == b"1"
    assert first.do(first.awaited.recv_many(5)) == ["2"]
    assert second.do(second.awaited.recv()) == "3"
    first.do(first.awaited.send("a", text=False))
    second.do(second.awaited.send("b"))
    first.do(first.awaited.send_many(["c", "d"]))
    second.do(second.awaited.send_many(["e", "f"]))
    assert [(frame.opcode, frame.payload) for frame in first.sent()] == [
        (BINARY, b"a"),
        (TEXT, b"c"),
        (TEXT, b"d"),
    ]
    assert [(frame.opcode, frame.payload) for frame in second.sent()] == [
        (TEXT, b"b"),
        (TEXT, b"e"),
        (TEXT, b"f"),
    ]


@every_call
def test_an_ended_operation_keeps_nothing(call: Calls, no_collector: None) -> None:
    link = CoroutineConnection()
    link.texts("a")
    made = call(link.awaited)
    link.loop.run(made)
    watched = weakref.ref(link.listener)
    link.lose()
    del link
    assert watched() is None
    made.close()


def test_dropped_because_of_an_exception() -> None:
    """The warning about it does not replace the exception."""
    link = CoroutineConnection()

    with pytest.raises(ZeroDivisionError), pytest.warns(RuntimeWarning, match="never awaited"):
        _ = [link.awaited.send("a"), 1 / 0]


def test_receiving_and_sending_do_not_wait_for_each_other() -> None:
    link = paused(marks=QueueMarks((1, 0)))
    receiving = link.start_task(link.awaited.recv())
    sending = link.start_task(link.awaited.send("a"))
    link.texts("b")
    assert receiving.result() == "b"
    assert not sending.done()
    link.drain()
    assert sending.done()
