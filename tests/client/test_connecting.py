"""picows_client.connecting: the call of ws_connect, its transports and arguments."""

from __future__ import annotations

import asyncio
import functools
import inspect
import pydoc
import re
import ssl
from typing import Any, Callable, Dict, List, Type

import pytest

import picows_client
import picows_codec
from picows_client import (
    WSInvalidOptionError,
    WSInvalidURL,
    WSListener,
    WSMsgType,
    WSState,
    WSStateError,
    WSTransport,
    settings,
    ws_connect,
)
from picows_codec import WSOptions
from tests.client.exchange import Recorder, check_echo, plain_choices, serve_echo, tls_choices
from tests.support.options import OTHER_OPTIONS
from tests.support.rawpeer import RawConnection, raw_peer

Run = Callable[..., Any]

VERIFY_FAILED = r"(?i)certificate.verify.failed"


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


@plain_choices
def test_plain(run: Run, backend: str) -> None:
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


@tls_choices
def test_tls(
    run: Run, backend: str, server_context: ssl.SSLContext, client_context: ssl.SSLContext
) -> None:
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


@plain_choices
def test_busy_poll(run: Run, backend: str) -> None:
    async def main() -> None:
        async with raw_peer(serve_echo) as peer:
            connection = await ws_connect(peer.url(), Recorder, backend=backend, busy_poll=True)
            await check_echo(*connection)

    run(main)


@tls_choices
def test_certificate_is_checked(
    run: Run, backend: str, server_context: ssl.SSLContext, client_context: ssl.SSLContext
) -> None:
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


@tls_choices
@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n"])
def test_tls_with_a_server_that_has_none(
    run: Run, backend: str, answer: bytes, client_context: ssl.SSLContext
) -> None:
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

    monkeypatch.setattr(settings, "WSOptions", record)
    settings._remembered_options.cache_clear()
    settings._remembered_settings.cache_clear()
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


# The package


def test_public_names() -> None:
    assert len(set(picows_client.__all__)) == len(picows_client.__all__)
    for name in picows_client.__all__:
        assert hasattr(picows_client, name), name
    own = {"WSURL", "WSParsedURL", "connect", "ws_connect", "ws_keep_connected"}
    own |= {"WSBackoff", "WSLink", "WSLinkState", "is_transient"}
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
