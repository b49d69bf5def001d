"""picows_codec.coroutines.ending: when iteration ends, what is raised, and what that says."""

from __future__ import annotations

from typing import Any, Optional

import pytest

from picows_codec import (
    WSCloseCode,
    WSCloseInfo,
    WSConnectionClosed,
    WSConnectionError,
    WSDisconnectKind,
    WSPingTimeout,
    WSProtocolError,
)
from tests.support.connection import both_roles, finish_closing
from tests.support.coroutines import CoroutineConnection
from tests.support.frames import CLOSE, TEXT


def closed_error(link: CoroutineConnection) -> WSConnectionClosed:
    with pytest.raises(WSConnectionClosed) as caught:
        link.do(link.awaited.recv())
    assert isinstance(caught.value, WSConnectionError)
    return caught.value


@both_roles
@pytest.mark.parametrize("code", [1000, 1001, None])
def test_peaceful_closes(role: str, code: Optional[int]) -> None:
    link = CoroutineConnection(role)
    task = link.start_task(link.iterate())
    link.texts("a")
    if code is None:
        link.receive(CLOSE)
    else:
        link.receive_close(code, b"bye")
    assert task.result() == ["a"]
    error = closed_error(link)
    assert error.code == (code or 1005)
    assert error.reason == ("bye" if code else "")
    assert error.received == WSCloseInfo(code or 1005, error.reason)
    assert error.sent == WSCloseInfo(code or 1005, "")
    assert error.cause is not None
    assert error.cause.kind is WSDisconnectKind.PEER_CLOSE


@both_roles
@pytest.mark.parametrize("code", [1002, 1011, 1012, 3000, 4999])
def test_other_closes(role: str, code: int) -> None:
    link = CoroutineConnection(role)
    link.texts("a", "b")
    link.receive_close(code, b"why")
    assert link.do(link.awaited.recv()) == "a"
    assert link.do(link.awaited.__anext__()) == "b"
    with pytest.raises(WSConnectionClosed, match=f"{code} .why.") as caught:
        link.do(link.awaited.__anext__())
    assert (caught.value.code, caught.value.reason) == (code, "why")


@both_roles
@pytest.mark.parametrize("code", [1000, 1011, 4000])
def test_local_close(role: str, code: int) -> None:
    link = CoroutineConnection(role)
    task = link.start_task(link.iterate())
    link.awaited.leave(code, "enough")
    link.loop.run_ready()
    assert task.result() == []
    error = closed_error(link)
    assert (error.code, error.reason) == (code, "enough")
    assert error.received is None
    link.receive_close(code)
    finish_closing(link)
    assert closed_error(link).received == WSCloseInfo(code, "")


def test_a_local_close_that_the_peer_does_not_answer() -> None:
    link = CoroutineConnection()
    link.awaited.leave()
    link.loop.advance(60)
    assert link.cause is not None
    assert link.cause.kind is WSDisconnectKind.CLOSE_TIMEOUT
    assert link.do(link.iterate()) == []
    assert closed_error(link).code == 1000


@pytest.mark.parametrize("graceful", [True, False])
def test_local_close_by_the_transport(graceful: bool) -> None:
    link = CoroutineConnection()
    link.texts("a")
    task = link.start_task(link.iterate())
    link.awaited.transport.disconnect(graceful)
    if graceful:
        link.receive_close()
    link.loop.run_ready()
    assert task.result() == ["a"]


def lost(link: CoroutineConnection) -> None:
    link.lose(ConnectionResetError("reset"))


def ended(link: CoroutineConnection) -> None:
    link.feed_eof()


def broken(link: CoroutineConnection) -> None:
    link.receive(TEXT, b"\xff")
    link.loop.advance(60)


def silent(link: CoroutineConnection) -> None:
    link.loop.advance(60)


@pytest.mark.parametrize(
    ("end", "code", "cause"),
    [
        (lost, 1006, ConnectionResetError),
        (ended, 1006, WSConnectionError),
        (broken, 1007, WSProtocolError),
        (silent, 1011, WSPingTimeout),
    ],
)
def test_faults(end: Any, code: int, cause: Any) -> None:
    link = CoroutineConnection(
        enable_auto_ping=True, auto_ping_idle_timeout=5, auto_ping_reply_timeout=5
    )
    task = link.start_task(link.iterate())
    link.texts("a")
    end(link)
    error = task.exception()
    assert isinstance(error, WSConnectionClosed)
    assert error.code == code
    assert type(error.code) is WSCloseCode
    assert str(error).count("without a closing handshake") <= 1
    assert isinstance(error.__cause__, cause)
    assert link.awaited.close_code == code
    assert closed_error(link).code == code


def test_messages_come_before_a_fault() -> None:
    link = CoroutineConnection()
    link.texts("a", "b")
    link.lose(OSError("gone"))
    assert link.do(link.awaited.recv()) == "a"
    assert link.do(link.awaited.recv_many()) == ["b"]
    for call in (link.awaited.recv, link.awaited.recv_many, link.awaited.__anext__):
        with pytest.raises(WSConnectionClosed, match="gone"):
            link.do(call())


def test_the_error_by_itself() -> None:
    error = WSConnectionClosed(1006)
    assert str(error) == "the connection is closed: 1006"
    assert (error.reason, error.cause, error.received, error.sent) == ("", None, None, None)
    assert str(WSConnectionClosed(4000, "why")) == "the connection is closed: 4000 why"


@both_roles
def test_a_violation_is_told_at_once(role: str) -> None:
    """Before the peer has seen the CLOSE frame, which takes a second if it does not answer."""
    link = CoroutineConnection(role)
    task = link.start_task(link.awaited.recv())
    link.receive(3)
    assert not link.transport.lost
    error = task.exception()
    assert isinstance(error, WSConnectionClosed)
    assert error.code == 1002
    assert error.cause is not None
    assert error.cause.kind is WSDisconnectKind.PROTOCOL_ERROR


@both_roles
def test_a_ping_timeout_is_told_at_once(role: str) -> None:
    link = CoroutineConnection(
        role, enable_auto_ping=True, auto_ping_idle_timeout=4, auto_ping_reply_timeout=2
    )
    receiving = link.start_task(link.awaited.recv())
    link.loop.advance(6.9)
    assert not link.transport.lost
    error = receiving.exception()
    assert isinstance(error, WSConnectionClosed)
    assert isinstance(error.__cause__, WSPingTimeout)


@both_roles
def test_disconnect_of_the_transport_is_told_at_once(role: str) -> None:
    link = CoroutineConnection(
        role, room=0, coalesce_writes=False, write_high_watermark=20, write_low_watermark=10
    )
    link.do(link.awaited.send(b"x" * 30))
    receiving = link.start_task(link.awaited.recv())
    sending = link.start_task(link.awaited.send("a"))
    link.ws.disconnect(code=4000)
    link.loop.run_ready()
    assert not link.transport.lost
    for task in (receiving, sending):
        error = task.exception()
        assert isinstance(error, WSConnectionClosed)
        assert error.code == 4000
