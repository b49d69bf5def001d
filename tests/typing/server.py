"""What a type checker makes of picows_server. Not run; ``tox -e types`` checks it."""

from __future__ import annotations

import asyncio
import logging
import re
import ssl
from contextlib import asynccontextmanager
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any, AsyncIterator, Callable, List, Mapping, Optional, Set, Union

from prometheus_client import CollectorRegistry
from typing_extensions import assert_type

from picows_codec import WSOptions
from picows_codec.deferred_response import DeferredResponse
from picows_server import (
    MetricsCollector,
    WSBatchListener,
    WSCertificateWatch,
    WSCloseCode,
    WSConnection,
    WSConnectionStats,
    WSDisconnectKind,
    WSFrame,
    WSKernelTls,
    WSListener,
    WSMsgType,
    WSPermessageDeflate,
    WSPreparedMessage,
    WSServer,
    WSServerStats,
    WSTransport,
    WSUpgradeRequest,
    WSUpgradeResponse,
    WSUpgradeResponseWithListener,
    broadcast,
    create_ssl_context,
    files,
    health,
    kernel_tls_of,
    metrics,
    metrics_page,
    page,
    ready,
    reload_certificate,
    run,
    serve,
    watch_certificates,
    ws_create_server,
)
from picows_server.asgi import ClientDisconnected, UvicornProtocol, asgi_listener
from picows_server.topics import Position, Subscribed, Topics, TopicsStats


class ServerClientListener(WSListener):
    def on_ws_connected(self, transport: WSTransport) -> None:
        print("New client connected")

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        transport.send(frame.opcode, frame.get_payload_as_bytes())
        if frame.opcode == WSMsgType.CLOSE:
            transport.disconnect()


async def quick_start() -> None:
    async with ws_create_server("ws://127.0.0.1:9001", ServerClientListener) as server:
        assert_type(server, WSServer)
        await server.serve_forever()


async def older_quick_start() -> None:
    server = await ws_create_server("ws://127.0.0.1:9001", ServerClientListener, "server")
    assert_type(server, WSServer)
    await server.serve_forever()


async def what_takes_a_call() -> None:
    assert_type(await asyncio.wait_for(ws_create_server("ws://:0", route), 1), WSServer)
    task = asyncio.create_task(ws_create_server("ws://:0", ServerClientListener))
    assert_type(await task, WSServer)
    await ws_create_server("ws://:0", ServerClientListener())  # type: ignore[arg-type]
    await ws_create_server(ServerClientListener, "ws://:0")  # type: ignore[arg-type]


def route(
    request: WSUpgradeRequest,
) -> Union[WSListener, WSUpgradeResponse, WSUpgradeResponseWithListener, None]:
    if isinstance(request.remote_address, tuple):
        assert_type(request.remote_address[0], str)
    if request.path == "/chat":
        response = WSUpgradeResponse.create_101_response({"X-Room": "1"}, subprotocol="chat")
        return WSUpgradeResponseWithListener(response, ServerClientListener())
    if request.path == "/moved":
        return WSUpgradeResponse.create_redirect_response(307, "/chat")
    if request.headers.get("Authorization") is None:
        return WSUpgradeResponse.create_error_response(401, b"who are you?")
    return ServerClientListener() if request.path == "/" else None


async def rooms(context: ssl.SSLContext) -> None:
    async with await ws_create_server("wss://[::1]:0", route, ssl_context=context) as server:
        assert_type(server, WSServer)
        server.close()
        await server.wait_closed()
    await ws_create_server("ws://:0", ServerClientListener, reuse_port=True)
    await ws_create_server("ws://:0", route, reuse_port="yes")  # type: ignore[arg-type]
    await ws_create_server("ws://:0", route, max_redirects=1)  # type: ignore[call-arg]
    await ws_create_server("ws://:0", route, auto_ping_idle_timeout=5, busy_poll=True)
    await ws_create_server("ws://:0", route, auto_ping_idle_timeout=None)  # type: ignore[arg-type]
    await ws_create_server("ws://:0", route, max_frame_sise=1)  # type: ignore[call-arg]
    await ws_create_server("ws://:0", 5)  # type: ignore[arg-type]


async def decide_later(request: WSUpgradeRequest) -> Optional[ServerClientListener]:
    return ServerClientListener() if request.path == "/" else None


async def whom_to_serve() -> None:
    await ws_create_server("ws://:0", decide_later)
    await ws_create_server("ws://:0", route, origins=["https://a", re.compile("https://b."), None])
    await ws_create_server("ws://:0", route, subprotocols=("v2", "v1"))
    await ws_create_server("ws://:0", route, origins=[b"https://a"])  # type: ignore[list-item]
    await ws_create_server("ws://:0", route, subprotocols=[1])  # type: ignore[list-item]


def context(password: Optional[str]) -> ssl.SSLContext:
    return create_ssl_context("chain.pem", "key.pem", password=password)


class Batches(WSBatchListener):
    decode_text = False

    def on_ws_batch(self, transport: WSTransport, messages: List[bytes]) -> None:
        transport.send_many(WSMsgType.BINARY, messages)
        transport.send_many(WSMsgType.TEXT, ["text", b"bytes", memoryview(b"view"), None])
        transport.send_many(WSMsgType.TEXT, (str(number) for number in range(3)))
        transport.send_many(WSMsgType.TEXT, [1])  # type: ignore[list-item]
        transport.send_many(WSMsgType.TEXT, 1)  # type: ignore[arg-type]


class MixedBatches(WSBatchListener):
    def on_ws_batch(self, transport: WSTransport, messages: List[Union[str, bytes]]) -> None:
        assert_type(messages[0], Union[str, bytes])


class HasTransport:
    transport: Optional[WSTransport] = None


def send_to_many(room: Set[WSTransport], frame: WSFrame, other: Any) -> None:
    message = WSPreparedMessage(WSMsgType.TEXT, "text")
    assert_type(message.payload, bytes)
    assert_type(message.opcode, WSMsgType)
    message.payload = b""  # type: ignore[misc]
    assert_type(broadcast(room, message), int)
    broadcast([Batches(), MixedBatches()], frame)
    broadcast([HasTransport()], "text")
    broadcast([HasTransport().transport, None], "text")
    broadcast((member for member in room if member is not other), b"bytes")
    broadcast(room, None)  # type: ignore[arg-type]
    broadcast([1], "text")  # type: ignore[list-item]
    for transport in room:
        transport.send_prepared(message)
        transport.send_prepared(b"bytes")  # type: ignore[arg-type]
    WSPreparedMessage(WSMsgType.BINARY)  # type: ignore[call-arg]
    WSPreparedMessage(WSMsgType.BINARY, 1)  # type: ignore[arg-type]


class Session:
    async def run(self, connection: WSConnection, times: int = 1) -> int:
        async for message in connection:
            assert_type(message, Union[str, bytes])
            await connection.send(message)
        return times


async def check(request: WSUpgradeRequest) -> Optional[WSUpgradeResponse]:
    return None if request.path == "/" else WSUpgradeResponse.create_error_response(401)


async def compression() -> None:
    parameters = WSPermessageDeflate(server_no_context_takeover=True)
    await ws_create_server("ws://127.0.0.1:0", ServerClientListener, compression="deflate")
    await ws_create_server("ws://127.0.0.1:0", ServerClientListener, compression=parameters)
    assert_type(WSOptions(compression=parameters).compression, Optional[WSPermessageDeflate])
    await ws_create_server(
        "ws://127.0.0.1:0",
        ServerClientListener,
        compression=15,  # type: ignore[arg-type]
    )


async def coroutines() -> None:
    async with serve(Session().run, "ws://:0", process_request=check) as server:
        assert_type(server, WSServer)
        assert_type(server.open_connections, List[WSConnection])
        broadcast(server.open_connections, "news")
    assert_type(await serve(lambda connection: connection.close(), "ws://:0"), WSServer)
    await serve(Session().run, "ws://:0", max_queue=(16, 4), max_queue_bytes=None, backlog=5)
    await serve(Session().run, "ws://:0", process_request=lambda request: None)
    await serve(lambda connection: None, "ws://:0")  # type: ignore[arg-type, return-value]
    await serve(Session().run, "ws://:0", max_queue="16")  # type: ignore[arg-type]
    await serve(Session().run, "ws://:0", ping_interval=20)  # type: ignore[call-arg]
    await serve("ws://:0", Session().run)  # type: ignore[arg-type]


async def count(request: WSUpgradeRequest) -> WSUpgradeResponse:
    return WSUpgradeResponse.create_response(200, str(request.server.connections))


async def private(request: WSUpgradeRequest) -> Union[WSUpgradeResponse, DeferredResponse, None]:
    documents = files("documents", index="a.html", extra_headers={"X-A": "1"})
    return documents(request)


def cached(request: WSUpgradeRequest) -> Optional[WSUpgradeResponse]:
    return WSUpgradeResponse.create_response(304, extra_headers={"ETag": '"a"'})


async def http() -> None:
    server = await ws_create_server(
        "ws://:0",
        {
            "/ws": ServerClientListener,
            "/count": count,
            "/cached": cached,
            "/nothing": lambda: None,
            "/": page("index.html", content_type="text/html", extra_headers=[("X-A", "1")]),
            "/static/": files(Path("static")),
            "/private/": private,
            "/healthz": health,
            "/readyz": ready,
            "/metrics": metrics,
            "/all": metrics_page(CollectorRegistry()),
        },
        trusted_proxies=["10.0.0.0/8", IPv4Network("192.0.2.0/24"), "unix"],
        proxy_protocol=True,
        forwarded_header="X-Forwarded-For",
        access_log=True,
        collect_stats=True,
    )
    stats = server.stats()
    assert_type(stats + stats, WSServerStats)
    assert_type(sum([stats, stats], WSServerStats()), WSServerStats)
    assert_type(stats.of_ended(), WSServerStats)
    assert_type(stats.closed, Mapping[WSDisconnectKind, int])
    assert_type(stats.refused.get(404, 0), int)
    MetricsCollector(lambda: {"0": stats})
    MetricsCollector(stats)  # type: ignore[arg-type]
    await ws_create_server("ws://:0", ServerClientListener, access_log="mine")
    await ws_create_server("ws://:0", ServerClientListener, access_log=None)  # type: ignore[arg-type]
    server.ready_checks["database"] = lambda: True
    server.ready_checks["cache"] = ready_later
    server.ready_checks["wrong"] = True  # type: ignore[assignment]
    assert_type(server.is_draining, bool)
    await ws_create_server("ws://:0", {"/": 5})  # type: ignore[dict-item]
    await ws_create_server("ws://:0", {5: ServerClientListener})  # type: ignore[dict-item]
    await serve(Session().run, "ws://:0", trusted_proxies=["::1"], forwarded_header="Forwarded")
    files(5)  # type: ignore[arg-type]
    page("a", type="text/html")  # type: ignore[call-arg]


async def drained(server: WSServer) -> None:
    await server.drain()
    await server.drain(grace=0, spread=1.5, timeout=None, code=WSCloseCode.GOING_AWAY, reason="bye")
    await server.drain(5)  # type: ignore[call-arg]
    await server.drain(grace="5")  # type: ignore[arg-type]
    server.state = 5
    server.state.anything()


@asynccontextmanager
async def lifespan(server: WSServer) -> AsyncIterator[int]:
    yield 5


def running() -> None:
    run("ws://:0", ServerClientListener)
    run("ws://:0", "module:attribute", workers=2, lifespan=lifespan, drain_timeout=None)
    run("ws://:0", handler="module:attribute", loop="uvloop", max_connections=5)
    run("ws://:0", {"/": ServerClientListener}, loop=asyncio.new_event_loop)
    run("ws://:0", ServerClientListener, "server")  # type: ignore[call-arg]
    run("ws://:0", ServerClientListener, drain_grace="5")  # type: ignore[arg-type]
    run("ws://:0", ServerClientListener, loop=5)  # type: ignore[arg-type]
    run("ws://:0", ServerClientListener, max_connections="5")  # type: ignore[arg-type]
    run("ws://:0", ServerClientListener, max_conections=5)  # type: ignore[call-arg]
    run("ws://:0", "a:b", workers=2, admin_url="http://[::1]:0", max_lifetime=60, max_rss=1)
    run("ws://:0", "a:b", worker_timeout=1.5, start_timeout=None)
    run("ws://:0", "a:b", worker_timeout=None)  # type: ignore[arg-type]


def connection_stats(transport: WSTransport) -> None:
    stats = transport.stats()
    assert_type(stats, WSConnectionStats)
    assert_type(stats.rtt, Optional[float])
    assert_type(transport.connection_id, str)
    logging.getLogger().info("it", extra=transport.log_fields())
    stats.age = 1.0  # type: ignore[misc]


async def ready_later() -> bool:
    return True


async def certificates(context: ssl.SSLContext) -> None:
    contexts = {"example.com": context, "*.example.org": context, "*": context}
    await ws_create_server("wss://:0", ServerClientListener, ssl_context=contexts)
    await serve(Session().run, "wss://:0", ssl_context=contexts)
    await ws_create_server("wss://:0", route, ssl_context={5: context})  # type: ignore[dict-item]
    await ws_create_server("wss://:0", route, ssl_context={"a": "b"})  # type: ignore[dict-item]
    assert_type(create_ssl_context("a.pem", Path("a.key"), ktls=True), ssl.SSLContext)
    reload_certificate(context, "a.pem", Path("a.key"), lambda: "secret")
    reload_certificate(contexts, "a.pem")  # type: ignore[arg-type]
    async with watch_certificates(contexts, interval=5, sighup=False, logger_name=None) as watch:
        assert_type(watch, WSCertificateWatch)
        assert_type(watch.check(), int)
    watch_certificates(context, "a.pem", "a.key", b"secret").close()
    watch_certificates("a.pem", "a.key")  # type: ignore[arg-type]


def encrypted_by(transport: WSTransport) -> WSKernelTls:
    sends, receives = kernel_tls_of(transport)
    assert_type(sends, bool)
    assert_type(receives, bool)
    return kernel_tls_of(transport)


async def asgi(app: Callable[..., Any]) -> None:
    server = await ws_create_server("ws://:0", asgi_listener(app, root_path="/x", lifespan="on"))
    assert_type(server, WSServer)
    await ws_create_server("ws://:0", asgi_listener(app, lifespan=True))  # type: ignore[arg-type]
    asgi_listener("app:app")  # type: ignore[arg-type]
    error: OSError = ClientDisconnected()
    del error
    assert_type(UvicornProtocol.close_timeout, Optional[float])


async def publish(transport: WSTransport, connection: WSConnection, listener: WSListener) -> None:
    async with Topics(on_gap=print, max_topics=None) as topics:
        topics.configure("a", when_slow="latest", envelope=lambda topic, payload, position: payload)
        assert_type(topics.subscribe(transport, "a"), bool)
        topics.subscribe(connection, "a")
        topics.subscribe(listener, "a")
        topics.subscribe("a", transport)  # type: ignore[arg-type]
        assert_type(topics.publish("a", "text", exclude=connection), int)
        topics.publish("a", b"", WSMsgType.BINARY, key=5)  # type: ignore[arg-type]
        found = await topics.subscribe_from(transport, "b", (5, "epoch"), last=3)
        assert_type(found, Subscribed)
        assert_type(found.position, Position)
        assert_type(topics.subscribers("a"), List[WSTransport])
        assert_type(topics.of(transport), List[str])
        assert_type(topics.stats(), TopicsStats)
        assert_type(topics.stats() + topics.stats(), TopicsStats)
        server: WSServer = transport.request.server
        server.topics = topics
        server.topics = "topics"  # type: ignore[assignment]
        assert_type(server.stats().topics, Optional[TopicsStats])
    with topics.batch():
        topics.publish("a", memoryview(b""))
