"""A peer that takes bytes slowly: pause_writing, resume_writing, the hard cap of the queue."""

from __future__ import annotations

from typing import Any

import pytest

from picows_codec import (
    WSDisconnectKind,
    WSSlowConsumer,
    WSState,
    WSTransport,
)
from tests.support.connection import Connection, Recorder, both_roles
from tests.support.frames import BINARY, CLOSE, PING, PONG, TEXT, Frame

# The slow peer


@both_roles
def test_pause_and_resume(role: str) -> None:
    connection = Connection(
        role,
        room=100,
        write_high_watermark=1000,
        write_low_watermark=200,
        coalesce_writes=False,
    )
    connection.ws.send(BINARY, b"x" * 500)
    assert connection.listener.events == [("connected",)]
    connection.ws.send(BINARY, b"x" * 1000)
    connection.ws.send(BINARY, b"x" * 1000)
    assert connection.listener.events == [("connected",), ("paused",)]
    connection.drain(1500)
    assert connection.listener.events == [("connected",), ("paused",)]
    connection.drain(900)
    assert connection.listener.events == [("connected",), ("paused",), ("resumed",)]
    connection.ws.send(BINARY, b"x" * 2000)
    assert connection.listener.count("paused") == 2
    assert len(connection.sent()) == 4


@both_roles
def test_pause_that_the_listener_never_heard_of(role: str) -> None:
    connection = Connection(role)
    # A transport with a queue of its own (TLS) may pause at any time.
    connection.endpoint.pause_writing()
    connection.endpoint.resume_writing()
    assert connection.listener.events == [("connected",)]
    connection.endpoint.pause_writing()
    connection.ws.send(TEXT, b"x")
    connection.endpoint.resume_writing()
    assert connection.listener.events == [("connected",), ("paused",), ("resumed",)]


@both_roles
def test_listener_that_sends_in_pause_and_resume(role: str) -> None:
    listener = Recorder()
    listener.act("pause_writing", lambda transport: transport.send(TEXT, b"in pause"))
    listener.act("resume_writing", lambda transport: transport.send(TEXT, b"in resume"))
    connection = Connection(role, listener, room=0, write_high_watermark=1000)
    connection.ws.send(BINARY, b"x" * 2000)
    connection.ws.send(TEXT, b"after")
    connection.drain()
    assert [frame.payload for frame in connection.sent()] == [
        b"x" * 2000,
        b"in pause",
        b"after",
        b"in resume",
    ]
    assert listener.events == [("connected",), ("paused",), ("resumed",)]


@both_roles
def test_listener_that_fills_the_queue_in_resume(role: str) -> None:
    listener = Recorder()
    listener.act("resume_writing", lambda transport: transport.send(BINARY, b"y" * 2000))
    connection = Connection(role, listener, room=0, write_high_watermark=1000)
    connection.ws.send(BINARY, b"x" * 2000)
    connection.receive(PING, b"p")
    for _ in range(3):
        connection.drain()
    assert [frame.opcode for frame in connection.sent()] == [BINARY] * 4
    assert listener.events == [("connected",), *[("paused",), ("resumed",)] * 3, ("paused",)]
    listener.actions.clear()
    connection.drain()
    assert connection.sent() == [Frame(PONG, b"p")]


@both_roles
@pytest.mark.parametrize("callback", ["pause_writing", "resume_writing"])
@pytest.mark.parametrize("tolerant", [True, False])
def test_pause_and_resume_that_raise(role: str, callback: str, tolerant: bool) -> None:
    def handler(transport: WSTransport) -> None:
        raise LookupError("as asked for")

    listener = Recorder().act(callback, handler)
    connection = Connection(
        role, listener, room=0, write_high_watermark=1000, disconnect_on_exception=not tolerant
    )
    connection.ws.send(BINARY, b"x" * 2000)
    connection.receive(PING, b"p")
    connection.drain()
    assert any(callback in line for line in connection.log.lines)
    opcodes = [frame.opcode for frame in connection.sent()]
    if tolerant:
        assert opcodes == [BINARY, PONG]
        assert connection.cause is None
    else:
        assert opcodes == [BINARY, CLOSE]
        assert connection.cause is not None
        assert connection.cause.kind is WSDisconnectKind.LISTENER_EXCEPTION


@both_roles
@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_resume_that_is_interrupted(role: str, kind: Any) -> None:
    def interrupt(transport: WSTransport) -> None:
        raise kind

    listener = Recorder().act("resume_writing", interrupt)
    connection = Connection(role, listener, room=0, write_high_watermark=1000)
    connection.ws.send(BINARY, b"x" * 2000)
    with pytest.raises(kind):
        connection.drain()
    connection.loop.run_ready()
    assert connection.transport.aborted
    assert listener.count("disconnected") == 1


@both_roles
@pytest.mark.parametrize("graceful", [True, False])
@pytest.mark.parametrize("callback", ["pause_writing", "resume_writing"])
def test_disconnect_in_pause_and_resume(role: str, callback: str, graceful: bool) -> None:
    listener = Recorder().act(callback, lambda transport: transport.disconnect(graceful))
    connection = Connection(role, listener, room=0, write_high_watermark=1000, close_timeout=1.0)
    connection.ws.send(BINARY, b"x" * 2000)
    connection.loop.run_ready()
    if not connection.transport.lost:
        connection.drain()
    connection.loop.advance(1.1)
    assert connection.transport.lost
    assert listener.count("disconnected") == 1


@both_roles
def test_slow_consumer(role: str) -> None:
    connection = Connection(role, room=0, write_high_watermark=1000, max_write_queue_size=10_000)
    sent = 0
    while connection.ws.state is WSState.OPEN:
        connection.ws.send(BINARY, b"x" * 996)
        sent += 1
    connection.loop.run_ready()
    assert sent in (10, 11)
    assert connection.transport.aborted
    assert connection.listener.events == [("connected",), ("paused",), ("disconnected",)]
    assert connection.cause is not None
    assert connection.cause.kind is WSDisconnectKind.SLOW_CONSUMER
    assert isinstance(connection.cause.exception, WSSlowConsumer)
    # The one that found no room is not forgotten.
    assert 10_000 < connection.cause.unsent_bytes <= 11_000
    assert "max_write_queue_size is 10000" in str(connection.cause)


@both_roles
def test_slow_consumer_of_frames_that_are_sent_in_place(role: str) -> None:
    connection = Connection(role, room=0, write_high_watermark=1000, max_write_queue_size=10_000)
    while connection.ws.state is WSState.OPEN:
        connection.ws.send_reuse_external_bytearray(BINARY, bytearray(1014), 14)
    connection.loop.run_ready()
    assert connection.transport.aborted
    assert connection.cause is not None
    assert connection.cause.kind is WSDisconnectKind.SLOW_CONSUMER
    assert 10_000 < connection.cause.unsent_bytes <= 11_100


@both_roles
def test_slow_consumer_inside_a_cork(role: str) -> None:
    connection = Connection(role, room=0, write_high_watermark=1000, max_write_queue_size=10_000)
    connection.ws.send(BINARY, b"x" * 2000)
    with connection.ws.cork():
        for _ in range(20):
            if connection.ws.state is WSState.OPEN:
                connection.ws.send(BINARY, b"x" * 996)
    connection.loop.run_ready()
    assert connection.cause is not None
    assert connection.cause.kind is WSDisconnectKind.SLOW_CONSUMER
    assert 10_000 < connection.cause.unsent_bytes <= 11_014


@both_roles
def test_one_message_above_the_cap_is_taken_where_nothing_waits(role: str) -> None:
    connection = Connection(role, room=0, write_high_watermark=1000, max_write_queue_size=10_000)
    connection.ws.send(BINARY, b"x" * 20_000)
    assert connection.ws.state is WSState.OPEN
    connection.drain()
    assert connection.sent() == [Frame(BINARY, b"x" * 20_000)]


@both_roles
def test_slow_consumer_cannot_pin_the_connection(role: str) -> None:
    connection = Connection(role, room=0, close_timeout=2.0)
    connection.ws.send(BINARY, b"x" * 5000)
    connection.ws.disconnect()
    connection.loop.advance(2.1)
    assert connection.transport.aborted
    assert connection.cause is not None
    assert connection.cause.kind is WSDisconnectKind.CLOSE_TIMEOUT
    assert connection.cause.unsent_bytes > 5000
