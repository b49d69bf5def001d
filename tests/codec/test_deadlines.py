"""The sweeper, by way of the connections that it watches."""

from __future__ import annotations

from typing import Any, List

import pytest

from picows_codec import WSDisconnectKind, WSState, WSTransport
from picows_codec.deadlines import Deadlined, Sweeper
from tests.support.clock import FakeLoop
from tests.support.connection import Connection, Recorder, both_roles
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
                assert loop.time() < due + 0.006, i


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


def test_private_classes_do_no_harm() -> None:
    Deadlined()
    with pytest.raises(TypeError):
        Sweeper()  # type: ignore[call-arg]
