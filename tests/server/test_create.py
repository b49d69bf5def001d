"""picows_server.create: ws_create_server, its arguments and what they do."""

from __future__ import annotations

import asyncio
import errno
import inspect
import pydoc
import re
import socket
import ssl
from pathlib import Path
from typing import Any, Dict, List

import pytest

from picows_codec import WSOptions
from picows_server import (
    WSFrame,
    WSInvalidOptionError,
    WSInvalidURL,
    WSListener,
    WSMsgType,
    WSTransport,
    WSUpgradeRequest,
    WSUpgradeResponse,
    WSUpgradeResponseWithListener,
    create,
    create_ssl_context,
    ws_create_server,
)
from tests.support.certificates import Certificates
from tests.support.leaks import leaked_since, open_descriptors
from tests.support.options import OTHER_OPTIONS
from tests.support.rawclient import RawClient, Response
from tests.support.servers import ANY_PORT, Echo, sockname, tls_backends


async def answer_to(factory: Any, path: str = "/", **arguments: Any) -> Response:
    """What a server with this listener factory answers to an upgrade request."""
    async with await ws_create_server(ANY_PORT, factory, **arguments) as server:
        async with await RawClient.connect(sockname(server)) as client:
            response = await client.upgrade(path, [("Sec-WebSocket-Protocol", "one, two")])
            if response.status == 101:
                client.write_close(1000)
            else:
                assert await client.read_to_end() == b""
        assert server.is_serving()
        # Whatever happened, the next request is served.
        async with await RawClient.connect(sockname(server)) as client:
            assert (await client.upgrade(path)).status == response.status
            if response.status == 101:
                client.write_close(1000)
    return response


async def test_quick_start(capsys: pytest.CaptureFixture[str]) -> None:
    class ServerClientListener(WSListener):
        def on_ws_connected(self, transport: WSTransport) -> None:
            print("New client connected")  # noqa: T201

        def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
            transport.send(frame.opcode, frame.get_payload_as_bytes())
            if frame.opcode == WSMsgType.CLOSE:
                transport.disconnect()

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]

    async def main() -> None:
        url = f"ws://127.0.0.1:{port}"
        server = await ws_create_server(url, ServerClientListener, "server")
        print(f"Server started on {url}")  # noqa: T201
        await server.serve_forever()

    task = asyncio.ensure_future(main())
    await asyncio.sleep(0.05)
    async with await RawClient.open(("127.0.0.1", port)) as client:
        client.write_frame(1, b"Hello world")
        assert (await client.read_frame()).payload == b"Hello world"
        client.write_close(1000)
        assert await client.read_close() == 1000
        assert await client.read_to_end() == b""
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert capsys.readouterr().out == (
        f"Server started on ws://127.0.0.1:{port}\nNew client connected\n"
    )


# Routing


async def test_class_as_factory() -> None:
    response = await answer_to(Echo)
    assert response.status == 101
    assert "sec-websocket-protocol" not in response.headers


async def test_factory_with_the_request() -> None:
    requests: List[WSUpgradeRequest] = []

    def factory(request: WSUpgradeRequest) -> WSListener:
        requests.append(request)
        return Echo()

    assert (await answer_to(factory, "/chat?room=1")).status == 101
    assert requests[0].path == "/chat?room=1"
    assert requests[0].subprotocols == ["one", "two"]
    assert requests[0].headers["host"] == "localhost"


async def test_listener_with_headers_and_subprotocol() -> None:
    def factory(request: WSUpgradeRequest) -> WSUpgradeResponseWithListener:
        subprotocol = "two" if "two" in request.subprotocols else None
        response = WSUpgradeResponse.create_101_response({"X-Shard": "7"}, subprotocol)
        return WSUpgradeResponseWithListener(response, Echo())

    response = await answer_to(factory)
    assert response.status == 101
    assert response.headers["x-shard"] == "7"
    assert response.headers["sec-websocket-protocol"] == "two"


async def test_rejection_with_status_headers_and_body() -> None:
    response = await answer_to(
        lambda: WSUpgradeResponse.create_error_response(403, b"not you", {"X-Why": "because"})
    )
    assert response.status == 403
    assert response.headers["x-why"] == "because"
    assert response.headers["connection"] == "close"
    assert response.body == b"not you"


async def test_redirect() -> None:
    response = await answer_to(
        lambda: WSUpgradeResponse.create_redirect_response(307, "ws://elsewhere.example/")
    )
    assert response.status == 307
    assert response.headers["location"] == "ws://elsewhere.example/"


async def test_none_is_404() -> None:
    assert (await answer_to(lambda: None)).status == 404


@pytest.mark.parametrize("nonsense", ["text", 101, object, {}])
async def test_factory_that_returns_nonsense(nonsense: Any) -> None:
    assert (await answer_to(lambda: nonsense)).status == 500


async def test_exception_of_the_factory(caplog: pytest.LogCaptureFixture) -> None:
    def factory() -> WSListener:
        raise LookupError("secret of the server")

    response = await answer_to(factory)
    assert response.status == 500
    assert b"secret" not in response.body
    assert "secret of the server" in caplog.text


async def test_exception_of_a_listener_ends_one_connection(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Clumsy(Echo):
        def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
            if frame.get_payload_as_bytes() == b"trip":
                raise LookupError("tripped")
            super().on_ws_frame(transport, frame)

    async with await ws_create_server(ANY_PORT, Clumsy, close_timeout=1.0) as server:
        name = sockname(server)
        async with await RawClient.open(name) as bystander, await RawClient.open(name) as client:
            client.write_frame(1, b"trip")
            assert await client.read_close() == 1011
            bystander.write_frame(1, b"hello")
            assert (await bystander.read_frame()).payload == b"hello"
    assert "tripped" in caplog.text


async def test_path() -> None:
    for path, status in (("/chat", 101), ("/chat?room=1", 101), ("/", 404), ("/chat/", 404)):
        async with await ws_create_server(ANY_PORT + "/chat", Echo) as server:
            assert server.url.endswith("/chat")
            async with await RawClient.connect(sockname(server)) as client:
                assert (await client.upgrade(path)).status == status


async def test_without_a_path_every_path_is_served() -> None:
    for url in (ANY_PORT, ANY_PORT + "/"):
        async with await ws_create_server(url, Echo, close_timeout=1.0) as server:
            client = await RawClient.open(sockname(server), "/any/path")
            await client.close()


# Where to listen


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6")
async def test_ipv6() -> None:
    async with await ws_create_server("ws://[::1]:0", Echo) as server:
        assert server.url == f"ws://[::1]:{sockname(server)[1]}"
        async with await RawClient.open(sockname(server)) as client:
            client.write_close(1000)


async def test_host_name() -> None:
    async with await ws_create_server("ws://localhost:0", Echo) as server:
        (url,) = server.urls
        assert url == f"ws://localhost:{server.sockets[0].getsockname()[1]}"
        for sock in server.sockets:
            await (await RawClient.open(sock.getsockname())).close()


async def test_socket_of_the_caller() -> None:
    sock = socket.create_server(("127.0.0.1", 0))
    async with await ws_create_server("ws://localhost/", Echo, sock=sock) as server:
        assert server.url == f"ws://localhost:{sock.getsockname()[1]}"
        await (await RawClient.open(sock.getsockname())).close()
    assert sock.fileno() == -1


async def test_port_in_use() -> None:
    async with await ws_create_server(ANY_PORT, Echo) as server:
        before = open_descriptors()
        with pytest.raises(OSError, match="cannot listen on 127") as caught:
            await ws_create_server(server.url, Echo)
        assert caught.value.errno == errno.EADDRINUSE
        assert str(caught.value).count("Errno") == 1
        assert not leaked_since(before)


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="no Unix sockets here")
async def test_path_that_is_too_long(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 200)
    with pytest.raises(OSError, match=r"^cannot listen on '.*x': AF_UNIX path too long"):
        await ws_create_server(ANY_PORT, Echo, unix_path=path)


async def test_failing_to_listen_leaves_nothing_open() -> None:
    class Deaf(socket.socket):
        def listen(self, *_: int) -> None:
            raise OSError(errno.EADDRINUSE, "somebody was faster")

    before = open_descriptors()
    sock = Deaf()
    sock.bind(("127.0.0.1", 0))
    with pytest.raises(OSError, match="somebody was faster"):
        await ws_create_server("ws://localhost/", Echo, sock=sock)
    await asyncio.sleep(0)
    assert not leaked_since(before)


@pytest.mark.parametrize(
    "wrong",
    [
        {"url": "ws://"},
        {"listener_factory": int},
        {"logger_name": 7},
        {"max_frame_size": 1},
        {"backlog": 0},
        {"reuse_port": True},
        {"start_serving": "no"},
        {"unix_path": "/nowhere"},
        {"backend": "fast"},
        {"ssl_context": True},
    ],
    ids=str,
)
async def test_failing_closes_the_sockets_of_the_caller(wrong: Dict[str, Any]) -> None:
    one, two = socket.create_server(("127.0.0.1", 0)), socket.create_server(("127.0.0.1", 0))
    arguments: Dict[str, Any] = {"url": ANY_PORT, "listener_factory": Echo, **wrong}
    with pytest.raises((TypeError, ValueError)):
        await ws_create_server(**arguments, sock=iter([one, two]))
    assert one.fileno() == two.fileno() == -1


async def test_sockets_of_the_caller_that_do_not_listen() -> None:
    before = open_descriptors()
    with pytest.raises(WSInvalidOptionError, match="not bound"):
        await ws_create_server(ANY_PORT, Echo, sock=socket.socket())
    near, far = socket.socketpair()
    with pytest.raises(WSInvalidOptionError, match="connected"):
        await ws_create_server(ANY_PORT, Echo, sock=near)
    far.close()
    assert not leaked_since(before)


# TLS


@tls_backends
async def test_tls(backend: str, certificates: Certificates) -> None:
    secure: List[bool] = []

    class Listener(Echo):
        def on_ws_connected(self, transport: WSTransport) -> None:
            secure.append(transport.is_secure)

    context = create_ssl_context(certificates.server_chain, certificates.server_key)
    async with await ws_create_server(
        "wss://localhost:0/", Listener, ssl_context=context, backend=backend
    ) as server:
        assert server.backend == backend
        assert server.url.startswith("wss://localhost:")
        for sock in server.sockets:
            async with await RawClient.open(
                sock.getsockname(), context=certificates.client_context()
            ) as client:
                client.write_frame(2, bytes(50_000))
                assert (await client.read_frame()).payload == bytes(50_000)
                tls = client.writer.get_extra_info("ssl_object")
                assert tls.selected_alpn_protocol() == "http/1.1"
                client.write_close(1000)
                assert await client.read_close() == 1000
                assert await client.read_to_end() == b""
        assert all(secure)


@tls_backends
async def test_client_certificates(backend: str, certificates: Certificates) -> None:
    peers: List[Any] = []

    class Listener(WSListener):
        def on_ws_connected(self, transport: WSTransport) -> None:
            below = transport.underlying_transport
            assert below is not None
            peers.append(below.get_extra_info("peercert"))

    context = create_ssl_context(
        certificates.server_chain, certificates.server_key, client_ca=certificates.authority
    )
    async with await ws_create_server(
        "wss://127.0.0.1:0", Listener, ssl_context=context, backend=backend
    ) as server:
        async with await RawClient.open(
            sockname(server), context=certificates.client_context(with_certificate=True)
        ) as client:
            client.write_close(1000)
        assert dict(peers[0]["subjectAltName"]) == {"email": "client@example.org"}
        with pytest.raises((OSError, EOFError)):
            await RawClient.open(sockname(server), context=certificates.client_context())
        assert len(peers) == 1


async def test_wss_without_a_context() -> None:
    with pytest.raises(WSInvalidOptionError, match="create_ssl_context"):
        await ws_create_server("wss://127.0.0.1:0", Echo)


async def test_context_without_wss(certificates: Certificates) -> None:
    with pytest.raises(WSInvalidOptionError, match="wss://"):
        await ws_create_server(ANY_PORT, Echo, ssl_context=certificates.server_context())


async def test_context_of_a_client() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    with pytest.raises(WSInvalidOptionError, match="made for clients"):
        await ws_create_server("wss://127.0.0.1:0", Echo, ssl_context=context)


@pytest.mark.parametrize("context", [True, "server.pem", ssl.SSLContext])
async def test_context_of_another_type(context: Any) -> None:
    with pytest.raises(TypeError, match=r"ssl\.SSLContext"):
        await ws_create_server("wss://127.0.0.1:0", Echo, ssl_context=context)


# Options


def test_signature_has_every_option_with_the_servers_default() -> None:
    parameters = inspect.signature(ws_create_server).parameters
    defaults = WSOptions()
    for name in WSOptions.names():
        if name in ("auto_ping_idle_timeout", "auto_ping_reply_timeout"):
            assert parameters[name].default == 20.0
        elif name == "write_low_watermark":
            assert parameters[name].default is None
        else:
            assert parameters[name].default == getattr(defaults, name)


def test_help_shows_every_option() -> None:
    shown = pydoc.render_doc(ws_create_server, renderer=pydoc.plaintext)
    for name in WSOptions.names():
        assert re.search(rf"[ (]{name}: ", shown), name
        assert re.search(rf"^ +``{name}`` \(.+\): \w", shown, re.MULTILINE), name
    assert "``auto_ping_idle_timeout`` (20.0): " in shown
    assert "10.0" not in shown


@pytest.mark.parametrize(("given", "idle"), [({}, 20.0), ({"auto_ping_idle_timeout": 3}, 3.0)])
async def test_defaults_of_the_server_reach_the_connections(
    given: Dict[str, Any], idle: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: List[WSOptions] = []

    def record(**options: Any) -> WSOptions:
        made.append(WSOptions(**options))
        return made[-1]

    monkeypatch.setattr(create, "WSOptions", record)
    async with await ws_create_server(ANY_PORT, Echo, **given):
        (options,) = made
        assert options.auto_ping_idle_timeout == idle
        assert options.auto_ping_reply_timeout == 20.0
        for name in set(WSOptions.names()) - {"auto_ping_idle_timeout", "auto_ping_reply_timeout"}:
            assert getattr(options, name) == getattr(WSOptions(), name)


async def test_options_reach_the_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    passed: List[Dict[str, Any]] = []

    def record(**options: Any) -> WSOptions:
        passed.append(options)
        return WSOptions(**options)

    monkeypatch.setattr(create, "WSOptions", record)
    assert set(OTHER_OPTIONS) == set(WSOptions.names())
    async with await ws_create_server(ANY_PORT, Echo, **OTHER_OPTIONS):
        assert passed == [OTHER_OPTIONS]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"max_frame_size": 1}, "max_frame_size"),
        ({"close_timeout": -1}, "close_timeout"),
        ({"websocket_handshake_timeout": 0}, "websocket_handshake_timeout"),
        ({"max_connections": 0}, "max_connections must be at least 1, not 0"),
        ({"max_pending_handshakes": -1}, "max_pending_handshakes"),
        ({"when_full": "panic"}, "when_full must be 'wait' or 'refuse', not 'panic'"),
        ({"when_full": "refuse"}, "when_full='refuse' needs max_connections"),
        ({"when_full": "refuse", "max_pending_handshakes": 5}, "needs max_connections"),
        ({"backlog": 0}, "backlog"),
        ({"backlog": 2**31}, "backlog must be at most"),
        ({"backend": "fast"}, "backend"),
        ({"sock": []}, "no socket"),
        ({"unix_path": "/nowhere", "reuse_port": True}, "reuse_port"),
        ({"unix_path": "/nowhere", "reuse_address": False}, "reuse_address"),
        ({"sock": [], "reuse_port": True}, "reuse_port"),
        ({"unix_path": ""}, "unix_path must not be empty"),
        ({"sock": [], "unix_path": "/nowhere"}, "exclude each other"),
    ],
)
async def test_options_out_of_range(arguments: Dict[str, Any], complaint: str) -> None:
    before = open_descriptors()
    with pytest.raises(WSInvalidOptionError, match=complaint):
        await ws_create_server(ANY_PORT, Echo, **arguments)
    assert not leaked_since(before)


@pytest.mark.parametrize(
    "arguments",
    [
        {"max_connections": "many"},
        {"max_pending_handshakes": 1.5},
        {"when_full": None},
        {"backlog": None},
        {"backlog": True},
        {"reuse_address": "no"},
        {"reuse_port": "no"},
        {"reuse_port": None},
        {"start_serving": "no"},
        {"start_serving": 1},
        {"max_frame_size": "large"},
        {"logger_name": 7},
        {"backend": None},
        {"sock": 3},
        {"sock": [3]},
        {"unix_path": 3},
        {"colour": "red"},
    ],
    ids=str,
)
async def test_options_of_another_type(arguments: Dict[str, Any]) -> None:
    before = open_descriptors()
    (name,) = arguments
    with pytest.raises(TypeError, match=name):
        await ws_create_server(ANY_PORT, Echo, **arguments)
    assert not leaked_since(before)


@pytest.mark.parametrize("url", ["http://127.0.0.1:0", "ws://127.0.0.1:0/?a", "ws://"])
async def test_invalid_url(url: str) -> None:
    with pytest.raises(WSInvalidURL):
        await ws_create_server(url, Echo)


async def test_url_in_the_second_place() -> None:
    wanted = r"the URL comes first.*ws_create_server\('ws://127.0.0.1:0', Echo, \.\.\.\)"
    with pytest.raises(TypeError, match=wanted):
        await ws_create_server(Echo, ANY_PORT)  # type: ignore[arg-type]


async def test_host_in_the_second_place() -> None:
    """As picows 2 has it: what is suggested is a URL."""
    wanted = r"ws_create_server\('ws://127.0.0.1:port', Echo, \.\.\.\)"
    with pytest.raises(TypeError, match=wanted):
        await ws_create_server(Echo, "127.0.0.1", "server")  # type: ignore[arg-type]


async def test_listener_instead_of_a_factory() -> None:
    with pytest.raises(TypeError, match=r"a new listener for each connection.* is a single one"):
        await ws_create_server(ANY_PORT, Echo())  # type: ignore[arg-type]


@pytest.mark.parametrize("factory", [None, Echo(), int, lambda one, two: None])
async def test_invalid_factory(factory: Any) -> None:
    with pytest.raises(TypeError, match="listener_factory"):
        await ws_create_server(ANY_PORT, factory)


async def test_logger(caplog: pytest.LogCaptureFixture) -> None:
    await answer_to(lambda: "nonsense", logger_name="gateway")
    errors = {record.name for record in caplog.records if record.levelname == "ERROR"}
    assert errors == {"picows.gateway"}


async def test_unix_socket_with_tls(certificates: Certificates, tmp_path: Path) -> None:
    async with await ws_create_server(
        "wss://localhost/",
        Echo,
        ssl_context=certificates.server_context(),
        unix_path=tmp_path / "socket",
    ) as server:
        assert server.url == "wss://localhost"
        async with await RawClient.open(
            sockname(server), context=certificates.client_context()
        ) as client:
            client.write_frame(1, b"hello")
            assert (await client.read_frame()).payload == b"hello"
            client.write_close(1000)
