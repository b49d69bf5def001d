"""The end: who waits for it, what on_ws_disconnected sees, and what holds after it."""

from __future__ import annotations

import asyncio
import gc
from typing import Any, List

import pytest

from picows_codec import (
    WSDisconnectKind,
    WSState,
    WSStateError,
    WSTransport,
)
from tests.support.connection import Connection, Recorder, both_roles, kind_of
from tests.support.frames import TEXT

# Waiting for the end


@both_roles
def test_wait_disconnected(role: str) -> None:
    connection = Connection(role)
    ws = connection.ws
    tasks = [connection.loop.create_task(ws.wait_disconnected()) for _ in range(3)]
    tasks.append(connection.loop.create_task(ws.wait_until_closed()))
    connection.loop.run_ready()
    assert not any(task.done() for task in tasks)
    tasks[0].cancel()
    connection.loop.run_ready()
    told: List[bool] = []
    connection.listener.act(
        "on_ws_disconnected", lambda transport: told.append(tasks[1].done() or tasks[2].done())
    )
    connection.lose()
    assert told == [False]
    assert tasks[0].cancelled()
    assert [task.result() for task in tasks[1:]] == [None] * 3
    assert connection.loop.run(ws.wait_disconnected()) is None


@both_roles
def test_waiters_that_give_up_are_forgotten(role: str) -> None:
    connection = Connection(role)
    for _ in range(1000):
        task = connection.loop.create_task(connection.ws.wait_disconnected())
        connection.loop.run_ready()
        task.cancel()
        connection.loop.run_ready()
    futures = [each for each in _referents(connection.endpoint) if isinstance(each, asyncio.Future)]
    assert len(futures) <= 1


def _referents(endpoint: Any) -> List[Any]:
    found: List[Any] = []
    for each in gc.get_referents(endpoint):
        found += each if isinstance(each, list) else [each]
    return found


@both_roles
def test_waiters_are_told_although_the_listener_raises(role: str) -> None:
    def handler(transport: WSTransport) -> None:
        raise LookupError("as asked for")

    connection = Connection(role, Recorder().act("on_ws_disconnected", handler))
    task = connection.loop.create_task(connection.ws.wait_disconnected())
    connection.loop.run_ready()
    connection.lose()
    assert task.done()
    assert any("on_ws_disconnected" in line for line in connection.log.lines)
    assert kind_of(connection) is WSDisconnectKind.CONNECTION_LOST


@both_roles
def test_waiters_are_told_although_the_listener_is_interrupted(role: str) -> None:
    def handler(transport: WSTransport) -> None:
        raise KeyboardInterrupt

    connection = Connection(role, Recorder().act("on_ws_disconnected", handler))
    task = connection.loop.create_task(connection.ws.wait_disconnected())
    connection.loop.run_ready()
    with pytest.raises(KeyboardInterrupt):
        connection.lose()
    connection.loop.run_ready()
    assert task.done()


# The end, seen from on_ws_disconnected and after it


@both_roles
def test_inside_on_ws_disconnected(role: str) -> None:
    def handler(transport: WSTransport) -> None:
        seen.append((transport.state, transport.disconnect_cause, transport.underlying_transport))
        transport.disconnect()
        transport.disconnect(graceful=False)
        try:
            transport.send(TEXT, b"x")
        except WSStateError as error:
            seen.append(str(error))

    seen: List[Any] = []
    connection = Connection(role, Recorder().act("on_ws_disconnected", handler))
    connection.lose()
    assert seen[0] == (WSState.CLOSED, connection.cause, None)
    assert seen[1] == "cannot send <WSMsgType.TEXT: 1>: the connection is closed"
    assert connection.listener.count("disconnected") == 1
    assert connection.log.lines == []


@both_roles
def test_after_the_end(role: str) -> None:
    connection = Connection(role)
    ws = connection.ws
    connection.lose()
    assert connection.endpoint.transport is None
    assert connection.endpoint.listener is None
    assert connection.listener.transport is ws
    for send in (
        lambda: ws.send(TEXT, b"x"),
        lambda: ws.send_reuse_external_bytearray(TEXT, bytearray(20), 14),
        ws.send_ping,
        ws.send_pong,
        ws.ping,
        ws.pong,
        ws.send_close,
    ):
        with pytest.raises(WSStateError, match="the connection is closed"):
            send()
    with pytest.raises(WSStateError, match="the connection is closed"):
        connection.loop.run(ws.measure_roundtrip_time())
    with ws.cork():
        pass
    ws.notify_user_specific_pong_received()
    ws.disconnect()
    assert ws.request is not None
    assert ws.response is not None
    assert ws.underlying_transport is None
    assert ws.write_queue_size == 0
    assert not ws.is_secure
    target = "ws://localhost/" if role == "client" else "/"
    assert repr(ws) == f"<WSTransport {role} CLOSED {target} peer unknown address>"
    # What a transport calls too late has no effect.
    endpoint = connection.endpoint
    endpoint.data_received(b"more")
    endpoint.eof_received()
    endpoint.pause_writing()
    endpoint.resume_writing()
    endpoint.connection_lost(None)
    assert connection.listener.events == [("connected",), ("disconnected",)]
