"""picows_codec.testing: unit tests of listeners and coroutines without a network."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import traceback
from typing import Any, List

import pytest

from picows_codec import (
    WSBatchListener,
    WSConnectionClosed,
    WSDisconnectKind,
    WSFrame,
    WSHandshakeError,
    WSListener,
    WSMessage,
    WSMessageListener,
    WSMsgType,
    WSPermessageDeflate,
    WSStateError,
    WSTransport,
    WSUpgradeResponse,
    WSUsageError,
)
from picows_codec.testing import FakeClock, Frame, connected
from tests.support.connection import both_roles
from tests.support.deflate import deflated


class Feed(WSMessageListener):
    """What somebody would test."""

    def __init__(self) -> None:
        self.texts: List[str] = []
        self.tasks: List[Any] = []
        self.ends = 0

    def on_ws_connected(self, transport: WSTransport) -> None:
        transport.send(WSMsgType.TEXT, b"subscribe")

    def on_ws_message(self, transport: WSTransport, message: WSMessage) -> None:
        text = message.get_payload_as_utf8_text()
        self.texts.append(text)
        if text == "raise":
            raise LookupError("as asked for")
        if text == "later":
            self.tasks.append(asyncio.get_running_loop().create_task(self._later(transport)))

    async def _later(self, transport: WSTransport) -> None:
        await asyncio.sleep(5)
        transport.send(WSMsgType.TEXT, "it is later")

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self.ends += 1


@both_roles
def test_receive_and_send(role: str) -> None:
    link = connected(Feed(), role=role)
    assert link.sent_messages == ["subscribe"]
    assert link.sent == [Frame(WSMsgType.TEXT, b"subscribe")]
    link.receive("a", "\u00fc", b"bytes", opcode=WSMsgType.TEXT)
    link.receive_fragments("one ", "message")
    assert link.listener.texts == ["a", "\u00fc", "bytes", "one message"]
    link.sent.clear()
    link.receive(b"p", opcode=WSMsgType.PING)
    assert link.sent == [Frame(WSMsgType.PONG, b"p")]
    assert link.sent[0].opcode is WSMsgType.PONG
    assert link.sent[0].text == "p"
    assert link.sent_messages == []
    link.transport.send(WSMsgType.BINARY, b"x", fin=False)
    link.transport.send(WSMsgType.CONTINUATION, b"y")
    link.transport.send_many(WSMsgType.TEXT, ["1", "2"])
    assert link.sent_messages == [b"xy", "1", "2"]
    assert repr(link).startswith(f"<Connected {role} ")


@both_roles
def test_one_read(role: str) -> None:
    class Batches(WSBatchListener):
        batches: List[Any]

        def __init__(self) -> None:
            self.batches = []

        def on_ws_batch(self, transport: WSTransport, messages: List[Any]) -> None:
            self.batches.append(messages)

    link = connected(Batches, role=role)
    link.receive("a", b"b")
    link.receive_fragments(b"c", b"d", b"e")
    assert link.listener.batches == [["a", b"b"], [b"cde"]]


@both_roles
def test_the_peer_closes(role: str) -> None:
    link = connected(Feed(), role=role)
    link.sent.clear()
    link.receive_close(4001, "that is all")
    assert [frame.opcode for frame in link.sent] == [WSMsgType.CLOSE]
    if role == "client":
        assert not link.is_disconnected
        link.receive_eof()
    assert link.is_disconnected
    assert link.listener.ends == 1
    cause = link.disconnect_cause
    assert cause is not None
    assert cause.kind is WSDisconnectKind.PEER_CLOSE
    assert cause.close is not None
    assert (cause.close.code, cause.close.reason) == (4001, "that is all")


@both_roles
@pytest.mark.parametrize("error", [None, ConnectionResetError("reset")])
def test_lose(role: str, error: Any) -> None:
    link = connected(Feed(), role=role)
    link.lose(error)
    assert link.is_disconnected
    assert link.listener.ends == 1
    cause = link.disconnect_cause
    assert cause is not None
    assert cause.kind is WSDisconnectKind.CONNECTION_LOST
    if error is not None:
        assert cause.exception is error


def test_time() -> None:
    link = connected(
        Feed(), enable_auto_ping=True, auto_ping_idle_timeout=10, auto_ping_reply_timeout=2
    )
    link.sent.clear()
    link.advance(9.9)
    assert link.sent == []
    link.advance(0.2)
    assert [frame.opcode for frame in link.sent] == [WSMsgType.PING]
    link.advance(10)
    cause = link.disconnect_cause
    assert cause is not None
    assert cause.kind is WSDisconnectKind.PING_TIMEOUT
    assert link.log


def test_tasks_of_a_listener() -> None:
    link = connected(Feed())
    link.receive("later")
    link.advance(4.9)
    assert link.sent_messages == ["subscribe"]
    link.advance(0.2)
    assert link.sent_messages == ["subscribe", "it is later"]


def test_what_a_callback_raises() -> None:
    link = connected(Feed())
    with pytest.raises(LookupError, match="as asked for") as raised:
        link.receive("raise")
    assert "on_ws_message" in "".join(traceback.format_tb(raised.value.__traceback__))
    cause = link.disconnect_cause
    assert cause is not None
    assert cause.kind is WSDisconnectKind.LISTENER_EXCEPTION
    link = connected(Feed(), raise_errors=False)
    link.receive("raise")
    assert link.sent[-1].payload[:2] == b"\x03\xf3"
    link = connected(Feed(), disconnect_on_exception=False)
    with pytest.raises(LookupError):
        link.receive("raise")
    link.receive("goes on")
    assert link.listener.texts == ["raise", "goes on"]


@both_roles
@pytest.mark.parametrize("options", [{}, {"disconnect_on_exception": False}])
def test_what_opening_raises(role: str, options: Any) -> None:
    class Listener(WSListener):
        def on_ws_connected(self, transport: WSTransport) -> None:
            raise LookupError("at the beginning")

    def factory() -> WSListener:
        raise LookupError("in the factory")

    with pytest.raises(LookupError, match="at the beginning") as raised:
        connected(Listener, role=role, **options)
    assert "on_ws_connected" in "".join(traceback.format_tb(raised.value.__traceback__))
    with pytest.raises(LookupError, match="in the factory"):
        connected(factory, role=role)


def test_a_factory_is_given_the_request() -> None:
    seen: List[Any] = []

    def factory(request: Any, response: Any) -> WSListener:
        seen.append((request.path, request.headers["Host"], request.headers["X-Key"]))
        seen.append((response.headers["X-Server"], response.subprotocol))
        return WSListener()

    link = connected(
        factory,
        url="wss://user:secret@example.org:444/feed?a=1",
        headers=[("X-Key", "k")],
        subprotocols=["v2", "v1"],
        peer_headers=[("X-Server", "s")],
    )
    assert seen == [("/feed?a=1", "example.org:444", "k"), ("s", "v2")]
    assert link.transport.subprotocol == "v2"
    assert link.transport.is_secure


def test_a_route_may_refuse_or_decide_later() -> None:
    async def route(request: Any) -> Any:
        await asyncio.sleep(0)
        if request.path == "/":
            return WSUpgradeResponse.create_error_response(403)
        assert request.headers["Origin"] == "https://example.org"
        return Feed()

    with pytest.raises(WSHandshakeError):
        connected(route, role="server")
    link = connected(
        route,
        role="server",
        url="ws://localhost/feed",
        peer_headers=[("Origin", "https://example.org")],
    )
    assert link.sent_messages == ["subscribe"]


@both_roles
def test_coroutines(role: str) -> None:
    link = connected(role=role)
    ws = link.connection

    async def echo() -> None:
        async for message in ws:
            await ws.send(message)

    task = link.start_task(echo())
    link.receive("a", b"b")
    assert link.sent_messages == ["a", b"b"]
    link.receive_close()
    assert task.done()
    link = connected(role=role)
    link.receive("one")
    assert link.run(link.connection.recv()) == "one"
    with pytest.raises(TimeoutError, match="has not happened"):
        link.run(link.connection.recv())
    link.lose()
    with pytest.raises(WSConnectionClosed):
        link.run(link.connection.recv())


def test_time_of_coroutines() -> None:
    link = connected()

    async def impatient() -> str:
        try:
            return str(await asyncio.wait_for(link.connection.recv(), 3))
        except asyncio.TimeoutError:
            return "silence"

    task = link.start_task(impatient())
    link.advance(2.9)
    assert not task.done()
    link.advance(0.2)
    assert task.result() == "silence"


def test_back_pressure() -> None:
    class Listener(WSListener):
        paused = False

        def pause_writing(self) -> None:
            self.paused = True

        def resume_writing(self) -> None:
            self.paused = False

    link = connected(Listener())
    link.stop_reading()
    link.transport.send(WSMsgType.BINARY, bytes(100_000))
    assert link.listener.paused
    link.read_again()
    assert not link.listener.paused
    assert link.sent_messages == [bytes(100_000)]


def test_reading_is_paused() -> None:
    link = connected(role="server")
    for _ in range(3000):
        link.receive("x")
    assert not link.transport.underlying_transport.is_reading()
    for _ in range(3000):
        assert link.run(link.connection.recv()) == "x"


@both_roles
def test_compression(role: str) -> None:
    link = connected(
        Feed(),
        role=role,
        compression=WSPermessageDeflate(
            min_size=0,
            client_compresses=True,
            server_no_context_takeover=True,
            server_max_window_bits=10,
        ),
    )
    link.transport.send(WSMsgType.TEXT, "text " * 100)
    assert link.sent[-1].rsv == 4
    assert link.sent_messages[-1] == "text " * 100
    link.receive_bytes(link._connection.build(WSMsgType.TEXT, deflated(b"compressed"), rsv=4))
    assert link.listener.texts == ["compressed"]


def test_a_loop_of_asyncio(run: Any) -> None:
    async def main() -> None:
        link = connected(Feed(), loop=asyncio.get_running_loop())
        link.receive("later")
        assert link.listener.tasks
        link.listener.tasks[0].cancel()
        with pytest.raises(WSUsageError, match="no fake clock"):
            link.advance(1)
        link.lose()
        await asyncio.sleep(0)
        assert link.listener.ends == 1

    run(main)


def test_inside_of_a_running_loop(run: Any) -> None:
    """A test that is a coroutine may use it, too; its own loop stays the running one."""

    async def main() -> None:
        link = connected(Feed())
        link.receive("later")
        link.advance(6)
        assert link.sent_messages[-1] == "it is later"
        await asyncio.sleep(0)

    run(main)


def test_misuse() -> None:
    with pytest.raises(WSUsageError, match="role must be"):
        connected(role="proxy")
    with pytest.raises(WSUsageError, match="has a listener"):
        connected(WSListener()).connection  # noqa: B018
    with pytest.raises(TypeError, match="no option 'enable_ping'"):
        connected(enable_ping=True)


def test_violations_are_real() -> None:
    link = connected(WSListener())
    link.receive_bytes(b"\x83\x00")
    cause = link.disconnect_cause
    assert cause is not None
    assert cause.kind is WSDisconnectKind.PROTOCOL_ERROR


def test_frames_of_a_listener() -> None:
    class Echo(WSListener):
        def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
            transport.send(frame.opcode, frame, frame.fin)

    link = connected(Echo)
    link.receive_fragments("a", "b", "c")
    assert [(frame.payload, frame.fin) for frame in link.sent] == [
        (b"a", False),
        (b"b", False),
        (b"c", True),
    ]


@pytest.mark.parametrize("package", ["picows_client", "picows_server"])
def test_without_a_test_framework(package: str) -> None:
    program = (
        f"from {package}.testing import connected; import sys;"
        "link = connected(); link.receive('x');"
        "assert link.run(link.connection.recv()) == 'x'; sys.exit('pytest' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_headers_of_the_peer() -> None:
    """A mapping, pairs, or what can be read only once."""
    headers = {"X-One": "1", "X-Two": "2"}
    for given in (headers, list(headers.items()), iter(headers.items())):
        link = connected(peer_headers=given, headers=headers)  # type: ignore[arg-type]
        assert link.transport.response.headers["X-Two"] == "2"
        link.lose()


def test_nothing_arrives_after_the_end() -> None:
    link = connected(Feed())
    link.receive_close()
    for late in (
        lambda: link.receive("late"),
        lambda: link.receive_fragments("la", "te"),
        link.receive_close,
    ):
        with pytest.raises(WSStateError, match="nothing may follow the peer's CLOSE frame"):
            late()
    link.receive_bytes(b"\x81\x00")  # whoever wants to see what becomes of it
    link.receive_eof()
    with pytest.raises(WSStateError, match="nothing arrives any more: the peer closed: 1000"):
        link.receive("late")


@pytest.mark.parametrize("message", [1, {"a": 1}, None, ["a"]])
def test_what_is_no_message(message: Any) -> None:
    link = connected(Feed())
    with pytest.raises(TypeError, match="a message is a str or bytes, not "):
        link.receive(message)
    with pytest.raises(TypeError, match="a message is a str or bytes, not "):
        link.receive_fragments("a", message)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"extra_headers": {}}, "write headers="),
        ({"subprotocols": "v1"}, "must be an iterable of str, not 'v1'"),
        ({"clock": FakeClock}, r"clock must be a FakeClock\(\)"),
        ({"heartbeat": 3}, "write enable_auto_ping=True"),
    ],
)
def test_wrong_options(options: Any, text: str) -> None:
    with pytest.raises(TypeError, match=text):
        connected(Feed(), **options)


def test_task_that_raises() -> None:
    async def fail() -> None:
        raise KeyError("task")

    task = connected(Feed()).start_task(fail())
    with pytest.raises(KeyError, match="task"):
        task.result()
