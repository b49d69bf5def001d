"""What a caller does wrong raises at the call: a documented exception, and never a byte.

Each method of the transport gets foreign objects in each of its arguments, in every state of the
connection. The samples with their messages are in ``connection/test_sender.py``
and ``connection/test_closing.py``.
"""

from __future__ import annotations

import contextlib
import inspect
import itertools
from typing import Any, Callable, Dict, List, Tuple

import pytest

from picows_codec import (
    ClientHandshake,
    ServerHandshake,
    WSEndpoint,
    WSFrame,
    WSFrameParser,
    WSInvalidFrameError,
    WSListener,
    WSMessageListener,
    WSOptions,
    WSPreparedMessage,
    WSProtocolError,
    WSState,
    WSStateError,
    WSTransport,
    WSUsageError,
)
from tests.support import frames
from tests.support.connection import Connection, both_roles
from tests.support.frames import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT


class Hostile:
    """Raises from whatever it is asked for."""

    def _raise(self, *_: Any, **__: Any) -> Any:
        raise LookupError("asked for")

    __index__ = __int__ = __bool__ = __len__ = __iter__ = __getitem__ = __str__ = _raise
    __eq__ = __float__ = __bytes__ = _raise
    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return "Hostile()"


class Liar(int):
    """An int that is another one when it is asked."""

    def __index__(self) -> int:
        return 3


# What does not belong into any argument, and what belongs into some.
FOREIGN: List[Any] = [
    None,
    -1,
    3,
    16,
    2**31,
    2**63,
    2**64,
    -(2**63) - 1,
    1.5,
    "text",
    "\ud800",
    b"",
    b"x" * 126,
    bytearray(),
    memoryview(b"abcd")[::2],
    memoryview(bytearray(200))[::3],
    [],
    {},
    object(),
    Ellipsis,
    WSFrame,
    WSListener(),
    Hostile(),
    Liar(1),
]

ARGUMENTS: Dict[str, List[Any]] = {
    "opcode": [TEXT],
    "message": [b"x"],
    "fin": [True],
    "rsv1": [False],
    "rsv2": [False],
    "rsv3": [False],
    "buffer": [bytearray(20)],
    "offset": [14],
    "code": [1000],
    "reason": [None],
    "graceful": [True],
    "rounds": [1],
    "payloads": [[b"x", "y"]],
    "prepared": [WSPreparedMessage(TEXT, b"x")],
}
METHODS: Dict[str, Tuple[str, ...]] = {
    "send": ("opcode", "message", "fin", "rsv1", "rsv2", "rsv3"),
    "send_reuse_external_bytearray": (
        "opcode",
        "buffer",
        "offset",
        "fin",
        "rsv1",
        "rsv2",
        "rsv3",
    ),
    "send_many": ("opcode", "payloads"),
    "send_prepared": ("prepared",),
    "send_ping": ("message",),
    "send_pong": ("message",),
    "ping": ("message",),
    "pong": ("message",),
    "send_close": ("code", "reason"),
    "disconnect": ("graceful", "code", "reason"),
    "measure_roundtrip_time": ("rounds",),
}
# Ours; Python's for text that has no encoding, buffers with gaps and ints beyond any size; and
# what a hostile argument itself raises.
EXPECTED = (WSUsageError, TypeError, UnicodeEncodeError, BufferError, OverflowError, LookupError)


def call(connection: Connection, name: str, arguments: List[Any]) -> bool:
    """Whether the call was taken; a coroutine is driven to its first wait."""
    try:
        result = getattr(connection.ws, name)(*arguments)
        if inspect.iscoroutine(result):
            try:
                result.send(None)
            finally:
                result.close()
    except StopIteration:
        return True
    except EXPECTED:
        return False
    return True


def test_every_method_is_tried() -> None:
    harmless = {
        "cork",
        "log_fields",
        "stats",
        "wait_disconnected",
        "wait_until_closed",
        "notify_user_specific_pong_received",
    }
    methods = {
        name
        for name in dir(WSTransport)
        if not name.startswith("_") and callable(getattr(WSTransport, name))
    }
    assert methods - harmless == set(METHODS)


@both_roles
@pytest.mark.parametrize("name", list(METHODS))
def test_foreign_objects_in_every_argument(role: str, name: str) -> None:
    for position, foreign in itertools.product(range(len(METHODS[name])), FOREIGN):
        arguments = [ARGUMENTS[argument][0] for argument in METHODS[name]]
        if name == "send_reuse_external_bytearray":
            arguments[1] = bytearray(20)
        arguments[position] = foreign
        connection = Connection(role)
        taken = call(connection, name, arguments)
        sent = connection.sent_bytes()
        if not taken:
            assert sent == b"", (name, position, foreign)
            assert connection.ws.state is WSState.OPEN
            # The refused call changed nothing: the connection works.
            connection.ws.send(TEXT, b"fine")
            sent = connection.sent_bytes()
        found, rest = frames.parse_all(sent)
        assert rest == b""
        for frame in found:
            # What was taken is a frame that RFC 6455 allows.
            assert frame.opcode in (TEXT, BINARY, CLOSE, PING, PONG)
            assert frame.opcode < CLOSE or (frame.fin and len(frame.payload) <= 125)
        connection.ws.disconnect(graceful=False)
        connection.loop.run_ready()


@both_roles
@pytest.mark.parametrize("name", list(METHODS))
def test_right_arguments_in_every_state(role: str, name: str) -> None:
    arguments = [ARGUMENTS[argument][0] for argument in METHODS[name]]
    buffers = [bytearray(20) if argument == "buffer" else None for argument in METHODS[name]]

    def attempt(connection: Connection) -> bool:
        return call(connection, name, [fresh or given for fresh, given in zip(buffers, arguments)])

    not_made = Connection(role, open=False)
    connecting = Connection(role, open=False)
    connecting.start()
    connecting.sent_bytes()
    closing = Connection(role)
    closing.ws.send_close(4000)
    closing.sent()
    aborted = Connection(role)
    aborted.ws.disconnect(graceful=False)
    closed = Connection(role)
    closed.lose()
    for connection in (not_made, connecting, closing, aborted, closed):
        taken = attempt(connection)
        # Ending what is ending, or has not begun, is fine.
        allowed = name == "disconnect" or (name == "send_close" and connection is closing)
        assert taken == allowed, connection.ws.state
        assert connection.sent_bytes() == b""
    assert attempt(Connection(role))


@both_roles
@pytest.mark.parametrize("opcode", range(-1, 17))
@pytest.mark.parametrize("fin", [True, False])
@pytest.mark.parametrize("place", ["before", "inside", "after"])
def test_every_opcode_at_every_place(role: str, opcode: int, fin: bool, place: str) -> None:
    """Before, inside and after a fragmented message."""
    connection = Connection(role)
    if place != "before":
        connection.ws.send(BINARY, b"1", fin=False)
    if place == "after":
        connection.ws.send(CONTINUATION, b"2")
    connection.sent()
    if opcode in (PING, PONG, CLOSE):
        allowed = fin
    elif opcode == CONTINUATION:
        allowed = place == "inside"
    else:
        allowed = opcode in (TEXT, BINARY) and place != "inside"
    payload = frames.close_payload(1000) if opcode == CLOSE else b"x"
    if allowed:
        connection.ws.send(opcode, payload, fin=fin)
        (frame,) = connection.sent()
        assert (frame.opcode, frame.payload, frame.fin) == (opcode, payload, fin)
        return
    with pytest.raises(WSInvalidFrameError):
        connection.ws.send(opcode, payload, fin=fin)
    with pytest.raises(WSInvalidFrameError):
        connection.ws.send_reuse_external_bytearray(opcode, bytearray(14) + payload, 14, fin=fin)
    assert connection.sent() == []
    # What was under way may go on.
    if place == "inside":
        connection.ws.send(CONTINUATION, b"2")
    else:
        connection.ws.send(TEXT, b"next")
    assert len(connection.sent()) == 1


@both_roles
@pytest.mark.parametrize("size", [126, 127, 65535, 65536])
def test_control_payloads_over_125_bytes(role: str, size: int) -> None:
    connection = Connection(role)
    for send in (
        connection.ws.send_ping,
        connection.ws.send_pong,
        connection.ws.ping,
        connection.ws.pong,
        lambda payload: connection.ws.send(PING, payload),
        lambda payload: connection.ws.send(CLOSE, frames.close_payload(1000, payload[2:])),
    ):
        with pytest.raises(WSInvalidFrameError, match="at most 125"):
            send(b"x" * size)
    assert connection.sent() == []
    assert connection.ws.state is WSState.OPEN


@both_roles
def test_a_connection_that_was_not_made(role: str) -> None:
    connection = Connection(role, open=False)
    ws = connection.ws
    for send in (lambda: ws.send(TEXT, b"x"), ws.send_ping, ws.send_pong, ws.send_close):
        with pytest.raises(WSStateError, match="not open yet"):
            send()
    assert ws.state is WSState.CONNECTING
    connection.start()
    connection.open()
    assert ws.state is WSState.OPEN
    assert connection.listener.events == [("connected",)]


@pytest.mark.parametrize("foreign", FOREIGN, ids=lambda each: type(each).__name__)
def test_foreign_objects_in_other_calls(foreign: Any) -> None:
    """Constructors and callbacks of public classes: an exception or a result, never a crash."""
    listener, messages = WSListener(), WSMessageListener()
    connection = Connection("server")
    calls: List[Callable[[], Any]] = [
        lambda: WSFrameParser(is_server=foreign),
        lambda: WSFrameParser(is_server=True, max_frame_size=foreign),
        lambda: WSFrameParser(is_server=True).feed(foreign),
        lambda: WSOptions(foreign),  # type: ignore[call-arg,misc]
        *(
            lambda name=name: WSOptions(**{name: foreign})  # type: ignore[misc]
            for name in WSOptions.names()
        ),
        lambda: WSEndpoint(foreign, foreign, None, None),
        lambda: ServerHandshake(foreign, options=foreign),
        lambda: ClientHandshake(foreign, foreign, foreign, options=foreign),
        lambda: ServerHandshake(lambda _: None, options=WSOptions()).feed_data(foreign),
        lambda: listener.on_ws_frame(foreign, foreign),
        lambda: listener.on_ws_connected(foreign),
        lambda: listener.on_ws_disconnected(foreign),
        lambda: listener.send_user_specific_ping(foreign),
        lambda: listener.is_user_specific_pong(foreign),
        lambda: messages.on_ws_frame(foreign, foreign),
        lambda: messages.on_ws_message(foreign, foreign),
        lambda: setattr(listener, "transport", foreign),
        lambda: connection.endpoint.data_received(foreign),
        lambda: connection.endpoint.get_buffer(foreign),
    ]
    for each in calls:
        with contextlib.suppress(*EXPECTED, WSProtocolError):
            each()
