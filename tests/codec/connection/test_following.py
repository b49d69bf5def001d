"""Who follows a connection hears that it may be sent to again, and that it has ended."""

from __future__ import annotations

from typing import Any, List

import pytest

from picows_codec import WSStateError, WSTransport
from picows_codec.fan_out import Recipient
from tests.support.connection import Connection, both_roles
from tests.support.frames import BINARY, CONTINUATION, TEXT


class Follower(Recipient):
    """Notes what it is told, and raises what it should."""

    def __init__(self, transport: WSTransport, events: List[Any]) -> None:
        self.events = events
        self.error: Any = None

    def may_send(self) -> None:
        self.events.append("may send")
        if self.error is not None:
            raise self.error

    def ended(self) -> None:
        self.events.append("ended")
        if self.error is not None:
            raise self.error


def followed(role: str, **options: Any) -> Any:
    options.setdefault("coalesce_writes", False)
    connection = Connection(role, **options)
    follower = Follower(connection.ws, connection.listener.events)
    follower.follow()
    connection.listener.events.clear()
    return connection, follower


@both_roles
def test_after_the_listener(role: str) -> None:
    connection, _ = followed(role, room=0, write_high_watermark=10)
    connection.ws.send(TEXT, "x" * 20)
    connection.transport.drain()
    connection.lose()
    connection.loop.run_ready()
    assert connection.listener.events == [
        ("paused",),
        ("resumed",),
        "may send",
        ("disconnected",),
        "ended",
    ]


@both_roles
def test_several(role: str) -> None:
    connection, first = followed(role)
    events: List[Any] = []
    Follower(connection.ws, events).follow()
    first.error = ValueError("as asked for")
    connection.lose()
    connection.loop.run_ready()
    assert connection.listener.events == [("disconnected",), "ended"]
    assert events == ["ended"]
    assert [line for line in connection.log.lines if "what follows the connection" in line]


@both_roles
def test_one_that_raises(role: str) -> None:
    connection, follower = followed(role, room=0, write_high_watermark=10)
    follower.error = ValueError("as asked for")
    connection.ws.send(TEXT, "x" * 20)
    connection.transport.drain()
    connection.ws.send(TEXT, "y")
    assert [frame.payload for frame in connection.sent()] == [b"x" * 20, b"y"]
    (line,) = connection.log.lines
    assert line.startswith("error: unknown address: what follows the connection raised")


@both_roles
def test_one_that_interrupts(role: str) -> None:
    connection, follower = followed(role, room=0, write_high_watermark=10)
    follower.error = KeyboardInterrupt()
    connection.ws.send(TEXT, "x" * 20)
    with pytest.raises(KeyboardInterrupt):
        connection.transport.drain()
    assert connection.transport.aborted
    follower.error = None


@both_roles
def test_the_end_of_a_fragmented_message(role: str) -> None:
    connection, follower = followed(role)
    connection.ws.send(TEXT, "1", fin=False)
    assert follower.is_blocked
    follower.hold()
    follower.hold()
    connection.ws.send_ping()
    connection.ws.send(CONTINUATION, "2", fin=False)
    assert connection.listener.events == []
    connection.ws.send(CONTINUATION, "3")
    assert connection.listener.events == ["may send"]
    assert not follower.is_blocked
    connection.ws.send(TEXT, "4", fin=False)
    connection.ws.send(CONTINUATION, "5")
    assert connection.listener.events == ["may send"]


@both_roles
def test_a_message_that_comes_before_the_end_is_heard_of(role: str) -> None:
    """It is refused, and changes nothing for those that wait."""
    connection, follower = followed(role)
    connection.ws.send(TEXT, "1", fin=False)
    follower.hold()
    with pytest.raises(ValueError, match="a fragmented message is under way"):
        connection.ws.send_many(BINARY, [b"x"])
    connection.ws.send_reuse_external_bytearray(CONTINUATION, bytearray(15), 14)
    assert connection.listener.events == ["may send"]


@both_roles
def test_during_a_write(role: str) -> None:
    """The next message waits for what was held, or else the next loop iteration does it."""
    connection, follower = followed(role)
    states: List[bool] = []

    class Garbage:
        def __del__(self) -> None:
            states.append(follower.is_blocked)
            follower.hold()
            with pytest.raises(WSStateError, match="another frame is being written"):
                connection.ws.send(TEXT, "refused")

    connection.transport.writes = Collecting(Garbage())
    connection.ws.send(TEXT, "1")
    assert states == [True]
    assert connection.listener.events == []
    connection.loop.run_ready()
    assert connection.listener.events == ["may send"]
    connection.transport.writes = Collecting(Garbage())
    connection.ws.send(TEXT, "2")
    connection.ws.send(TEXT, "3")
    assert connection.listener.events == ["may send"] * 2
    connection.loop.run_ready()
    assert connection.listener.events == ["may send"] * 2


class Collecting(List[bytes]):
    """The writes of a transport, the first of which frees an object."""

    def __init__(self, garbage: object) -> None:
        self.garbage: Any = garbage

    def append(self, data: bytes) -> None:
        super().append(data)
        self.garbage = None
