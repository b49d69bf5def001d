"""Whatever is received, sent and cancelled in whatever order: no message is lost, none is torn."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any, Deque, Dict, List, Optional, Set

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from picows_codec import WSConnectionClosed, WSState
from picows_codec.coroutines.inbox import QueueMarks
from tests.support.coroutines import CoroutineConnection
from tests.support.frames import BINARY, CLOSE, CONTINUATION, TEXT

HIGH, LOW = 6, 2
roles = st.sampled_from(["client", "server"])


class Receiving(RuleBasedStateMachine):
    """One task at a time receives; it may be cancelled at any time."""

    @initialize(role=roles)
    def open(self, role: str) -> None:
        self.link = CoroutineConnection(role, marks=QueueMarks((HIGH, LOW)))
        self.sent: Deque[Any] = deque()
        self.task: Optional[asyncio.Task[Any]] = None
        self.number = 0
        self.is_closed = False

    def next_message(self) -> Any:
        self.number += 1
        return str(self.number) if self.number % 3 else b"%d" % self.number

    def send(self, count: int) -> None:
        data = b""
        for _ in range(count):
            message = self.next_message()
            self.sent.append(message)
            payload = message.encode() if isinstance(message, str) else message
            data += self.link.build(TEXT if isinstance(message, str) else BINARY, payload)
        self.feed(data)

    def feed(self, data: bytes) -> None:
        """Nothing that this makes due runs yet."""
        with self.link.loop.running():
            self.link.transport.feed(data)

    @precondition(lambda self: not self.is_closed and self.link.transport.is_reading())
    @rule(count=st.integers(1, 9))
    def arrive(self, count: int) -> None:
        self.send(count)

    @precondition(lambda self: not self.is_closed and self.link.transport.is_reading())
    @rule()
    def arrive_in_fragments(self) -> None:
        self.number += 1
        text = f"{self.number} in pieces"
        self.sent.append(text)
        self.feed(
            self.link.build(TEXT, text[:3].encode(), fin=False)
            + self.link.build(CONTINUATION, text[3:].encode())
        )

    @precondition(lambda self: not self.is_closed and self.link.transport.is_reading())
    @rule()
    def close(self) -> None:
        self.is_closed = True
        self.link.receive_close()

    @precondition(lambda self: self.task is None)
    @rule(call=st.sampled_from(["recv", "__anext__", "recv_many", "two"]), limit=st.integers(1, 4))
    def receive(self, call: str, limit: int) -> None:
        ws = self.link.awaited
        if call == "recv_many":
            self.task = self.link.loop.create_task(ws.recv_many(limit))
        else:
            self.task = self.link.loop.create_task(getattr(ws, call, ws.recv)())

    @precondition(lambda self: self.task is not None)
    @rule()
    def cancel(self) -> None:
        assert self.task is not None
        self.task.cancel()

    @rule()
    def run(self) -> None:
        self.link.loop.run_ready()
        if self.task is None or not self.task.done():
            return
        task, self.task = self.task, None
        if task.cancelled():
            return
        if task.exception() is not None:
            assert isinstance(task.exception(), (WSConnectionClosed, StopAsyncIteration))
            assert self.is_closed
            assert not self.sent
            return
        result = task.result()
        for message in result if isinstance(result, list) else [result]:
            assert message == self.sent.popleft()
            assert type(message) is (bytes if isinstance(message, bytes) else str)

    @invariant()
    def reading_follows_the_queue(self) -> None:
        if self.is_closed or self.task is not None:
            return
        if len(self.sent) > HIGH:
            assert not self.link.transport.is_reading()
        elif len(self.sent) <= LOW:
            assert self.link.transport.is_reading()

    def teardown(self) -> None:
        if not hasattr(self, "link"):
            return
        self.run()
        if self.task is not None:
            self.task.cancel()
            self.run()
        self.link.lose()
        rest: List[Any] = []
        while self.sent:
            rest += self.link.do(self.link.awaited.recv_many())
            assert [self.sent.popleft() for _ in rest] == rest
            rest = []


class Sending(RuleBasedStateMachine):
    """Many tasks send while the network takes what it likes; each may be cancelled."""

    @initialize(role=roles)
    def open(self, role: str) -> None:
        self.link = CoroutineConnection(
            role,
            room=0,
            coalesce_writes=False,
            write_high_watermark=30,
            write_low_watermark=10,
        )
        self.tasks: Dict[str, asyncio.Task[Any]] = {}
        self.many: List[List[str]] = []
        self.fragmented: Set[str] = set()
        self.number = 0

    def name(self) -> str:
        self.number += 1
        return f"<{self.number}>"

    @rule()
    def send(self) -> None:
        name = self.name()
        self.tasks[name] = self.link.loop.create_task(self.link.awaited.send(name))

    @rule(count=st.integers(1, 4))
    def send_many(self, count: int) -> None:
        names = [self.name() for _ in range(count)]
        self.many.append(names)
        self.tasks["".join(names)] = self.link.loop.create_task(self.link.awaited.send_many(names))

    @rule(count=st.integers(2, 4))
    def send_fragments(self, count: int) -> None:
        name = self.name()
        pieces = [f"{name}{index}" for index in range(count)]
        self.fragmented.add("".join(pieces))
        self.tasks["".join(pieces)] = self.link.loop.create_task(
            self.link.awaited.send(iter(pieces))
        )

    @precondition(lambda self: self.tasks)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.tasks)))
        if name not in self.fragmented:  # which would perhaps end the connection
            self.tasks[name].cancel()

    @rule()
    def run(self) -> None:
        self.link.loop.run_ready()

    @rule(size=st.integers(1, 60))
    def drain(self, size: int) -> None:
        self.link.transport.drain(size)

    @rule()
    def drain_all(self) -> None:
        self.link.drain()

    def teardown(self) -> None:
        if not hasattr(self, "link"):
            return
        self.link.transport.room = None
        for _ in range(2 + len(self.tasks) * 5):
            self.link.drain()
        assert all(task.done() for task in self.tasks.values())
        messages: List[str] = []
        open_message = ""
        for frame in self.link.sent():
            assert (frame.opcode == CONTINUATION) is bool(open_message)
            open_message += frame.payload.decode()
            if frame.fin:
                messages.append(open_message)
                open_message = ""
        assert not open_message
        expected: List[str] = []
        several = {"".join(names): names for names in self.many}
        for name, task in self.tasks.items():
            if not task.cancelled():
                assert task.exception() is None
                expected += several.get(name, [name])
        cancelled = {
            part
            for name, task in self.tasks.items()
            if task.cancelled()
            for part in several.get(name, [])
        }
        # A cancelled send has sent nothing; a cancelled send_many perhaps its first messages.
        assert [message for message in messages if message not in cancelled] == expected


class Ending(RuleBasedStateMachine):
    """Whatever is cancelled, dropped or ended: whole messages, or half a one and then no other."""

    @initialize(role=roles)
    def open(self, role: str) -> None:
        self.link = CoroutineConnection(
            role, room=0, coalesce_writes=False, write_high_watermark=30, write_low_watermark=10
        )
        self.tasks: List[asyncio.Task[Any]] = []
        self.by_hand: List[Any] = []
        self.number = 0

    def begin(self, *parts: str) -> Any:
        self.number += 1
        if len(parts) == 1:
            return self.link.awaited.send(f"<{self.number}>")
        return self.link.awaited.send(iter([f"<{self.number}", *parts, ">"]))

    @rule(count=st.integers(1, 4))
    def send(self, count: int) -> None:
        self.tasks.append(self.link.loop.create_task(self.begin(*"abcd"[:count])))

    @rule()
    def step_by_hand(self) -> None:
        made = self.begin("a")
        asyncio._set_running_loop(self.link.loop)
        try:
            made.send(None)
        except (StopIteration, WSConnectionClosed):
            return
        finally:
            asyncio._set_running_loop(None)
        self.by_hand.append(made)

    @precondition(lambda self: self.by_hand)
    @rule(data=st.data(), close=st.booleans())
    def drop(self, data: st.DataObject, close: bool) -> None:
        made = self.by_hand.pop(data.draw(st.integers(0, len(self.by_hand) - 1)))
        if close:
            made.close()

    @precondition(lambda self: self.tasks)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        data.draw(st.sampled_from(self.tasks)).cancel()

    @rule(size=st.integers(1, 60))
    def drain(self, size: int) -> None:
        self.link.transport.drain(size)

    @rule()
    def run(self) -> None:
        self.link.loop.run_ready()

    @rule(how=st.sampled_from(["close", "peer", "lost"]))
    def end(self, how: str) -> None:
        if self.number < 6:  # most runs send something first
            return
        if how == "close":
            self.link.awaited.leave(4000)
        elif how == "lost":
            self.link.lose()
        elif self.link.awaited.state is WSState.OPEN:
            self.link.receive_close(4001)

    def teardown(self) -> None:
        if not hasattr(self, "link"):
            return
        self.by_hand.clear()
        self.link.transport.room = None
        for _ in range(2 + len(self.tasks) * 6):
            self.link.drain()
        assert all(task.done() for task in self.tasks)
        failed = [task.exception() for task in self.tasks if not task.cancelled()]
        closing = [error for error in failed if error is not None]
        assert all(isinstance(error, WSConnectionClosed) for error in closing)
        sent = self.link.sent()
        text = ""
        for index, frame in enumerate(sent):
            if frame.opcode == CLOSE:
                assert index == len(sent) - 1
                break
            assert (frame.opcode == CONTINUATION) is (text.count("<") > text.count(">"))
            text += frame.payload.decode()
        torn = text.count("<") > text.count(">")
        if torn:  # half a message: then there is nothing after it
            assert self.link.awaited.state is not WSState.OPEN
            assert self.link.ws.disconnect_cause is not None
        if self.link.awaited.state is WSState.OPEN:
            assert not closing
            assert self.link.do(self.link.awaited.send("last")) is None


TestReceiving = Receiving.TestCase
TestReceiving.settings = settings(max_examples=40, stateful_step_count=30)
TestEnding = Ending.TestCase
TestEnding.settings = settings(max_examples=60, stateful_step_count=40)
TestSending = Sending.TestCase
TestSending.settings = settings(max_examples=40, stateful_step_count=30)
