from __future__ import annotations

import tracemalloc
import weakref
from typing import Any, List, Tuple

import pytest

from picows_codec import (
    WSDisconnectKind,
    WSFrame,
    WSListener,
    WSMessage,
    WSMessageListener,
    WSMsgType,
    WSTransport,
)
from tests.support import frames
from tests.support.chunking import Feeding, every_feeding, whole
from tests.support.connection import Connection, both_roles
from tests.support.frames import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT


class Messages(WSMessageListener):
    """Notes every message."""

    def __init__(self) -> None:
        self.messages: List[Tuple[WSMsgType, bytes]] = []

    def on_ws_message(self, transport: WSTransport, message: WSMessage) -> None:
        self.messages.append((message.opcode, message.get_payload_as_bytes()))


def received(role: str, feeding: Feeding, *arguments: Tuple[Any, ...]) -> List[Tuple[Any, bytes]]:
    """Feed frames (opcode, payload, fin) and return the messages."""
    listener = Messages()
    connection = Connection(role, listener)
    stream = b"".join(
        connection.build(opcode, payload, fin=fin) for opcode, payload, fin in arguments
    )
    connection.feed(*feeding(stream + connection.build(BINARY)[:1]))
    assert connection.cause is None
    return listener.messages


@both_roles
@every_feeding
def test_messages_of_one_frame(role: str, feeding: Feeding) -> None:
    assert received(
        role, feeding, (TEXT, b"one", True), (BINARY, b"", True), (BINARY, b"x" * 3000, True)
    ) == [(TEXT, b"one"), (BINARY, b""), (BINARY, b"x" * 3000)]


@both_roles
@every_feeding
def test_messages_of_fragments(role: str, feeding: Feeding) -> None:
    assert received(
        role,
        feeding,
        (TEXT, b"a", False),
        (PING, b"ping", True),
        (CONTINUATION, b"", False),
        (PONG, b"pong", True),
        (CONTINUATION, b"b", True),
        (BINARY, b"", False),
        (CONTINUATION, b"", True),
        (TEXT, b"whole", True),
        (BINARY, b"c", False),
        (CONTINUATION, b"d" * 2000, True),
    ) == [(TEXT, b"ab"), (BINARY, b""), (TEXT, b"whole"), (BINARY, b"c" + b"d" * 2000)]


@both_roles
@pytest.mark.parametrize("size", [0, 1, 100, 600, 5000])
@pytest.mark.parametrize("count", [2, 3, 20, 100])
def test_sizes_of_fragments(role: str, size: int, count: int) -> None:
    parts = [bytes([i]) * (size + i) for i in range(count)]
    arguments = [
        (CONTINUATION if i else BINARY, part, i == count - 1) for i, part in enumerate(parts)
    ]
    assert received(role, whole, *arguments) == [(BINARY, b"".join(parts))]


@both_roles
def test_a_message_of_one_frame_is_the_frame(role: str) -> None:
    seen: List[WSMessage] = []

    class Listener(WSMessageListener):
        def on_ws_message(self, transport: WSTransport, message: WSMessage) -> None:
            seen.append(message)

    connection = Connection(role, Listener())
    connection.receive(TEXT, b"abc")
    connection.receive(TEXT, b"xyz")
    assert [type(message) for message in seen] == [WSFrame, WSFrame]
    assert [bytes(message) for message in seen] == [b"abc", b"xyz"]


@both_roles
def test_control_frames_are_passed_over(role: str) -> None:
    listener = Messages()
    connection = Connection(role, listener, enable_auto_pong=False)
    connection.receive(PING, b"x")
    connection.receive(PONG, b"x")
    connection.receive_close()
    assert listener.messages == []
    assert [frame.opcode for frame in connection.sent()] == [CLOSE]


@both_roles
def test_both_callbacks(role: str) -> None:
    class Listener(Messages):
        opcodes: List[int]

        def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
            self.opcodes.append(frame.opcode)
            super().on_ws_frame(transport, frame)

    listener = Listener()
    listener.opcodes = []
    connection = Connection(role, listener)
    connection.receive(TEXT, b"a", fin=False)
    connection.receive(PONG)
    connection.receive(CONTINUATION, b"b")
    connection.receive_close()
    assert listener.opcodes == [TEXT, PONG, CONTINUATION, CLOSE]
    assert listener.messages == [(TEXT, b"ab")]


@both_roles
def test_without_the_callback(role: str) -> None:
    connection = Connection(role, WSMessageListener())
    connection.receive(TEXT, b"a", fin=False)
    connection.receive(CONTINUATION, b"b")
    connection.receive(TEXT, b"c")
    assert connection.cause is None


@both_roles
def test_callback_of_the_instance(role: str) -> None:
    seen: List[bytes] = []
    listener: Any = type("Listener", (WSMessageListener,), {})()
    listener.on_ws_message = lambda transport, message: seen.append(bytes(message))
    connection = Connection(role, listener)
    connection.receive(TEXT, b"a", fin=False)
    connection.receive(CONTINUATION, b"b")
    connection.receive(TEXT, b"c")
    assert seen == [b"ab", b"c"]


@both_roles
def test_fragments_that_the_listener_withheld(role: str) -> None:
    class Listener(Messages):
        def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
            if not withheld or frame.opcode == CONTINUATION:
                super().on_ws_frame(transport, frame)

    withheld = False
    listener = Listener()
    connection = Connection(role, listener)
    connection.receive(BINARY, b"a" * 1000, fin=False)
    connection.receive(CONTINUATION, b"b")
    withheld = True
    connection.receive(BINARY, b"c", fin=False)
    connection.receive(CONTINUATION, b"d")
    # Nothing of the first message is in the second.
    assert [payload for _, payload in listener.messages] == [b"a" * 1000 + b"b", b"d"]


@both_roles
@pytest.mark.parametrize("fragmented", [True, False])
def test_exception(role: str, fragmented: bool) -> None:
    class Listener(WSMessageListener):
        def on_ws_message(self, transport: WSTransport, message: WSMessage) -> None:
            raise LookupError("as asked for")

    connection = Connection(role, Listener())
    if fragmented:
        connection.receive(TEXT, b"a", fin=False)
        connection.receive(CONTINUATION, b"b")
    else:
        connection.receive(TEXT, b"ab")
    assert connection.cause is not None
    assert connection.cause.kind is WSDisconnectKind.LISTENER_EXCEPTION
    (close,) = connection.sent()
    assert close.payload[:2] == frames.close_payload(1011)


@both_roles
@every_feeding
def test_limits(role: str, feeding: Feeding) -> None:
    listener = Messages()
    connection = Connection(role, listener, max_message_size=10)
    good = connection.build(BINARY, b"a" * 6, fin=False) + connection.build(CONTINUATION, b"b" * 4)
    connection.feed(*feeding(good + good))
    connection.feed(*feeding(connection.build(BINARY, b"a" * 6, fin=False)))
    connection.feed(*feeding(connection.build(CONTINUATION, b"b" * 5) + good))
    assert [payload for _, payload in listener.messages] == [b"aaaaaabbbb"] * 2
    (close,) = connection.sent()
    assert close.payload[:2] == frames.close_payload(1009)


@both_roles
def test_used_again_for_another_connection(role: str) -> None:
    listener = Messages()
    first = Connection(role, listener)
    first.receive(TEXT, b"half", fin=False)
    first.lose()
    second = Connection(role, listener)
    second.receive(TEXT, b"a", fin=False)
    second.receive(CONTINUATION, b"b")
    assert listener.messages == [(TEXT, b"ab")]


@both_roles
@pytest.mark.usefixtures("no_collector")
def test_the_message_under_way_goes_with_the_connection(role: str) -> None:
    listener = Messages()
    connection = Connection(role, listener)
    fragment = connection.build(BINARY, b"x" * 1_000_000, fin=False)
    tracemalloc.start()
    try:
        connection.feed(fragment)
        assert tracemalloc.get_traced_memory()[0] > 1_000_000
        connection.lose()
        assert tracemalloc.get_traced_memory()[0] < 100_000
    finally:
        tracemalloc.stop()


@both_roles
@pytest.mark.usefixtures("no_collector")
def test_a_listener_is_freed_with_the_connection(role: str) -> None:
    connection = Connection(role, Messages())
    alive = weakref.ref(connection.listener)
    connection.receive(TEXT, b"a", fin=False)
    connection.lose()
    assert alive() is not None
    del connection
    assert alive() is None


def test_no_frame() -> None:
    with pytest.raises(TypeError, match="not None"):
        WSMessageListener().on_ws_frame(None, None)  # type: ignore[arg-type]


@pytest.mark.parametrize("method", ["on_ws_frame", "on_ws_message", "on_ws_connected"])
def test_wrong_types(method: str) -> None:
    listener = WSMessageListener()
    for arguments in [("transport", None), (None, "frame"), (object(), object()), (), (None,) * 4]:
        with pytest.raises(TypeError):
            getattr(listener, method)(*arguments)


def test_is_a_listener() -> None:
    assert issubclass(WSMessageListener, WSListener)
