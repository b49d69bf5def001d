"""What the endpoint logs about one connection: each line names the peer."""

from __future__ import annotations

from typing import Any

import pytest

from picows_codec import WSFrame, WSListener, WSMessage, WSMessageListener, WSTransport
from picows_codec.testing.memory_transport import MemoryTransport
from tests.support import frames
from tests.support.connection import Connection, Recorder, both_roles


@pytest.fixture(autouse=True)
def _addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    def get_extra_info(transport: object, name: str, default: Any = None) -> Any:
        return {"peername": ("::1", 80, 0, 0), "sockname": ("::1", 81, 0, 0)}.get(name, default)

    monkeypatch.setattr(MemoryTransport, "get_extra_info", get_extra_info)


def verbose(role: str, **options: Any) -> Connection:
    connection = Connection(role, open=False, **options)
    connection.log.is_verbose = True
    connection.start()
    connection.open()
    return connection


@both_roles
def test_debug_lines_of_a_close_by_the_peer(role: str) -> None:
    connection = verbose(role)
    connection.receive(frames.TEXT, b"not worth a line")
    connection.receive_close(1012, b"service restart")
    connection.lose()
    target = "ws://localhost/" if role == "client" else "/"
    assert connection.log.lines == [
        f"debug: [::1]:80: open: <WSTransport {role} OPEN {target} peer [::1]:80>",
        "debug: [::1]:80: received CLOSE 1012 (service restart)",
        "debug: [::1]:80: sent CLOSE 1012",
        "debug: [::1]:80: the connection ended: the peer closed: 1012 (service restart)",
    ]


@both_roles
def test_debug_lines_of_a_close_by_this_side(role: str) -> None:
    connection = verbose(role)
    connection.ws.disconnect(code=1001, reason="bye")
    connection.receive_close(1001)
    connection.lose()
    assert connection.log.lines[1:] == [
        "debug: [::1]:80: sent CLOSE 1001 (bye)",
        "debug: [::1]:80: received CLOSE 1001",
        "debug: [::1]:80: the connection ended: this side closed: 1001 (bye)",
    ]


@both_roles
def test_debug_lines_of_a_ping_timeout(role: str) -> None:
    connection = verbose(
        role, enable_auto_ping=True, auto_ping_idle_timeout=5, auto_ping_reply_timeout=2
    )
    for _ in range(60):
        connection.loop.advance(1)
    lines = connection.log.lines
    assert any("[::1]:80: failing the connection: no answer to a ping" in line for line in lines)
    connection.lose()
    assert "the connection ended: no answer to a ping within" in connection.log.lines[-1]


@both_roles
def test_a_failure_is_one_line_whatever_a_listener_raised(role: str) -> None:
    def fail(*_: object) -> None:
        raise ValueError("two\nlines")

    listener = Recorder()
    listener.act("on_ws_frame", fail)
    connection = verbose(role, listener=listener)
    connection.receive(frames.TEXT, b"x")
    connection.lose()
    lines = [line for line in connection.log.lines if line.startswith("debug: ")]
    assert r"debug: [::1]:80: failing the connection: two\nlines" in lines
    assert lines[-1].endswith(r": two\nlines; the peer was told 1011")


@both_roles
def test_nothing_without_debug(role: str) -> None:
    connection = Connection(role)
    connection.receive_close()
    connection.lose()
    assert connection.log.lines == []


def test_a_refused_request_names_the_peer() -> None:
    connection = Connection("server", open=False)
    connection.start()
    connection.feed(b"nonsense\r\n\r\n")
    assert connection.log.lines[0].startswith("info: [::1]:80: the opening handshake failed: ")


@pytest.mark.parametrize(
    ("request_line", "header", "text"),
    [
        (
            "POST /",
            "Content-Length: 3",
            "'POST' without an upgrade failed: a request without a body",
        ),
        ("GET /", "Accept: */*", "'GET' without an upgrade failed: invalid upgrade header"),
        ("CONNECT a:80", "Accept: */*", "'CONNECT' without an upgrade failed: CONNECT is not"),
        ("POST /", "Upgrade: websocket", "the opening handshake failed: GET is wanted"),
    ],
)
def test_a_refused_request_is_called_what_it_was(request_line: str, header: str, text: str) -> None:
    connection = Connection("server", open=False)
    connection.start()
    connection.feed(f"{request_line} HTTP/1.1\r\nHost: a\r\n{header}\r\n\r\n".encode())
    (line,) = connection.log.lines
    assert line.startswith(f"info: [::1]:80: {text}")


# Which callback raised


class Messages(WSMessageListener):
    def on_ws_message(self, transport: WSTransport, message: WSMessage) -> None:
        raise ValueError("as asked for")


class PassesOn(Messages):
    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        super().on_ws_frame(transport, frame)


class FailsEarlier(Messages):
    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        raise ValueError("as asked for")


class Frames(Recorder):
    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        raise ValueError("as asked for")


@both_roles
@pytest.mark.parametrize(
    ("listener_class", "callback"),
    [
        (Messages, "on_ws_message"),
        (PassesOn, "on_ws_message"),
        (FailsEarlier, "on_ws_frame"),
        (Frames, "on_ws_frame"),
    ],
)
def test_callback_that_raised(role: str, listener_class: Any, callback: str) -> None:
    listener: WSListener = listener_class()
    connection = Connection(role, listener)
    connection.receive(frames.TEXT, b"x")
    assert connection.log.lines[0].startswith(
        f"error: [::1]:80: the listener's {callback} raised an exception"
    )
