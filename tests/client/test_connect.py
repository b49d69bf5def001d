"""picows_client.connect: ws_connect against a peer that is only bytes."""

from __future__ import annotations

import asyncio
import base64
import errno
import functools
import inspect
import logging
import pydoc
import re
import socket
import ssl
from typing import Any, Callable, Dict, List, Tuple, Type

import pytest

import picows_client
import picows_codec
from picows_client import (
    WSURL,
    WSHandshakeError,
    WSHandshakeTimeout,
    WSInvalidHeaderError,
    WSInvalidMessageError,
    WSInvalidOptionError,
    WSInvalidStatusError,
    WSInvalidUpgradeError,
    WSInvalidURL,
    WSListener,
    WSMsgType,
    WSState,
    WSStateError,
    WSTransport,
    WSUpgradeRequest,
    WSUpgradeResponse,
    connect,
    ws_connect,
)
from picows_client.connect import USER_AGENT
from picows_codec import WSOptions
from tests.client.exchange import Recorder, check_echo, serve_echo
from tests.support.options import OTHER_OPTIONS
from tests.support.rawpeer import RawConnection, raw_peer, upgrade_headers

Run = Callable[..., Any]

PLAIN_BACKENDS = ("auto", "stream", "aiofastnet", "loop")
TLS_BACKENDS = ("auto", "aiofastnet", "loop")
VERIFY_FAILED = r"(?i)certificate.verify.failed"


def skip_without(backend: str) -> None:
    if backend == "aiofastnet":
        pytest.importorskip("aiofastnet")


# The quick start, word for word


class ClientListener(WSListener):
    def on_ws_connected(self, transport: WSTransport):  # type: ignore[no-untyped-def]  # noqa: ANN201
        transport.send(WSMsgType.TEXT, b"Hello world")

    def on_ws_frame(self, transport: WSTransport, frame):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
        print(f"Echo reply: {frame.get_payload_as_ascii_text()}")  # noqa: T201
        transport.disconnect()


async def quick_start(endpoint):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
    (_, client) = await ws_connect(endpoint, ClientListener, "client")
    await client._transport.wait_until_closed()


def test_quick_start(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    async def main() -> None:
        async with raw_peer(serve_echo) as peer:
            await quick_start(peer.url())

    run(main)
    assert capsys.readouterr().out == "Echo reply: Hello world\n"


# Transports


@pytest.mark.parametrize("backend", PLAIN_BACKENDS)
def test_plain(run: Run, backend: str) -> None:
    skip_without(backend)

    async def main() -> None:
        async with raw_peer(serve_echo) as peer:
            transport, listener = await ws_connect(peer.url(), Recorder, backend=backend)
            assert transport.state is WSState.OPEN
            assert not transport.is_secure
            assert listener.transport is transport
            is_stream = type(transport.underlying_transport).__name__ == "StreamTransport"
            assert is_stream == (backend in ("auto", "stream"))
            await check_echo(transport, listener)

    run(main)


@pytest.mark.parametrize("backend", TLS_BACKENDS)
def test_tls(
    run: Run, backend: str, server_context: ssl.SSLContext, client_context: ssl.SSLContext
) -> None:
    skip_without(backend)

    async def main() -> None:
        async with raw_peer(serve_echo, context=server_context) as peer:
            for host in ("localhost", "127.0.0.1"):
                transport, listener = await ws_connect(
                    peer.url(host=host), Recorder, ssl_context=client_context, backend=backend
                )
                assert transport.is_secure
                tls = transport.underlying_transport.get_extra_info("ssl_object")
                assert tls.selected_alpn_protocol() == "http/1.1"
                await check_echo(transport, listener)

    run(main)


def test_busy_poll(run: Run) -> None:
    async def main() -> None:
        async with raw_peer(serve_echo) as peer:
            await check_echo(*await ws_connect(peer.url(), Recorder, busy_poll=True))

    run(main)


@pytest.mark.parametrize("backend", TLS_BACKENDS)
def test_certificate_is_checked(
    run: Run, backend: str, server_context: ssl.SSLContext, client_context: ssl.SSLContext
) -> None:
    skip_without(backend)

    async def main() -> None:
        async with raw_peer(serve_echo, context=server_context) as peer:
            with pytest.raises(ssl.SSLCertVerificationError, match=VERIFY_FAILED):
                await ws_connect(peer.url(), Recorder, backend=backend)
            with pytest.raises(ssl.SSLCertVerificationError, match=VERIFY_FAILED):
                await ws_connect(
                    peer.url(),
                    Recorder,
                    ssl_context=client_context,
                    server_hostname="other.example",
                    backend=backend,
                )
            transport, listener = await ws_connect(
                peer.url(),
                Recorder,
                ssl_context=client_context,
                server_hostname="localhost",
                backend=backend,
            )
            await check_echo(transport, listener)

    run(main)


@pytest.mark.parametrize("backend", TLS_BACKENDS)
@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n"])
def test_tls_with_a_server_that_has_none(
    run: Run, backend: str, answer: bytes, client_context: ssl.SSLContext
) -> None:
    skip_without(backend)

    async def speak_plain(peer: RawConnection) -> None:
        await peer.reader.read(1)
        peer.writer.write(answer)

    async def main() -> None:
        async with raw_peer(speak_plain) as peer:
            url = peer.url().replace("ws:", "wss:")
            with pytest.raises(OSError):  # noqa: PT011
                await ws_connect(url, Recorder, ssl_context=client_context, backend=backend)

    run(main)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"backend": "stream", "url": "wss://localhost"}, "not TLS"),
        ({"backend": "stream", "proxy": "https://localhost"}, "not TLS"),
        ({"backend": "epoll"}, "must be one of"),
    ],
)
def test_backend_that_cannot_serve(run: Run, options: Dict[str, str], reason: str) -> None:
    async def main() -> None:
        with pytest.raises(WSInvalidOptionError, match=reason):
            await ws_connect(**{"url": "ws://localhost", **options}, listener_factory=Recorder)

    run(main)


# The request


def test_request(run: Run) -> None:
    async def main() -> None:
        async with raw_peer(serve_echo) as peer:
            headers = [("X-One", "1"), ("X-Two", "2"), ("X-Two", "3")]
            url = peer.url("/a/ä?b=c d".replace(" ", "%20"))
            transport, listener = await ws_connect(url, Recorder, extra_headers=headers)
            assert transport.request.path == "/a/%C3%A4?b=c%20d"
            await check_echo(transport, listener)
        (request,) = peer.results
        assert request.line == "GET /a/%C3%A4?b=c%20d HTTP/1.1"
        assert request.header("Host") == f"127.0.0.1:{peer.port}"
        assert request.header("Upgrade") == "websocket"
        assert request.header("Connection") == "Upgrade"
        assert request.header("Sec-WebSocket-Version") == "13"
        assert len(base64.b64decode(request.header("Sec-WebSocket-Key"))) == 16
        assert request.header("Sec-WebSocket-Protocol") is None
        assert request.header("Authorization") is None
        assert request.header("X-One") == "1"
        assert request.headers["x-two"] == ["2", "3"]

    run(main)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [USER_AGENT]),
        ({"user_agent": "bot/1"}, ["bot/1"]),
        ({"user_agent": None}, None),
        ({"extra_headers": {"USER-agent": "bot/2"}}, ["bot/2"]),
        ({"extra_headers": {"USER-agent": "bot/2"}, "user_agent": None}, ["bot/2"]),
    ],
)
def test_user_agent(run: Run, options: Dict[str, Any], expected: Any) -> None:
    async def main() -> None:
        async with raw_peer(serve_echo) as peer:
            await check_echo(*await ws_connect(peer.url(), Recorder, **options))
        assert peer.results[0].headers.get("user-agent") == expected

    run(main)


def test_credentials_in_the_url(run: Run) -> None:
    async def main() -> None:
        async with raw_peer(serve_echo) as peer:
            url = peer.url().replace("//", "//user:p%C3%A4ss@")
            await check_echo(*await ws_connect(url, Recorder))
        (request,) = peer.results
        expected = base64.b64encode("user:päss".encode()).decode()
        assert request.header("Authorization") == f"Basic {expected}"
        assert request.header("Host") == f"127.0.0.1:{peer.port}"

    run(main)


def test_host_can_be_replaced(run: Run) -> None:
    async def main() -> None:
        async with raw_peer(serve_echo) as peer:
            headers = {"Host": "other.example"}
            await check_echo(*await ws_connect(peer.url(), Recorder, extra_headers=headers))
        assert peer.results[0].header("Host") == "other.example"

    run(main)


def test_subprotocols(run: Run) -> None:
    async def choose(peer: RawConnection) -> List[str]:
        request = await peer.accept_upgrade([("Sec-WebSocket-Protocol", "two")])
        await peer.echo_until_close()
        return request.headers["sec-websocket-protocol"]

    async def main() -> None:
        async with raw_peer(choose) as peer:
            names = (name for name in ("one", "two"))
            transport, listener = await ws_connect(peer.url(), Recorder, subprotocols=names)
            assert transport.subprotocol == "two"
            await check_echo(transport, listener)
        assert peer.results == [["one, two"]]

    run(main)


# The listener


def test_factory_gets_request_and_response(run: Run) -> None:
    seen: List[Tuple[str, int]] = []

    def factory(request: WSUpgradeRequest, response: WSUpgradeResponse) -> Recorder:
        seen.append((request.path, response.status))
        return Recorder()

    async def main() -> None:
        async with raw_peer(serve_echo) as peer:
            transport, listener = await ws_connect(peer.url("/path"), factory)
            assert transport.response.status == 101
            await check_echo(transport, listener)

    run(main)
    assert seen == [("/path", 101)]


def test_frames_right_behind_the_response(run: Run) -> None:
    async def greet(peer: RawConnection) -> None:
        request = await peer.read_request()
        frame = b"\x81\x03abc"
        head = "".join(f"{name}: {value}\r\n" for name, value in upgrade_headers(request))
        peer.writer.write(b"HTTP/1.1 101 Fine\r\n" + head.encode() + b"\r\n" + frame)
        await peer.echo_until_close()

    async def main() -> None:
        async with raw_peer(greet) as peer:
            transport, listener = await ws_connect(peer.url(), Recorder)
            await listener.got_frame.wait()
            assert listener.frames == [(WSMsgType.TEXT, b"abc")]
            transport.disconnect()
            await transport.wait_disconnected()

    run(main)


def test_factory_raises(run: Run) -> None:
    def factory() -> Recorder:
        raise ZeroDivisionError("of the factory")

    async def main() -> None:
        async with raw_peer(serve_echo) as peer:
            with pytest.raises(ZeroDivisionError, match="of the factory"):
                await ws_connect(peer.url(), factory)

    run(main)


def test_factory_returns_no_listener(run: Run) -> None:
    async def main() -> None:
        async with raw_peer(serve_echo) as peer:
            with pytest.raises(TypeError, match="WSListener"):
                await ws_connect(peer.url(), object)  # type: ignore[type-var]

    run(main)


def test_on_ws_connected_raises(run: Run) -> None:
    class Failing(Recorder):
        def on_ws_connected(self, transport: WSTransport) -> None:
            raise ZeroDivisionError("of the listener")

    async def main() -> None:
        async with raw_peer(serve_echo) as peer:
            with pytest.raises(ZeroDivisionError, match="of the listener"):
                await ws_connect(peer.url(), Failing)
            transport, listener = await ws_connect(
                peer.url(), Failing, disconnect_on_exception=False
            )
            transport.disconnect()
            await transport.wait_disconnected()
            assert listener.events == ["disconnected"]

    run(main)


def test_on_ws_connected_disconnects(run: Run) -> None:
    class Leaving(Recorder):
        def on_ws_connected(self, transport: WSTransport) -> None:
            super().on_ws_connected(transport)
            transport.disconnect(graceful=False)

    async def main() -> None:
        async with raw_peer(serve_echo) as peer:
            transport, listener = await ws_connect(peer.url(), Leaving)
            await transport.wait_disconnected()
            assert listener.events == ["connected", "disconnected"]

    run(main)


def test_options_reach_the_connection(run: Run) -> None:
    async def send_much(peer: RawConnection) -> int:
        await peer.accept_upgrade()
        peer.write_frame(WSMsgType.BINARY, bytes(1001))
        frame = await peer.read_frame()
        return int.from_bytes(frame.payload[:2], "big")

    async def main() -> None:
        async with raw_peer(send_much) as peer:
            transport, _ = await ws_connect(peer.url(), Recorder, max_frame_size=1000)
            await transport.wait_disconnected()
        assert peer.results == [1009]

    run(main)


# What servers answer instead


async def answer_to(run_script: Any) -> WSHandshakeError:
    async with raw_peer(run_script) as peer:
        with pytest.raises(WSHandshakeError) as caught:
            await ws_connect(peer.url(), Recorder)
    error = caught.value
    error.__traceback__ = None
    return error


def test_refusal(run: Run) -> None:
    async def refuse(peer: RawConnection) -> None:
        await peer.read_request()
        headers = [("Content-Length", "9"), ("X-Reason", "closed")]
        peer.respond("403 Go Away", headers, b"Not today")

    async def main() -> None:
        error = await answer_to(refuse)
        assert type(error) is WSInvalidStatusError
        assert "403" in str(error)
        assert error.status == 403
        assert error.response is not None
        assert error.response.reason == "Go Away"
        assert error.response.headers["x-reason"] == "closed"
        assert error.raw_body == b"Not today"

    run(main)


def without(name: str) -> Callable[[RawConnection], Any]:
    async def accept_badly(peer: RawConnection) -> None:
        request = await peer.read_request()
        peer.respond("101 OK", [pair for pair in upgrade_headers(request) if pair[0] != name])

    return accept_badly


@pytest.mark.parametrize(
    ("missing", "error_type"),
    [
        ("Upgrade", WSInvalidUpgradeError),
        ("Connection", WSInvalidUpgradeError),
        ("Sec-WebSocket-Accept", WSInvalidHeaderError),
    ],
)
def test_incomplete_acceptance(
    run: Run, missing: str, error_type: Type[WSInvalidHeaderError]
) -> None:
    async def main() -> None:
        error = await answer_to(without(missing))
        assert type(error) is error_type
        assert error.name == missing

    run(main)


@pytest.mark.parametrize(
    "header", [("Sec-WebSocket-Protocol", "chat"), ("Sec-WebSocket-Extensions", "x-nothing")]
)
def test_acceptance_of_what_was_not_offered(run: Run, header: Tuple[str, str]) -> None:
    async def accept_more(peer: RawConnection) -> None:
        await peer.accept_upgrade([header])

    async def main() -> None:
        error = await answer_to(accept_more)
        assert type(error) is WSInvalidHeaderError
        assert (error.name, error.value) == header

    run(main)


@pytest.mark.parametrize(
    "answer", [b"", b"SSH-2.0-OpenSSH\r\n", b"\x15\x03\x01\x00\x02", b"HTTP/1.1 101"]
)
def test_no_http(run: Run, answer: bytes) -> None:
    async def say(peer: RawConnection) -> None:
        await peer.read_request()
        peer.writer.write(answer)

    async def main() -> None:
        assert type(await answer_to(say)) is WSInvalidMessageError

    run(main)


def test_endless_head(run: Run) -> None:
    async def flood(peer: RawConnection) -> None:
        await peer.read_request()
        peer.writer.write(b"HTTP/1.1 101 OK\r\n")
        while True:
            peer.writer.write(b"X-More: and more\r\n" * 1000)
            await peer.writer.drain()

    async def main() -> None:
        assert type(await answer_to(flood)) is WSInvalidMessageError

    run(main)


def test_connection_reset(run: Run) -> None:
    async def reset(peer: RawConnection) -> None:
        await peer.read_request()
        peer.reset()

    async def main() -> None:
        error = await answer_to(reset)
        assert isinstance(error.__cause__, ConnectionResetError)

    run(main)


# Time


@pytest.mark.parametrize("backend", PLAIN_BACKENDS)
def test_silent_server(run: Run, backend: str) -> None:
    skip_without(backend)

    async def main() -> None:
        async with raw_peer(RawConnection.read_to_end) as peer:
            with pytest.raises(WSHandshakeTimeout, match=r"0\.05 seconds"):
                await ws_connect(
                    peer.url(), Recorder, websocket_handshake_timeout=0.05, backend=backend
                )
        assert b"Upgrade: websocket" in peer.results[0]

    run(main)


@pytest.mark.parametrize("backend", TLS_BACKENDS)
def test_silent_tls_server(run: Run, backend: str, client_context: ssl.SSLContext) -> None:
    skip_without(backend)

    async def main() -> None:
        async with raw_peer(RawConnection.read_to_end) as peer:
            url = peer.url().replace("ws:", "wss:")
            with pytest.raises(WSHandshakeTimeout, match=r"websocket_handshake_timeout=0\.05"):
                await ws_connect(
                    url,
                    Recorder,
                    ssl_context=client_context,
                    websocket_handshake_timeout=0.05,
                    backend=backend,
                )

    run(main)


def test_slow_refusal_tells_its_status(run: Run) -> None:
    async def refuse_slowly(peer: RawConnection) -> None:
        await peer.read_request()
        peer.respond("503 Wait", [("Content-Length", "100")], b"a part")
        await peer.read_to_end()

    async def main() -> None:
        async with raw_peer(refuse_slowly) as peer:
            with pytest.raises(WSInvalidStatusError) as caught:
                await ws_connect(peer.url(), Recorder, websocket_handshake_timeout=0.05)
        assert caught.value.status == 503
        assert caught.value.raw_body == b"a part"

    run(main)


def test_slow_head_is_shown(run: Run) -> None:
    async def stall(peer: RawConnection) -> None:
        await peer.read_request()
        peer.writer.write(b"HTTP/1.1 101 ")
        await peer.read_to_end()

    async def main() -> None:
        async with raw_peer(stall) as peer:
            with pytest.raises(WSHandshakeTimeout) as caught:
                await ws_connect(peer.url(), Recorder, websocket_handshake_timeout=0.05)
        assert caught.value.raw_header == b"HTTP/1.1 101 "

    run(main)


def test_timeout_of_the_system_is_not_ours(run: Run) -> None:
    def factory(url: WSURL) -> socket.socket:
        raise OSError(errno.ETIMEDOUT, "timed out")  # a TimeoutError from Python 3.10 on

    async def main() -> None:
        with pytest.raises(OSError, match="timed out") as caught:
            await ws_connect("ws://localhost", Recorder, socket_factory=factory)
        assert not isinstance(caught.value, WSHandshakeTimeout)

    run(main)


def test_timeout_is_a_timeout_error() -> None:
    assert issubclass(WSHandshakeTimeout, TimeoutError)


def test_no_timeout(run: Run) -> None:
    async def main() -> None:
        async with raw_peer(serve_echo) as peer:
            options: Dict[str, Any] = {"websocket_handshake_timeout": None, "close_timeout": None}
            await check_echo(*await ws_connect(peer.url(), Recorder, **options))

    run(main)


# Arguments


@pytest.mark.parametrize(
    ("options", "error_type", "reason"),
    [
        ({"url": None}, TypeError, "a URL must be a str"),
        ({"url": "http://host"}, WSInvalidURL, "ws://"),
        ({"url": "ws://host/\r\nX: y"}, WSInvalidURL, "%0D"),
        ({"listener_factory": None}, TypeError, "listener_factory"),
        ({"listener_factory": int}, TypeError, "listener_factory must make a WSListener"),
        ({"listener_factory": lambda request: Recorder()}, TypeError, "listener_factory"),
        ({"logger_name": 1}, TypeError, "logger_name"),
        ({"ssl_context": True}, TypeError, "ssl_context must be an ssl.SSLContext"),
        (
            {"ssl_context": ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)},
            WSInvalidOptionError,
            "made for servers",
        ),
        ({"server_hostname": b"host"}, TypeError, "server_hostname must be a str"),
        ({"server_hostname": ""}, WSInvalidOptionError, "check_hostname"),
        ({"subprotocols": "chat"}, TypeError, "subprotocols"),
        ({"subprotocols": 1}, TypeError, "subprotocols"),
        ({"subprotocols": ["a b"]}, WSInvalidOptionError, "subprotocol"),
        ({"subprotocols": ["a", "a"]}, WSInvalidOptionError, "twice"),
        ({"subprotocols": [1]}, TypeError, "subprotocol"),
        ({"extra_headers": 1}, TypeError, "extra_headers"),
        ({"extra_headers": "X: y"}, TypeError, "extra_headers"),
        ({"extra_headers": ["X: y"]}, TypeError, "extra_headers"),
        ({"extra_headers": [(1, "y")]}, TypeError, "extra_headers"),
        ({"extra_headers": {"X": 1}}, TypeError, "extra_headers"),
        ({"extra_headers": {"X": "a\r\nY: b"}}, WSInvalidOptionError, "extra_headers"),
        ({"extra_headers": {"X\r\nY": "b"}}, WSInvalidOptionError, "extra_headers"),
        ({"extra_headers": {"X ": "b"}}, WSInvalidOptionError, "extra_headers"),
        ({"extra_headers": {"Sec-WebSocket-Key": "b"}}, WSInvalidOptionError, "Sec-WebSocket"),
        ({"user_agent": 1}, TypeError, "user_agent must be a str or None"),
        ({"user_agent": ""}, WSInvalidOptionError, "user_agent must not be empty"),
        ({"user_agent": "a\r\nX: y"}, WSInvalidOptionError, "user_agent.*line break"),
        (
            {"url": "ws://a:b@host", "extra_headers": {"authorization": "x"}},
            WSInvalidOptionError,
            "leave one of them out",
        ),
        ({"max_redirects": -1}, WSInvalidOptionError, "max_redirects"),
        ({"max_redirects": True}, TypeError, "max_redirects"),
        ({"max_redirects": None}, TypeError, "max_redirects"),
        ({"backend": None}, TypeError, "backend must be a str"),
        ({"max_frame_size": 0}, WSInvalidOptionError, "max_frame_size"),
        ({"websocket_handshake_timeout": -1}, WSInvalidOptionError, "websocket_handshake"),
        ({"no_such_option": 1}, TypeError, "no_such_option"),
        (
            {"url": Recorder, "listener_factory": "ws://host"},
            TypeError,
            r"the URL comes first.*ws_connect\('ws://host', Recorder, \.\.\.\)",
        ),
        (
            {"url": functools.partial(Recorder), "listener_factory": "ws://host"},
            TypeError,
            "the URL comes first",
        ),
    ],
)
def test_wrong_arguments(
    run: Run, options: Dict[str, Any], error_type: Type[Exception], reason: str
) -> None:
    async def main() -> None:
        arguments = {"url": "ws://localhost:1", "listener_factory": Recorder, **options}
        with pytest.raises(error_type, match=reason):
            await ws_connect(**arguments)

    run(main)


def test_listener_instead_of_a_factory(run: Run) -> None:
    """It serves one connection after another, not two at a time."""

    async def main() -> None:
        async with raw_peer(serve_echo) as peer:
            recorder = Recorder()
            for _ in range(2):
                recorder.events.clear()
                recorder.frames.clear()
                recorder.got_frame.clear()
                transport, listener = await ws_connect(peer.url(), recorder)
                assert listener is recorder
                assert listener.transport is transport
                with pytest.raises(WSStateError, match="is the listener of <WSTransport"):
                    await ws_connect(peer.url(), recorder)
                await check_echo(transport, recorder)

    run(main)


def test_one_listener_in_two_calls_at_a_time(run: Run) -> None:
    async def main() -> None:
        async with raw_peer(serve_echo) as peer:
            recorder = Recorder()
            calls = (ws_connect(peer.url(), recorder) for _ in range(2))
            results = await asyncio.gather(*calls, return_exceptions=True)
            # Whichever is accepted first has it.
            (opened,) = (result for result in results if isinstance(result, tuple))
            (error,) = (result for result in results if not isinstance(result, tuple))
            assert isinstance(error, WSStateError)
            transport, _ = opened
            assert recorder.transport is transport
            await check_echo(transport, recorder)

    run(main)


def test_options_are_those_of_the_codec() -> None:
    parameters = inspect.signature(ws_connect).parameters
    defaults = WSOptions()
    for name in WSOptions.names():
        assert parameters[name].kind is inspect.Parameter.KEYWORD_ONLY
        expected = getattr(defaults, name)
        if name != "write_low_watermark":  # None: a quarter of the high one
            assert parameters[name].default == expected, name


def test_help_shows_every_option() -> None:
    shown = pydoc.render_doc(ws_connect, renderer=pydoc.plaintext)
    for name in WSOptions.names():
        assert re.search(rf"[ (]{name}: ", shown), name
        assert re.search(rf"^ +``{name}`` \(.+\): \w", shown, re.MULTILINE), name
    assert "``auto_ping_idle_timeout`` (10.0): " in shown


def test_every_option_is_passed_on(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    passed: List[Dict[str, Any]] = []

    def record(**options: Any) -> WSOptions:
        passed.append(options)
        return WSOptions(**options)

    monkeypatch.setattr(connect, "WSOptions", record)
    connect._remembered_options.cache_clear()
    assert set(OTHER_OPTIONS) == set(WSOptions.names())

    async def main() -> None:
        async with raw_peer(serve_echo) as peer:
            transport, _ = await ws_connect(peer.url(), Recorder, **OTHER_OPTIONS)
            transport.disconnect()
            await transport.wait_disconnected()

    run(main)
    assert passed == [OTHER_OPTIONS]


def test_options_of_an_earlier_call_do_not_hide_a_wrong_type(run: Run) -> None:
    async def main() -> None:
        async with raw_peer(serve_echo) as peer:
            transport, _ = await ws_connect(
                peer.url(), Recorder, max_message_size=1, close_timeout=1
            )
            transport.disconnect()
            await transport.wait_disconnected()
            for wrong in ({"max_message_size": True}, {"max_message_size": 1.0}):
                with pytest.raises(TypeError, match="max_message_size must be an int"):
                    await ws_connect(peer.url(), Recorder, close_timeout=1, **wrong)
            with pytest.raises(TypeError, match="max_message_size must be an int, not list"):
                await ws_connect(peer.url(), Recorder, max_message_size=[])  # type: ignore[arg-type]

    run(main)


@pytest.mark.parametrize(
    ("logger_name", "expected"),
    [
        ("client", "picows.client"),
        ("feed.one", "picows.feed.one"),
        (None, "picows.client"),
        (logging.getLogger("mine"), "mine"),
        (logging.LoggerAdapter(logging.getLogger("adapted"), {}), "adapted"),
    ],
)
def test_logger(
    run: Run, logger_name: Any, expected: str, caplog: pytest.LogCaptureFixture
) -> None:
    class Failing(Recorder):
        def on_ws_connected(self, transport: WSTransport) -> None:
            raise ZeroDivisionError

    async def main() -> None:
        async with raw_peer(serve_echo) as peer:
            with pytest.raises(ZeroDivisionError):
                await ws_connect(peer.url(), Failing, logger_name)

    run(main)
    assert {record.name for record in caplog.records if record.levelname == "ERROR"} == {expected}


# The package


def test_public_names() -> None:
    assert len(set(picows_client.__all__)) == len(picows_client.__all__)
    for name in picows_client.__all__:
        assert hasattr(picows_client, name), name
    own = {"WSURL", "WSParsedURL", "ws_connect"}
    of_the_codec = set(picows_client.__all__) - own
    # What applications do not need: building blocks, and answers of servers.
    not_for_clients = {
        "ClientHandshake",
        "ServerHandshake",
        "WSEndpoint",
        "WSFrameParser",
        "WSOptions",
        "WSUpgradeResponseWithListener",
        "decode_frame_header",
        "encode_close_payload",
        "encode_frame_header",
    }
    assert of_the_codec == set(picows_codec.__all__) - not_for_clients
