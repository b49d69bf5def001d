"""Frames to the listener: callbacks, and what they do, keep and raise."""

from __future__ import annotations

import asyncio
import gc
from typing import Any, Callable, Dict, List, Tuple, Type

import pytest

from picows_codec import (
    WSDisconnectKind,
    WSFrame,
    WSListener,
    WSMessageListener,
    WSMsgType,
    WSStateError,
    WSTransport,
)
from tests.support import frames
from tests.support.chunking import Feeding, every_feeding, in_pairs, whole
from tests.support.connection import Connection, Recorder, both_roles, both_ways_of_reading
from tests.support.frames import BINARY, CLOSE, PONG, TEXT, Frame

# Listeners


@pytest.mark.parametrize("kind", [WSListener, WSMessageListener])
def test_compiled_callbacks_are_not_called_through_python(kind: Type[WSListener]) -> None:
    """No Python function is kept to be called for every frame, as it is of a Python listener."""

    def kept_by(listener: WSListener) -> List[str]:
        referents = gc.get_referents(Connection("server", listener).endpoint)
        return [each.__name__ for each in referents if getattr(each, "__name__", "") != ""]

    assert "on_ws_frame" not in kept_by(kind())
    assert "on_ws_frame" in kept_by(Recorder())


@both_roles
def test_listener_without_callbacks(role: str) -> None:
    connection = Connection(role, WSListener())
    connection.receive(TEXT, b"x")
    connection.receive_close()
    assert [frame.opcode for frame in connection.sent()] == [CLOSE]
    connection.lose()


@both_roles
def test_callback_of_the_instance(role: str) -> None:
    seen: List[bytes] = []
    listener: Any = type("Listener", (WSListener,), {})()
    listener.on_ws_frame = lambda transport, frame: seen.append(bytes(frame))
    connection = Connection(role, listener)
    connection.receive(TEXT, b"x")
    assert seen == [b"x"]


@both_roles
def test_callback_that_is_a_builtin(role: str) -> None:
    seen: List[Tuple[Any, ...]] = []
    listener: Any = type("Listener", (WSListener,), {"on_ws_frame": staticmethod(print)})()
    connection = Connection(role, listener)
    connection.receive(TEXT, b"x")
    assert connection.cause is None
    assert seen == []


@both_roles
def test_callback_of_another_class(role: str) -> None:
    class Mixin:
        def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
            seen.append(bytes(frame))

    class Listener(Mixin, WSListener):
        pass

    seen: List[bytes] = []
    connection = Connection(role, Listener())
    connection.receive(TEXT, b"x")
    assert seen == [b"x"]


# Callbacks that let other connections read


@both_roles
@pytest.mark.parametrize("size", [10, 3000])
def test_nested_reads(role: str, size: int) -> None:
    """A callback that makes another connection of the thread receive."""
    other = Connection(role)

    def handler(transport: WSTransport, frame: WSFrame) -> None:
        before = bytes(frame)
        other.receive(BINARY, b"z" * size)
        assert bytes(frame) == before

    connection = Connection(role, Recorder().act("on_ws_frame", handler))
    connection.feed(connection.build(BINARY, b"a" * size) + connection.build(BINARY, b"b" * size))
    assert [frame[1] for frame in connection.listener.frames] == [b"a" * size, b"b" * size]
    assert [frame[1] for frame in other.listener.frames] == [b"z" * size] * 2
    assert connection.cause is None


@both_roles
@pytest.mark.parametrize("keep", ["frame", "view"])
def test_frames_kept_in_nested_reads(role: str, keep: str) -> None:
    """What the inner or the outer callback keeps stays valid while the same memory is used."""
    kept: List[Any] = []

    def keeper(transport: WSTransport, frame: WSFrame) -> None:
        kept.append(frame if keep == "frame" else memoryview(frame))

    other = Connection(role, Recorder().act("on_ws_frame", keeper))

    def handler(transport: WSTransport, frame: WSFrame) -> None:
        other.receive(BINARY, b"inner %d" % len(kept))
        keeper(transport, frame)

    connection = Connection(role, Recorder().act("on_ws_frame", handler))
    for number in range(3):
        connection.feed(connection.build(BINARY, b"outer %d" % number) * 2)
    assert [bytes(each) for each in kept] == [
        b"inner 0", b"outer 0", b"inner 2", b"outer 0",
        b"inner 4", b"outer 1", b"inner 6", b"outer 1",
        b"inner 8", b"outer 2", b"inner 10", b"outer 2",
    ]  # fmt: skip
    assert len({id(each) for each in kept}) == len(kept)


@both_roles
def test_the_frame_is_reused_after_callbacks_that_raise(role: str) -> None:
    """Also where a callback fails, or another connection's, the next frame is right."""
    seen: List[bytes] = []

    def handler(transport: WSTransport, frame: WSFrame) -> None:
        seen.append(bytes(frame))
        if len(seen) % 2:
            raise ValueError(seen)

    connection = Connection(
        role, Recorder().act("on_ws_frame", handler), disconnect_on_exception=False
    )
    for payload in (b"a", b"b" * 2000, b"c", b""):
        connection.receive(BINARY, payload)
    assert seen == [b"a", b"b" * 2000, b"c", b""]


# Callbacks in the middle of a read


def _fail(transport: WSTransport, frame: WSFrame) -> None:
    raise ValueError(bytes(frame))


# In the middle of a read; what is returned is kept.
ACTS: Dict[str, Callable[[WSTransport, WSFrame], Any]] = {
    "nothing": lambda transport, frame: None,
    "send": lambda transport, frame: transport.send(TEXT, b"answer"),
    "send_ping": lambda transport, frame: transport.send_ping(b"p"),
    "send_close": lambda transport, frame: transport.send_close(1001),
    "disconnect": lambda transport, frame: transport.disconnect(),
    "abort": lambda transport, frame: transport.disconnect(graceful=False),
    "keep": lambda transport, frame: frame,
    "keep a view": lambda transport, frame: memoryview(frame),
    "raise": _fail,
}


@both_roles
@pytest.mark.parametrize("size", [1, 200])
@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("goes_on", [True, False])
def test_callbacks_in_one_read_as_in_many(role: str, size: int, act: str, goes_on: bool) -> None:
    """What a callback does in the middle of a read counts for the frames that follow in it."""

    def outcome(feeding: Feeding) -> Tuple[Any, ...]:
        kept: List[Any] = []
        other = Connection(role)

        def handler(transport: WSTransport, frame: WSFrame) -> None:
            if bytes(frame)[:1] == b"2":
                kept.append(ACTS[act](transport, frame))
                other.feed(other.build(BINARY, b"inner") * 3)

        listener = Recorder().act("on_ws_frame", handler)
        connection = Connection(role, listener, disconnect_on_exception=not goes_on)
        frames_of_peer = [connection.build(BINARY, b"%d" % i * size) for i in range(6)]
        connection.feed(*feeding(b"".join(frames_of_peer)))
        connection.receive(TEXT, b"more")
        kept = [bytes(each) for each in kept if each is not None]
        return (
            listener.events,
            connection.sent(),
            repr(connection.cause),
            kept,
            other.listener.events,
        )

    found = outcome(whole)
    assert found == outcome(in_pairs)
    assert found[3] == ([b"2" * size] if act.startswith("keep") else [])


# Replies of one read


@both_roles
@pytest.mark.parametrize("size", [10, 20_000])
def test_replies_to_one_read_leave_together(role: str, size: int) -> None:
    listener = Recorder()
    listener.act("on_ws_frame", lambda transport, frame: transport.send(frame.opcode, frame))
    connection = Connection(role, listener)
    before = len(connection.transport.writes)
    connection.feed(b"".join(connection.build(BINARY, bytes([i]) * size) for i in range(5)))
    assert [frame.payload for frame in connection.sent()] == [bytes([i]) * size for i in range(5)]
    if size == 10:
        assert len(connection.transport.writes) == before + 1


@both_roles
def test_the_reply_to_the_last_frame_leaves_at_once(role: str) -> None:
    written: List[int] = []

    def handler(transport: WSTransport, frame: WSFrame) -> None:
        transport.send(TEXT, frame)
        written.append(len(connection.transport.writes))

    connection = Connection(role, Recorder().act("on_ws_frame", handler))
    before = len(connection.transport.writes)
    connection.feed(connection.build(TEXT, b"1") + connection.build(TEXT, b"2"))
    assert [each - before for each in written] == [0, 1]


# Exceptions of the listener


@both_roles
@every_feeding
@pytest.mark.parametrize("opcode", [TEXT, PONG, CLOSE])
def test_on_ws_frame_that_raises(role: str, feeding: Feeding, opcode: int) -> None:
    def handler(transport: WSTransport, frame: WSFrame) -> None:
        if frame.opcode == opcode:
            raise error

    error = LookupError("as asked for")
    connection = Connection(role, Recorder().act("on_ws_frame", handler))
    connection.feed(
        *feeding(
            connection.build(BINARY, b"first")
            + connection.build(opcode)
            + connection.build(TEXT, b"never seen")
        )
    )
    assert connection.listener.frames == [(BINARY, b"first", True), (opcode, b"", True)]
    (close,) = connection.sent()
    assert close.payload == frames.close_payload(1011, b"internal error")
    assert connection.cause is not None
    expected = (
        WSDisconnectKind.PEER_CLOSE if opcode == CLOSE else WSDisconnectKind.LISTENER_EXCEPTION
    )
    assert connection.cause.kind is expected
    assert any("on_ws_frame" in line and "as asked for" in line for line in connection.log.lines)
    connection.feed_eof()
    assert connection.listener.count("disconnected") == 1


@both_roles
def test_on_ws_frame_that_raises_and_may(role: str) -> None:
    def handler(transport: WSTransport, frame: WSFrame) -> None:
        raise LookupError("as asked for")

    connection = Connection(
        role, Recorder().act("on_ws_frame", handler), disconnect_on_exception=False
    )
    connection.feed(connection.build(TEXT, b"1") + connection.build(TEXT, b"2"))
    connection.receive_close()
    assert len(connection.listener.frames) == 3
    assert [frame.opcode for frame in connection.sent()] == [CLOSE]
    assert len(connection.log.lines) == 3
    assert connection.cause is not None
    assert connection.cause.kind is WSDisconnectKind.PEER_CLOSE


@both_roles
@both_ways_of_reading
@pytest.mark.parametrize("kind", [KeyboardInterrupt, asyncio.CancelledError])
def test_on_ws_frame_that_is_interrupted(role: str, buffered: bool, kind: Any) -> None:
    def handler(transport: WSTransport, frame: WSFrame) -> None:
        raise kind

    connection = Connection(
        role, Recorder().act("on_ws_frame", handler), transport_options={"buffered": buffered}
    )
    stream = connection.build(TEXT, b"1") + connection.build(TEXT, b"2")
    if kind is KeyboardInterrupt:
        with pytest.raises(KeyboardInterrupt):
            connection.feed(stream)
    else:
        connection.feed(stream)
        assert type(connection.transport.fatal_errors[0]) is kind
    # What was left of the read is gone: going on would be nonsense.
    connection.loop.run_ready()
    assert connection.listener.frames == [(TEXT, b"1", True)]
    assert connection.transport.lost
    assert connection.listener.count("disconnected") == 1
    assert connection.cause is not None
    assert connection.cause.kind is WSDisconnectKind.LISTENER_EXCEPTION


@both_roles
def test_exception_with_its_own_close(role: str) -> None:
    def handler(transport: WSTransport, frame: WSFrame) -> None:
        transport.disconnect(code=4000)
        transport.send(TEXT, b"too late")

    connection = Connection(role, Recorder().act("on_ws_frame", handler))
    connection.receive(TEXT, b"x")
    assert connection.sent() == [Frame(CLOSE, frames.close_payload(4000))]
    assert any("a CLOSE frame has been sent" in line for line in connection.log.lines)
    connection.feed_eof()
    assert connection.listener.count("disconnected") == 1


# Callbacks that end the connection


@both_roles
@pytest.mark.parametrize("graceful", [True, False])
def test_disconnect_inside_a_callback(role: str, graceful: bool) -> None:
    def handler(transport: WSTransport, frame: WSFrame) -> None:
        transport.disconnect(graceful)

    connection = Connection(role, Recorder().act("on_ws_frame", handler))
    connection.feed(connection.build(TEXT, b"1") + connection.build(TEXT, b"2"))
    assert connection.listener.frames == [(TEXT, b"1", True)]
    assert [frame.opcode for frame in connection.sent()] == ([CLOSE] if graceful else [])
    assert connection.transport.aborted != graceful
    if graceful:
        connection.receive(TEXT, b"3")
        connection.receive_close()
        connection.feed_eof()
    assert connection.listener.events == [("connected",), (TEXT, b"1", True), ("disconnected",)]
    assert connection.cause is not None
    assert connection.cause.kind is (
        WSDisconnectKind.LOCAL_CLOSE if graceful else WSDisconnectKind.LOCAL_ABORT
    )


@both_roles
def test_what_is_sent_after_an_abort_is_refused(role: str) -> None:
    def handler(transport: WSTransport, frame: WSFrame) -> None:
        transport.disconnect(graceful=False)
        for send in (lambda: transport.send(TEXT, b"x"), transport.send_close, transport.ping):
            try:
                send()
            except WSStateError:
                refused.append(send)

    refused: List[Any] = []
    connection = Connection(role, Recorder().act("on_ws_frame", handler))
    connection.receive(TEXT, b"1")
    assert len(refused) == 3
    assert connection.sent() == []
    assert connection.ws.close_handshake is None


@both_roles
def test_opcode_members(role: str) -> None:
    opcodes: List[Any] = []
    listener = Recorder().act("on_ws_frame", lambda _, frame: opcodes.append(frame.opcode))
    connection = Connection(role, listener)
    connection.feed(*whole(connection.build(TEXT) + connection.build(BINARY)))
    assert opcodes[0] is WSMsgType.TEXT
    assert opcodes[1] is WSMsgType.BINARY
