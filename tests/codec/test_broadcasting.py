"""broadcast: who gets a message, who is skipped, and what goes wrong with one of many."""

from __future__ import annotations

import inspect
import threading
from types import SimpleNamespace
from typing import Any, List, Set

import pytest

from picows_codec import (
    WSDisconnectKind,
    WSFrame,
    WSInvalidFrameError,
    WSListener,
    WSPreparedMessage,
    WSState,
    WSThreadError,
    WSTransport,
    broadcast,
)
from tests.support.connection import Connection, Recorder, both_roles, kind_of
from tests.support.extensions import compile_extension
from tests.support.frames import BINARY, CONTINUATION, PING, TEXT, Frame


def members(count: int, role: str = "server", **options: Any) -> List[Connection]:
    return [Connection(role, **options) for _ in range(count)]


def transports(connections: List[Connection]) -> List[WSTransport]:
    return [connection.ws for connection in connections]


def heard(connection: Connection) -> List[Any]:
    return [(frame.opcode, frame.payload) for frame in connection.sent()]


@both_roles
@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("\u00fc", (TEXT, b"\xc3\xbc")),
        (b"bytes", (BINARY, b"bytes")),
        (bytearray(b"bytearray"), (BINARY, b"bytearray")),
        (memoryview(b"view"), (BINARY, b"view")),
        (WSPreparedMessage(TEXT, "prepared"), (TEXT, b"prepared")),
        (WSPreparedMessage(BINARY, b"x" * 100_000), (BINARY, b"x" * 100_000)),
    ],
)
def test_messages(role: str, message: Any, expected: Any) -> None:
    connections = members(3, role)
    for _ in range(2):
        assert broadcast(transports(connections), message) == 3
    assert [heard(connection) for connection in connections] == [[expected] * 2] * 3


@both_roles
@pytest.mark.parametrize("container", [list, tuple, set, frozenset, iter, dict.fromkeys])
def test_containers(role: str, container: Any) -> None:
    connections = members(3, role)
    assert broadcast(container(transports(connections)), "x") == 3
    assert [heard(connection) for connection in connections] == [[(TEXT, b"x")]] * 3


def test_nobody() -> None:
    assert broadcast([], "x") == 0
    assert broadcast(iter(()), b"x") == 0


@both_roles
def test_what_has_a_transport(role: str) -> None:
    connections = members(4, role)
    nobody = Recorder()
    audience: List[Any] = [
        connections[0].ws,
        connections[1].listener,
        SimpleNamespace(transport=connections[2].ws),
        connections[3].endpoint,
        nobody,
        SimpleNamespace(transport=None),
        nobody.transport,
    ]
    assert broadcast(audience, "x") == 4
    assert [heard(connection) for connection in connections] == [[(TEXT, b"x")]] * 4


@both_roles
def test_received_messages_keep_their_opcode(role: str) -> None:
    connections = members(3, role)
    sender = connections[0]
    sender.listener.act(
        "on_ws_frame", lambda transport, frame: broadcast(transports(connections), frame)
    )
    sender.receive(TEXT, b"text")
    sender.receive(BINARY, b"\xff")
    expected = [(TEXT, b"text"), (BINARY, b"\xff")]
    assert [heard(connection) for connection in connections] == [expected] * 3


@both_roles
@pytest.mark.parametrize(("opcode", "fin"), [(TEXT, False), (PING, True)])
def test_frames_that_are_no_message(role: str, opcode: int, fin: bool) -> None:
    connection = Connection(role, enable_auto_pong=False, disconnect_on_exception=False)
    errors: List[Exception] = []

    def send(transport: WSTransport, frame: WSFrame) -> None:
        with pytest.raises(WSInvalidFrameError, match="whole message") as caught:
            broadcast([transport], frame)
        errors.append(caught.value)

    connection.listener.act("on_ws_frame", send)
    connection.receive(opcode, b"x", fin=fin)
    assert len(errors) == 1
    assert connection.sent_bytes() == b""


@both_roles
@pytest.mark.parametrize("message", [None, 1, object(), [b"x"], "\ud800", memoryview(b"abcd")[::2]])
def test_messages_that_cannot_be_sent(role: str, message: Any) -> None:
    connection = Connection(role)
    with pytest.raises((TypeError, UnicodeEncodeError, BufferError)) as error:
        broadcast([connection.ws], message)
    if error.type is TypeError:
        assert "message must be a WSPreparedMessage, a str" in str(error.value)
    assert connection.sent_bytes() == b""


@both_roles
@pytest.mark.parametrize("wrong", [1, "x", object(), SimpleNamespace(transport=1)])
def test_one_that_is_no_transport(role: str, wrong: Any) -> None:
    connection = Connection(role)
    with pytest.raises(TypeError, match="transports must be an iterable of WSTransports"):
        broadcast([connection.ws, wrong], "x")
    assert connection.sent_bytes() == b""


@both_roles
def test_one_that_is_no_iterable(role: str) -> None:
    connection = Connection(role)
    wrong: Any
    for wrong in (None, 1):
        with pytest.raises(TypeError, match=f"transports must be .* not {type(wrong).__name__}$"):
            broadcast(wrong, "x")
    for wrong in (connection.ws, connection.listener):
        with pytest.raises(TypeError, match="put it into a list"):
            broadcast(wrong, "x")
    assert connection.sent_bytes() == b""


def test_old_style_iterable() -> None:
    connection = Connection("server")

    class Room:
        def __getitem__(self, index: int) -> Any:
            return [connection.ws][index]

    room: Any = Room()
    assert broadcast(room, "x") == 1


# Who is skipped


@both_roles
def test_only_open_connections_get_it(role: str) -> None:
    connecting = Connection(role, open=False)
    closing = Connection(role)
    closing.ws.send_close()
    leaving = Connection(role)
    leaving.ws.disconnect()
    aborted = Connection(role)
    aborted.ws.disconnect(graceful=False)
    closed = Connection(role)
    closed.lose()
    fragmenting = Connection(role)
    fragmenting.ws.send(TEXT, "begun", fin=False)
    fine = Connection(role)
    others = [connecting, closing, leaving, aborted, closed, fragmenting]
    for connection in others:
        connection.sent_bytes()
    assert broadcast(transports([*others, fine]), "x") == 1
    assert heard(fine) == [(TEXT, b"x")]
    assert all(connection.sent_bytes() == b"" for connection in others)
    fragmenting.ws.send(CONTINUATION, "", fin=True)
    assert broadcast(transports(others), "x") == 1


@both_roles
def test_one_that_says_goodbye(role: str) -> None:
    counts: List[int] = []
    connection = Connection(role)
    connection.listener.act(
        "on_ws_frame", lambda transport, frame: counts.append(broadcast([transport], "x"))
    )
    connection.receive_close()
    assert counts == [0]


# What happens to one


@both_roles
def test_one_whose_transport_raises(role: str) -> None:
    connections = members(5, role)
    connections[2].transport.fail_next()
    assert broadcast(transports(connections), "x") == 4
    assert kind_of(connections[2]) is WSDisconnectKind.CONNECTION_LOST
    assert [len(heard(connection)) for connection in connections] == [1, 1, 0, 1, 1]
    assert broadcast(transports(connections), "y") == 4


@both_roles
def test_one_that_does_not_read(role: str) -> None:
    limits = {"write_high_watermark": 1000, "max_write_queue_size": 4000}
    connections = [Connection(role, room=0 if i == 1 else None, **limits) for i in range(3)]
    message = WSPreparedMessage(BINARY, bytes(1000))
    counts = []
    for _ in range(6):
        counts.append(broadcast(transports(connections), message))
        for connection in connections:
            connection.loop.run_ready()
    assert counts == [3, 3, 3, 2, 2, 2]
    assert connections[1].listener.count("paused") == 1
    assert kind_of(connections[1]) is WSDisconnectKind.SLOW_CONSUMER
    assert [len(heard(connections[i])) for i in (0, 2)] == [6, 6]


@both_roles
def test_a_callback_that_raises(role: str) -> None:
    def fail(transport: WSTransport) -> None:
        raise ValueError("as asked for")

    connections = members(3, role, room=0, write_high_watermark=100)
    connections[1].listener.act("pause_writing", fail)
    assert broadcast(transports(connections), bytes(200)) == 3
    assert [len(heard(connection)) for connection in connections] == [1, 2, 1]
    assert kind_of(connections[1]) is WSDisconnectKind.LISTENER_EXCEPTION


@both_roles
def test_a_callback_that_interrupts(role: str) -> None:
    def interrupt(transport: WSTransport) -> None:
        raise KeyboardInterrupt

    connections = members(3, role, room=0, write_high_watermark=100)
    connections[1].listener.act("pause_writing", interrupt)
    with pytest.raises(KeyboardInterrupt):
        broadcast(transports(connections), bytes(200))


@both_roles
def test_callbacks_that_change_the_set(role: str) -> None:
    room: Set[WSTransport] = set()
    connections = members(5, role, room=0, write_high_watermark=100)
    room.update(transports(connections))
    newcomer = Connection(role)

    def change(transport: WSTransport) -> None:
        room.discard(transport)
        room.add(newcomer.ws)
        transport.disconnect(graceful=False)

    for connection in connections:
        connection.listener.act("pause_writing", change)
    assert broadcast(room, bytes(200)) == 0  # each was dropped, and with it what was queued
    assert room == {newcomer.ws}
    assert heard(newcomer) == []


@both_roles
def test_callbacks_that_end_others(role: str) -> None:
    connections = members(3, role, room=0, write_high_watermark=100)

    def end_others(transport: WSTransport) -> None:
        for connection in connections:
            if connection.ws is not transport:
                connection.ws.disconnect(graceful=False)
                connection.loop.run_ready()

    connections[0].listener.act("pause_writing", end_others)
    assert broadcast(transports(connections), bytes(200)) == 1
    assert [connection.ws.state for connection in connections[1:]] == [WSState.CLOSED] * 2


@both_roles
def test_inside_a_cork(role: str) -> None:
    connection = Connection(role)
    with connection.ws.cork():
        connection.ws.send(TEXT, "1")
        assert broadcast([connection.ws], "2") == 1
        connection.ws.send(TEXT, "3")
        assert connection.transport.written.endswith(b"\r\n\r\n")
    assert connection.sent() == [Frame(TEXT, text) for text in (b"1", b"2", b"3")]


def test_another_thread() -> None:
    connections = members(2)
    errors: List[BaseException] = []

    def call() -> None:
        try:
            broadcast(transports(connections), "x")
        except BaseException as error:  # noqa: BLE001
            errors.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    assert [type(error) for error in errors] == [WSThreadError]
    assert all(connection.sent_bytes() == b"" for connection in connections)


def test_connections_of_two_threads() -> None:
    """Nothing is sent to anybody, rather than to some."""
    found: List[Connection] = []
    thread = threading.Thread(target=lambda: found.extend(members(1)))
    thread.start()
    thread.join()
    own = Connection("server")
    with pytest.raises(WSThreadError):
        broadcast([own.ws, found[0].ws], "x")
    assert own.sent_bytes() == b""


def test_a_listener_in_the_middle_of_a_test() -> None:
    """What is no connection of the library's is skipped as one that has ended."""
    transport = WSTransport.__new__(WSTransport)
    listener = WSListener()
    listener.transport = transport
    assert broadcast([transport, listener], "x") == 0


COMPILED = """\
from picows_codec cimport WSPreparedMessage, broadcast
from picows_codec.frames cimport WSFrame
from picows_codec.listener cimport WSListener
from picows_codec.transport cimport WSTransport

cdef class Member(WSListener):
    cdef public set room
    cdef readonly Py_ssize_t count

    cpdef on_ws_frame(self, WSTransport transport, WSFrame frame):
        cdef WSPreparedMessage message = WSPreparedMessage(frame.wire_opcode, frame)
        self.count = broadcast(self.room, message)
        transport.send_prepared(message)
        transport.send_many(1, [message.payload])
"""


@pytest.mark.timeout(300)
def test_compiled_callers(tmp_path: Any) -> None:
    pytest.importorskip("Cython")
    pytest.importorskip("setuptools", "74.1")
    module: Any = compile_extension("compiled_broadcast", COMPILED, tmp_path)
    connections = [Connection("server", module.Member()) for _ in range(3)]
    for connection in connections:
        connection.listener.room = set(transports(connections))
    connections[0].receive(TEXT, b"x")
    assert connections[0].listener.count == 3
    assert [len(heard(connection)) for connection in connections] == [3, 1, 1]


def test_not_a_coroutine() -> None:
    assert not inspect.iscoroutinefunction(broadcast)
    assert broadcast.__name__ == "broadcast"
    assert broadcast.__doc__ is not None
