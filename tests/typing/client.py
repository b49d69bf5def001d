"""What a type checker makes of picows_client. Not run; ``tox -e types`` checks it."""

from __future__ import annotations

import asyncio
import logging
import ssl
from http.cookiejar import CookieJar
from typing import AsyncIterator, List, Optional, Tuple, Union

from typing_extensions import Unpack, assert_type

from picows_client import (
    WSAutoPingStrategy,
    WSBackoff,
    WSCloseCode,
    WSCloseHandshake,
    WSCloseInfo,
    WSConnection,
    WSConnectionClosed,
    WSDisconnectCause,
    WSFrame,
    WSInvalidStatusError,
    WSLink,
    WSLinkState,
    WSListener,
    WSMessage,
    WSMessageListener,
    WSMsgType,
    WSPermessageDeflate,
    WSPreparedMessage,
    WSState,
    WSTransport,
    WSUpgradeRequest,
    WSUpgradeResponse,
    connect,
    is_transient,
    ws_connect,
    ws_keep_connected,
)
from picows_codec.option_types import WSConnectionOptions


class ClientListener(WSListener):
    def on_ws_connected(self, transport: WSTransport) -> None:
        transport.send(WSMsgType.TEXT, b"Hello world")

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        assert_type(frame.opcode, WSMsgType)
        assert_type(frame.fin, bool)
        assert_type(frame.payload_size, int)
        assert_type(frame.get_payload_as_bytes(), bytes)
        assert_type(frame.get_payload_as_utf8_text(), str)
        assert_type(frame.get_payload_as_ascii_text(), str)
        assert_type(frame.get_payload_as_memoryview(), memoryview)
        assert_type(bytes(frame), bytes)
        if frame.opcode is WSMsgType.CLOSE:
            assert_type(frame.get_close_code(), int)
            assert_type(frame.get_close_reason(), str)
        transport.send(frame.opcode, frame)
        frame.opcode = WSMsgType.TEXT  # type: ignore[misc]


class MessageListener(WSMessageListener):
    def __init__(self, name: str) -> None:
        self.name = name

    def on_ws_message(self, transport: WSTransport, message: WSMessage) -> None:
        transport.send(message.opcode, message)
        transport.send(WSMsgType.BINARY, memoryview(message), fin=False)
        message.fin  # type: ignore[attr-defined]  # noqa: B018


class WrongListener(WSListener):
    def on_ws_frame(self, transport: WSTransport) -> None: ...  # type: ignore[override]


async def quick_start(endpoint: str) -> None:
    async with ws_connect(endpoint, ClientListener, "client") as (transport, client):
        assert_type(transport, WSTransport)
        assert_type(client, ClientListener)
        await transport.wait_disconnected()


async def older_quick_start(endpoint: str) -> None:
    (_, client) = await ws_connect(endpoint, ClientListener, "client")
    assert_type(client, ClientListener)
    await client._transport.wait_until_closed()


async def what_takes_a_call(url: str, listener: ClientListener) -> None:
    pair = await asyncio.create_task(ws_connect(url, ClientListener))
    assert_type(pair, Tuple[WSTransport, ClientListener])
    pair = await asyncio.wait_for(ws_connect(url, ClientListener), 1)
    both = await asyncio.gather(ws_connect(url, listener), ws_connect(url, after_response))
    assert_type(both[0], Tuple[WSTransport, ClientListener])
    assert_type(both[1], Tuple[WSTransport, MessageListener])
    loop = asyncio.get_running_loop()
    future = asyncio.run_coroutine_threadsafe(ws_connect(url, listener), loop)
    assert_type(future.result(), Tuple[WSTransport, ClientListener])
    asyncio.run(ws_connect(url, ClientListener))
    await ws_connect(ClientListener, url)  # type: ignore[arg-type]


def refused(error: WSInvalidStatusError) -> None:
    assert_type(error.status, int)
    assert_type(error.response, Optional[WSUpgradeResponse])


def after_response(request: WSUpgradeRequest, response: WSUpgradeResponse) -> MessageListener:
    assert_type(request.headers["Host"], str)
    assert_type(response.status, int)
    return MessageListener(request.path)


async def factories_and_options(url: str, context: ssl.SSLContext) -> None:
    transport, listener = await ws_connect(url, lambda: MessageListener("a"))
    assert_type(transport, WSTransport)
    assert_type(listener, MessageListener)
    assert_type(await ws_connect(url, after_response), Tuple[WSTransport, MessageListener])
    await ws_connect(
        url,
        ClientListener,
        logging.getLogger("mine"),
        ssl_context=context,
        extra_headers={"Authorization": "Basic eA=="},
        subprotocols=("chat",),
        websocket_handshake_timeout=None,
        max_message_size=1 << 20,
    )
    await ws_connect(url, ClientListener, extra_headers=[("A", "1"), ("A", "2")])
    await ws_connect(url, ClientListener, no_such_option=1)  # type: ignore[call-arg]
    await ws_connect(url, ClientListener, enable_auto_ping="yes")  # type: ignore[arg-type]
    await ws_connect(url, ClientListener, max_frame_size=None)  # type: ignore[arg-type]
    await ws_connect(url, object)  # type: ignore[type-var]


async def reconnecting(url: str) -> None:
    async with ws_keep_connected(url, ClientListener, backoff=WSBackoff(base=1)) as link:
        assert_type(link, WSLink[ClientListener])
        assert_type(await link.wait_connected(), WSTransport)
        assert_type(link.listener, Optional[ClientListener])
        assert_type(link.state, WSLinkState)
        link.send(WSMsgType.TEXT, "order")

    def retry(outcome: Union[BaseException, WSDisconnectCause]) -> bool:
        return is_transient(outcome)

    async def made_later() -> str:
        return url

    ws_keep_connected(made_later, MessageListener("a"), retry=retry, max_frame_size=1 << 20)
    ws_keep_connected(lambda: url, after_response, extra_headers=lambda: {"A": "1"}, proxy=True)
    ws_keep_connected(url, ClientListener, cookies=CookieJar())
    ws_keep_connected(url, ClientListener, cookies={"a": 1})  # type: ignore[dict-item]
    connect(url, cookies={"a": "1"})
    ws_keep_connected(url, object)  # type: ignore[type-var]
    ws_keep_connected(url, ClientListener, sock=None)  # type: ignore[call-arg]
    ws_keep_connected(url, ClientListener, backoff=1.0)  # type: ignore[arg-type]
    async for connection in connect(url, max_attempts=3, retry=is_transient):
        assert_type(connection, WSConnection)


async def my_connect(url: str, **options: Unpack[WSConnectionOptions]) -> WSTransport:
    transport, _ = await ws_connect(url, ClientListener, proxy=None, **options)
    await ws_connect(url, ClientListener, close_timeout=1.0)
    return transport


async def options_passed_on(url: str, options: WSConnectionOptions) -> None:
    await my_connect(url, data_timeout=None, auto_ping_strategy=WSAutoPingStrategy.PING_WHEN_IDLE)
    await my_connect(url, **options)
    await ws_connect(url, ClientListener, **options)
    options["write_low_watermark"] = None
    await my_connect(url, coalesce_writes=1)  # type: ignore[arg-type]
    await my_connect(url, auto_ping_strategy=1)  # type: ignore[arg-type]
    await my_connect(url, close_timeout="1")  # type: ignore[arg-type]
    await my_connect(url, backend="loop")  # type: ignore[call-arg]


async def compression(url: str, options: WSConnectionOptions) -> None:
    parameters = WSPermessageDeflate(
        level=6, min_size=200, client_compresses=True, server_max_window_bits=None
    )
    for choice in (None, "deflate", parameters):
        await ws_connect(url, ClientListener, compression=choice)
        await my_connect(url, compression=choice)
    async with connect(url, compression="deflate") as ws:
        assert_type(await ws.recv(), Union[str, bytes])
    options["compression"] = parameters
    assert_type(parameters.level, int)
    assert_type(parameters.client_max_window_bits, Optional[int])
    assert_type(parameters.client_compresses, bool)
    assert_type(parameters == "deflate", bool)
    WSPermessageDeflate(6)  # type: ignore[call-arg]
    WSPermessageDeflate(level="6")  # type: ignore[arg-type]
    WSPermessageDeflate(min_size=None)  # type: ignore[arg-type]
    WSPermessageDeflate(windows=9)  # type: ignore[call-arg]
    await ws_connect(url, ClientListener, compression=True)  # type: ignore[arg-type]
    await ws_connect(url, ClientListener, compression=WSPermessageDeflate)  # type: ignore[arg-type]
    await my_connect(url, compression=9)  # type: ignore[arg-type]


async def coroutines(url: str) -> None:
    async with connect(url, max_queue=(100, 10), max_queue_bytes=None) as ws:
        assert_type(ws, WSConnection)
        assert_type(await ws.recv(), Union[str, bytes])
        assert_type(await ws.recv(decode=True), str)
        assert_type(await ws.recv(False), bytes)
        assert_type(await ws.recv_many(10), List[Union[str, bytes]])
        assert_type(await asyncio.wait_for(ws.recv(), 1), Union[str, bytes])
        assert_type(await asyncio.create_task(ws.recv(True)), str)
        async for message in ws:
            assert_type(message, Union[str, bytes])
        await ws.send("text")
        await ws.send(bytearray(1), text=True)
        await ws.send(WSPreparedMessage(WSMsgType.TEXT, "to all"))
        await ws.send(["two", "fragments"])
        await ws.send(some_fragments())
        await ws.send_many(["text", b"bytes", WSPreparedMessage(WSMsgType.TEXT, "text")])
        assert_type(await ws.ping(), float)
        assert_type(ws.latency, Optional[float])
        assert_type(ws.close_code, Optional[int])
        assert_type(ws.transport, WSTransport)
        assert_type(ws.state, WSState)
        await ws.close(WSCloseCode.GOING_AWAY, reason="bye")
        await ws.wait_closed()
        await ws.send(1)  # type: ignore[arg-type]
        await ws.send([1])  # type: ignore[list-item]
        await ws.send_many([None])  # type: ignore[list-item]
        await ws.recv("utf-8")  # type: ignore[call-overload]
        ws.state = WSState.OPEN  # type: ignore[misc]
    assert_type(await connect(url), WSConnection)
    await connect(url, max_queue="1")  # type: ignore[arg-type]
    await connect(url, ClientListener)  # type: ignore[arg-type]
    try:
        await ws.recv()
    except WSConnectionClosed as error:
        assert_type(error.code, int)
        assert_type(error.reason, str)
        assert_type(error.cause, Optional[WSDisconnectCause])
        assert_type(error.sent, Optional[WSCloseInfo])


async def some_fragments() -> AsyncIterator[bytes]:
    yield b"fragment"


async def transport_members(transport: WSTransport) -> None:
    transport.send(WSMsgType.TEXT, "text")
    transport.send(WSMsgType.BINARY, bytearray(1), fin=True, rsv1=False)
    transport.send(WSMsgType.PING, None)
    transport.send(WSMsgType.TEXT, 1)  # type: ignore[arg-type]
    transport.send_ping()
    transport.ping(b"x")
    transport.send_close(WSCloseCode.GOING_AWAY, "bye")
    transport.send_reuse_external_bytearray(WSMsgType.BINARY, bytearray(20), 14)
    with transport.cork():
        transport.send_pong(b"x")
    transport.disconnect(graceful=False)
    assert_type(await transport.measure_roundtrip_time(rounds=5), List[float])
    await transport.wait_disconnected()
    assert_type(transport.state, WSState)
    assert_type(transport.is_secure, bool)
    assert_type(transport.subprotocol, Optional[str])
    assert_type(transport.close_handshake, Optional[WSCloseHandshake])
    assert_type(transport.disconnect_cause, Optional[WSDisconnectCause])
    if isinstance(transport.remote_address, tuple):
        assert_type(transport.remote_address[0], str)
        assert_type(transport.remote_address[1], int)
    transport.local_address[0]  # type: ignore[index]  # it may be None
    WSTransport(1)  # type: ignore[call-arg]
