"""What a type checker makes of picows_codec. Not run; ``tox -e types`` checks it."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, List, Optional, Tuple

from typing_extensions import assert_type

from picows_codec import (
    WSEndpoint,
    WSFrameParser,
    WSMsgType,
    WSOptions,
    WSProtocolError,
    decode_frame_header,
    encode_close_payload,
    encode_frame_header,
)
from picows_codec.http.server_handshake import ServerHandshake
from picows_codec.http.upgrade import WSUpgradeRequest, WSUpgradeResponse


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
