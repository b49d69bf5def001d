"""CLOSING and CLOSED: the closing handshake, its deadlines, and what ends without one."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest

from picows_codec import (
    WSCloseCode,
    WSCloseHandshake,
    WSCloseInfo,
    WSCloseTimeout,
    WSConnectionError,
    WSDisconnectKind,
    WSFrame,
    WSInvalidCloseError,
    WSState,
    WSStateError,
    WSTransport,
)
from tests.support import frames
from tests.support.chunking import Feeding, every_feeding
from tests.support.connection import Connection, Recorder, both_roles, finish_closing, kind_of
from tests.support.frames import BINARY, CLOSE, PING, TEXT, Frame

NORMAL = frames.close_payload(1000)


# Started by the peer


@both_roles
@every_feeding
@pytest.mark.parametrize(
    ("payload", "code", "reason"),
    [
        (b"", 1005, ""),
        (NORMAL, 1000, ""),
        (frames.close_payload(1001, b"going"), 1001, "going"),
        (frames.close_payload(4321, "\u00e9".encode()), 4321, "\u00e9"),
    ],
)
def test_close_of_the_peer(
    role: str, feeding: Feeding, payload: bytes, code: int, reason: str
) -> None:
    connection = Connection(role)
    connection.feed(*feeding(connection.build(CLOSE, payload)))
    assert connection.listener.frames == [(CLOSE, payload, True)]
    # The code is echoed, the reason is not.
    assert connection.sent() == [Frame(CLOSE, payload[:2])]
    assert connection.ws.close_handshake == WSCloseHandshake(
        WSCloseInfo(code, reason), WSCloseInfo(code, ""), recv_then_sent=True
    )
    finish_closing(connection)
    assert kind_of(connection) is WSDisconnectKind.PEER_CLOSE
    assert connection.cause is not None
    assert connection.cause.exception is None
    assert connection.cause.unsent_bytes == 0
    assert connection.listener.count("disconnected") == 1
    assert connection.ws.state is WSState.CLOSED
    assert connection.ws.is_disconnected


@both_roles
def test_close_info_has_members(role: str) -> None:
    connection = Connection(role)
    connection.receive_close(1001)
    handshake = connection.ws.close_handshake
    assert handshake is not None
    assert handshake.recv is not None
    assert handshake.recv.code is WSCloseCode.GOING_AWAY


@both_roles
def test_close_that_the_listener_answers(role: str) -> None:
    def handler(transport: WSTransport, frame: WSFrame) -> None:
        transport.send(TEXT, b"last words")
        transport.send_close(4000, "bye")
        transport.disconnect()

    connection = Connection(role, Recorder().act("on_ws_frame", handler))
    connection.receive_close(1001)
    assert connection.sent() == [
        Frame(TEXT, b"last words"),
        Frame(CLOSE, frames.close_payload(4000, b"bye")),
    ]
    assert connection.ws.close_handshake == WSCloseHandshake(
        WSCloseInfo(1001, ""), WSCloseInfo(4000, "bye"), recv_then_sent=True
    )
    finish_closing(connection)
    assert kind_of(connection) is WSDisconnectKind.PEER_CLOSE


@both_roles
def test_close_that_the_listener_echoes(role: str) -> None:
    """The quick start's server."""

    def handler(transport: WSTransport, frame: WSFrame) -> None:
        transport.send(frame.opcode, frame.get_payload_as_bytes())
        if frame.opcode == CLOSE:
            transport.disconnect()

    connection = Connection(role, Recorder().act("on_ws_frame", handler))
    payload = frames.close_payload(3000, b"reason")
    connection.feed(connection.build(TEXT, b"x") + connection.build(CLOSE, payload))
    assert connection.sent() == [Frame(TEXT, b"x"), Frame(CLOSE, payload)]
    finish_closing(connection)


@both_roles
def test_client_that_waits_too_long_for_the_server(role: str) -> None:
    connection = Connection(role, close_timeout=3.0)
    connection.receive_close()
    if role == "server":
        assert connection.transport.lost
        return
    connection.loop.advance(2.9)
    assert not connection.transport.lost
    connection.loop.advance(0.2)
    assert connection.transport.aborted
    assert connection.listener.count("disconnected") == 1
    assert kind_of(connection) is WSDisconnectKind.PEER_CLOSE


def test_server_that_cannot_write_its_close() -> None:
    connection = Connection("server", room=0, close_timeout=3.0)
    connection.ws.send(BINARY, b"x" * 100)
    connection.receive_close()
    assert not connection.transport.lost
    connection.loop.advance(3.1)
    assert connection.transport.aborted
    assert kind_of(connection) is WSDisconnectKind.PEER_CLOSE
    assert connection.cause is not None
    assert connection.cause.unsent_bytes == 102 + 4


# Started here


@both_roles
@every_feeding
def test_send_close(role: str, feeding: Feeding) -> None:
    connection = Connection(role)
    connection.ws.send_close(1001, "going")
    assert connection.sent() == [Frame(CLOSE, frames.close_payload(1001, b"going"))]
    assert connection.ws.state is WSState.CLOSING
    assert connection.ws.is_close_frame_sent
    assert connection.ws.close_handshake == WSCloseHandshake(
        None, WSCloseInfo(1001, "going"), recv_then_sent=False
    )
    # Until the peer's CLOSE its frames are delivered.
    connection.feed(
        *feeding(connection.build(TEXT, b"late") + connection.build(CLOSE, NORMAL) + b"\xff\xff")
    )
    assert connection.listener.frames == [(TEXT, b"late", True), (CLOSE, NORMAL, True)]
    assert connection.sent() == []
    assert connection.ws.close_handshake == WSCloseHandshake(
        WSCloseInfo(1000, ""), WSCloseInfo(1001, "going"), recv_then_sent=False
    )
    finish_closing(connection)
    assert kind_of(connection) is WSDisconnectKind.LOCAL_CLOSE


@both_roles
@every_feeding
def test_disconnect(role: str, feeding: Feeding) -> None:
    connection = Connection(role)
    connection.ws.disconnect(code=4001, reason=b"enough")
    assert connection.sent() == [Frame(CLOSE, frames.close_payload(4001, b"enough"))]
    assert connection.ws.state is WSState.CLOSING
    connection.feed(
        *feeding(
            connection.build(TEXT, b"never seen")
            + connection.build(BINARY, b"x" * 3000)
            + connection.build(CLOSE, NORMAL)
        )
    )
    assert connection.listener.frames == []
    finish_closing(connection)
    assert connection.listener.events == [("connected",), ("disconnected",)]
    assert kind_of(connection) is WSDisconnectKind.LOCAL_CLOSE


@both_roles
@pytest.mark.parametrize("graceful", [True, False])
def test_disconnect_without_a_code(role: str, graceful: bool) -> None:
    connection = Connection(role)
    connection.ws.disconnect(graceful, None)
    assert connection.sent() == ([Frame(CLOSE)] if graceful else [])


@both_roles
@pytest.mark.parametrize("arguments", [(1001,), (1001, "reason"), ("reason",), (None,)])
def test_disconnect_with_a_code_in_the_place_of_graceful(role: str, arguments: Any) -> None:
    connection = Connection(role)
    with pytest.raises(TypeError, match=r"^graceful must be True or False.*disconnect\(code="):
        connection.ws.disconnect(*arguments)
    assert connection.sent() == []
    assert connection.ws.state is WSState.OPEN


@both_roles
def test_disconnect_sends_what_is_queued_first(role: str) -> None:
    connection = Connection(role, room=0)
    connection.ws.send(TEXT, b"queued")
    connection.ws.disconnect()
    assert connection.sent() == [Frame(TEXT, b"queued"), Frame(CLOSE, NORMAL)]
    connection.receive_close()
    if role == "server":
        assert not connection.transport.lost
    connection.drain()
    finish_closing(connection)
    assert connection.cause is not None
    assert connection.cause.unsent_bytes == 0


@both_roles
def test_disconnect_after_send_close(role: str) -> None:
    connection = Connection(role)
    connection.ws.send_close(1001)
    connection.ws.disconnect(code=4000)
    assert connection.sent() == [Frame(CLOSE, frames.close_payload(1001))]
    connection.receive(TEXT, b"never seen")
    connection.receive_close()
    assert connection.listener.frames == []
    finish_closing(connection)


@both_roles
def test_close_is_sent_once(role: str) -> None:
    connection = Connection(role)
    connection.ws.send_close(1001)
    connection.ws.send_close(1002)
    connection.ws.send(CLOSE, b"")
    connection.ws.disconnect()
    connection.ws.disconnect()
    assert connection.sent() == [Frame(CLOSE, frames.close_payload(1001))]
    connection.receive_close()
    finish_closing(connection)
    # The connection has ended: there is nothing left to do, or to refuse.
    connection.ws.disconnect()
    connection.ws.disconnect(graceful=False)
    with pytest.raises(WSStateError, match="CLOSE frame has been sent"):
        connection.ws.send_close()


@both_roles
@pytest.mark.parametrize("graceful", [True, False])
def test_peer_that_does_not_answer_a_close(role: str, graceful: bool) -> None:
    connection = Connection(role, close_timeout=3.0)
    if graceful:
        connection.ws.disconnect()
    else:
        connection.ws.send_close()
    connection.loop.advance(1.0)
    connection.receive(PING)
    connection.loop.advance(1.9)
    assert not connection.transport.lost
    connection.loop.advance(0.2)
    assert connection.transport.aborted
    assert connection.listener.count("disconnected") == 1
    assert connection.cause is not None
    assert connection.cause.kind is WSDisconnectKind.CLOSE_TIMEOUT
    assert isinstance(connection.cause.exception, WSCloseTimeout)
    assert "3.0 seconds" in str(connection.cause)
    assert not connection.loop.timers


@both_roles
@pytest.mark.parametrize("graceful", [True, False])
def test_a_peer_that_is_not_listened_to_any_more_has_not_been_slow(
    role: str, graceful: bool
) -> None:
    """After a violation its CLOSE frame would be discarded, too."""
    connection = Connection(role, close_timeout=3.0)
    if graceful:
        connection.ws.disconnect()
    else:
        connection.ws.send_close()
    connection.receive(11)  # reserved
    connection.receive_close()
    connection.loop.advance(10.0)
    assert connection.transport.aborted
    assert connection.cause is not None
    assert connection.cause.kind is WSDisconnectKind.LOCAL_CLOSE
    assert connection.cause.exception is None


@both_roles
def test_no_close_timeout(role: str) -> None:
    connection = Connection(role, close_timeout=None, enable_auto_ping=True)
    connection.ws.disconnect()
    assert not connection.loop.timers
    connection.loop.advance(1000.0)
    assert not connection.transport.lost
    connection.receive_close()
    finish_closing(connection)


@both_roles
def test_a_deadline_that_somebody_else_watches(role: str) -> None:
    connection = Connection(role, close_timeout=3.0)
    connection.ws.disconnect()
    connection.endpoint.drop_deadline()
    connection.loop.advance(1000.0)
    assert not connection.transport.lost
    connection.receive_close()
    finish_closing(connection)


@both_roles
def test_closes_that_cross(role: str) -> None:
    connection = Connection(role)
    connection.ws.send_close(1001)
    connection.receive_close(1002)
    assert connection.sent() == [Frame(CLOSE, frames.close_payload(1001))]
    handshake = connection.ws.close_handshake
    assert handshake is not None
    assert not handshake.recv_then_sent
    finish_closing(connection)
    assert kind_of(connection) is WSDisconnectKind.LOCAL_CLOSE


@both_roles
@pytest.mark.parametrize("graceful", [True, False])
def test_peer_that_goes_away_instead_of_answering(role: str, graceful: bool) -> None:
    connection = Connection(role)
    connection.ws.disconnect()
    if graceful:
        connection.feed_eof()
    else:
        connection.lose(ConnectionResetError())
    assert connection.transport.lost
    assert connection.listener.count("disconnected") == 1
    assert kind_of(connection) is WSDisconnectKind.LOCAL_CLOSE
    handshake = connection.ws.close_handshake
    assert handshake is not None
    assert handshake.recv is None


# Abort


@both_roles
def test_abort(role: str) -> None:
    connection = Connection(role, room=10)
    connection.ws.send(BINARY, b"x" * 1000)
    queued = connection.transport.get_write_buffer_size()
    assert connection.ws.write_queue_size == queued > 900
    connection.ws.disconnect(graceful=False)
    assert connection.transport.aborted
    assert connection.ws.state is WSState.CLOSING
    # The callback comes later, never from inside the call.
    assert connection.listener.events == [("connected",)]
    connection.loop.run_ready()
    assert connection.listener.count("disconnected") == 1
    assert connection.cause is not None
    assert connection.cause.kind is WSDisconnectKind.LOCAL_ABORT
    assert connection.cause.exception is None
    assert connection.cause.unsent_bytes == queued
    assert connection.ws.close_handshake is None


@both_roles
def test_abort_counts_what_a_cork_holds_back(role: str) -> None:
    connection = Connection(role)
    with connection.ws.cork():
        connection.ws.send(BINARY, b"x" * 100)
        connection.ws.disconnect(graceful=False)
    connection.loop.run_ready()
    assert connection.sent() == []
    assert connection.cause is not None
    assert connection.cause.unsent_bytes == 102 + (4 if role == "client" else 0)


@both_roles
def test_abort_after_disconnect(role: str) -> None:
    connection = Connection(role)
    connection.ws.disconnect()
    connection.ws.disconnect(graceful=False)
    connection.loop.run_ready()
    assert connection.transport.aborted
    assert connection.listener.count("disconnected") == 1
    assert not connection.loop.timers


# Ends that nobody announced


@both_roles
def test_eof(role: str) -> None:
    connection = Connection(role)
    connection.feed_eof()
    assert connection.transport.lost
    assert connection.listener.events == [("connected",), ("disconnected",)]
    assert connection.cause is not None
    assert connection.cause.kind is WSDisconnectKind.CONNECTION_LOST
    assert isinstance(connection.cause.exception, WSConnectionError)
    assert connection.ws.close_handshake is None


@both_roles
def test_eof_inside_a_frame(role: str) -> None:
    connection = Connection(role)
    connection.feed(connection.build(TEXT, b"x" * 500)[:-1])
    connection.feed_eof()
    assert connection.listener.events == [("connected",), ("disconnected",)]
    assert kind_of(connection) is WSDisconnectKind.CONNECTION_LOST


@both_roles
@pytest.mark.parametrize("error", [None, ConnectionResetError("reset"), OSError(113, "no route")])
def test_connection_lost(role: str, error: Any) -> None:
    connection = Connection(role)
    connection.lose(error)
    assert connection.listener.events == [("connected",), ("disconnected",)]
    assert connection.cause is not None
    assert connection.cause.kind is WSDisconnectKind.CONNECTION_LOST
    if error is None:
        assert isinstance(connection.cause.exception, WSConnectionError)
    else:
        assert connection.cause.exception is error
    # A second call is one too many for a transport, but not for us.
    connection.endpoint.connection_lost(None)
    assert connection.listener.count("disconnected") == 1


@both_roles
def test_unsent_bytes_when_the_connection_breaks(role: str) -> None:
    connection = Connection(role, room=0)
    connection.ws.send(TEXT, b"x" * 50)
    connection.lose(ConnectionResetError())
    assert connection.cause is not None
    assert connection.cause.unsent_bytes == 52 + (4 if role == "client" else 0)
    assert "bytes were not sent" in str(connection.cause)


# Arguments


@both_roles
@pytest.mark.parametrize("payload", [b"", frames.close_payload(1000), NORMAL + b"bye"])
def test_a_listener_sends_back_what_it_got(role: str, payload: bytes) -> None:
    """As listeners written for picows do: with the code and message of the frame."""

    def answer(transport: WSTransport, frame: WSFrame) -> None:
        transport.send_close(frame.get_close_code(), frame.get_close_message())
        transport.disconnect()

    connection = Connection(role, Recorder().act("on_ws_frame", answer))
    connection.receive(CLOSE, payload)
    assert [(sent.opcode, sent.payload) for sent in connection.sent()] == [(CLOSE, payload)]


@both_roles
@pytest.mark.parametrize("code", [0, 999, 1004, 1006, 1015, 2999, 5000, 65536, -1, 10**20])
def test_codes_that_may_not_be_sent(role: str, code: int) -> None:
    connection = Connection(role)
    for method in (
        lambda: connection.ws.send_close(code),
        lambda: connection.ws.disconnect(True, code),
        lambda: connection.ws.disconnect(False, code),
    ):
        with pytest.raises(WSInvalidCloseError, match=str(code)):
            method()
    assert connection.sent() == []
    assert connection.ws.state is WSState.OPEN


@both_roles
@pytest.mark.parametrize("payload", [b"\x03", frames.close_payload(1005), NORMAL + b"\xff"])
def test_payloads_of_a_close_that_may_not_be_sent(role: str, payload: bytes) -> None:
    connection = Connection(role)
    with pytest.raises(WSInvalidCloseError):
        connection.ws.send(CLOSE, payload)
    with pytest.raises(WSInvalidCloseError):
        connection.ws.send_reuse_external_bytearray(CLOSE, bytearray(14) + payload, 14)
    assert connection.sent() == []
    assert connection.ws.state is WSState.OPEN


@both_roles
@pytest.mark.parametrize("reason", ["x" * 124, "\u00e9" * 62, b"\xff", "\ud800"])
def test_reasons_that_may_not_be_sent(role: str, reason: Any) -> None:
    connection = Connection(role)
    with pytest.raises(WSInvalidCloseError):
        connection.ws.send_close(1000, reason)
    with pytest.raises(WSInvalidCloseError):
        connection.ws.disconnect(reason=reason)
    assert connection.sent() == []
    assert connection.ws.state is WSState.OPEN


# The peer's end of the stream


@both_roles
@pytest.mark.parametrize("size", [1000, 500_000])
def test_half_close_cannot_pin_a_connection(role: str, size: int) -> None:
    """A peer that sends no more and reads no more, below and above the watermark."""
    connection = Connection(role, room=0, close_timeout=2.0)
    connection.ws.send(BINARY, bytes(size))
    connection.feed_eof()
    assert connection.ws.state is WSState.CLOSING
    with pytest.raises(WSStateError):
        connection.ws.send(BINARY, b"more")
    connection.loop.advance(2.1)
    assert connection.transport.aborted
    assert connection.transport.lost
    assert connection.cause is not None
    assert connection.cause.kind is WSDisconnectKind.CONNECTION_LOST
    assert connection.cause.unsent_bytes > size
    assert connection.listener.count("disconnected") == 1


@both_roles
@pytest.mark.parametrize("is_corked", [True, False])
def test_half_close_before_what_is_held_back_has_left(role: str, is_corked: bool) -> None:
    """A cork that is open, or frames of one loop iteration, with the CLOSE frame among them."""
    connection = Connection(role)
    with connection.ws.cork() if is_corked else contextlib.nullcontext():
        for payload in (b"1", b"2", b"3"):
            connection.ws.send(BINARY, payload)
        connection.ws.send_close(1001)
        connection.transport.feed_eof()
    assert connection.sent() == [
        *(Frame(BINARY, payload) for payload in (b"1", b"2", b"3")),
        Frame(CLOSE, frames.close_payload(1001)),
    ]
    assert connection.transport.lost
    assert connection.cause is not None
    assert connection.cause.unsent_bytes == 0


@both_roles
def test_half_close_of_a_peer_that_reads(role: str) -> None:
    connection = Connection(role, room=0)
    connection.ws.send(BINARY, bytes(1000))
    connection.feed_eof()
    connection.drain()
    assert connection.sent() == [Frame(BINARY, bytes(1000))]
    assert connection.transport.lost
    assert not connection.transport.aborted
