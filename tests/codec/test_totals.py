"""picows_codec.totals: what all connections of a server have done, against a simple model."""

from __future__ import annotations

import os
from typing import Any, Dict, List, Tuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from picows_codec import (
    WSDisconnectKind,
    WSFrame,
    WSListener,
    WSMessageListener,
    WSMsgType,
    WSPreparedMessage,
    WSTransport,
    WSUpgradeResponse,
)
from picows_codec.batch import WSBatchListener
from picows_codec.broadcasting import broadcast
from picows_codec.coroutines.inbox import Inbox, QueueMarks
from picows_codec.testing.frames import CLOSE, PING, PONG, build, close_payload, upgrade_request
from picows_codec.totals import Totals
from tests.support.connection import Connection, Recorder

CONTINUATION, TEXT, BINARY = 0, 1, 2


class Server(Connection):
    """A server's end that counts."""

    def __init__(self, listener: Any = None, **options: Any) -> None:
        self.totals = options.pop("totals", None) or Totals()
        before = self.totals.values()
        super().__init__("server", listener, totals=self.totals, **options)
        self.before = self.totals.values()
        # Bytes of its opening handshake.
        self.opening = {
            name: self.before[name] - before[name] for name in ("bytes_received", "bytes_sent")
        }

    def since(self, *names: str) -> List[int]:
        """How much the totals have grown since the connection was open."""
        now = self.totals.values()
        return [now[name] - self.before[name] for name in names]

    def take(self, *frames: bytes) -> None:
        self.feed(b"".join(frames))


def frame(opcode: int, payload: bytes = b"", fin: bool = True) -> bytes:
    return build(opcode, payload, fin=fin, key=b"\x01\x02\x03\x04")


RECEIVED = ("frames_received", "messages_received")
SENT = ("frames_sent", "messages_sent")


class Gatherer(WSMessageListener):
    def on_ws_message(self, transport: WSTransport, message: Any) -> None:
        pass


class Batches(WSBatchListener):
    def on_ws_batch(self, transport: WSTransport, messages: List[Any]) -> None:
        pass


def inbox() -> Inbox:
    return Inbox(QueueMarks(100, 100), lambda _: None)


@pytest.mark.parametrize("make", [Recorder, Gatherer, Batches])
def test_received(make: Any) -> None:
    server = Server(make())
    server.take(frame(TEXT, b"a"), frame(BINARY, b"b"), frame(TEXT, b"c"))
    assert server.since(*RECEIVED) == [3, 3]
    server.take(frame(TEXT, b"a", fin=False))
    assert server.since(*RECEIVED) == [4, 4]
    server.take(frame(PING), frame(CONTINUATION, b"b", fin=False), frame(CONTINUATION, b"c"))
    assert server.since(*RECEIVED) == [7, 4]
    assert server.since(*SENT) == [1, 0]  # the pong


def test_frames_in_pieces_and_large_ones() -> None:
    server = Server()
    data = frame(BINARY, bytes(200_000))
    for start in range(0, len(data), 70_000):
        server.take(data[start : start + 70_000])
    assert server.since(*RECEIVED) == [1, 1]
    for byte in frame(TEXT, b"slow") * 2:
        server.take(bytes([byte]))
    assert server.since(*RECEIVED) == [3, 3]
    assert server.since("bytes_received") == [len(data) + 2 * len(frame(TEXT, b"slow"))]


def test_a_frame_that_is_kept_and_a_listener_that_raises() -> None:
    kept: List[WSFrame] = []

    class Keeper(WSListener):
        def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
            kept.append(frame)
            if len(kept) == 3:
                raise RuntimeError

    server = Server(Keeper())
    server.take(*[frame(TEXT, b"a")] * 5)
    # Those behind the exception are not looked at any more.
    assert server.since(*RECEIVED) == [3, 3]
    assert server.totals.values()["closed"][WSDisconnectKind.LISTENER_EXCEPTION] == 0
    server.lose()
    assert server.totals.values()["closed"][WSDisconnectKind.LISTENER_EXCEPTION] == 1


def test_sent_in_every_way() -> None:
    server = Server()
    transport = server.ws
    sent_before = server.totals.values()["bytes_sent"]
    transport.send(WSMsgType.TEXT, b"a")
    assert server.since(*SENT) == [1, 1]
    transport.send(WSMsgType.BINARY, b"a", fin=False)
    transport.send_ping(b"x")
    transport.send_pong(b"x")
    transport.send(WSMsgType.CONTINUATION, b"a", fin=False)
    transport.send(WSMsgType.CONTINUATION, b"a")
    assert server.since(*SENT) == [6, 2]
    transport.send_many(WSMsgType.TEXT, [b"a"] * 7)
    assert server.since(*SENT) == [13, 9]
    transport.send_prepared(WSPreparedMessage(WSMsgType.TEXT, b"p"))
    assert server.since(*SENT) == [14, 10]
    assert broadcast([transport, transport], "b") == 2
    assert server.since(*SENT) == [16, 12]
    transport.send_reuse_external_bytearray(WSMsgType.BINARY, bytearray(14) + b"xyz", 14)
    assert server.since(*SENT) == [17, 13]
    transport.send(WSMsgType.BINARY, bytes(300_000))
    with transport.cork():
        transport.send(WSMsgType.TEXT, b"c")
        transport.send_prepared(WSPreparedMessage(WSMsgType.TEXT, b"p"))
        transport.send_reuse_external_bytearray(WSMsgType.BINARY, bytearray(14) + b"xyz", 14)
    assert server.since(*SENT) == [21, 17]
    transport.send_close(1000)
    server.run_ready()
    assert server.since(*SENT) == [22, 17]
    written = sum(2 + len(each.payload) for each in server.sent()) + 8  # 64-bit length, once
    assert server.totals.values()["bytes_sent"] - sent_before == written


def test_compressed() -> None:
    server = Server(
        compression="deflate", peer_headers=[("Sec-WebSocket-Extensions", "permessage-deflate")]
    )
    server.ws.send(WSMsgType.TEXT, b"a" * 5000)
    server.ws.send(WSMsgType.TEXT, b"a" * 500, fin=False)
    server.ws.send(WSMsgType.CONTINUATION, b"a" * 500)
    server.ws.send_many(WSMsgType.TEXT, [b"a" * 500] * 3)
    server.run_ready()
    assert server.since(*SENT) == [6, 5]
    assert server.since("bytes_sent")[0] < 500
    compressed = b"\xc1\x87\x00\x00\x00\x00\xf2\x48\xcd\xc9\xc9\x07\x00"  # RFC 7692, 7.2.3.1
    server.take(compressed, compressed)
    assert server.since(*RECEIVED, "bytes_received") == [2, 2, 2 * len(compressed)]
    server.take(b"\xc1\x81\x00\x00\x00\x00\xff")
    assert server.totals.values()["violations"] == {"compression": 1}


def test_a_coroutine_connection() -> None:
    server = Server(inbox())
    server.take(frame(TEXT, b"a"), frame(TEXT, b"b", fin=False), frame(CONTINUATION))
    assert server.since(*RECEIVED) == [3, 2]


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"\x83\x80\0\0\0\0", "reserved_opcode"),
        (b"\xc1\x80\0\0\0\0", "reserved_bits"),
        (b"\x81\x00", "not_masked"),
        (frame(CONTINUATION), "unexpected_continuation"),
        (frame(TEXT, fin=False) + frame(TEXT), "expected_continuation"),
        (frame(TEXT, b"\xff"), "invalid_utf8"),
        (frame(TEXT, b"\xff", fin=False), "invalid_utf8"),
        (frame(PING, fin=False), "control_fragmented"),
        (frame(CLOSE, b"\x03"), "close_payload"),
        (frame(CLOSE, close_payload(1005)), "close_code"),
        (frame(CLOSE, b"\x03\xe8\xff"), "close_reason"),
        (frame(BINARY, bytes(126)), "frame_too_big"),
        (frame(BINARY, bytes(100), fin=False) + frame(CONTINUATION, bytes(100)), "message_too_big"),
        (
            frame(BINARY, fin=False) + frame(CONTINUATION, fin=False) * 2,
            "too_many_fragments",
        ),
        (b"\x82\xfe\x00\x01", "length_not_minimal"),
        (b"\x82\xff\xff\0\0\0\0\0\0\0", "length_top_bit"),
        (b"\x89\xfe\x00\xff", "control_too_long"),
    ],
)
def test_violations(data: bytes, kind: str) -> None:
    server = Server(max_frame_size=125, max_message_size=150, max_fragments_per_message=2)
    server.take(frame(TEXT, b"fine"))
    server.take(data + b"\0" * 8)
    assert server.totals.values()["violations"] == {kind: 1}
    server.lose()
    closed = server.totals.values()["closed"]
    assert closed.pop(WSDisconnectKind.PROTOCOL_ERROR) == 1
    assert not any(closed.values())


def test_a_frame_that_stalls() -> None:
    server = Server(stall_timeout=10.0)
    server.take(frame(TEXT, b"abc")[:-1])
    for _ in range(8):
        server.loop.advance(5.0)
        server.run_ready()
    assert server.totals.values()["violations"] == {"unfinished": 1}


def test_a_lost_ping() -> None:
    server = Server(
        enable_auto_ping=True, auto_ping_idle_timeout=10.0, auto_ping_reply_timeout=10.0
    )
    for _ in range(30):
        server.loop.advance(2.5)
        server.run_ready()
    assert server.totals.values()["pings_lost"] == 1
    assert server.since(*SENT) == [2, 0]  # PING, CLOSE
    assert server.totals.values()["closed"][WSDisconnectKind.PING_TIMEOUT] == 1


def test_queue_and_slow_consumer() -> None:
    server = Server(
        room=0, write_high_watermark=1000, max_write_queue_size=5000, coalesce_writes=False
    )

    def queued() -> Tuple[int, int]:
        values = server.totals.values()
        return values["write_queue_bytes"], values["write_queue_bytes_highest"]

    assert queued() == (0, 0)
    server.ws.send(WSMsgType.BINARY, bytes(1200))
    assert queued() == (1204, 1204)
    server.ws.send(WSMsgType.BINARY, bytes(100))  # the transport below is asked at the next frame
    server.ws.send(WSMsgType.BINARY, bytes(100))
    assert queued() == (1306, 1306)
    server.transport.room = None
    server.drain()
    assert queued() == (0, 1306)
    server.transport.room = 0
    server.ws.send(WSMsgType.BINARY, bytes(2000))
    server.ws.send(WSMsgType.BINARY, bytes(4000))
    server.run_ready()
    assert server.totals.values()["slow_consumers"] == 1
    assert server.totals.values()["closed"][WSDisconnectKind.SLOW_CONSUMER] == 1
    assert queued()[0] == 0


def refusing(status: int) -> Any:
    def route(request: object) -> WSUpgradeResponse:
        return WSUpgradeResponse.create_error_response(status, "no")

    return route


@pytest.mark.parametrize("status", [400, 401, 403, 404, 426, 429, 500, 503])
def test_refused_by_status(status: int) -> None:
    server = Server(open=False, factory=refusing(status))
    server.start()
    server.take(upgrade_request())
    server.lose()
    values = server.totals.values()
    assert values["refused"] == {status: 1}
    assert (values["opened"], values["responses"]) == (0, {})
    assert not any(values["closed"].values())


def test_a_page_is_no_refusal() -> None:
    server = Server(open=False, factory=lambda _: WSUpgradeResponse.create_ok_response("page"))
    server.start()
    server.take(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    server.lose()
    values = server.totals.values()
    assert (values["refused"], values["responses"]) == ({}, {200: 1})
    assert not any(values["closed"].values())
    assert values["bytes_received"] == 27
    assert values["bytes_sent"] > 0


def raising(_: object) -> Any:
    raise RuntimeError


@pytest.mark.parametrize(
    ("method", "factory", "status"),
    [
        ("GET", WSListener, 426),
        ("HEAD", WSListener, 405),
        ("POST", WSListener, 405),
        ("GET", raising, 500),
        ("GET", lambda _: None, 404),
        ("HEAD", lambda _: None, 404),
        ("CONNECT", WSListener, 501),
    ],
)
@pytest.mark.parametrize("asks", [False, True])
def test_the_request_decides_what_is_refused(
    method: str, factory: Any, status: int, asks: bool
) -> None:
    """Neither the method nor who says no: only whether the request asks for an upgrade."""
    server = Server(open=False, factory=factory)
    server.start()
    upgrade = "Upgrade: websocket\r\n" if asks else ""
    server.take(f"{method} / HTTP/1.1\r\nHost: x\r\n{upgrade}\r\n".encode())
    server.lose()
    values = server.totals.values()
    assert values["refused" if asks else "responses"] == {status: 1}
    assert values["responses" if asks else "refused"] == {}
    assert not any(values["closed"].values())


@pytest.mark.parametrize(
    "data", [b"HELLO\r\n\r\n", b"GET / HTTP/1.1\r\nHost x\r\n\r\n", b"\x16\x03\x01\r\n"]
)
def test_what_is_no_request_is_refused(data: bytes) -> None:
    server = Server(open=False)
    server.start()
    server.take(data)
    server.lose()
    values = server.totals.values()
    assert (values["refused"], values["responses"]) == ({400: 1}, {})


@pytest.mark.parametrize(
    ("request_line", "header", "status"),
    [("GET / HTTP/1.1", "Content-Length: 1", 400), ("GET / HTTP/2.0", "A: b", 505)],
)
def test_what_no_route_is_asked_about(request_line: str, header: str, status: int) -> None:
    server = Server(open=False)
    server.start()
    server.take(f"{request_line}\r\nHost: x\r\n{header}\r\n\r\n".encode())
    server.lose()
    values = server.totals.values()
    assert (values["refused"], values["responses"]) == ({}, {status: 1})


def test_handshakes_without_a_response() -> None:
    for data in (b"", b"GET / HT"):
        server = Server(open=False)
        server.start()
        if data:
            server.take(data)
        server.lose()
        closed = server.totals.values()["closed"]
        assert closed.pop(WSDisconnectKind.HANDSHAKE_FAILURE) == 1
        assert not any(closed.values())
    totals = Totals()
    totals.failed_before_handshake()
    totals.failed_before_handshake(403)
    assert totals.values()["closed"][WSDisconnectKind.HANDSHAKE_FAILURE] == 1
    assert totals.values()["refused"] == {403: 1}


SIZES = st.integers(0, 300)
DEEDS = st.lists(
    st.one_of(
        st.tuples(st.just("take"), st.lists(SIZES, min_size=1, max_size=20)),
        st.tuples(st.just("take_fragments"), st.lists(SIZES, min_size=2, max_size=5)),
        st.tuples(st.just("take_ping"), st.integers(0, 125)),
        st.tuples(st.just("send"), SIZES),
        st.tuples(st.just("send_many"), st.lists(SIZES, max_size=20)),
        st.tuples(st.just("send_fragments"), st.lists(SIZES, min_size=2, max_size=5)),
        st.tuples(st.just("send_ping"), st.integers(0, 125)),
        st.tuples(st.just("broadcast"), SIZES),
    ),
    max_size=20,
)


def size_on_the_wire(size: int, masked: bool) -> int:
    return 2 + (2 if size > 125 else 0) + (4 if masked else 0) + size


class Model:
    """What a server must have counted."""

    def __init__(self) -> None:
        self.counts: Dict[str, int] = dict.fromkeys(
            (f"{what}_{way}" for what in ("frames", "messages", "bytes") for way in WAYS), 0
        )

    def add_opening(self, server: Server) -> None:
        for name, size in server.opening.items():
            self.counts[name] += size

    def add(self, way: str, sizes: List[int], messages: int) -> None:
        self.counts[f"frames_{way}"] += len(sizes)
        self.counts[f"messages_{way}"] += messages
        self.counts[f"bytes_{way}"] += sum(
            size_on_the_wire(size, way == "received") for size in sizes
        )


WAYS = ("received", "sent")


def fragments(sizes: List[int]) -> List[Tuple[int, bytes, bool]]:
    last = len(sizes) - 1
    return [
        (CONTINUATION if place else BINARY, bytes(size), place == last)
        for place, size in enumerate(sizes)
    ]


def do(server: Server, model: Model, deed: str, value: Any) -> None:
    transport = server.ws
    if deed == "take":
        server.take(*[frame(BINARY, os.urandom(size)) for size in value])
        model.add("received", value, len(value))
    elif deed == "take_fragments":
        server.take(*[frame(*each) for each in fragments(value)])
        model.add("received", value, 1)
    elif deed == "take_ping":
        server.take(frame(PING, bytes(value)), frame(PONG))
        model.add("received", [value, 0], 0)
        model.add("sent", [value], 0)
    elif deed == "send":
        transport.send(WSMsgType.BINARY, bytes(value))
        model.add("sent", [value], 1)
    elif deed == "send_many":
        transport.send_many(WSMsgType.BINARY, [bytes(size) for size in value])
        model.add("sent", value, len(value))
    elif deed == "send_fragments":
        for opcode, payload, fin in fragments(value):
            transport.send(WSMsgType(opcode), payload, fin)
        model.add("sent", value, 1)
    elif deed == "send_ping":
        transport.send_ping(bytes(value))
        model.add("sent", [value], 0)
    else:
        broadcast([transport], bytes(value))
        model.add("sent", [value], 1)


@settings(max_examples=60)
@given(st.lists(DEEDS, min_size=1, max_size=3), st.booleans(), st.booleans())
def test_model(deeds: List[Any], gathers: bool, coalesces: bool) -> None:
    """Any traffic of several connections, also per connection with collect_stats."""
    totals = Totals()
    model = Model()
    for each in deeds:
        server = Server(
            Gatherer() if gathers else Recorder(),
            totals=totals,
            coalesce_writes=coalesces,
            collect_stats=True,
        )
        model.add_opening(server)
        first = totals.values()
        for deed, value in each:
            do(server, model, deed, value)
        server.run_ready()  # what was held back to leave together
        last = totals.values()
        stats = server.ws.stats()
        for name in model.counts:
            opening = server.opening[name] if name.startswith("bytes") else 0
            assert getattr(stats, name) - opening == last[name] - first[name]
    values = totals.values()
    assert values["opened"] == len(deeds)
    assert {name: values[name] for name in model.counts} == model.counts
