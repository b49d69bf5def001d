"""Code that runs during a write, as finalizers, signal handlers and logging handlers may."""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Optional

import pytest

from picows_codec import (
    WSDisconnectKind,
    WSPermessageDeflate,
    WSPreparedMessage,
    WSState,
    WSStateError,
    broadcast,
)
from picows_codec.testing.memory_transport import MemoryTransport
from tests.support.connection import Connection, both_roles, kind_of
from tests.support.deflate import DeflateConnection, Peer
from tests.support.frames import BINARY, CLOSE


class Interrupted(MemoryTransport):
    """Runs ``nested`` during its next write, once."""

    nested: Optional[Callable[[], Any]] = None
    error: Optional[BaseException] = None

    def write(self, data: Any) -> None:
        super().write(data)
        nested, self.nested = self.nested, None
        if nested is not None:
            try:
                nested()
            except Exception as error:  # noqa: BLE001
                self.error = error


def interrupted(role: str, **options: Any) -> Connection:
    return Connection(role, transport_class=Interrupted, **options)


MESSAGES = [bytes([i]) * 1000 for i in range(250)]  # more than a buffer
LARGE_MESSAGES = [bytes([i]) * 40_000 for i in range(10)]
LARGE = bytes(400_000)


def send_corked(connection: Connection) -> List[bytes]:
    with connection.ws.cork():
        for message in MESSAGES:
            connection.ws.send(BINARY, message)
    return MESSAGES


def send(connection: Connection) -> List[bytes]:
    connection.ws.send(BINARY, LARGE)
    return [LARGE]


def send_many(connection: Connection) -> List[bytes]:
    connection.ws.send_many(BINARY, MESSAGES)
    return MESSAGES


def send_many_large(connection: Connection) -> List[bytes]:
    connection.ws.send_many(BINARY, LARGE_MESSAGES)
    return LARGE_MESSAGES


def send_prepared(connection: Connection) -> List[bytes]:
    connection.ws.send_prepared(WSPreparedMessage(BINARY, LARGE))
    return [LARGE]


OUTER: Dict[str, Callable[[Connection], List[bytes]]] = {
    function.__name__: function
    for function in (send, send_corked, send_many, send_many_large, send_prepared)
}

SENDING: Dict[str, Callable[[Connection], Any]] = {
    "send": lambda connection: connection.ws.send(BINARY, b"nested"),
    "send_large": lambda connection: connection.ws.send(BINARY, LARGE),
    "send_many": lambda connection: connection.ws.send_many(BINARY, [b"nested", b"twice"]),
    "send_prepared": lambda connection: connection.ws.send_prepared(
        WSPreparedMessage(BINARY, b"nested")
    ),
    "send_in_place": lambda connection: connection.ws.send_reuse_external_bytearray(
        BINARY, bytearray(20), 14
    ),
    "ping": lambda connection: connection.ws.send_ping(),
    "close": lambda connection: connection.ws.send_close(),
}


def payloads(connection: Connection) -> List[bytes]:
    return [frame.payload for frame in connection.sent() if frame.opcode != CLOSE]


@both_roles
@pytest.mark.parametrize("outer", list(OUTER))
@pytest.mark.parametrize("nested", list(SENDING))
def test_nothing_is_sent_within_a_write(role: str, outer: str, nested: str) -> None:
    connection = interrupted(role)
    transport: Any = connection.transport
    transport.nested = lambda: SENDING[nested](connection)
    expected = OUTER[outer](connection)
    assert isinstance(transport.error, WSStateError)
    assert "while another frame is being written" in str(transport.error)
    assert payloads(connection) == expected
    assert connection.ws.state is WSState.OPEN
    connection.ws.send(BINARY, b"later")
    assert payloads(connection) == [b"later"]


@both_roles
@pytest.mark.parametrize("outer", list(OUTER))
def test_a_cork_and_a_broadcast_within_a_write(role: str, outer: str) -> None:
    connection = interrupted(role)
    transport: Any = connection.transport
    counts: List[int] = []

    def nested() -> None:
        with connection.ws.cork():
            counts.append(broadcast([connection.ws], b"nested"))

    transport.nested = nested
    assert payloads_after(connection, outer) == []
    assert transport.error is None
    assert counts == [0]


def payloads_after(connection: Connection, outer: str) -> List[bytes]:
    """What was sent besides the messages of ``outer``."""
    expected = OUTER[outer](connection)
    sent = payloads(connection)
    assert sent[: len(expected)] == expected
    return sent[len(expected) :]


@both_roles
@pytest.mark.parametrize("graceful", [True, False])
@pytest.mark.parametrize("outer", list(OUTER))
def test_disconnecting_waits_for_the_write(role: str, graceful: bool, outer: str) -> None:
    connection = interrupted(role)
    transport: Any = connection.transport
    transport.nested = lambda: connection.ws.disconnect(graceful=graceful)
    assert payloads_after(connection, outer) == []
    assert transport.error is None
    assert kind_of(connection) is (
        WSDisconnectKind.LOCAL_CLOSE if graceful else WSDisconnectKind.LOCAL_ABORT
    )


@both_roles
@pytest.mark.parametrize("outer", list(OUTER))
def test_a_transport_that_ends_within_its_write(role: str, outer: str) -> None:
    connection = interrupted(role)
    transport: Any = connection.transport
    transport.nested = lambda: connection.endpoint.connection_lost(OSError("gone"))
    assert payloads_after(connection, outer) == []
    assert transport.error is None
    assert connection.ws.state is WSState.CLOSED
    assert connection.listener.count("disconnected") == 1
    # The thread's buffers are as they were.
    other = Connection(role)
    other.ws.send_many(BINARY, [b"a", b"b"])
    assert payloads(other) == [b"a", b"b"]


@both_roles
@pytest.mark.parametrize("nested", list(SENDING))
def test_compressed_messages(role: str, nested: str) -> None:
    connection = DeflateConnection(
        role, transport_class=Interrupted, compression=WSPermessageDeflate(client_compresses=True)
    )
    transport: Any = connection.transport
    transport.nested = lambda: SENDING[nested](connection)
    messages = [bytes(range(i, 256)) * 100 for i in range(250)]
    connection.ws.send_many(BINARY, messages)
    assert isinstance(transport.error, WSStateError)
    peer = Peer()
    assert [peer.inflate(frame.payload) for frame in connection.sent()] == messages
