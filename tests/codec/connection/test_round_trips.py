"""Round trips: measurements by pings, of the library and of the listener."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from picows_codec import (
    WSConnectionError,
    WSState,
    WSStateError,
    WSTransport,
)
from tests.support.connection import Connection, both_roles, pings
from tests.support.frames import PONG, TEXT, Frame
from tests.support.interpreter import run_python
from tests.support.listeners import OwnPings

# Round trips


@both_roles
def test_measure_roundtrip_time(role: str) -> None:
    connection = Connection(role)
    task = connection.loop.create_task(connection.ws.measure_roundtrip_time(3))
    for _ in range(3):
        connection.loop.run_ready()
        assert not task.done()
        (payload,) = pings(connection)
        connection.receive(PONG, b"another one")
        connection.receive(PONG, payload)
    assert connection.listener.frames == [(PONG, b"another one", True)] * 3
    times = task.result()
    assert len(times) == 3
    assert all(isinstance(each, float) and 0 <= each < 10 for each in times)


@both_roles
def test_measurements_at_the_same_time(role: str) -> None:
    connection = Connection(role)
    tasks = [connection.loop.create_task(connection.ws.measure_roundtrip_time()) for _ in range(3)]
    connection.loop.run_ready()
    payloads = pings(connection)
    assert len(set(payloads)) == 3
    for i in range(3):
        assert not tasks[i].done()
        connection.receive(PONG, payloads[i])
        assert tasks[i].done()
    connection.receive(PONG, payloads[0])
    assert connection.listener.frames == [(PONG, payloads[0], True)]


@both_roles
def test_a_peer_that_answers_the_latest_ping_only(role: str) -> None:
    """5.5.3: it may."""
    connection = Connection(role)
    tasks = [connection.loop.create_task(connection.ws.measure_roundtrip_time()) for _ in range(3)]
    connection.loop.run_ready()
    payloads = pings(connection)
    connection.receive(PONG, payloads[1])
    assert [task.done() for task in tasks] == [True, True, False]
    connection.receive(PONG, payloads[2])
    assert tasks[2].done()
    assert connection.listener.frames == []


@both_roles
def test_measurements_that_are_given_up_do_not_pile_up(role: str) -> None:
    connection = Connection(role)
    for _ in range(1000):
        task = connection.loop.create_task(connection.ws.measure_roundtrip_time())
        connection.loop.run_ready()
        task.cancel()
        connection.loop.run_ready()
    last = connection.loop.create_task(connection.ws.measure_roundtrip_time())
    connection.loop.run_ready()
    payloads = pings(connection)
    connection.receive(PONG, payloads[0])  # nobody knows it any more
    assert connection.listener.frames == [(PONG, payloads[0], True)]
    connection.receive(PONG, payloads[-1])
    assert last.done()


@both_roles
def test_measurement_that_is_given_up(role: str) -> None:
    connection = Connection(role)
    task = connection.loop.create_task(connection.ws.measure_roundtrip_time())
    connection.loop.run_ready()
    task.cancel()
    connection.loop.run_ready()
    (payload,) = pings(connection)
    connection.receive(PONG, payload)
    assert connection.listener.frames == []
    assert connection.ws.state is WSState.OPEN


@both_roles
def test_measurement_with_own_pings(role: str) -> None:
    connection = Connection(role, OwnPings())
    task = connection.loop.create_task(connection.ws.measure_roundtrip_time(2))
    for _ in range(2):
        connection.loop.run_ready()
        assert connection.sent() == [Frame(TEXT, b"ping")]
        connection.receive(PONG)
        connection.receive(TEXT, b"pong")
    assert len(task.result()) == 2
    assert connection.listener.frames == [(PONG, b"", True)] * 2


@both_roles
def test_measurement_with_own_pings_that_raise(role: str) -> None:
    def handler(transport: WSTransport) -> None:
        raise LookupError("as asked for")

    connection = Connection(role, OwnPings().act("send_user_specific_ping", handler))
    with pytest.raises(LookupError):
        connection.loop.run(connection.ws.measure_roundtrip_time())
    # Nothing is waited for any more.
    connection.receive(TEXT, b"pong")
    assert connection.listener.frames == [(TEXT, b"pong", True)]
    connection.listener.actions.clear()
    task = connection.loop.create_task(connection.ws.measure_roundtrip_time())
    connection.loop.run_ready()
    connection.receive(TEXT, b"pong")
    assert len(task.result()) == 1


PONG_WITHIN_ITS_PING = """
import sys
sys.path.insert(0, {root!r})
from tests.support.connection import Connection
from tests.support.listeners import OwnPings

def handler(transport):
    transport.notify_user_specific_pong_received()
    raise LookupError("as asked for")

connection = Connection({role!r}, OwnPings().act("send_user_specific_ping", handler))
try:
    connection.loop.run(connection.ws.measure_roundtrip_time())
except LookupError:
    print("raised")
"""


@both_roles
def test_an_own_ping_that_is_answered_at_once_and_raises(role: str) -> None:
    """What measured is no longer needed then; freed memory has other contents in this process."""
    code = PONG_WITHIN_ITS_PING.format(root=str(Path(__file__).parents[3]), role=role)
    done = run_python(code, PYTHONMALLOC="debug")
    assert (done.returncode, done.stdout) == (0, "raised\n"), done.stderr


@both_roles
def test_connection_that_ends_before_the_pong(role: str) -> None:
    connection = Connection(role)
    tasks = [connection.loop.create_task(connection.ws.measure_roundtrip_time()) for _ in range(2)]
    connection.loop.run_ready()
    tasks[0].cancel()
    connection.loop.run_ready()
    connection.lose()
    assert tasks[0].cancelled()
    with pytest.raises(WSConnectionError, match="before the pong"):
        tasks[1].result()


@both_roles
def test_measurement_while_closing(role: str) -> None:
    connection = Connection(role)
    connection.ws.send_close()
    with pytest.raises(WSStateError, match="being closed"):
        connection.loop.run(connection.ws.measure_roundtrip_time())


@both_roles
@pytest.mark.parametrize("rounds", [0, -1])
def test_number_of_rounds(role: str, rounds: int) -> None:
    with pytest.raises(ValueError, match=f"at least 1, not {rounds}"):
        Connection(role).ws.measure_roundtrip_time(rounds)


@both_roles
@pytest.mark.parametrize("rounds", [None, "1", 1.5])
def test_rounds_of_a_wrong_type(role: str, rounds: Any) -> None:
    with pytest.raises(TypeError):
        Connection(role).ws.measure_roundtrip_time(rounds)
