"""WSTransport and WSListener by themselves; what they do is in test_sender and test_endpoint_*."""

from __future__ import annotations

import copy
import inspect
import pickle
from typing import Any, Callable, List, Tuple

import pytest

from picows_codec import WSFrame, WSListener, WSMessageListener, WSState, WSStateError, WSTransport
from tests.support.connection import Connection, Recorder, both_roles
from tests.support.frames import PONG, TEXT
from tests.support.listeners import CALLBACKS

# What a transport does that nobody made: it is the end of no connection.
REFUSED: List[Callable[[WSTransport], Any]] = [
    lambda ws: ws.send(TEXT, b"x"),
    lambda ws: ws.send_reuse_external_bytearray(TEXT, bytearray(20), 14),
    lambda ws: ws.send_ping(),
    lambda ws: ws.send_pong(),
    lambda ws: ws.ping(),
    lambda ws: ws.pong(),
    lambda ws: ws.send_close(),
    lambda ws: ws.cork().__exit__(None, None, None),
]
ABSENT: List[Callable[[WSTransport], Any]] = [
    lambda ws: ws.disconnect(),
    lambda ws: ws.wait_disconnected(),
    lambda ws: ws.wait_until_closed(),
    lambda ws: ws.measure_roundtrip_time().send(None),
    lambda ws: ws.notify_user_specific_pong_received(),
    lambda ws: ws.is_secure,
    lambda ws: ws.request,
    lambda ws: ws.response,
    lambda ws: ws.subprotocol,
    lambda ws: ws.remote_address,
    lambda ws: ws.local_address,
    lambda ws: ws.disconnect_cause,
    repr,
]
ENDED: List[Tuple[Callable[[WSTransport], Any], Any]] = [
    (lambda ws: ws.state, WSState.CLOSED),
    (lambda ws: ws.is_disconnected, True),
    (lambda ws: ws.is_client_side, False),
    (lambda ws: ws.is_close_frame_sent, False),
    (lambda ws: ws.underlying_transport, None),
    (lambda ws: ws.close_handshake, None),
    (lambda ws: ws.write_queue_size, 0),
]


def test_transports_are_made_by_the_library() -> None:
    with pytest.raises(TypeError, match="ws_connect and ws_create_server"):
        WSTransport()


def test_what_is_awaited_is_a_coroutine_to_inspect() -> None:
    connection = Connection("client")
    for coroutine in (
        connection.ws.wait_disconnected(),
        connection.ws.wait_until_closed(),
        connection.ws.measure_roundtrip_time(),
    ):
        assert inspect.iscoroutine(coroutine)
        coroutine.close()


@pytest.mark.parametrize("use", REFUSED)
def test_a_transport_that_nobody_made_sends_nothing(use: Callable[[WSTransport], Any]) -> None:
    with pytest.raises(WSStateError):
        use(WSTransport.__new__(WSTransport))


@pytest.mark.parametrize("use", ABSENT)
def test_a_transport_that_nobody_made_has_no_connection(use: Callable[[WSTransport], Any]) -> None:
    with pytest.raises(AttributeError):
        use(WSTransport.__new__(WSTransport))


@pytest.mark.parametrize(("use", "value"), ENDED)
def test_a_transport_that_nobody_made_has_ended(
    use: Callable[[WSTransport], Any], value: object
) -> None:
    assert use(WSTransport.__new__(WSTransport)) == value


def test_a_cork_that_nobody_made() -> None:
    cork: Any = type(Connection("client").ws.cork())
    with cork():
        pass
    with pytest.raises(WSStateError):
        cork().__exit__(None, None, None)


@both_roles
@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, pickle.dumps])
def test_transports_cannot_be_copied(role: str, duplicate: Callable[[Any], Any]) -> None:
    connection = Connection(role)
    for what in (connection.ws, connection.ws.cork()):
        with pytest.raises(TypeError):
            duplicate(what)


@both_roles
def test_attributes_are_read_only(role: str) -> None:
    ws = Connection(role).ws
    names = [name for name, _ in inspect.getmembers(WSTransport) if not name.startswith("_")]
    assert len(names) >= 25
    for name in [*names, "something_new"]:
        with pytest.raises((AttributeError, TypeError)):
            setattr(ws, name, None)


@both_roles
def test_repr(role: str) -> None:
    connection = Connection(role, open=False)
    assert repr(connection.ws) == f"<WSTransport {role} CONNECTING peer unknown address>"
    connection.start()
    connection.open()
    target = "ws://localhost/" if role == "client" else "/"
    assert repr(connection.ws) == f"<WSTransport {role} OPEN {target} peer unknown address>"


def test_repr_has_no_query_and_is_bounded() -> None:
    connection = Connection("server", open=False)
    connection.start()
    request = connection.opening_bytes()
    _, rest = request.split(b"\r\n", 1)
    connection.feed(b"GET /" + b"a" * 1000 + b"?token=secret HTTP/1.1\r\n" + rest)
    text = repr(connection.ws)
    assert "/aaa" in text
    assert "secret" not in text
    assert len(text) < 300


@both_roles
def test_types_of_the_attributes(role: str) -> None:
    ws = Connection(role).ws
    assert type(ws.state) is WSState
    for flag in (ws.is_disconnected, ws.is_client_side, ws.is_secure, ws.is_close_frame_sent):
        assert type(flag) is bool
    assert type(ws.write_queue_size) is int
    assert type(ws.request).__name__ == "WSUpgradeRequest"
    assert type(ws.response).__name__ == "WSUpgradeResponse"


def test_every_public_name_is_documented() -> None:
    for cls in (WSTransport, WSListener, WSMessageListener, WSFrame):
        assert cls.__doc__
        for name, member in inspect.getmembers(cls):
            if not name.startswith("_") and name not in (
                "fin",
                "rsv1",
                "rsv2",
                "rsv3",
                "last_in_buffer",
                "tail_size",
                "payload_size",
                "wire_opcode",
                "transport",
            ):
                assert member.__doc__, f"{cls.__name__}.{name}"


# Listeners


def test_listener_before_it_has_a_transport() -> None:
    listener = WSListener()
    assert listener.transport is None
    assert listener._transport is None


@pytest.mark.parametrize("wrong", ["transport", 5, object(), WSTransport])
@pytest.mark.parametrize("name", ["transport", "_transport"])
def test_transport_of_a_listener(wrong: Any, name: str) -> None:
    listener = WSListener()
    with pytest.raises(TypeError):
        setattr(listener, name, wrong)
    ws = Connection("client").ws
    setattr(listener, name, ws)
    assert listener.transport is listener._transport is ws
    setattr(listener, name, None)
    assert listener.transport is None


@pytest.mark.parametrize("callback", CALLBACKS)
def test_callbacks_do_nothing_by_themselves(callback: str) -> None:
    connection = Connection("client")
    arguments: List[Any] = []
    if callback in ("on_ws_connected", "on_ws_disconnected"):
        arguments = [connection.ws]
    elif callback == "on_ws_frame":
        arguments = [connection.ws, WSFrame.__new__(WSFrame)]
    elif callback == "is_user_specific_pong":
        arguments = [WSFrame.__new__(WSFrame)]
    elif callback == "send_user_specific_ping":
        return
    assert not getattr(WSListener(), callback)(*arguments)
    assert connection.sent() == []


@pytest.mark.parametrize("callback", CALLBACKS)
def test_callbacks_with_wrong_arguments(callback: str) -> None:
    method = getattr(WSListener(), callback)
    for arguments in [("wrong",), (object(),), (None, None, None), (5, 5)]:
        with pytest.raises(TypeError):
            method(*arguments)


def test_listeners_can_have_any_constructor() -> None:
    class Listener(WSListener):
        def __init__(self, name: str, *, size: int) -> None:
            self.name = name
            self.size = size

    listener = Listener("x", size=5)
    assert (listener.name, listener.size, listener.transport) == ("x", 5, None)


def test_listeners_with_slots() -> None:
    class Listener(WSListener):
        __slots__ = ("seen",)

        def __init__(self) -> None:
            self.seen: List[bytes] = []

        def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
            self.seen.append(frame.get_payload_as_bytes())

    listener = Listener()
    assert not hasattr(listener, "__dict__")
    connection = Connection("client", listener)
    connection.receive(TEXT, b"x")
    assert listener.seen == [b"x"]


@both_roles
def test_one_listener_for_two_connections(role: str) -> None:
    listener = Recorder()
    first = Connection(role, listener)
    second = Connection(role, listener)
    assert listener.transport is second.ws
    first.receive(TEXT, b"1")
    second.receive(PONG, b"2")
    first.lose()
    second.lose()
    assert listener.count("connected") == listener.count("disconnected") == 2
    assert [frame[1] for frame in listener.frames] == [b"1", b"2"]
