"""Several threads at once. All of it runs with the GIL too, which hides most of the races."""

from __future__ import annotations

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
from picows_codec import WSDisconnectKind, WSFrame, WSState, WSTransport
from tests.support import frames
from tests.support.connection import Connection, Recorder, both_roles
from tests.support.frames import BINARY, CLOSE, TEXT
from tests.support.memory import MemoryTransport

EXTENSIONS = sorted(
    path.name.partition(".")[0]
    for path in Path(picows_codec.__file__).parent.iterdir()
    if path.suffix in {".so", ".pyd"}
)


class Threads:
    """Runs functions in threads of their own; ``join`` raises the first of their exceptions."""

    def __init__(self) -> None:
        self._threads: List[threading.Thread] = []
        self._errors: List[BaseException] = []

    def start(self, function: Callable[[], Any]) -> None:
        def work() -> None:
            try:
                function()
            except BaseException as error:  # noqa: BLE001
                self._errors.append(error)

        self._threads.append(threading.Thread(target=work))
        self._threads[-1].start()

    def join(self) -> None:
        for thread in self._threads:
            thread.join()
        if self._errors:
            raise self._errors[0]


@pytest.mark.skipif(
    not sysconfig.get_config_var("Py_GIL_DISABLED"), reason="needs a free-threaded interpreter"
)
def test_the_gil_stays_off() -> None:
    program = "\n".join(f"import picows_codec.{name}" for name in EXTENSIONS)
    program += "\nimport sys; sys.exit(sys._is_gil_enabled())"
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True)


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
    monkeypatch.setattr("tests.support.connection.MemoryTransport", Noticing)
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


@both_roles
def test_properties_that_any_thread_may_read(role: str) -> None:
    ended: queue.Queue[Optional[WSTransport]] = queue.Queue(4)
    threads = Threads()
    kinds = set()

    def look() -> None:
        for ws in iter(ended.get, None):
            for _ in range(200):
                cause, shaking = ws.disconnect_cause, ws.close_handshake
                if cause is not None:
                    kinds.add(cause.kind)
                    str(cause)
                if shaking is not None and shaking.sent is not None:
                    assert shaking.sent.reason == "x"
                assert ws.request.method == "GET"
                assert (ws.response.status, ws.subprotocol) == (101, None)
                assert ws.is_client_side is (role == "client")
                assert ws.is_secure is False
                repr(ws)
                if ws.is_disconnected:
                    break

    def end() -> None:
        try:
            for _ in range(300):
                connection = Connection(role, close_timeout=1.0)
                ended.put(connection.ws)
                # The cause is replaced twice.
                connection.transport.room = 0
                connection.ws.send_close(1000, "x")
                connection.loop.advance(2.0)
                assert connection.ws.state is WSState.CLOSED
        finally:
            ended.put(None)

    threads.start(look)
    threads.start(end)
    threads.join()
    assert kinds <= {
        WSDisconnectKind.LOCAL_CLOSE,
        WSDisconnectKind.CLOSE_TIMEOUT,
    }


# First handshakes


def test_first_handshakes_of_several_threads() -> None:
    program = """
import sys, threading
from picows_codec import ServerHandshake, WSListener, WSOptions

sys.setswitchinterval(1e-6)
barrier = threading.Barrier(8)
accepted = []

def open():
    handshake = ServerHandshake(lambda request: WSListener(), options=WSOptions())
    barrier.wait()
    handshake.feed_data(
        b"GET / HTTP/1.1\\r\\nHost: a\\r\\nUpgrade: websocket\\r\\nConnection: Upgrade\\r\\n"
        b"Sec-WebSocket-Version: 13\\r\\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\\r\\n\\r\\n")
    accepted.append(b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in handshake.take_to_send())

threads = [threading.Thread(target=open) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
sys.exit(accepted != [True] * 8)
"""
    for _ in range(3):
        subprocess.run([sys.executable, "-c", program], check=True)
