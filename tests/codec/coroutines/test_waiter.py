"""picows_codec.coroutines.waiter: a task goes on within the callback of the read."""

from __future__ import annotations

import asyncio
import contextvars
import sys
from typing import Any, List

import pytest

from picows_codec.coroutines.waiter import Waiter
from tests.support.coroutines import CoroutineConnection
from tests.support.frames import PING, PONG, TEXT


def waiter_of(link: CoroutineConnection) -> Any:
    """Return what a recv that is stepped by hand waits for."""
    return link.awaited.recv().send(None)


def read(link: CoroutineConnection, data: bytes) -> None:
    """Let the loop read these bytes, and do nothing after that: tasks run in running loops only."""
    with link.loop.running():
        link.transport.feed(data)


def test_it_is_made_by_what_is_awaited() -> None:
    with pytest.raises(TypeError, match="made by what is awaited"):
        Waiter()


def test_a_task_goes_on_within_the_read() -> None:
    link = CoroutineConnection()
    task = link.start_task(link.awaited.recv())
    read(link, link.build(TEXT, b"a"))
    assert task.result() == "a"


def test_replies_to_one_read_leave_together() -> None:
    link = CoroutineConnection()

    async def echo() -> None:
        async for message in link.awaited:
            await link.awaited.send(message)

    link.start_task(echo())
    read(link, b"".join(link.build(TEXT, text) for text in (b"a", b"b", b"c")))
    assert [frame.payload for frame in link.sent()] == [b"a", b"b", b"c"]


def test_control_frames_in_between_keep_their_order() -> None:
    link = CoroutineConnection()

    async def echo() -> None:
        async for message in link.awaited:
            await link.awaited.send(message)

    link.start_task(echo())
    read(link, link.build(PING, b"1") + link.build(TEXT, b"a"))
    assert [(frame.opcode, frame.payload) for frame in link.sent()] == [(PONG, b"1"), (TEXT, b"a")]


def test_within_another_task_it_is_the_next_iteration() -> None:
    """Only one task runs at a time."""
    link = CoroutineConnection()
    current: List[Any] = []

    async def receive() -> None:
        await link.awaited.recv()
        current.append(asyncio.current_task(link.loop))

    task = link.start_task(receive())

    async def feed() -> None:
        link.transport.feed(link.build(TEXT, b"a"))
        assert not task.done()

    link.do(feed())
    link.loop.run_ready()
    assert current == [task]


def test_context() -> None:
    """A task has its own, within a callback that has another one, or the same."""
    variable = contextvars.ContextVar("variable", default="outside")
    link = CoroutineConnection()
    seen: List[str] = []

    async def receive() -> None:
        for _ in range(2):
            await link.awaited.recv()
            seen.append(variable.get())
            variable.set("changed")

    context = contextvars.copy_context()
    context.run(variable.set, "of the task")
    task = context.run(link.loop.create_task, receive())
    link.loop.run_ready()
    read(link, link.build(TEXT, b"a"))
    assert seen == ["of the task"]
    assert variable.get() == "outside"
    read(link, link.build(TEXT, b"b"))
    assert seen == ["of the task", "changed"]
    assert task.done()


@pytest.mark.skipif(sys.version_info < (3, 11), reason="tasks make their own contexts")
def test_the_context_of_the_callback() -> None:
    context = contextvars.copy_context()
    link = CoroutineConnection()
    options: Any = {"context": context}
    task = link.loop.create_task(link.awaited.recv(), **options)
    link.loop.run_ready()
    context.run(read, link, link.build(TEXT, b"a"))
    assert not task.done()
    link.loop.run_ready()
    assert task.result() == "a"


def test_what_the_task_raises_is_its_own() -> None:
    link = CoroutineConnection()

    async def fail() -> None:
        await link.awaited.recv()
        raise ValueError

    task = link.start_task(fail())
    read(link, link.build(TEXT, b"a"))
    assert isinstance(task.exception(), ValueError)
    link.texts("b")
    assert link.do(link.awaited.recv()) == "b"


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_what_ends_a_loop_is_raised_by_the_loop(kind: Any) -> None:
    """Not by the callback of the read: uvloop would log it, and go on."""
    link = CoroutineConnection()

    async def leave() -> None:
        await link.awaited.recv()
        raise kind

    task = link.start_task(leave())
    read(link, link.build(TEXT, b"a"))
    assert isinstance(task.exception(), kind)
    with pytest.raises(kind):
        link.loop.run_ready()


def test_a_task_may_drop_the_connection() -> None:
    link = CoroutineConnection()

    async def leave() -> None:
        await link.awaited.recv()
        link.awaited.transport.disconnect(graceful=False)

    task = link.start_task(leave())
    read(link, link.build(TEXT, b"a") * 2)
    link.loop.run_ready()
    assert task.done()
    assert link.do(link.awaited.recv()) == "a"  # it had arrived


@pytest.mark.parametrize("reason", [None, "why"])
def test_cancelled_by_hand(reason: Any) -> None:
    waiter = waiter_of(CoroutineConnection())
    assert not waiter.done()
    assert not waiter.cancelled()
    assert waiter.cancel(reason)
    assert not waiter.cancel()
    assert waiter.done()
    assert waiter.cancelled()
    for ask in (waiter.result, waiter.exception):
        with pytest.raises(asyncio.CancelledError) as caught:
            ask()
        assert caught.value.args == (() if reason is None else (reason,))


@pytest.mark.skipif(sys.version_info < (3, 9), reason="cancellations have no message")
def test_message_of_a_cancellation() -> None:
    """Libraries tell their own cancellations by it."""
    link = CoroutineConnection()
    found: List[Any] = []

    async def receive() -> None:
        try:
            await link.awaited.recv()
        except asyncio.CancelledError as error:
            found.extend(error.args)
            raise

    task = link.start_task(receive())
    task.cancel("by a scope")
    link.loop.run_ready()
    assert task.cancelled()
    assert found == ["by a scope"]


def test_nobody_waits_any_more() -> None:
    waiter = waiter_of(CoroutineConnection())
    calls: List[Any] = []
    waiter.add_done_callback(calls.append)
    assert waiter.remove_done_callback(print) == 0
    assert waiter.remove_done_callback(calls.append) == 1
    waiter.cancel()
    assert calls == []


def test_where_there_are_no_contexts() -> None:
    """Somebody who is no task waits."""
    link = CoroutineConnection()
    made = link.awaited.recv()
    waiter = made.send(None)
    assert waiter.get_loop() is link.loop
    calls: List[Any] = []
    waiter.add_done_callback(calls.append)
    read(link, link.build(TEXT, b"a"))
    assert calls == []
    link.loop.run_ready()
    assert calls == [waiter]
    assert waiter.result() is None
    with pytest.raises(StopIteration) as returned:
        made.send(None)
    assert returned.value.value == "a"
