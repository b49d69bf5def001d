"""WSBatchListener: what is in a batch, when it is handed over, and what becomes of it at an end."""

from __future__ import annotations

import weakref
from itertools import chain
from typing import Any, Callable, Dict, List

import pytest

from picows_codec import (
    WSBatchListener,
    WSDisconnectKind,
    WSFrame,
    WSMessage,
    WSState,
    WSTransport,
)
from tests.support import frames
from tests.support.chunking import Feeding, every_feeding
from tests.support.connection import Connection, both_roles, kind_of
from tests.support.deflate import DeflateConnection, deflated
from tests.support.extensions import compile_extension
from tests.support.frames import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT


class Batches(WSBatchListener):
    """Notes what happens, and may do something in ``on_ws_batch``."""

    def __init__(self, action: Callable[[WSTransport], Any] = lambda transport: None) -> None:
        self.events: List[Any] = []
        self.action = action

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.events.append("connected")

    def on_ws_batch(self, transport: WSTransport, messages: List[Any]) -> None:
        assert transport is self.transport
        self.events.append(messages)
        self.action(transport)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self.events.append("disconnected")

    @property
    def batches(self) -> List[List[Any]]:
        return [event for event in self.events if isinstance(event, list)]


class Everything(Batches):
    """Sees every frame, too."""

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        self.events.append(frame.opcode.name)
        super().on_ws_frame(transport, frame)


def build(connection: Connection, *messages: Any) -> bytes:
    """Frames of the peer, from str and bytes."""
    return b"".join(
        connection.build(TEXT, message.encode())
        if isinstance(message, str)
        else connection.build(BINARY, message)
        for message in messages
    )


@both_roles
def test_a_batch_is_what_a_read_completes(role: str) -> None:
    listener = Batches()
    connection = Connection(role, listener)
    connection.feed(build(connection, "a", b"b", "\u00fc", b"", "", b"x" * 300))
    connection.feed(build(connection, b"alone"))
    assert listener.batches == [["a", b"b", "\u00fc", b"", "", b"x" * 300], [b"alone"]]


@both_roles
def test_a_frame_in_pieces(role: str) -> None:
    listener = Batches()
    connection = Connection(role, listener)
    stream = build(connection, "a", b"b" * 5000, "c")
    connection.feed(stream[:2000], stream[2000:3000], stream[3000:])
    assert listener.batches[0] == ["a"]
    assert [*chain(*listener.batches)] == ["a", b"b" * 5000, "c"]


@both_roles
@every_feeding
def test_fragments_and_control_frames(role: str, feeding: Feeding) -> None:
    listener = Batches()
    connection = Connection(role, listener)
    connection.feed(
        *feeding(
            connection.build(TEXT, b"a\xc3", fin=False)
            + connection.build(PING, b"1")
            + connection.build(CONTINUATION, b"\xbc", fin=False)
            + connection.build(PONG, b"2")
            + connection.build(CONTINUATION, b"")
            + connection.build(BINARY, b"b")
            + connection.build(PING, b"3")
            + connection.build(BINARY, b"c", fin=False)
            + connection.build(CONTINUATION, b"d" * 2000)
        )
    )
    assert [*chain(*listener.batches)] == [
        "a\u00fc",
        b"b",
        b"c" + b"d" * 2000,
    ]
    assert all(listener.batches)
    assert [frame.payload for frame in connection.sent()] == [b"1", b"3"]


@both_roles
def test_a_read_without_messages(role: str) -> None:
    listener = Batches()
    connection = Connection(role, listener)
    connection.receive(PING, b"x")
    connection.receive(PONG, b"x")
    connection.receive(TEXT, b"x", fin=False)
    assert listener.batches == []


@both_roles
def test_with_the_opening_handshake(role: str) -> None:
    listener = Batches()
    connection = Connection(role, listener, open=False)
    connection.start()
    connection.open(build(connection, "a", "b"))
    assert listener.events == ["connected", ["a", "b"]]


@both_roles
def test_bytes_always(role: str) -> None:
    class Raw(Batches):
        decode_text = False

    class RawObject(Batches):
        def __init__(self) -> None:
            super().__init__()
            self.decode_text = False  # type: ignore[misc]

    for cls in (Raw, RawObject):
        listener = cls()
        connection = Connection(role, listener)
        connection.feed(build(connection, "\u00fc", b"\xff"))
        connection.receive(TEXT, b"a", fin=False)
        connection.receive(CONTINUATION, b"b")
        assert listener.batches == [[b"\xc3\xbc", b"\xff"], [b"ab"]]
    assert WSBatchListener.decode_text is True


@both_roles
def test_a_batch_is_the_listeners(role: str) -> None:
    listener = Batches(lambda transport: listener.batches[-1].append("mine"))
    connection = Connection(role, listener)
    connection.feed(build(connection, "a"))
    connection.feed(build(connection, "b"))
    assert listener.batches == [["a", "mine"], ["b", "mine"]]


@both_roles
def test_what_is_inflated_to_much_comes_in_several_batches(role: str) -> None:
    listener = Batches()
    connection = DeflateConnection(role, listener)
    bomb = connection.compressed(BINARY, deflated(bytes(400_000), level=9))
    connection.feed(bomb * 7 + build(connection, "plain"))
    assert [len(messages) for messages in listener.batches] == [3, 3, 2]
    # Each read counts for itself.
    for _ in range(3):
        connection.feed(bomb * 2)
    assert [len(messages) for messages in listener.batches[3:]] == [2, 2, 2]


# Replies


@both_roles
def test_replies_leave_together(role: str) -> None:
    def reply(transport: WSTransport) -> None:
        for message in listener.batches[-1]:
            transport.send(TEXT, message)

    listener = Batches(reply)
    connection = Connection(role, listener)
    connection.feed(build(connection, "a", "b", "c"))
    assert [frame.payload for frame in connection.sent()] == [b"a", b"b", b"c"]


@both_roles
def test_replies_to_what_came_before_a_close_frame(role: str) -> None:
    listener = Batches(lambda transport: transport.send(TEXT, "reply"))
    connection = Connection(role, listener)
    connection.feed(
        build(connection, "a", "b") + connection.build(CLOSE, frames.close_payload(1000))
    )
    assert listener.batches == [["a", "b"]]
    assert [(frame.opcode, frame.payload) for frame in connection.sent()] == [
        (TEXT, b"reply"),
        (CLOSE, frames.close_payload(1000)),
    ]
    assert kind_of(connection) is WSDisconnectKind.PEER_CLOSE


# Ends


BROKEN: Dict[str, Callable[[Connection], bytes]] = {
    "header": lambda connection: b"\xff\xff",
    "text": lambda connection: connection.build(TEXT, b"\xff"),
    "fragment": lambda connection: connection.build(CONTINUATION, b"x"),
    "close": lambda connection: connection.build(CLOSE, b"x"),
    "size": lambda connection: connection.build(BINARY, bytes(1001)),
    "text in pieces": lambda connection: connection.build(TEXT, b"\xff" + bytes(500))[:-100],
}


@both_roles
@pytest.mark.parametrize("broken", list(BROKEN))
def test_what_came_before_a_violation(role: str, broken: str) -> None:
    listener = Batches(lambda transport: transport.send(TEXT, "reply"))
    connection = Connection(role, listener, max_frame_size=1000)
    connection.feed(build(connection, "a", b"b") + BROKEN[broken](connection))
    assert listener.batches == [["a", b"b"]]
    assert [frame.opcode for frame in connection.sent()] == [TEXT, CLOSE]
    assert kind_of(connection) is WSDisconnectKind.PROTOCOL_ERROR
    connection.feed(build(connection, "late"))
    connection.feed_eof()
    assert listener.events == ["connected", ["a", b"b"], "disconnected"]


@both_roles
@pytest.mark.parametrize("graceful", [True, False])
def test_disconnect_instead_of_a_violation(role: str, graceful: bool) -> None:
    listener = Batches(lambda transport: transport.disconnect(graceful=graceful))
    connection = Connection(role, listener)
    connection.feed(build(connection, "a") + connection.build(TEXT, b"\xff"))
    assert listener.batches == [["a"]]
    assert kind_of(connection) in (WSDisconnectKind.LOCAL_CLOSE, WSDisconnectKind.LOCAL_ABORT)


@both_roles
def test_eof_and_loss(role: str) -> None:
    listener = Batches()
    connection = Connection(role, listener)
    connection.feed(build(connection, "a") + build(connection, "b")[:-1])
    connection.lose(ConnectionResetError())
    assert listener.events == ["connected", ["a"], "disconnected"]


@both_roles
def test_no_batch_after_disconnect(role: str) -> None:
    class Leaving(Everything):
        def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
            super().on_ws_frame(transport, frame)
            if len(self.events) == 3:
                transport.disconnect()

    listener = Leaving()
    connection = Connection(role, listener)
    connection.feed(build(connection, "a", "b", "c"))
    connection.feed(build(connection, "d"))
    connection.receive_close()
    assert listener.batches == []
    assert kind_of(connection) is WSDisconnectKind.LOCAL_CLOSE


@both_roles
def test_local_close_goes_on_delivering(role: str) -> None:
    listener = Batches()
    connection = Connection(role, listener)
    connection.ws.send_close(1000)
    connection.feed(build(connection, "a", "b"))
    connection.receive_close()
    assert listener.batches == [["a", "b"]]


# Exceptions


@both_roles
@pytest.mark.parametrize("disconnects", [True, False])
def test_on_ws_batch_that_raises(role: str, disconnects: bool) -> None:
    def fail(transport: WSTransport) -> None:
        raise ValueError("as asked for")

    listener = Batches(fail)
    connection = Connection(role, listener, disconnect_on_exception=disconnects)
    connection.feed(build(connection, "a", "b"))
    connection.feed(build(connection, "c"))
    assert listener.batches == ([["a", "b"]] if disconnects else [["a", "b"], ["c"]])
    assert "on_ws_batch raised an exception: ValueError('as asked for')" in connection.log.lines[0]
    if disconnects:
        assert kind_of(connection) is WSDisconnectKind.LISTENER_EXCEPTION
        assert connection.sent()[-1].payload[:2] == frames.close_payload(1011)
    else:
        assert connection.ws.state is WSState.OPEN


@both_roles
def test_on_ws_batch_that_raises_before_a_close_frame(role: str) -> None:
    def fail(transport: WSTransport) -> None:
        raise ValueError("as asked for")

    listener = Batches(fail)
    connection = Connection(role, listener)
    connection.feed(build(connection, "a") + connection.build(CLOSE))
    assert kind_of(connection) is WSDisconnectKind.LISTENER_EXCEPTION
    assert [frame.payload[:2] for frame in connection.sent()] == [frames.close_payload(1011)]


@both_roles
def test_on_ws_batch_that_raises_no_exception(role: str) -> None:
    def interrupt(transport: WSTransport) -> None:
        raise KeyboardInterrupt

    listener = Batches(interrupt)
    connection = Connection(role, listener)
    with pytest.raises(KeyboardInterrupt):
        connection.feed(build(connection, "a"))
    assert connection.transport.aborted
    assert kind_of(connection) is WSDisconnectKind.LISTENER_EXCEPTION


@both_roles
def test_on_ws_frame_that_raises(role: str) -> None:
    class Failing(Everything):
        def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
            super().on_ws_frame(transport, frame)
            if len(self.events) == 3:
                raise ValueError("as asked for")

    listener = Failing()
    connection = Connection(role, listener)
    connection.feed(build(connection, "a", "b", "c"))
    assert listener.batches == [["a", "b"]]
    assert "on_ws_frame raised an exception" in connection.log.lines[0]
    assert kind_of(connection) is WSDisconnectKind.LISTENER_EXCEPTION


# Overridden callbacks of the classes above


@both_roles
def test_control_frames_come_after_what_came_before_them(role: str) -> None:
    listener = Everything()
    connection = Connection(role, listener)
    connection.feed(
        build(connection, "a", "b")
        + connection.build(PING, b"answered by the library")
        + build(connection, "c")
        + connection.build(PONG, b"unsolicited")
        + build(connection, "d")
        + connection.build(CLOSE)
    )
    assert listener.events[:11] == [
        "connected",
        "TEXT",
        "TEXT",
        "TEXT",
        ["a", "b", "c"],
        "PONG",
        "TEXT",
        ["d"],
        "CLOSE",
        *listener.events[9:],
    ]


@both_roles
def test_pings_that_the_listener_answers(role: str) -> None:
    listener = Everything()
    connection = Connection(role, listener, enable_auto_pong=False)
    connection.feed(build(connection, "a") + connection.build(PING) + build(connection, "b"))
    assert listener.events == ["connected", "TEXT", ["a"], "PING", "TEXT", ["b"]]


@both_roles
def test_frames_that_are_not_passed_on(role: str) -> None:
    class Choosing(Batches):
        def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
            if frame.payload_size == 1:
                super().on_ws_frame(transport, frame)

    listener = Choosing()
    connection = Connection(role, listener)
    connection.feed(build(connection, "a", "no", "b", "no"))
    connection.feed(build(connection, "no"))
    assert listener.batches == [["a", "b"]]


@both_roles
def test_messages_that_are_not_passed_on(role: str) -> None:
    class Choosing(Batches):
        def on_ws_message(self, transport: WSTransport, message: WSMessage) -> None:
            if len(message) == 1:
                super().on_ws_message(transport, message)

    listener = Choosing()
    connection = Connection(role, listener)
    connection.feed(build(connection, "a", "no", b"b", "no"))
    connection.receive(TEXT, b"", fin=False)
    connection.receive(CONTINUATION, b"c")
    assert listener.batches == [["a", b"b"], ["c"]]
    own = Batches()
    own.on_ws_message = lambda transport, message: None  # type: ignore[method-assign]
    connection = Connection(role, own)
    connection.feed(build(connection, "a"))
    assert own.batches == []


@both_roles
def test_pongs_of_the_listeners_own(role: str) -> None:
    """The answer to a user-specific ping is in no batch, and holds none back."""

    class OwnPings(Batches):
        def send_user_specific_ping(self, transport: WSTransport) -> None:
            transport.send(TEXT, b"ping")

        def is_user_specific_pong(self, frame: WSFrame) -> bool:
            return frame.get_payload_as_bytes() == b"pong"

    listener = OwnPings()
    connection = Connection(role, listener)
    measuring = connection.ws.measure_roundtrip_time()
    measuring.send(None)
    connection.feed(build(connection, "a", "b", "pong"))
    assert listener.batches == [["a", "b"]]
    measuring.close()


def test_none_as_an_argument() -> None:
    listener = Batches()
    with pytest.raises(TypeError, match="not None"):
        listener.on_ws_message(None, None)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="not None"):
        listener.on_ws_frame(None, None)  # type: ignore[arg-type]


# What is left


@both_roles
def test_nothing_is_left(role: str, no_collector: None) -> None:
    class Leaving(Everything):
        def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
            super().on_ws_frame(transport, frame)
            transport.disconnect(graceful=False)

    listener: Any = Leaving()
    connection: Any = Connection(role, listener)
    connection.feed(build(connection, "a", "b"))
    connection.loop.run_ready()
    assert listener.events == ["connected", "TEXT", "disconnected"]
    gone = weakref.ref(listener)
    del listener, connection
    assert gone() is None


@both_roles
def test_a_second_connection(role: str) -> None:
    listener = Batches()
    for _ in range(2):
        connection = Connection(role, listener)
        connection.feed(build(connection, "a"))
        connection.lose()
    assert listener.events == 2 * ["connected", ["a"], "disconnected"]


COMPILED = """\
from picows_codec.batch cimport WSBatchListener
from picows_codec.transport cimport WSTransport

cdef class Compiled(WSBatchListener):
    cdef readonly list batches

    def __cinit__(self):
        self.batches = []

    cpdef on_ws_batch(self, WSTransport transport, list messages):
        self.batches.append(messages)

cdef class Raw(Compiled):
    decode_text = False

cdef class NeverCalled(WSBatchListener):
    def on_ws_batch(self, transport, messages):
        pass
"""


@pytest.mark.timeout(300)
def test_compiled_listeners(tmp_path: Any) -> None:
    pytest.importorskip("Cython")
    pytest.importorskip("setuptools", "74.1")
    module: Any = compile_extension("compiled_batches", COMPILED, tmp_path)
    for cls, expected in ((module.Compiled, ["a", b"b"]), (module.Raw, [b"a", b"b"])):
        connection = Connection("server", cls())
        connection.feed(build(connection, "a", b"b"))
        assert connection.listener.batches == [expected]
    connection = Connection("server", module.NeverCalled(), open=False)
    connection.start()
    connection.feed(connection.opening_bytes())
    assert "would never be called" in str(connection.opened.exception())
