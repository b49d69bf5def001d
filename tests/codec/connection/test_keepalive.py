"""Automatic pings, and what their verdict is about."""

from __future__ import annotations

from typing import Any, List

import pytest

from picows_codec import (
    WSAutoPingStrategy,
    WSDisconnectKind,
    WSFrame,
    WSListener,
    WSPingTimeout,
    WSState,
    WSTransport,
)
from tests.support import frames
from tests.support.connection import Connection, both_roles, pings
from tests.support.frames import BINARY, CLOSE, PING, PONG, TEXT, Frame
from tests.support.listeners import OwnPings

IDLE, REPLY = 10.0, 4.0
# The peer's silence is looked at four times within the idle timeout.
LOOK = IDLE / 4

both_strategies = pytest.mark.parametrize("strategy", list(WSAutoPingStrategy))


def pinging(role: str, listener: Any = None, **options: Any) -> Connection:
    options = {
        "enable_auto_ping": True,
        "auto_ping_idle_timeout": IDLE,
        "auto_ping_reply_timeout": REPLY,
        **options,
    }
    return Connection(role, listener, **options)


# Automatic pings


@both_roles
def test_answered_ping_ends_earlier_measurements(role: str) -> None:
    """5.5.3: a peer may answer only the latest ping, which may be an automatic one."""
    connection = pinging(role)
    task = connection.loop.create_task(connection.ws.measure_roundtrip_time())
    connection.loop.run_ready()
    pings(connection)
    connection.loop.advance(IDLE + 0.1)
    (payload,) = pings(connection)
    connection.receive(PONG, payload)
    assert task.done()
    later = connection.loop.create_task(connection.ws.measure_roundtrip_time())
    connection.loop.run_ready()
    connection.receive(PONG, payload)
    assert not later.done()
    (payload,) = pings(connection)
    connection.receive(PONG, payload)
    assert later.done()


@both_roles
@both_strategies
def test_ping_after_silence(role: str, strategy: WSAutoPingStrategy) -> None:
    connection = pinging(role, auto_ping_strategy=strategy)
    connection.loop.advance(IDLE - 0.1)
    assert pings(connection) == []
    connection.loop.advance(0.2)
    (payload,) = pings(connection)
    assert len(payload) == 8


@both_roles
@both_strategies
def test_pongs_keep_the_connection_open(role: str, strategy: WSAutoPingStrategy) -> None:
    connection = pinging(role, auto_ping_strategy=strategy)
    payloads = []
    for _ in range(1000):
        connection.loop.advance(0.5)
        for payload in pings(connection):
            payloads.append(payload)
            connection.receive(PONG, payload)
    assert connection.ws.state is WSState.OPEN
    # The pongs are the library's business.
    assert connection.listener.frames == []
    assert len(set(payloads)) == len(payloads)
    longest = IDLE + LOOK if strategy is WSAutoPingStrategy.PING_WHEN_IDLE else IDLE
    assert 500 / (longest + 1) <= len(payloads) <= 500 / IDLE


@both_roles
@both_strategies
def test_ping_that_is_not_answered(role: str, strategy: WSAutoPingStrategy) -> None:
    connection = pinging(role, auto_ping_strategy=strategy)
    connection.loop.advance(IDLE + 0.1)
    assert len(pings(connection)) == 1
    connection.loop.advance(REPLY - 0.2)
    assert connection.sent() == []
    connection.loop.advance(0.2)
    assert connection.sent() == [Frame(CLOSE, frames.close_payload(1011, b"ping timeout"))]
    assert connection.cause is not None
    assert connection.cause.kind is WSDisconnectKind.PING_TIMEOUT
    assert isinstance(connection.cause.exception, WSPingTimeout)
    assert "4.0 seconds" in str(connection.cause)
    assert connection.transport.eof_written
    connection.loop.advance(1.1)
    assert connection.transport.aborted
    assert connection.listener.events == [("connected",), ("disconnected",)]
    assert not connection.loop.timers


@both_roles
def test_any_bytes_are_a_sign_of_life(role: str) -> None:
    connection = pinging(role, stall_timeout=None)
    stream = connection.build(BINARY, b"x" * 100)
    for byte in stream:
        connection.feed(bytes([byte]))
        connection.loop.advance(IDLE / 2)
    assert pings(connection) == []
    assert connection.listener.frames == [(BINARY, b"x" * 100, True)]


@both_roles
def test_any_bytes_answer_a_ping(role: str) -> None:
    connection = pinging(role)
    connection.loop.advance(IDLE + 0.1)
    assert len(pings(connection)) == 1
    connection.feed(connection.build(TEXT, b"x")[:1])
    connection.loop.advance(REPLY + 0.1)
    assert connection.ws.state is WSState.OPEN


@both_roles
def test_periodic_pings_do_not_care_for_other_bytes(role: str) -> None:
    connection = pinging(role, auto_ping_strategy=WSAutoPingStrategy.PING_PERIODICALLY)
    count = 0
    for _ in range(100):
        connection.receive(TEXT, b"x")
        connection.loop.advance(1.0)
        for payload in pings(connection):
            count += 1
            connection.receive(PONG, payload)
    assert count in (9, 10)
    # And other bytes do not answer them.
    connection.loop.advance(IDLE + 0.1)
    assert len(pings(connection)) == 1
    for _ in range(int(REPLY)):
        connection.receive(TEXT, b"x")
        connection.loop.advance(1.0)
    assert connection.cause is not None
    assert connection.cause.kind is WSDisconnectKind.PING_TIMEOUT


@both_roles
@both_strategies
def test_a_long_reply_timeout_does_not_delay_pings(role: str, strategy: WSAutoPingStrategy) -> None:
    connection = pinging(role, auto_ping_strategy=strategy, auto_ping_reply_timeout=600.0)
    count = 0
    for _ in range(200):
        connection.loop.advance(1.0)
        for payload in pings(connection):
            count += 1
            connection.receive(PONG, payload)
    assert count >= 13


@both_roles
def test_another_pong_does_not_answer_a_ping(role: str) -> None:
    connection = pinging(role, auto_ping_strategy=WSAutoPingStrategy.PING_PERIODICALLY)
    connection.loop.advance(IDLE + 0.1)
    (payload,) = pings(connection)
    connection.receive(PONG, payload[::-1] + b"x")
    assert connection.listener.frames == [(PONG, payload[::-1] + b"x", True)]
    connection.loop.advance(REPLY)
    assert connection.cause is not None


@both_roles
def test_a_pong_that_other_bytes_have_outrun_is_not_delivered(role: str) -> None:
    connection = pinging(role)
    connection.loop.advance(IDLE + 0.1)
    (payload,) = pings(connection)
    connection.receive(TEXT, b"x")
    connection.loop.advance(REPLY + 0.1)
    connection.receive(PONG, payload)
    assert connection.listener.frames == [(TEXT, b"x", True)]


@both_roles
def test_no_pings_while_closing(role: str) -> None:
    connection = pinging(role, close_timeout=100.0)
    connection.ws.send_close()
    connection.sent()
    connection.loop.advance(99.0)
    assert connection.sent() == []
    assert connection.ws.state is WSState.CLOSING
    connection.loop.advance(2.0)
    assert connection.cause is not None
    assert connection.cause.kind is WSDisconnectKind.CLOSE_TIMEOUT


@both_roles
def test_ping_while_a_fragmented_message_is_sent(role: str) -> None:
    connection = pinging(role)
    connection.ws.send(TEXT, b"a", fin=False)
    connection.loop.advance(IDLE + 0.1)
    connection.ws.send(0, b"b")
    assert [frame.opcode for frame in connection.sent()] == [TEXT, PING, 0]


@both_roles
def test_one_timer_for_all_connections_of_a_loop(role: str) -> None:
    first = pinging(role)
    others = [pinging(role, loop=first.loop) for _ in range(9)]
    for connection in (first, *others):
        first.loop.advance(0.1)
        assert len(first.loop.timers) == 1
        connection.lose()
    assert not first.loop.timers


# Pings of the listener's own


@both_roles
@both_strategies
def test_own_pings(role: str, strategy: WSAutoPingStrategy) -> None:
    connection = pinging(role, OwnPings(), auto_ping_strategy=strategy)
    for _ in range(5):
        found = []
        while not found:
            connection.loop.advance(0.1)
            found = connection.sent()
        assert found == [Frame(TEXT, b"ping")]
        connection.receive(TEXT, b"pong")
    connection.receive(TEXT, b"pong")
    # Only the pongs that were waited for are kept from the listener.
    assert connection.listener.frames == [(TEXT, b"pong", True)]
    connection.loop.advance(IDLE + LOOK + REPLY)
    assert connection.cause is not None
    assert connection.cause.kind is WSDisconnectKind.PING_TIMEOUT


@both_roles
def test_own_pong_seen_elsewhere(role: str) -> None:
    def handler(transport: WSTransport, frame: WSFrame) -> None:
        transport.notify_user_specific_pong_received()

    listener = OwnPings().act("on_ws_frame", handler)
    connection = pinging(role, listener, auto_ping_strategy=WSAutoPingStrategy.PING_PERIODICALLY)
    connection.loop.advance(IDLE + 0.1)
    connection.receive(TEXT, b"something else")
    connection.loop.advance(REPLY + 0.1)
    assert connection.ws.state is WSState.OPEN
    assert connection.listener.frames == [(TEXT, b"something else", True)]


@both_roles
@pytest.mark.parametrize("callback", ["send_user_specific_ping", "is_user_specific_pong"])
@pytest.mark.parametrize("tolerant", [True, False])
def test_own_ping_that_raises(role: str, callback: str, tolerant: bool) -> None:
    def handler(transport: WSTransport) -> None:
        raise LookupError("as asked for")

    listener = OwnPings().act(callback, handler)
    connection = pinging(role, listener, disconnect_on_exception=not tolerant)
    connection.loop.advance(IDLE + 0.1)
    if callback == "is_user_specific_pong":
        connection.receive(TEXT, b"x")
    assert any(callback in line for line in connection.log.lines)
    if tolerant:
        assert connection.cause is None
    else:
        assert connection.cause is not None
        assert connection.cause.kind is WSDisconnectKind.LISTENER_EXCEPTION
        assert connection.sent()[-1].opcode == CLOSE


@both_roles
@pytest.mark.parametrize("graceful", [True, False])
def test_disconnect_inside_own_ping(role: str, graceful: bool) -> None:
    listener = OwnPings().act(
        "send_user_specific_ping", lambda transport: transport.disconnect(graceful)
    )
    connection = pinging(role, listener, close_timeout=1.0)
    connection.loop.advance(IDLE + 0.1)
    connection.loop.advance(1.1)
    assert connection.transport.aborted
    assert connection.listener.events == [("connected",), ("disconnected",)]


@both_roles
@pytest.mark.parametrize("graceful", [True, False])
def test_disconnect_inside_the_check_for_own_pongs(role: str, graceful: bool) -> None:
    listener = OwnPings().act(
        "is_user_specific_pong", lambda transport: transport.disconnect(graceful)
    )
    connection = pinging(role, listener)
    connection.loop.advance(IDLE + 0.1)
    connection.receive(TEXT, b"not delivered any more")
    assert connection.listener.frames == []
    connection.lose()
    assert connection.listener.events == [("connected",), ("disconnected",)]


def test_ping_and_pong_of_a_plain_listener() -> None:
    """The defaults of the two callbacks are what they say."""
    connection = Connection("server")
    WSListener.send_user_specific_ping(connection.listener, connection.ws)
    assert connection.sent() == [Frame(PING)]
    seen: List[bool] = []
    connection.listener.act(
        "on_ws_frame",
        lambda _, frame: seen.append(WSListener.is_user_specific_pong(connection.listener, frame)),
    )
    connection.receive(TEXT)
    connection.receive(PONG)
    assert seen == [False, True]
    with pytest.raises(TypeError, match="not None"):
        WSListener().send_user_specific_ping(None)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="not None"):
        WSListener().is_user_specific_pong(None)  # type: ignore[arg-type]


# A verdict is about the peer


@both_roles
@both_strategies
def test_no_verdict_while_this_side_does_not_read(role: str, strategy: WSAutoPingStrategy) -> None:
    connection = pinging(role, auto_ping_strategy=strategy)
    below = connection.ws.underlying_transport
    below.pause_reading()
    connection.loop.advance(10 * (IDLE + REPLY))
    assert connection.ws.state is WSState.OPEN
    # What waited is delivered, and the time begins anew.
    payload = pings(connection)[-1]
    below.resume_reading()
    connection.loop.advance(REPLY - 0.1)
    connection.receive(TEXT, b"waited")
    connection.receive(PONG, payload)
    connection.loop.advance(0.2)
    assert connection.listener.frames == [(TEXT, b"waited", True)]
    assert connection.ws.state is WSState.OPEN
    connection.loop.advance(IDLE + LOOK + REPLY + 0.1)
    assert connection.cause is not None
    assert connection.cause.kind is WSDisconnectKind.PING_TIMEOUT


@both_roles
@both_strategies
def test_a_pause_that_no_look_has_seen(role: str, strategy: WSAutoPingStrategy) -> None:
    """It ends right before the time for the pong: what waits is read before the verdict."""
    connection = pinging(role, auto_ping_strategy=strategy)
    connection.loop.advance(IDLE)
    (payload,) = pings(connection)
    connection.loop.advance(REPLY + 0.01)
    connection.receive(PONG, payload)
    connection.loop.advance(1.0)
    assert connection.ws.state is WSState.OPEN


@both_roles
def test_a_pong_behind_much_that_waits(role: str) -> None:
    connection = pinging(role, auto_ping_strategy=WSAutoPingStrategy.PING_PERIODICALLY)
    connection.loop.advance(IDLE)
    (payload,) = pings(connection)
    connection.loop.advance(REPLY)
    for _ in range(40):
        connection.receive(TEXT, b"x")
        connection.loop.advance(0.05)
    assert connection.ws.state is WSState.OPEN
    connection.receive(PONG, payload)
    connection.loop.advance(IDLE - REPLY - 2.5)
    assert connection.ws.state is WSState.OPEN


@both_roles
def test_bytes_do_not_put_off_a_verdict_for_ever(role: str) -> None:
    connection = pinging(role, auto_ping_strategy=WSAutoPingStrategy.PING_PERIODICALLY)
    connection.loop.advance(IDLE + REPLY)
    for _ in range(70):
        connection.receive(TEXT, b"x")
        connection.loop.advance(0.05)
    assert connection.cause is not None
    assert connection.cause.kind is WSDisconnectKind.PING_TIMEOUT


@both_roles
@both_strategies
@pytest.mark.parametrize("blocked", [1.0, 5.0, 50.0, 5000.0])
def test_a_blocked_loop(role: str, strategy: WSAutoPingStrategy, blocked: float) -> None:
    """Or a machine that slept. The ping went out before; what came since is read first."""
    connection = pinging(role, auto_ping_strategy=strategy)
    connection.loop.advance(IDLE + REPLY - 0.1)
    payload = pings(connection)[0]
    connection.loop.clock.now += blocked
    connection.loop.advance(0.0)
    connection.loop.advance(min(blocked, 5.0) - 0.2)
    assert connection.ws.state is WSState.OPEN
    connection.receive(PONG, payload)
    connection.loop.advance(2.0)
    assert connection.ws.state is WSState.OPEN


@both_roles
@both_strategies
def test_a_silent_peer_of_a_loop_that_is_blocked_again_and_again(
    role: str, strategy: WSAutoPingStrategy
) -> None:
    connection = pinging(role, auto_ping_strategy=strategy)
    connection.loop.advance(IDLE + 0.1)
    for _ in range(20):
        connection.loop.clock.now += 3.0
        connection.loop.advance(0.1)
    assert connection.cause is not None
    assert connection.cause.kind is WSDisconnectKind.PING_TIMEOUT


@both_roles
@both_strategies
@pytest.mark.parametrize("own_ping", [True, False])
@pytest.mark.parametrize("stall_timeout", [None, 60.0])
def test_a_ping_behind_a_large_upload(
    role: str, strategy: WSAutoPingStrategy, own_ping: bool, stall_timeout: Any
) -> None:
    connection = pinging(
        role,
        OwnPings() if own_ping else None,
        auto_ping_strategy=strategy,
        stall_timeout=stall_timeout,
        room=0,
    )
    connection.ws.send(BINARY, bytes(2_000_000))
    for _ in range(18):
        connection.loop.advance(REPLY - 0.5)
        assert connection.ws.state is WSState.OPEN
        connection.drain(100_000)
    connection.transport.room = None
    connection.drain()
    found = [frame for frame in connection.sent() if frame.opcode != BINARY]
    assert len(found) == 1
    # It has left only now.
    connection.loop.advance(REPLY - 0.2)
    assert connection.ws.state is WSState.OPEN
    if own_ping:
        connection.receive(TEXT, b"pong")
    else:
        connection.receive(PONG, found[0].payload)
    connection.loop.advance(0.3)
    assert connection.ws.state is WSState.OPEN
    connection.loop.advance(2 * (IDLE + REPLY))
    assert connection.cause is not None
    assert connection.cause.kind is WSDisconnectKind.PING_TIMEOUT


@both_roles
def test_a_ping_that_left_and_is_not_answered_ends_an_upload(role: str) -> None:
    connection = pinging(role, room=0)
    connection.ws.send(BINARY, bytes(15_000_000))
    for _ in range(14):
        connection.drain(1_000_000)
        connection.loop.advance(2.0)
        connection.sent()
        connection.ws.send(BINARY, bytes(1_000_000))
    for _ in range(20):
        connection.drain(1_000_000)
        connection.loop.advance(2.0)
    assert connection.cause is not None
    assert connection.cause.kind is WSDisconnectKind.PING_TIMEOUT


@both_roles
@pytest.mark.parametrize("stall_timeout", [None, 60.0])
@pytest.mark.parametrize("size", [10, 30_000])
def test_a_ping_in_a_queue_that_stands_still(role: str, size: int, stall_timeout: Any) -> None:
    """Also one that never reached its watermark."""
    connection = pinging(role, room=0, stall_timeout=stall_timeout)
    connection.ws.send(BINARY, bytes(size))
    connection.loop.advance(IDLE + REPLY + LOOK + 0.1 + (stall_timeout or 0.0))
    assert connection.cause is not None
    expected = WSDisconnectKind.SLOW_CONSUMER if stall_timeout else WSDisconnectKind.PING_TIMEOUT
    assert connection.cause.kind is expected


@both_roles
def test_a_ping_that_this_side_holds_back(role: str) -> None:
    connection = pinging(role)
    with connection.ws.cork():
        connection.loop.advance(200.0)
        assert connection.ws.state is WSState.OPEN
    (payload,) = pings(connection)
    connection.loop.advance(REPLY - 0.1)
    connection.receive(PONG, payload)
    connection.loop.advance(1.0)
    assert connection.ws.state is WSState.OPEN
