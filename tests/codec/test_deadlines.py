"""The sweeper, by way of the connections that it watches."""

from __future__ import annotations

import gc
import types
from typing import Any, Dict, List, Tuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from picows_codec import WSAutoPingStrategy, WSDisconnectKind, WSState, WSTransport
from picows_codec.deadlines import Deadlined, Sweeper, time_left, until_second_look
from picows_codec.testing.clock import FakeLoop
from tests.support.connection import Connection, Recorder, both_roles
from tests.support.frames import BINARY
from tests.support.leaks import count_instances


@both_roles
def test_deadlines_of_many_connections(role: str) -> None:
    loop = FakeLoop()
    connections = [
        Connection(role, loop=loop, close_timeout=float(seconds)) for seconds in (5, 1, 3, 2, 4)
    ]
    for connection in connections:
        connection.ws.disconnect()
        assert len(loop.timers) == 1
    for second in range(1, 6):
        loop.advance(0.9)
        lost = sum(connection.transport.lost for connection in connections)
        assert lost == second - 1
        loop.advance(0.1)
    loop.advance(0.1)
    assert all(connection.transport.lost for connection in connections)
    assert not loop.timers


@both_roles
def test_no_deadline_is_early_or_much_late(role: str) -> None:
    loop = FakeLoop()
    connections = []
    for i in range(100):
        connection = Connection(role, loop=loop, close_timeout=1.0)
        connection.ws.disconnect()
        connections.append((connection, loop.time() + 1.0))
        loop.advance(0.013)
        for other, due in connections:
            if other.transport.lost:
                assert loop.time() > due - 0.006, i
            else:
                # The verdict takes a second look.
                assert loop.time() < due + 0.05 + 0.006, i


@given(
    steps=st.lists(
        st.tuples(
            st.floats(0.0, 40.0),  # until the next one begins to close
            st.one_of(st.floats(0.001, 0.1), st.floats(0.1, 30.0), st.floats(30.0, 1e6)),
            st.booleans(),  # the peer completes the closing handshake at once
        ),
        max_size=30,
    )
)
@settings(max_examples=60)
@pytest.mark.timeout(1200)  # with the sanitizers, or under qemu
def test_any_deadlines_at_any_time(steps: List[Tuple[float, float, bool]]) -> None:
    loop = FakeLoop()
    expected: List[Tuple[float, Connection]] = []
    ends: Dict[Connection, float] = {}
    for delay, timeout, is_polite in steps:
        loop.advance(delay)
        connection = Connection("client", loop=loop, close_timeout=timeout)
        connection.listener.act(
            "on_ws_disconnected", lambda _, it=connection: ends.setdefault(it, loop.time())
        )
        connection.ws.disconnect()
        if is_polite:
            connection.receive_close()
            connection.lose()
        else:
            expected.append((loop.time() + timeout, connection))
    loop.advance(2e6)
    for due, connection in expected:
        # The verdict takes a second look. A tick is 5 ms, and there are two of them.
        assert due + 0.05 - 0.003 <= ends[connection] <= due + 0.05 + 0.011
    assert not loop.timers


@both_roles
def test_a_deadline_that_is_cleared_in_the_same_sweep(role: str) -> None:
    """The callback of one connection ends another whose time has come, too."""
    loop = FakeLoop()
    connections: List[Connection] = []

    def end_the_others(transport: WSTransport) -> None:
        for connection in connections:
            connection.endpoint.connection_lost(None)

    for _ in range(3):
        listener = Pinger().act("send_user_specific_ping", end_the_others)
        connections.append(
            Connection(role, listener, loop=loop, enable_auto_ping=True, auto_ping_idle_timeout=5.0)
        )
    loop.advance(6.0)
    assert [connection.listener.count("disconnected") for connection in connections] == [1] * 3
    assert not loop.timers


@both_roles
def test_a_deadline_that_is_moved_in_the_same_sweep(role: str) -> None:
    loop = FakeLoop()
    connections: List[Connection] = []

    def close_the_others(transport: WSTransport) -> None:
        for connection in connections:
            if connection.ws is not transport:
                connection.ws.disconnect()

    for _ in range(2):
        listener = Pinger().act("send_user_specific_ping", close_the_others)
        connections.append(
            Connection(
                role,
                listener,
                loop=loop,
                enable_auto_ping=True,
                auto_ping_idle_timeout=5.0,
                auto_ping_reply_timeout=100.0,
                close_timeout=10.0,
            )
        )
    loop.advance(5.1)
    states = sorted(connection.ws.state for connection in connections)
    assert states == [WSState.OPEN, WSState.CLOSING]
    loop.advance(9.0)
    assert not any(connection.transport.lost for connection in connections)
    loop.advance(1.1)
    assert sum(connection.transport.lost for connection in connections) == 1


@both_roles
def test_an_exception_of_one_connection_leaves_the_others_their_deadlines(role: str) -> None:
    loop = FakeLoop()

    def interrupt(transport: WSTransport) -> None:
        raise KeyboardInterrupt

    options: Any = {"loop": loop, "enable_auto_ping": True, "auto_ping_idle_timeout": 5.0}
    bad = [Connection(role, Pinger().act("send_user_specific_ping", interrupt), **options)]
    good = [Connection(role, Pinger(), **options) for _ in range(5)]
    interrupted = 0
    for _ in range(20):
        try:
            loop.advance(1.0)
        except KeyboardInterrupt:
            interrupted += 1
    assert interrupted >= 1
    for connection in good:
        assert connection.cause is not None
        assert connection.cause.kind is WSDisconnectKind.PING_TIMEOUT
    assert len(bad) == 1


class Pinger(Recorder):
    def send_user_specific_ping(self, transport: WSTransport) -> None:
        self._event("send_user_specific_ping", transport)


def test_connections_of_two_loops() -> None:
    first, second = FakeLoop(), FakeLoop()
    connections = [
        Connection("client", loop=loop, close_timeout=1.0) for loop in (first, second, first)
    ]
    for connection in connections:
        connection.ws.disconnect()
    first.advance(1.1)
    assert [connection.transport.lost for connection in connections] == [True, False, True]
    second.advance(1.1)
    assert connections[1].transport.lost
    assert not first.timers
    assert not second.timers


@pytest.mark.usefixtures("no_collector")
def test_the_sweeper_dies_with_its_last_connection() -> None:
    before = count_instances(Sweeper)
    connection = Connection("client")
    assert count_instances(Sweeper) == before + 1
    connection.ws.disconnect()
    connection.lose()
    assert count_instances(Sweeper) == before


@pytest.mark.usefixtures("no_collector")
def test_a_loop_that_is_dropped_takes_its_deadlines_along() -> None:
    while gc.collect():
        pass  # what other tests have left may go in several steps
    before = count_instances(Sweeper)
    connection = Connection("client", enable_auto_ping=True)
    assert connection.loop.timers
    del connection
    gc.collect()
    assert count_instances(Sweeper) == before


class CountingLoop(FakeLoop):
    """Counts timers that come due, and pings that are sent within one iteration."""

    def __init__(self) -> None:
        super().__init__()
        self.wakeups = 0
        self.pings = 0
        self.most_pings = 0

    def advance(self, seconds: float) -> None:
        end = self.time() + seconds
        while self.timers and self.timers[0].when() <= end:
            self.wakeups += 1
            super().advance(max(self.timers[0].when() - self.time(), 0.0))
        super().advance(end - self.time())

    def _run(self, handle: Any) -> None:
        before = self.pings
        super()._run(handle)
        self.most_pings = max(self.most_pings, self.pings - before)

    def connect(self, role: str, **options: Any) -> Connection:
        listener = Pinger().act("send_user_specific_ping", self.count_ping)
        options = {"auto_ping_idle_timeout": 5.0, "auto_ping_reply_timeout": 1000.0, **options}
        return Connection(role, listener, loop=self, enable_auto_ping=True, **options)

    def count_ping(self, transport: WSTransport) -> None:
        self.pings += 1


def test_many_that_are_due_together_are_served_in_slices() -> None:
    """A thousand connections that were opened in one burst: the loop goes on between slices."""
    loop = CountingLoop()
    connections = [loop.connect("server") for _ in range(1000)]
    loop.advance(4.99)
    assert loop.pings == 0
    turns = 0

    def turn() -> None:
        nonlocal turns
        turns += 1
        if loop.pings < 1000:
            loop.call_soon(turn)

    loop.call_soon(turn)
    loop.call_later(0.01, turn)
    loop.run_ready = types.MethodType(run_some, loop)  # type: ignore[method-assign]
    loop.advance(0.02)
    assert loop.pings == 1000
    assert 100 <= loop.most_pings <= 128
    assert turns >= 1000 // 128
    assert len(connections) == 1000
    assert len(loop.timers) == 1


def run_some(loop: CountingLoop) -> None:
    """As ``run_ready`` does, with an end although ``turn`` goes on for ever."""
    for _ in range(200):
        if loop._ready:
            loop._run(loop._ready.popleft())


@pytest.mark.parametrize("count", [1, 50])
def test_one_wakeup_for_each_look(count: int) -> None:
    """None for time in which nobody is due."""
    loop = CountingLoop()
    connections = [loop.connect("client") for _ in range(count)]
    loop.wakeups = 0
    for _ in range(500):
        loop.advance(1.0)
        if loop.pings >= count:
            loop.pings = 0
            for connection in connections:
                connection.receive(BINARY)
    # Four looks within auto_ping_idle_timeout, the same for all connections.
    assert loop.wakeups == 500 / 1.25


def test_wakeups_for_what_is_far_away() -> None:
    loop = CountingLoop()
    day = 86400.0
    connection = loop.connect(
        "client",
        auto_ping_idle_timeout=day,
        auto_ping_strategy=WSAutoPingStrategy.PING_PERIODICALLY,
    )
    loop.wakeups = 0
    loop.advance(day - 0.1)
    assert loop.pings == 0
    assert loop.wakeups <= day / 20
    loop.advance(0.11)
    assert loop.pings == 1
    assert connection.ws.state is WSState.OPEN


def test_deadlines_of_any_length() -> None:
    for seconds in (1e-9, 1e12, 1e300):
        loop = FakeLoop()
        connection = Connection("client", loop=loop, close_timeout=seconds)
        connection.ws.disconnect()
        assert len(loop.timers) == 1
        loop.advance(60.0)
        assert connection.transport.lost == (seconds < 1)


def test_a_deadline_that_moves_often_leaves_one_timer() -> None:
    loop = FakeLoop()
    connections = [Connection("client", loop=loop, stall_timeout=5.0) for _ in range(3)]
    for _ in range(500):
        for connection in connections:
            message = connection.build(BINARY, b"x")
            connection.feed(message[:3])
            connection.feed(message[3:])
        loop.advance(0.004)
        assert len(loop.timers) <= 1


def test_private_classes_do_no_harm() -> None:
    Deadlined()
    with pytest.raises(TypeError):
        Sweeper()  # type: ignore[call-arg]


def test_time_that_a_late_loop_gives_back() -> None:
    assert time_left(12.0, 10.0) == 2.0
    assert time_left(10.0, 10.0) == 0.0
    assert time_left(10.0, 12.0) == 2.0
    assert time_left(10.0, 1000.0) == 5.0
    for now, given_back in ((9.99, 0.0), (10.0, 0.0), (12.0, 2.0), (1000.0, 5.0)):
        assert until_second_look(10.0, now) == 0.05 + given_back


# Time that this side has lost: each limit, at the moment at which the loop runs again.

BLOCKED = pytest.mark.parametrize("blocked", [0.0, 1.0, 5.0, 1000.0])


def block(connection: Connection, limit: float, blocked: float) -> None:
    """The loop is blocked until the limit has passed, and its timer runs before anything else."""
    connection.loop.advance(0.001)
    connection.loop.clock.now += limit + blocked
    connection.loop.advance(0.0)


@both_roles
@BLOCKED
def test_opening_handshake_of_a_blocked_loop(role: str, blocked: float) -> None:
    connection = Connection(role, open=False, websocket_handshake_timeout=3.0)
    connection.start()
    block(connection, 3.0, blocked)
    connection.open()
    assert connection.ws.state is WSState.OPEN
    connection.loop.advance(100.0)
    assert connection.ws.state is WSState.OPEN
    # And a peer that sends nothing gets no more than a little.
    silent = Connection(role, open=False, websocket_handshake_timeout=3.0)
    silent.start()
    block(silent, 3.0, blocked)
    silent.loop.advance(5.2)
    assert silent.transport.lost or silent.ws.state is WSState.CLOSING
    assert silent.cause is not None
    assert silent.cause.kind is WSDisconnectKind.HANDSHAKE_FAILURE


@both_roles
@BLOCKED
def test_closing_handshake_of_a_blocked_loop(role: str, blocked: float) -> None:
    connection = Connection(role, close_timeout=3.0)
    connection.ws.disconnect()
    block(connection, 3.0, blocked)
    connection.receive_close()
    connection.loop.advance(3.1)
    assert connection.cause is not None
    assert connection.cause.kind is WSDisconnectKind.LOCAL_CLOSE
    assert connection.ws.close_handshake is not None
    assert connection.ws.close_handshake.recv is not None
    silent = Connection(role, close_timeout=3.0)
    silent.ws.disconnect()
    block(silent, 3.0, blocked)
    silent.loop.advance(5.2)
    assert silent.transport.lost
    assert silent.cause is not None
    assert silent.cause.kind is WSDisconnectKind.CLOSE_TIMEOUT


@both_roles
def test_a_close_behind_much_that_waits(role: str) -> None:
    connection = Connection(role, close_timeout=3.0)
    connection.ws.send_close()
    connection.loop.advance(3.0)
    for _ in range(5):
        connection.receive(BINARY, b"x")
        connection.loop.advance(0.05)
    connection.receive_close()
    assert len(connection.listener.frames) == 6
    assert connection.cause is not None
    assert connection.cause.kind is WSDisconnectKind.LOCAL_CLOSE


@both_roles
def test_closing_handshake_while_this_side_does_not_read(role: str) -> None:
    connection = Connection(role, close_timeout=3.0)
    connection.ws.underlying_transport.pause_reading()
    connection.ws.send_close()
    connection.loop.advance(3.1)
    assert connection.transport.lost
    assert connection.cause is not None
    assert connection.cause.kind is WSDisconnectKind.LOCAL_CLOSE


@both_roles
def test_an_end_is_read_although_reading_was_paused(role: str) -> None:
    """Where no frame will be delivered any more."""
    connection = Connection(role)
    connection.ws.underlying_transport.pause_reading()
    connection.ws.disconnect()
    assert connection.ws.underlying_transport.is_reading()
    connection.receive_close()
    connection.feed_eof()
    assert connection.transport.lost
    assert connection.cause is not None
    assert connection.cause.kind is WSDisconnectKind.LOCAL_CLOSE
    # The peer's CLOSE, and a failure.
    listener = Recorder()
    listener.act("on_ws_frame", lambda transport, _: transport.underlying_transport.pause_reading())
    connection = Connection(role, listener)
    connection.receive_close()
    connection.feed_eof()
    assert connection.transport.lost
    listener = Recorder()

    def fail(transport: WSTransport, _: object) -> None:
        transport.underlying_transport.pause_reading()
        raise LookupError("as asked for")

    connection = Connection(role, listener.act("on_ws_frame", fail))
    connection.receive(BINARY)
    connection.feed_eof()
    assert connection.transport.lost


@both_roles
@BLOCKED
@pytest.mark.parametrize("late", ["frame", "queue"])
def test_stalls_of_a_blocked_loop(role: str, blocked: float, late: str) -> None:
    connection = Connection(role, stall_timeout=3.0, room=0)
    stream = connection.build(BINARY, bytes(10_000))
    if late == "frame":
        connection.feed(stream[:100])
    else:
        connection.ws.send(BINARY, bytes(100_000))
    block(connection, 3.0, blocked)
    if late == "frame":
        connection.feed(stream[100:])
    else:
        connection.drain()
    connection.loop.advance(100.0)
    assert connection.ws.state is WSState.OPEN


@both_roles
@pytest.mark.parametrize("late", ["frame", "queue"])
def test_stalls_of_a_peer_are_found_by_a_loop_that_was_blocked(role: str, late: str) -> None:
    connection = Connection(role, stall_timeout=3.0, room=0)
    if late == "frame":
        connection.feed(connection.build(BINARY, bytes(10_000))[:100])
    else:
        connection.ws.send(BINARY, bytes(100_000))
    block(connection, 3.0, 100.0)
    connection.loop.advance(5.2)
    assert connection.ws.state is not WSState.OPEN


@both_roles
def test_a_late_sweep_holds_nobody_up_who_is_not_due(role: str) -> None:
    loop = FakeLoop()
    due = Connection(role, loop=loop, close_timeout=1.0)
    later = Connection(role, loop=loop, close_timeout=500.0)
    for connection in (due, later):
        connection.ws.disconnect()
    loop.advance(0.5)
    loop.clock.now += 100.0
    loop.advance(0.0)
    # One that begins now is not late.
    new = Connection(role, loop=loop, close_timeout=1.0)
    new.ws.disconnect()
    loop.advance(1.1)
    assert new.transport.lost
    assert not due.transport.lost
    loop.advance(5.0)
    assert due.transport.lost
    loop.advance(394.0)
    assert later.transport.lost
    assert not loop.timers
