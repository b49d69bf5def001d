"""Runs the extension on the installed codec, without a socket; prints what it ran on.

Needs nothing but picows-codec.
"""

from __future__ import annotations

import base64
import hashlib
import logging
import re
import sys
from typing import Any, List

import abi_consumer

from picows_codec import (
    ClientHandshake,
    ServerHandshake,
    WSEndpoint,
    WSFrameParser,
    WSListener,
    WSMsgType,
    WSOptions,
    __version__,
)
from picows_codec.abi import ABI_EPOCH, ABI_LEVEL


class Loop:
    """As much of a loop as an endpoint wants that nobody waits for."""

    def time(self) -> float:
        return 0.0

    def call_later(self, delay: float, callback: Any, *arguments: Any) -> Loop:
        return self

    def cancel(self) -> None:
        pass


class Transport:
    """Keeps what is written."""

    def __init__(self) -> None:
        self.written = b""
        self.writes = 0

    def write(self, data: bytes) -> None:
        self.written += bytes(data)
        self.writes += 1

    def is_closing(self) -> bool:
        return False

    def get_extra_info(self, name: str, default: object = None) -> object:
        return default

    def set_write_buffer_limits(self, high: object = None, low: object = None) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return 0

    def can_write_eof(self) -> bool:
        return False

    def close(self) -> None:
        pass

    abort = close


def connect(listener: WSListener, *, is_server: bool) -> Any:
    """An open connection: endpoint and transport."""
    options = WSOptions(websocket_handshake_timeout=None, enable_auto_ping=False)
    handshake: Any
    if is_server:
        handshake = ServerHandshake(lambda request: listener, options=options)
    else:
        handshake = ClientHandshake("/", "localhost", lambda *_: listener, options=options)
    endpoint: Any = WSEndpoint(options, handshake, Loop(), logging.getLogger("check"))
    transport = Transport()
    endpoint.connection_made(transport)
    key = b"dGhlIHNhbXBsZSBub25jZQ=="
    if is_server:
        feed(
            endpoint,
            b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: " + key + b"\r\nSec-WebSocket-Version: 13\r\n\r\n",
        )
    else:
        found = re.search(rb"Sec-WebSocket-Key: (\S+)", transport.written, re.IGNORECASE)
        assert found is not None
        digest = hashlib.sha1(found[1] + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
        feed(
            endpoint,
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + base64.b64encode(digest) + b"\r\n\r\n",
        )
    transport.written, transport.writes = b"", 0
    return endpoint, transport


def feed(endpoint: Any, data: bytes) -> None:
    view = memoryview(data)
    while view:
        room = endpoint.get_buffer(len(view))
        size = min(len(room), len(view))
        room[:size] = view[:size]
        endpoint.buffer_updated(size)
        view = view[size:]


def check_functions() -> None:
    epoch, level = abi_consumer.compiled_against
    assert epoch == ABI_EPOCH
    assert 1 <= level <= ABI_LEVEL
    texts = [b"", b"x", "żółw".encode(), b"y" * 70000]
    frames = b"".join(abi_consumer.build(1, text, True) for text in texts)
    assert abi_consumer.count(frames, True) == (4, sum(map(len, texts)), 0)
    assert abi_consumer.count(frames[:-1], True)[0] == 3
    assert abi_consumer.count(frames, False) == (0, 0, 1002)
    assert abi_consumer.count(abi_consumer.build(1, b"\xff", False), False) == (0, 0, 1007)
    assert abi_consumer.count(abi_consumer.build(2, bytes(2 << 20), False), False)[2] == 1009
    parsed = WSFrameParser(is_server=True).feed(frames)
    assert parsed == [(WSMsgType.TEXT, True, text) for text in texts]
    data, key = bytes(range(100)), b"\x01\x02\x03\x04"
    for cut in range(101):
        masked = abi_consumer.mask_in_pieces(data, key, cut)
        assert masked == bytes(byte ^ key[index % 4] for index, byte in enumerate(data))
    assert abi_consumer.is_text("żółw".encode(), 1) == (True, True)
    assert abi_consumer.is_text("żółw".encode()[:-3], 2) == (True, True)
    assert abi_consumer.is_text("żółw".encode()[:-2], 2) == (False, False)
    assert abi_consumer.close_code(b"\x03\xe8bye") == 1000
    assert abi_consumer.close_code(b"") == 1005
    assert abi_consumer.close_code(b"\x03") == -12
    assert abi_consumer.may_close_with(1000)
    assert not abi_consumer.may_close_with(1005)
    assert abi_consumer.member(1) is WSMsgType.TEXT


def check_listeners() -> None:
    for is_server in (False, True):
        for opcode in (WSMsgType.TEXT, WSMsgType.BINARY):
            listener = abi_consumer.Echo()
            endpoint, transport = connect(listener, is_server=is_server)
            payloads = [b"frame %d" % number for number in range(100)]
            feed(endpoint, b"".join(abi_consumer.build(opcode, p, is_server) for p in payloads))
            assert (listener.frames, listener.last_ones) == (100, 1)
            answers = WSFrameParser(is_server=not is_server).feed(transport.written)
            assert answers == [(opcode, True, payload) for payload in payloads]
            assert transport.writes == 1
    messages = abi_consumer.Whole()
    endpoint, _ = connect(messages, is_server=False)
    feed(endpoint, abi_consumer.build(1, b"a" * 600, False, False))
    feed(endpoint, abi_consumer.build(0, b"b" * 600, False, False))
    feed(endpoint, abi_consumer.build(0, b"c", False))
    feed(endpoint, abi_consumer.build(2, b"alone", False))
    assert (messages.messages, messages.bytes, messages.last) == (2, 1206, b"alone")


def check_batches() -> None:
    listener = abi_consumer.Batches()
    endpoint, transport = connect(listener, is_server=True)
    other, other_transport = connect(abi_consumer.Echo(), is_server=True)
    listener.room = [endpoint.transport, other.transport]
    feed(endpoint, b"".join(abi_consumer.build(1, text, True) for text in (b"a", b"b", b"c")))
    assert (listener.batches, listener.heard, listener.prepared_size) == (1, 2, 10)
    answers = WSFrameParser(is_server=False).feed(transport.written)
    assert [payload for _, _, payload in answers] == [b"a", b"b", b"c", *[b"3 messages"] * 2]
    answers = WSFrameParser(is_server=False).feed(other_transport.written)
    assert answers == [(WSMsgType.TEXT, True, b"3 messages")]


class Derived(abi_consumer.Echo):  # type: ignore[misc]
    """What is compiled may be overridden in Python."""

    def on_ws_frame(self, transport: Any, frame: Any) -> None:
        super().on_ws_frame(transport, frame)
        self.transport.send(WSMsgType.TEXT, b"and more")


def check_derived() -> None:
    endpoint, transport = connect(Derived(), is_server=True)
    feed(endpoint, abi_consumer.build(1, b"hello", True))
    answers = WSFrameParser(is_server=False).feed(transport.written)
    assert [payload for _, _, payload in answers] == [b"hello", b"and more"]


def calls_for(frames: int, opcode: int, *, is_server: bool) -> List[str]:
    """What Python sees called while frames arrive in one read and are echoed."""
    endpoint, _ = connect(abi_consumer.Echo(), is_server=is_server)
    data = abi_consumer.build(opcode, b"hello", is_server) * frames
    room = endpoint.get_buffer(len(data))
    room[: len(data)] = data
    update = endpoint.buffer_updated
    seen: List[str] = []

    def note(frame: Any, event: str, argument: Any) -> None:
        seen.append(f"{event} {getattr(argument, '__name__', None) or frame.f_code.co_name}")

    sys.setprofile(note)
    update(len(data))
    sys.setprofile(None)
    return seen


def check_calls() -> None:
    """No Python call per frame, with either way to send: a hundred make as many calls as one."""
    for is_server in (False, True):
        for opcode in (WSMsgType.TEXT, WSMsgType.BINARY):
            calls_for(1, opcode, is_server=is_server)
            one = calls_for(1, opcode, is_server=is_server)
            assert calls_for(100, opcode, is_server=is_server) == one


def main() -> None:
    check_functions()
    check_listeners()
    check_batches()
    check_derived()
    check_calls()
    print(f"picows-codec {__version__}, epoch {ABI_EPOCH}, level {ABI_LEVEL}")


if __name__ == "__main__":
    main()
