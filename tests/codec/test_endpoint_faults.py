"""Whatever a listener does and a transport fails at: one end, told once, and nothing is left."""

from __future__ import annotations

import contextlib
import itertools
import weakref
from typing import Any, Callable, Dict, List, Tuple

import pytest

from picows_codec import WSDisconnectKind, WSFrame, WSState, WSTransport, WSUsageError
from picows_codec.testing.memory_transport import InjectedFault
from tests.support.chunking import byte_by_byte, in_halves
from tests.support.connection import Connection, Recorder, both_roles
from tests.support.frames import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT
from tests.support.listeners import CALLBACKS

pytestmark = pytest.mark.usefixtures("no_collector")

# No deadline is further away than this (seconds).
LONG = 60.0


class Busy(Recorder):
    """Uses every callback; echoes what it gets."""

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        super().on_ws_frame(transport, frame)
        if not transport.is_close_frame_sent and frame.opcode in (TEXT, BINARY):
            transport.send(BINARY, frame)

    def send_user_specific_ping(self, transport: WSTransport) -> None:
        self.events.append(("ping",))
        transport.send(TEXT, b"ping")
        self._event("send_user_specific_ping", transport)

    def is_user_specific_pong(self, frame: WSFrame) -> bool:
        self.events.append(("pong?",))
        self._event("is_user_specific_pong", self.transport)
        return frame.get_payload_as_bytes() == b"pong"


OPTIONS: Dict[str, Any] = {
    "close_timeout": 5.0,
    "write_high_watermark": 2000,
    "enable_auto_ping": True,
    "auto_ping_idle_timeout": 10.0,
    "auto_ping_reply_timeout": 5.0,
}


def live(connection: Connection, step: Callable[..., None]) -> None:
    """The life of a connection, with all that can happen in one. Each part is a ``step``."""
    ws, build = connection.ws, connection.build
    waiters = []

    def wait() -> None:
        waiters.append(connection.loop.create_task(ws.wait_disconnected()))

    def send_corked() -> None:
        with ws.cork():
            ws.send(TEXT, b"a", fin=False)
            ws.send(CONTINUATION, b"b")
            ws.send_ping()

    step(connection.start)
    step(wait)
    step(lambda: connection.feed(*in_halves(connection.opening_bytes())))
    step(lambda: connection.feed(build(TEXT, b"1") + build(PING, b"p") + build(TEXT, b"2")))
    step(lambda: connection.feed(*in_halves(build(BINARY, b"x" * 3000))))
    step(lambda: ws.send(BINARY, b"y" * 100))
    step(send_corked)
    step(lambda: setattr(connection.transport, "room", 500))
    step(lambda: ws.send(BINARY, b"z" * 3000))
    step(lambda: connection.receive(PING, b"late"))
    step(connection.drain)
    step(lambda: setattr(connection.transport, "room", None))
    step(lambda: connection.loop.advance(13.0))
    step(lambda: connection.feed(*byte_by_byte(build(TEXT, b"pong"))))
    step(lambda: connection.feed(build(PONG, b"unasked")))
    step(ws.disconnect)
    step(lambda: connection.receive(TEXT, b"never seen"))
    step(connection.receive_close)
    if connection.role == "client" and not connection.transport.lost:
        step(connection.feed_eof)
    for _ in range(3):
        step(lambda: connection.loop.advance(LONG))
    connection.transport.fatal_errors.clear()
    if waiters:
        assert waiters[0].done()


def check_end(connection: Connection) -> None:
    """What must hold at the end of every connection."""
    listener = connection.listener
    assert connection.transport.lost
    assert connection.ws.state is WSState.CLOSED
    assert not connection.loop.timers
    assert connection.cause is not None
    assert listener.count("connected") <= 1
    assert listener.count("disconnected") == listener.count("connected")
    if listener.events:
        assert listener.events[0] == ("connected",)
        assert listener.events[-1] == ("disconnected",)
    assert connection.opened is None or connection.opened.done()
    assert connection.endpoint.transport is None
    assert connection.endpoint.listener is None


def check_nothing_is_left(connections: List[Connection]) -> None:
    """Take the connection out of the list: everything that it was made of dies at once."""
    connection = connections.pop()
    alive = [
        weakref.ref(each)
        for each in (
            connection.endpoint,
            connection.ws,
            connection.listener,
            connection.transport,
            connection.loop,
        )
    ]
    if connection.opened is not None and not connection.opened.cancelled():
        connection.opened.exception()
    del connection
    assert [each() for each in alive] == [None] * len(alive)


# Faults of the transport


@both_roles
@pytest.mark.parametrize("buffered", [True, False])
def test_a_life_without_faults(role: str, buffered: bool) -> None:
    connections = [make(role, buffered=buffered)]
    live(connections[0], lambda part: part())
    check_end(connections[0])
    assert connections[0].listener.count("ping") == 1
    assert connections[0].listener.count("paused") == 1
    assert connections[0].listener.count("resumed") == 1
    assert len(connections[0].listener.frames) == 4
    assert connections[0].cause is not None
    assert connections[0].cause.kind is WSDisconnectKind.LOCAL_CLOSE
    check_nothing_is_left(connections)


def make(role: str, **transport_options: Any) -> Connection:
    return Connection(role, Busy(), open=False, transport_options=transport_options, **OPTIONS)


def count_calls(role: str) -> int:
    connection = make(role)
    live(connection, lambda part: part())
    return len(connection.transport.calls)


@both_roles
@pytest.mark.parametrize("buffered", [True, False])
def test_a_transport_that_fails_at_its_nth_call(role: str, buffered: bool) -> None:
    calls = count_calls(role)
    assert calls > 12
    failed = set()
    for n in range(1, calls + 1):
        connections = [make(role, fail_at=n, buffered=buffered)]

        def step(part: Callable[..., None]) -> None:
            # A fault may surface where the caller is, or in the loop.
            with contextlib.suppress(InjectedFault, WSUsageError):
                part()

        live(connections[0], step)
        failed.add(connections[0].transport.calls[n - 1])
        check_end(connections[0])
        check_nothing_is_left(connections)
    assert {"write", "get_write_buffer_size", "get_extra_info"} <= failed


FAILURES: Dict[str, Callable[[Connection], None]] = {
    "violation": lambda connection: connection.receive(3),
    "close": lambda connection: connection.receive_close(),
    "disconnect": lambda connection: connection.ws.disconnect(),
    "abort": lambda connection: connection.ws.disconnect(graceful=False),
    "eof": lambda connection: connection.feed_eof(),
    "reset": lambda connection: connection.lose(ConnectionResetError()),
    "ping timeout": lambda connection: connection.loop.advance(30.0),
    "flood": lambda connection: connection.ws.send(BINARY, b"x" * 10_000),
    "refusal": lambda connection: connection.feed(b"nonsense\r\n\r\n"),
}


@both_roles
@pytest.mark.parametrize("how", list(FAILURES))
@pytest.mark.parametrize("half_closing", [True, False])
def test_a_transport_that_fails_at_the_nth_call_of_an_end(
    role: str, how: str, half_closing: bool
) -> None:
    for n in itertools.count(1):
        connections = [
            Connection(
                role,
                open=how != "refusal",
                transport_options={"can_half_close": half_closing},
                **{**OPTIONS, "max_write_queue_size": 5000},
            )
        ]
        connection = connections[0]
        if how == "refusal":
            connection.start()
        if how == "flood":
            connection.transport.room = 0
            connection.ws.send(BINARY, b"x" * 4000)
        before = len(connection.transport.calls)
        connection.transport.fail_next(n)
        with contextlib.suppress(InjectedFault):
            FAILURES[how](connection)
        connection.ws.wait_disconnected().close()
        for _ in range(3):
            with contextlib.suppress(InjectedFault):
                connection.loop.advance(LONG)
        connection.transport.fatal_errors.clear()
        check_end(connection)
        done = len(connection.transport.calls) < before + n
        del connection
        check_nothing_is_left(connections)
        if done:
            break


# Whatever a listener does


class AsAskedFor(Exception):
    pass


def raise_with_a_context(transport: WSTransport, *_: Any) -> None:
    try:
        raise LookupError("the first one")
    except LookupError as error:
        raise AsAskedFor("the second one") from error


def send_in_a_cork(transport: WSTransport, *_: Any) -> None:
    with transport.cork():
        transport.send(TEXT, b"1")
        transport.send(TEXT, b"2" * 200_000)


def abort_in_a_cork(transport: WSTransport, *_: Any) -> None:
    with transport.cork():
        transport.send(TEXT, b"1")
        transport.disconnect(graceful=False)


def disconnect_twice_and_raise(transport: WSTransport, *_: Any) -> None:
    transport.disconnect()
    transport.disconnect(graceful=False)
    raise AsAskedFor


ACTIONS: Dict[str, Callable[..., Any]] = {
    "raises": raise_with_a_context,
    "sends": lambda transport, *_: transport.send(TEXT, b"x"),
    "sends much": lambda transport, *_: transport.send(BINARY, b"x" * 300_000),
    "sends in a cork": send_in_a_cork,
    "pings": lambda transport, *_: transport.ping(b"x"),
    "closes": lambda transport, *_: transport.send_close(1001),
    "disconnects": lambda transport, *_: transport.disconnect(),
    "aborts": lambda transport, *_: transport.disconnect(graceful=False),
    "aborts in a cork": abort_in_a_cork,
    "disconnects, aborts and raises": disconnect_twice_and_raise,
    "misuses": lambda transport, *_: transport.send(3, object()),
    "notifies": lambda transport, *_: transport.notify_user_specific_pong_received(),
}


@both_roles
@pytest.mark.parametrize("action", list(ACTIONS))
@pytest.mark.parametrize("callback", CALLBACKS)
@pytest.mark.parametrize("tolerant", [True, False])
def test_whatever_a_listener_does(role: str, action: str, callback: str, tolerant: bool) -> None:
    connections = [
        Connection(
            role,
            Busy().act(callback, ACTIONS[action]),
            open=False,
            disconnect_on_exception=not tolerant,
            **OPTIONS,
        )
    ]

    def step(part: Callable[..., None]) -> None:
        # The caller's own misuse, of a connection that the listener has ended.
        with contextlib.suppress(WSUsageError):
            part()

    live(connections[0], step)
    check_end(connections[0])
    check_nothing_is_left(connections)


@both_roles
@pytest.mark.parametrize("callback", CALLBACKS)
def test_a_listener_that_keeps_everything(role: str, callback: str) -> None:
    """References of the listener's own are its own business; they end with it."""
    kept: List[Tuple[Any, ...]] = []
    connections = [
        Connection(
            role, Busy().act(callback, lambda *args: kept.append(args)), open=False, **OPTIONS
        )
    ]
    live(connections[0], lambda part: part())
    check_end(connections[0])
    assert kept
    kept.clear()
    check_nothing_is_left(connections)


# Every end


@both_roles
@pytest.mark.parametrize("how", [*FAILURES, "listener", "factory", "cause of a cause"])
def test_nothing_is_left_after(role: str, how: str) -> None:
    def factory(*_: Any) -> Any:
        raise AsAskedFor

    options: Dict[str, Any] = {**OPTIONS, "max_write_queue_size": 5000}
    if how == "factory":
        options["factory"] = factory
    connections = [Connection(role, open=False, **options)]
    connection = connections[0]
    connection.start()
    if how != "refusal":
        connection.open()
    if how == "flood":
        connection.transport.room = 0
        connection.ws.send(BINARY, b"x" * 4000)
    if how in ("listener", "cause of a cause"):
        connection.listener.act("on_ws_frame", raise_with_a_context)
        connection.receive(TEXT)
    elif how != "factory":
        FAILURES[how](connection)
    task = connection.loop.create_task(connection.ws.wait_disconnected())
    connection.loop.advance(LONG)
    assert task.done()
    check_end(connection)
    del connection, task
    check_nothing_is_left(connections)


@both_roles
@pytest.mark.parametrize("measured", [True, False])
def test_nothing_is_left_of_waiters(role: str, measured: bool) -> None:
    connections = [Connection(role)]
    connection = connections[0]
    tasks = [connection.loop.create_task(connection.ws.wait_disconnected()) for _ in range(3)]
    if measured:
        tasks.append(connection.loop.create_task(connection.ws.measure_roundtrip_time()))
    connection.loop.run_ready()
    tasks[0].cancel()
    connection.lose()
    for task in tasks[1:]:
        assert task.done()
        task.exception()
    del connection, tasks, task
    check_nothing_is_left(connections)


@both_roles
@pytest.mark.parametrize("opcode", [TEXT, CLOSE])
def test_nothing_is_left_of_kept_frames(role: str, opcode: int) -> None:
    kept: List[Any] = []
    listener = Recorder().act("on_ws_frame", lambda _, frame: kept.append(memoryview(frame)))
    connections = [Connection(role, listener)]
    del listener
    connections[0].receive(opcode)
    connections[0].lose()
    check_nothing_is_left(connections)
    assert kept == [b""]


@both_roles
def test_nothing_is_left_without_a_transport(role: str) -> None:
    connections = [Connection(role, open=False)]
    connections[0].opened.cancel()
    connections[0].endpoint.give_up()
    connections[0].endpoint.give_up()
    assert connections[0].endpoint.transport is None
    check_nothing_is_left(connections)


@both_roles
def test_a_connection_is_not_given_up(role: str) -> None:
    connection = Connection(role, open=False)
    connection.start()
    connection.endpoint.give_up()
    connection.open()
    connection.endpoint.give_up()
    assert connection.ws.state is WSState.OPEN
    connection.lose()
    connection.endpoint.give_up()
    assert connection.cause is not None
