"""picows_codec.coroutines.connection: attributes, pings, closing; the seldom awaited methods."""

from __future__ import annotations

import asyncio
import gc
import inspect
import weakref
from typing import Any

import pytest

from picows_codec import (
    WSConnection,
    WSConnectionClosed,
    WSDisconnectKind,
    WSInvalidCloseError,
    WSState,
    WSTransport,
    broadcast,
)
from picows_codec.coroutines.inbox import Inbox, QueueMarks
from picows_codec.testing import connected
from tests.support.connection import both_roles, finish_closing, kind_of
from tests.support.coroutines import CoroutineConnection
from tests.support.frames import CLOSE, PING, PONG, close_payload


@both_roles
def test_attributes(role: str) -> None:
    link = CoroutineConnection(role)
    ws = link.awaited
    assert isinstance(ws.transport, WSTransport)
    assert ws.transport is link.ws
    assert ws.request is ws.transport.request
    assert ws.response is ws.transport.response
    assert ws.subprotocol is None
    assert ws.remote_address == ws.transport.remote_address
    assert ws.local_address == ws.transport.local_address
    assert ws.state is WSState.OPEN
    assert ws.close_code is None
    assert ws.close_reason is None
    assert ws.latency is None
    assert repr(ws).startswith(f"<WSConnection {role} OPEN peer ")
    link.receive_close(4000, b"why")
    # A client waits for the server to end the stream, but no message can come any more.
    assert (ws.close_code, ws.close_reason) == (4000, "why")
    if role == "client":
        assert ws.state is WSState.CLOSING
        link.feed_eof()
    assert (ws.state, ws.close_code, ws.close_reason) == (WSState.CLOSED, 4000, "why")


@both_roles
def test_close_code_of_this_side(role: str) -> None:
    link = CoroutineConnection(role)
    ws = link.awaited
    ws.leave(4001, "done")
    assert (ws.close_code, ws.close_reason) == (None, None)
    ws.transport.disconnect(graceful=False)
    link.loop.run_ready()
    assert (ws.state, ws.close_code, ws.close_reason) == (WSState.CLOSED, 4001, "done")


def test_of_a_connection_that_is_not_open() -> None:
    with pytest.raises(TypeError, match="open"):
        WSConnection(Inbox(QueueMarks()))
    for arguments in ((), (None,), (7,)):
        with pytest.raises(TypeError, match=r"by connect\(\) of picows_client and serve\(\) of"):
            WSConnection(*arguments)  # type: ignore[arg-type]


@both_roles
def test_close(role: str) -> None:
    link = CoroutineConnection(role)
    receiving = link.start_task(link.awaited.recv())
    task = link.start_task(link.awaited.close(4000, "enough"))
    assert isinstance(receiving.exception(), WSConnectionClosed)
    assert not task.done()
    (frame,) = link.sent()
    assert (frame.opcode, frame.payload) == (CLOSE, close_payload(4000, b"enough"))
    link.receive_close(4000)
    finish_closing(link)
    assert task.done()
    assert task.exception() is None
    link.do(link.awaited.close())
    link.do(link.awaited.wait_closed())


def test_nothing_happens_before_close_is_awaited() -> None:
    link = CoroutineConnection()
    for made in (link.awaited.close(), link.awaited.ping(), link.awaited.wait_closed()):
        assert inspect.iscoroutine(made)
        made.close()
    assert link.sent() == []


def test_close_waits_within_close_timeout() -> None:
    link = CoroutineConnection(close_timeout=3)
    task = link.start_task(link.awaited.close())
    link.loop.advance(2)
    assert not task.done()
    link.loop.advance(5)
    assert task.done()
    assert kind_of(link) is WSDisconnectKind.CLOSE_TIMEOUT


@pytest.mark.parametrize(("code", "reason"), [(1005.5, None), (1006, None), (1000, "x" * 124)])
def test_wrong_closes(code: Any, reason: Any) -> None:
    link = CoroutineConnection()
    with pytest.raises((WSInvalidCloseError, TypeError)):
        link.do(link.awaited.close(code, reason))
    assert link.awaited.state is WSState.OPEN


@both_roles
@pytest.mark.parametrize("failed", [True, False])
def test_leaving_the_block(role: str, failed: bool) -> None:
    link = CoroutineConnection(role)

    async def block() -> None:
        async with link.awaited as ws:
            assert ws is link.awaited
            if failed:
                raise KeyError("in the block")

    task = link.start_task(block())
    code = 1011 if failed and role == "server" else 1000
    (frame,) = link.sent()
    assert (frame.opcode, frame.payload) == (CLOSE, close_payload(code))
    assert not task.done()
    link.receive_close(code)
    finish_closing(link)
    assert (type(task.exception()) is KeyError) is failed


def test_leaving_the_block_twice_cancelled_drops_the_connection() -> None:
    link = CoroutineConnection()

    async def block() -> None:
        async with link.awaited as ws:
            await ws.recv()

    task = link.start_task(block())
    task.cancel()
    link.loop.run_ready()
    assert not task.done()
    assert not link.transport.aborted
    task.cancel()
    link.loop.run_ready()
    assert task.cancelled()
    assert link.transport.aborted


def test_ping() -> None:
    link = CoroutineConnection("client")
    task = link.start_task(link.awaited.ping())
    (frame,) = link.sent()
    assert frame.opcode == PING
    link.receive(PONG, frame.payload)
    assert task.result() >= 0
    assert link.awaited.latency == task.result()


def test_latency_of_automatic_pings() -> None:
    link = CoroutineConnection(enable_auto_ping=True, auto_ping_idle_timeout=5)
    assert link.awaited.latency is None
    link.loop.advance(6)
    (frame,) = link.sent()
    link.receive(PONG, frame.payload)
    first = link.awaited.latency
    assert first is not None
    assert first > 0
    task = link.start_task(link.awaited.ping())
    link.receive(PONG, link.sent()[-1].payload)
    assert link.awaited.latency == task.result()
    link.lose()
    assert link.awaited.latency == task.result()


def test_ping_at_the_end() -> None:
    link = CoroutineConnection()
    task = link.start_task(link.awaited.ping())
    link.lose(OSError("gone"))
    assert isinstance(task.exception(), WSConnectionClosed)
    with pytest.raises(WSConnectionClosed):
        link.do(link.awaited.ping())


def test_broadcast_takes_connections() -> None:
    links = [CoroutineConnection() for _ in range(3)]
    assert broadcast([link.awaited for link in links], "to all") == 3
    for link in links:
        assert [frame.payload for frame in link.sent()] == [b"to all"]


def test_teardown_needs_no_collector(no_collector: None) -> None:
    link = CoroutineConnection()
    link.texts("a")
    link.do(link.awaited.recv())
    task = link.start_task(link.awaited.recv())
    link.receive_close()
    assert isinstance(task.exception(), WSConnectionClosed)
    finish_closing(link)
    watched = weakref.ref(link.awaited), weakref.ref(link.listener)
    del link, task
    assert [each() for each in watched] == [None, None]


@pytest.mark.parametrize(
    "call",
    [
        lambda ws: ws.recv(),
        lambda ws: ws.send("a"),
        lambda ws: ws.send_many(["a"]),
        lambda ws: ws.send(["a", "b"]),
    ],
)
@pytest.mark.parametrize("by_hand", [False, True])
def test_a_loop_that_ends_with_a_waiting_task_leaves_nothing(call: Any, by_hand: bool) -> None:
    link = CoroutineConnection(
        room=0, coalesce_writes=False, write_high_watermark=20, write_low_watermark=10
    )
    link.do(link.awaited.send(b"x" * 30))
    watched = weakref.ref(link.listener)
    made = call(link.awaited)
    if by_hand:
        future = made.send(None)
        future.add_done_callback(made.send)  # a reference cycle
        del future
    else:
        task: asyncio.Task[Any] = link.start_task(made)
        task._log_destroy_pending = False  # type: ignore[attr-defined]
        del task
    del link, made
    gc.collect()
    assert watched() is None


def test_what_decode_is_not() -> None:
    """Mostly a timeout, as other libraries' ``recv`` takes one."""
    ws = connected().connection
    with pytest.raises(TypeError, match=r"not 1; for a timeout write asyncio\.wait_for"):
        ws.recv(1)  # type: ignore[arg-type]
