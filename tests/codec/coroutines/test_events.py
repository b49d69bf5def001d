"""picows_codec.coroutines.events: events that are awaited, and tasks that go on within a read."""

from __future__ import annotations

import asyncio
import contextvars
from typing import Any, Callable, Dict, List

import pytest

from picows_codec.coroutines.events import EventListener
from picows_codec.coroutines.waiter import Waiter
from picows_codec.testing.connected import connected


class Listener(EventListener):
    def __init__(self) -> None:
        self.calls: List[str] = []
        self.may_pause = True
        self.sent: List[Any] = []
        self.gate: Any = None

    def pause_reading(self) -> bool:
        self.calls.append("pause")
        return self.may_pause

    def resume_reading(self) -> None:
        self.calls.append("resume")

    def delivery_stopped(self, transport: Any) -> None:
        self.calls.append("failed")

    async def send_otherwise(self, message: Any) -> None:
        if self.gate is not None:
            await self.gate
        if isinstance(message, Exception):
            raise message
        self.sent.append(message)


def event(number: int) -> Dict[str, Any]:
    return {"type": "test", "number": number}


async def made() -> Listener:
    listener = Listener()
    listener.begin_events(asyncio.get_running_loop())
    return listener


def in_callback(function: Callable[[], Any]) -> asyncio.Future[Any]:
    """Call a function as a loop calls a protocol: outside of any task."""
    loop = asyncio.get_running_loop()
    done = loop.create_future()

    def call() -> None:
        try:
            done.set_result(function())
        except BaseException as error:  # noqa: BLE001
            done.set_exception(error)

    loop.call_soon(call, context=contextvars.Context())
    return done


def test_events_that_wait(run: Any) -> None:
    async def test() -> None:
        listener = await made()
        listener.put_event(event(1))
        listener.put_event(event(2))
        assert listener.calls == ["pause"]
        assert listener.reads_are_paused
        assert listener.queued_events == 2
        assert await listener.receive() == event(1)
        assert listener.calls == ["pause"]
        assert await listener.receive() == event(2)
        assert listener.calls == ["pause", "resume"]
        assert not listener.reads_are_paused

    run(test)


def test_a_task_goes_on_within_the_callback(run: Any) -> None:
    async def test() -> None:
        listener = await made()
        received = []
        variable: contextvars.ContextVar[int] = contextvars.ContextVar("variable", default=0)

        async def receive_all() -> None:
            variable.set(1)
            while True:
                received.append(await listener.receive())
                assert variable.get() == 1
                assert asyncio.current_task() is task

        def put() -> List[Any]:
            listener.put_event(event(1))
            listener.put_event(event(2))
            assert asyncio.current_task() is None
            assert variable.get() == 0
            return list(received)

        task = asyncio.get_running_loop().create_task(receive_all())
        await asyncio.sleep(0)
        assert await in_callback(put) == [event(1), event(2)]
        assert listener.calls == []
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(test)


def test_an_event_that_a_task_brings(run: Any) -> None:
    async def test() -> None:
        listener = await made()
        task = asyncio.get_running_loop().create_task(listener.receive())
        await asyncio.sleep(0)
        listener.put_event(event(1))
        assert not task.done()
        assert await task == event(1)

    run(test)


def test_what_a_task_raises_stays_with_it(run: Any) -> None:
    async def test() -> None:
        listener = await made()

        async def fail() -> None:
            await listener.receive()
            raise ValueError("broken")

        task = asyncio.get_running_loop().create_task(fail())
        await asyncio.sleep(0)
        await in_callback(lambda: listener.put_event(event(1)))
        with pytest.raises(ValueError, match="broken"):
            await task

    run(test)


def test_the_end_comes_last_and_stays(run: Any) -> None:
    async def test() -> None:
        listener = await made()
        waiting = asyncio.get_running_loop().create_task(listener.receive())
        second = asyncio.get_running_loop().create_task(listener.receive())
        await asyncio.sleep(0)
        listener.end_events(event(9))
        listener.end_events(event(10))
        assert await waiting == event(9)
        assert await second == event(9)
        assert (await listener.receive()) is not (await listener.receive())
        assert listener.last_event == event(9)
        listener.put_event(event(1))  # nobody pauses for it
        assert listener.calls == []
        assert await listener.receive() == event(1)
        assert await listener.receive() == event(9)

    run(test)


def test_a_cancelled_receiver_loses_nothing(run: Any) -> None:
    async def test() -> None:
        listener = await made()
        loop = asyncio.get_running_loop()
        first = loop.create_task(listener.receive())
        second = loop.create_task(listener.receive())
        await asyncio.sleep(0)
        listener.put_event(event(1))  # wakes the first one
        first.cancel()
        assert await second == event(1)
        assert first.cancelled()
        third = loop.create_task(listener.receive())
        await asyncio.sleep(0)
        third.cancel()
        listener.put_event(event(2))
        with pytest.raises(asyncio.CancelledError):
            await third
        assert listener.calls == ["pause"]
        assert await listener.receive() == event(2)
        fourth = loop.create_task(listener.receive())
        await asyncio.sleep(0)
        listener.put_event(event(3))
        fourth.cancel()
        with pytest.raises(asyncio.CancelledError):
            await fourth
        assert listener.calls == ["pause", "resume", "pause"]

    run(test)


def test_pauses_that_another_reason_prevents(run: Any) -> None:
    async def test() -> None:
        listener = await made()
        listener.may_pause = False
        listener.put_event(event(1))
        listener.put_event(event(2))
        assert listener.calls == ["pause", "pause"]
        listener.may_pause = True
        listener.pause_if_needed()
        listener.pause_if_needed()
        assert listener.calls == ["pause"] * 3
        listener.forget_pause()
        listener.put_event(event(3))
        assert listener.calls == ["pause"] * 4

    run(test)


def test_an_application_that_only_sends_reads_on(run: Any) -> None:
    async def test() -> None:
        listener = await made()
        await listener.send("first")
        listener.put_event(event(1))
        listener.put_event(event(2))
        await listener.send("second")
        assert listener.calls == ["pause"]
        assert not listener.only_sends
        assert await listener.receive() == event(1)
        await listener.send("third")
        assert listener.calls == ["pause"]
        await listener.send("fourth")
        assert listener.calls == ["pause", "resume"]
        assert listener.only_sends
        assert not listener.reads_are_paused
        listener.put_event(event(3))  # so much has come that reading is paused all the same
        for _ in range(300):
            await listener.send("further")
        assert listener.calls == ["pause", "resume", "pause"]
        assert await listener.receive() == event(2)
        assert not listener.only_sends

    run(test)


def test_the_size_of_what_waits(run: Any) -> None:
    async def test() -> None:
        listener = await made()
        assert listener.queued_size == 0
        listener.put_event({"type": "websocket.connect"})
        listener.put_event({"type": "websocket.receive", "text": "four"})
        listener.put_event({"type": "websocket.receive", "bytes": b"three"})
        listener.put_event({"type": "websocket.receive", "text": "x", "bytes": None})
        assert listener.queued_size == 10
        for _ in range(2):
            await listener.receive()
        assert listener.queued_size == 6

    run(test)


def test_a_connection_that_fails() -> None:
    calls: List[str] = []

    class Failed(Listener):
        def delivery_stopped(self, transport: Any) -> None:
            assert transport.disconnect_cause is not None
            calls.append("failed")

        def on_ws_disconnected(self, transport: Any) -> None:
            calls.append("disconnected")

    peer = connected(Failed(), role="server")
    peer.receive("x", opcode=3)  # reserved
    assert calls == ["failed"]
    peer.receive_eof()
    assert calls == ["failed", "disconnected"]


def test_sending_otherwise(run: Any) -> None:
    async def test() -> None:
        listener = await made()
        await listener.send({"type": "websocket.accept"})
        assert listener.sent == [{"type": "websocket.accept"}]
        with pytest.raises(ValueError, match="broken"):
            await listener.send(ValueError("broken"))
        loop = asyncio.get_running_loop()
        listener.gate = loop.create_future()
        task = loop.create_task(listener.send("late"))
        await asyncio.sleep(0)
        assert listener.sent == [{"type": "websocket.accept"}]
        listener.gate.set_result(None)
        await task
        assert listener.sent[1:] == ["late"]
        listener.gate = loop.create_future()
        task = loop.create_task(listener.send("never"))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert listener.sent[1:] == ["late"]

    run(test)


def test_they_are_coroutines(run: Any) -> None:
    async def test() -> None:
        listener = await made()
        listener.put_event(event(1))
        operation: Any = listener.receive()
        assert await operation == event(1)
        with pytest.raises(RuntimeError, match="already awaited"):
            await operation
        assert await asyncio.wait_for(_after(listener), 10) == event(2)
        assert await asyncio.gather(listener.send("a"), listener.send("b")) == [None, None]
        closed: Any = listener.send("c")
        closed.close()

    async def _after(listener: Listener) -> Any:
        asyncio.get_running_loop().call_soon(listener.put_event, event(2))
        return await listener.receive()

    run(test)


def test_by_hand(run: Any) -> None:
    """What a task does, step by step."""

    async def test() -> None:
        listener = await made()
        operation: Any = listener.receive()
        waiter = operation.send(None)
        assert isinstance(waiter, Waiter)
        assert waiter._asyncio_future_blocking
        waiter._asyncio_future_blocking = False
        assert waiter.get_loop() is asyncio.get_running_loop()
        with pytest.raises(RuntimeError, match="before its event"):
            operation.send(None)
        operation = listener.receive()
        waiter = operation.send(None)
        called: List[Any] = []
        waiter.add_done_callback(called.append, context=contextvars.copy_context())
        assert waiter.remove_done_callback(print) == 0
        assert waiter.remove_done_callback(called.append) in (0, 1)
        waiter.add_done_callback(called.append, context=contextvars.copy_context())
        assert not waiter.done()
        listener.put_event(event(1))
        assert waiter.done()
        assert not waiter.cancelled()
        assert not waiter.cancel()
        assert waiter.result() is None
        assert waiter.exception() is None
        await asyncio.sleep(0)
        assert called == [waiter]
        with pytest.raises(StopIteration) as caught:
            operation.send(None)
        assert caught.value.value == event(1)
        operation = listener.receive()
        operation.send(None)
        with pytest.raises(KeyError):
            operation.throw(KeyError, KeyError("x"), None)
        operation = listener.receive()
        operation.send(None)
        del operation  # dropped while it waits
        listener.put_event(event(2))
        assert listener.queued_events == 1

    run(test)


def test_waiters_are_made_by_the_listener() -> None:
    with pytest.raises(TypeError):
        Waiter()
