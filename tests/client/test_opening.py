"""picows_client.opening: the opening handshake with a peer that is only bytes."""

from __future__ import annotations

import base64
import errno
import socket
import ssl
from typing import Any, Callable, Dict, List, Tuple, Type

import pytest

from picows_client import (
    WSURL,
    WSHandshakeError,
    WSHandshakeTimeout,
    WSInvalidHeaderError,
    WSInvalidMessageError,
    WSInvalidStatusError,
    WSInvalidUpgradeError,
    WSMsgType,
    WSTransport,
    WSUpgradeRequest,
    WSUpgradeResponse,
    ws_connect,
)
from picows_client.connecting import USER_AGENT
from tests.client.exchange import Recorder, check_echo, plain_choices, serve_echo, tls_choices
from tests.support.rawpeer import RawConnection, raw_peer, upgrade_headers

Run = Callable[..., Any]


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
        assert str(error).endswith("403 'Go Away' instead of status 101: 'Not today'")
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


@plain_choices
def test_silent_server(run: Run, backend: str) -> None:
    async def main() -> None:
        async with raw_peer(RawConnection.read_to_end) as peer:
            with pytest.raises(WSHandshakeTimeout, match=r"0\.05 seconds"):
                await ws_connect(
                    peer.url(), Recorder, websocket_handshake_timeout=0.05, backend=backend
                )
        assert b"Upgrade: websocket" in peer.results[0]

    run(main)


@tls_choices
def test_silent_tls_server(run: Run, backend: str, client_context: ssl.SSLContext) -> None:
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
