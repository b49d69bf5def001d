"""What a type checker makes of picows_codec. Not run; ``tox -e types`` checks it."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any, List, Optional, Tuple, Union

from typing_extensions import assert_type

from picows_codec import (
    WSConnection,
    WSDirection,
    WSDisconnectCause,
    WSEndpoint,
    WSFrameParser,
    WSListener,
    WSMsgType,
    WSOptions,
    WSProtocolError,
    WSTap,
    WSTransport,
    decode_frame_header,
    encode_close_payload,
    encode_frame_header,
)
from picows_codec.http.server_handshake import ServerHandshake
from picows_codec.http.upgrade import WSUpgradeRequest, WSUpgradeResponse
from picows_codec.recording import Record, Recorder, read_recording, replay
from picows_codec.testing import Connected, Frame, connected


class Protocol(WSEndpoint, asyncio.BufferedProtocol):
    __slots__ = ()


def reject(request: WSUpgradeRequest) -> WSUpgradeResponse:
    return WSUpgradeResponse.create_error_response(403, f"not {request.path}")


def endpoint(loop: asyncio.AbstractEventLoop, anything: Any) -> asyncio.BufferedProtocol:
    options = WSOptions(max_frame_size=1 << 16, websocket_handshake_timeout=None)
    assert_type(options.websocket_handshake_timeout, Optional[float])
    WSOptions(anything)  # type: ignore[call-arg]
    WSOptions(max_frame_sise=1)  # type: ignore[call-arg]
    WSOptions(max_frame_size="1")  # type: ignore[arg-type]
    WSOptions(max_frame_size=None)  # type: ignore[arg-type]
    handshake = ServerHandshake(reject, options=options)
    return Protocol(options, handshake, loop, logging.getLogger(__name__))


def parse(data: bytes) -> int:
    parser = WSFrameParser(is_server=True, max_frame_size=1000)
    try:
        assert_type(parser.feed(data), List[Tuple[WSMsgType, bool, bytes]])
    except WSProtocolError as error:
        return error.code
    return 1000


def headers() -> bytes:
    header = encode_frame_header(WSMsgType.BINARY, 5, masking_key=b"abcd")
    decoded = decode_frame_header(header)
    if decoded is None:
        return b""
    size, _, _, _, _, key = decoded
    assert_type(size, int)
    assert_type(key, Optional[bytes])
    return encode_close_payload(1000, "bye") + encode_close_payload(None)


# Taps, and tests without a network


def tap(direction: WSDirection, data: memoryview, time_ns: int) -> None:
    assert_type(direction is WSDirection.SENT, bool)


def wrong_tap(direction: str) -> None:
    pass


class Taps:
    def new_tap(self, role: str, url: str) -> Optional[WSTap]:
        return WSTap() if role == "client" else None


def taps() -> None:
    for options in (WSOptions(tap=tap), WSOptions(tap=Taps()), WSOptions(tap=WSTap())):
        assert options.tap is not None
    WSOptions(tap=None)
    WSOptions(tap=wrong_tap)  # type: ignore[arg-type]
    WSOptions(tap=3)  # type: ignore[arg-type]


def link() -> None:
    link = connected(WSListener(), role="server", max_frame_size=1000)
    assert_type(link, Connected)
    assert_type(link.transport, WSTransport)
    assert_type(link.connection, WSConnection)
    assert_type(link.sent, List[Frame])
    assert_type(link.sent_messages, List[Union[str, bytes]])
    link.receive("a", b"b", opcode=WSMsgType.TEXT)
    link.receive(3)  # type: ignore[arg-type]
    link.start_task(link.connection.close())


async def recorded(path: Path, listener: WSListener) -> None:
    with Recorder(path, max_bytes=1 << 20, redact=lambda name, value: None) as recorder:
        connected(listener, tap=recorder)
    assert_type(await replay(path, listener, 1.0), List[WSDisconnectCause])
    for record in read_recording(str(path)):
        assert_type(record, Record)
        assert_type(record.direction, Optional[WSDirection])
        assert_type(record.role, Optional[str])
