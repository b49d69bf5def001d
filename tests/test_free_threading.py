"""Several threads at once. All of it runs with the GIL too, which hides most of the races."""

from __future__ import annotations

import functools
import os
import queue
import subprocess
import sys
import sysconfig
import threading
import time
from pathlib import Path
from typing import Any, Callable, Iterator, List, Optional

import pytest

import picows_codec
from picows_codec import (
    ClientHandshake,
    ServerHandshake,
    WSDisconnectKind,
    WSFrame,
    WSListener,
    WSMessage,
    WSMessageListener,
    WSOptions,
    WSPreparedMessage,
    WSState,
    WSThreadError,
    WSTransport,
    broadcast,
)
from picows_codec.testing.memory_transport import MemoryTransport
from tests.support import frames
from tests.support.connection import Connection, Recorder, both_roles
from tests.support.deflate import DeflateConnection, Peer
from tests.support.frames import BINARY, CLOSE, CONTINUATION, TEXT
from tests.support.threads import Threads, look_at

CODEC = Path(picows_codec.__file__).parent
EXTENSIONS = sorted(
    ".".join([*path.parent.relative_to(CODEC.parent).parts, path.name.partition(".")[0]])
    for path in CODEC.rglob("*")
    if path.suffix in {".so", ".pyd"}
)


@pytest.mark.skipif(
    not sysconfig.get_config_var("Py_GIL_DISABLED"), reason="needs a free-threaded interpreter"
)
def test_the_gil_stays_off() -> None:
    program = "\n".join(f"import {name}" for name in EXTENSIONS)
    program += "\nimport sys; sys.exit(sys._is_gil_enabled())"
    # PYTHON_GIL=0 would keep it off, whatever a module says about itself.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHON_GIL"}
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True, env=environment)


# Frames that are handed over

# How another thread reads a frame.
READING: List[Callable[[Any], bytes]] = [
    lambda frame: frame.get_payload_as_bytes(),
    lambda frame: frame.get_payload_as_utf8_text().encode(),
    lambda frame: frame.get_payload_as_ascii_text().encode(),
    lambda frame: bytes(frame.get_payload_as_memoryview()),
    bytes,
]


class Handing:
    """Hands what a callback got to another thread, and lets the callback end when that thread is
    about to look at it: both go on at the same time."""

    def __init__(self) -> None:
        self._handed: List[Any] = []
        self._taken = True
        self._over = False

    def hand(self, what: Any) -> None:
        self._taken = False
        self._handed.append(what)
        del what
        while not self._taken:
            time.sleep(0)

    def end(self) -> None:
        self._over = True

    def __iter__(self) -> Iterator[Any]:
        while not self._over or self._handed:
            if self._handed:
                what = self._handed.pop()
                self._taken = True
                yield what
                del what
            else:
                time.sleep(0)


@both_roles
@pytest.mark.parametrize("read", READING)
@pytest.mark.parametrize("size", [60_000, 70_000])
def test_frames_read_while_the_next_arrive(
    role: str, read: Callable[[Any], bytes], size: int
) -> None:
    handing = Handing()
    threads = Threads()
    torn: List[int] = []

    def look() -> None:
        for frame in handing:
            first = read(frame)
            second = read(frame)
            if len(first) != size or first != first[:1] * size or second != first:
                torn.append(len(first))

    def receive() -> None:
        try:
            listener = Recorder()
            listener.on_ws_frame = lambda _, frame: handing.hand(frame)  # type: ignore[method-assign]
            connection = Connection(role, listener)
            stream = [connection.build(TEXT, bytes([97 + i]) * size) for i in range(4)]
            for i in range(60):
                # Alone in its read, and one of several.
                connection.feed(stream[i % 4], stream[(i + 1) % 4] + stream[(i + 2) % 4])
        finally:
            handing.end()

    threads.start(look)
    threads.start(receive)
    threads.join()
    assert torn == []


class Messages(WSMessageListener):
    def __init__(self, take: Callable[[WSMessage], None]) -> None:
        self._take = take

    def on_ws_message(self, transport: WSTransport, message: WSMessage) -> None:
        self._take(message)


@both_roles
@pytest.mark.parametrize("read", READING)
def test_messages_read_while_the_next_arrive(role: str, read: Callable[[Any], bytes]) -> None:
    handing = Handing()
    threads = Threads()
    torn: List[int] = []
    size = 3000

    def look() -> None:
        for message in handing:
            found = read(message)
            if len(found) != size or found != found[:1] * size:
                torn.append(len(found))

    def receive() -> None:
        try:
            connection = Connection(role, Messages(handing.hand))
            for i in range(100):
                part = bytes([97 + i % 8]) * (size // 2)
                fragments = connection.build(TEXT, part, fin=False)
                fragments += connection.build(CONTINUATION, part)
                connection.feed(connection.build(BINARY, part * 2) + fragments)
        finally:
            handing.end()

    threads.start(look)
    threads.start(receive)
    threads.join()
    assert torn == []


@both_roles
def test_close_frames_read_while_the_next_arrive(role: str) -> None:
    handing = Handing()
    threads = Threads()
    seen = set()

    def look() -> None:
        for frame in handing:
            seen.add((frame.get_close_code(), frame.get_close_reason()))

    def receive() -> None:
        try:
            for _ in range(300):
                listener = Recorder().act("on_ws_frame", lambda _, frame: handing.hand(frame))
                connection = Connection(role, listener)
                connection.receive(CLOSE, frames.close_payload(4000, b"a" * 100))
                other = Connection(role)
                other.receive(TEXT, b"z" * 200)
                connection.lose()
                other.lose()
        finally:
            handing.end()

    threads.start(look)
    threads.start(receive)
    threads.join()
    assert seen == {(4000, "a" * 100)}


class Noticing(MemoryTransport):
    """Calls ``noticed`` after its first write of a frame's piece."""

    noticed: Optional[Callable[[], Any]] = None

    def write(self, data: Any) -> None:
        super().write(data)
        noticed, self.noticed = self.noticed, None
        if noticed is not None:
            noticed()


@both_roles
@pytest.mark.parametrize("as_view", [False, True])
def test_a_frame_that_another_thread_sends(
    role: str, as_view: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The sender is in the middle of it when the callback ends and the next frame arrives where
    # this one was.
    payload = b"a" * 100_000
    monkeypatch.setattr("picows_codec.testing.memory_connection.MemoryTransport", Noticing)
    handed: queue.Queue[Any] = queue.Queue()
    sending, received = threading.Event(), threading.Event()
    threads = Threads()

    def hand_over(_: WSTransport, frame: WSFrame) -> None:
        if not received.is_set() and handed.empty() and not sending.is_set():
            handed.put(memoryview(frame) if as_view else frame)
            del frame
            sending.wait(30)

    def receive() -> None:
        try:
            listener = Recorder()
            listener.on_ws_frame = hand_over  # type: ignore[method-assign]
            connection = Connection(role, listener)
            connection.receive(BINARY, payload)
            connection.receive(BINARY, b"z" * len(payload))
        finally:
            received.set()

    def notice() -> None:
        sending.set()
        received.wait(30)

    sender = Connection("server")
    threads.start(receive)
    try:
        kept = handed.get(timeout=30)
        sender.transport.noticed = notice  # type: ignore[attr-defined]
        sender.ws.send(BINARY, kept)
    finally:
        sending.set()
        threads.join()
    (frame,) = sender.sent()
    assert frame.payload == payload
    assert bytes(kept) == payload


# What a transport tells


def end_by_timeout(connection: Connection) -> None:
    # The cause is replaced twice.
    connection.transport.room = 0
    connection.ws.send_close(1000, "x")
    connection.loop.advance(2.0)


def end_by_peer(connection: Connection) -> None:
    connection.receive_close(4000, b"x")
    connection.lose()


def end_by_violation(connection: Connection) -> None:
    connection.feed(b"\xff" * 20)
    connection.lose()


ENDINGS = [
    (end_by_timeout, {WSDisconnectKind.LOCAL_CLOSE, WSDisconnectKind.CLOSE_TIMEOUT}),
    (end_by_peer, {WSDisconnectKind.PEER_CLOSE}),
    (end_by_violation, {WSDisconnectKind.PROTOCOL_ERROR}),
]


@both_roles
@pytest.mark.parametrize(("end", "expected"), ENDINGS)
def test_properties_that_any_thread_may_read(
    role: str, end: Callable[[Connection], None], expected: Any
) -> None:
    latest: List[Connection] = []
    threads = Threads()
    kinds = set()
    over = threading.Event()

    def look() -> None:
        while not over.is_set():
            for connection in latest[-1:]:
                kinds.add(look_at(connection.ws))
                for found in (connection.endpoint.transport, connection.endpoint.listener):
                    assert found in (None, connection.ws, connection.listener)
                assert connection.listener.transport in (None, connection.ws)

    def live() -> None:
        try:
            for _ in range(150):
                connection = Connection(role, open=False, close_timeout=1.0)
                latest.append(connection)
                connection.start()
                connection.open()
                end(connection)
                assert connection.ws.state is WSState.CLOSED
                connection.ws.disconnect_cause  # noqa: B018
        finally:
            over.set()

    threads.start(look)
    threads.start(look)
    threads.start(live)
    threads.join()
    assert kinds - {None} <= expected


def test_the_end_is_told_alike_to_all_threads() -> None:
    # Whoever asks first: what is told to others is nothing that the event loop's thread replaces.
    connection = Connection("client")
    connection.receive_close(4000, b"x")
    threads = Threads()
    told: List[Any] = []
    threads.start(lambda: told.append(connection.ws.disconnect_cause))
    threads.join()
    connection.lose()
    threads.start(lambda: told.append(connection.ws.disconnect_cause))
    threads.join()
    told.append(connection.ws.disconnect_cause)
    assert {(cause.kind, cause.close.code, cause.close.reason) for cause in told} == {
        (WSDisconnectKind.PEER_CLOSE, 4000, "x")
    }


def test_the_future_of_the_opening_is_asked_for_on_its_thread() -> None:
    connection = Connection("server", open=False)
    threads = Threads()
    threads.start(lambda: connection.endpoint.opened)
    with pytest.raises(WSThreadError):
        threads.join()
    assert not connection.opened.done()


# The headers of request and response are made when they are first asked for.


class Pair:
    """Request and response of an opening handshake, of which nothing was read yet."""

    def __init__(self) -> None:
        seen: List[Any] = []

        def accept(request: Any, response: Any) -> WSListener:
            seen.extend((request, response))
            return WSListener()

        options = WSOptions()
        client = ClientHandshake("/", "localhost", accept, options=options)
        server = ServerHandshake(lambda request: WSListener(), options=options)
        server.feed_data(client.take_to_send())
        client.feed_data(server.take_to_send())
        self.heads = [server.request, server.response, *seen]


def test_headers_that_several_threads_ask_for_first() -> None:
    pairs = [Pair() for _ in range(50)]
    barrier = threading.Barrier(4)
    threads = Threads()
    found: List[List[Any]] = []

    def look() -> None:
        mine = []
        for pair in pairs:
            barrier.wait(30)
            for head in pair.heads:
                headers = head.headers
                assert headers["Upgrade"] == "websocket"
                mine.append(headers)
        found.append(mine)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(4):
            threads.start(look)
        threads.join()
    finally:
        sys.setswitchinterval(interval)
    for others in found[1:]:
        assert all(one is other for one, other in zip(found[0], others))


# What threads share


@both_roles
def test_a_message_that_several_threads_send(role: str) -> None:
    message = WSPreparedMessage(TEXT, "shared \u00fc" * 100)
    barrier = threading.Barrier(4)
    threads = Threads()

    def send() -> None:
        connections = [Connection(role) for _ in range(20)]
        barrier.wait(30)
        for _ in range(10):
            assert broadcast((connection.ws for connection in connections), message) == 20
            connections[0].ws.send_prepared(message)
            assert WSPreparedMessage(message.opcode, message.payload).payload == message.payload
        for i, connection in enumerate(connections):
            sent = connection.sent()
            assert len(sent) == (10 if i else 20)
            assert all(frame.payload == message.payload for frame in sent)

    for _ in range(4):
        threads.start(send)
    threads.join()


def test_payloads_that_another_thread_adds() -> None:
    """send_many takes the list as it is at one moment."""
    payloads: List[Any] = [b"x"] * 100
    connection = Connection("server")
    over = threading.Event()
    threads = Threads()

    def change() -> None:
        while not over.is_set():
            payloads.append(b"y")
            payloads.pop()

    threads.start(change)
    try:
        for _ in range(200):
            connection.ws.send_many(BINARY, payloads)
    finally:
        over.set()
        threads.join()
    sent = connection.sent()
    assert 200 * 100 <= len(sent) <= 200 * 101
    assert {frame.payload for frame in sent} <= {b"x", b"y"}


@both_roles
@pytest.mark.parametrize(
    "answer",
    [
        "permessage-deflate",
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
    ],
)
def test_connections_of_several_threads_that_compress(role: str, answer: str) -> None:
    """zlib releases the GIL while it works; streams without takeover belong to a thread."""
    barrier = threading.Barrier(4)
    threads = Threads()
    shared = WSPreparedMessage(BINARY, b"shared by all " * 50)

    def talk(number: int) -> None:
        payload = b"%d: what this thread sends " % number * 200
        connection = DeflateConnection(role, answer=answer)
        to_us, to_them = (Peer(alone="no_context" in answer) for _ in range(2))
        barrier.wait(30)
        for size in range(0, len(payload), 97):
            connection.feed(connection.compressed(BINARY, to_us.deflate(payload[:size])))
            connection.ws.send(BINARY, payload[:size])
            connection.ws.send_prepared(shared)
            found = [
                to_them.inflate(frame.payload) if frame.rsv else frame.payload
                for frame in connection.sent()
            ]
            assert found == [payload[:size], shared.payload]
            assert connection.messages()[-1] == payload[:size]
        assert connection.cause is None

    for number in range(4):
        threads.start(functools.partial(talk, number))
    threads.join()


# First handshakes


@pytest.mark.parametrize("compression", ["None", '"deflate"'])
def test_first_handshakes_of_several_threads(compression: str) -> None:
    program = """
import sys, threading
from picows_codec import ServerHandshake, WSListener, WSOptions

sys.setswitchinterval(1e-6)
barrier = threading.Barrier(8)
accepted = []

def open():
    barrier.wait()
    options = WSOptions(compression=COMPRESSION)
    handshake = ServerHandshake(lambda request: WSListener(), options=options)
    handshake.feed_data(
        b"GET / HTTP/1.1\\r\\nHost: a\\r\\nUpgrade: websocket\\r\\nConnection: Upgrade\\r\\n"
        b"Sec-WebSocket-Version: 13\\r\\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\\r\\n"
        b"Sec-WebSocket-Extensions: permessage-deflate\\r\\n\\r\\n")
    response = handshake.take_to_send()
    accepted.append(
        b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in response
        and (b"permessage-deflate" in response) == (COMPRESSION is not None))

threads = [threading.Thread(target=open) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
sys.exit(accepted != [True] * 8)
""".replace("COMPRESSION", compression)
    for _ in range(3):
        subprocess.run([sys.executable, "-c", program], check=True)
