"""picows_server.draining: when whom is told to leave, by a fake clock; and drained servers."""

from __future__ import annotations

import asyncio
import logging
import random
import socket
from pathlib import Path
from typing import Any, List, Optional, Set, Tuple

import pytest

from picows_codec.testing import FakeLoop
from picows_server import (
    WSConnection,
    WSConnectionClosed,
    WSInvalidCloseError,
    WSInvalidOptionError,
    WSListener,
    WSServer,
    WSTransport,
    files,
    ready,
    serve,
    ws_create_server,
)
from picows_server.asgi import asgi_listener
from picows_server.draining import Drain, DrainPlan
from tests.support.certificates import Certificates
from tests.support.judge import ask
from tests.support.leaks import eventually
from tests.support.rawclient import RawClient, upgrade_request
from tests.support.servers import (
    ANY_PORT,
    Echo,
    echo,
    plain_backends,
    quiet_logger,
    refuses,
    sockname,
    tls_backends,
)

LONG = 3600.0


class Fleet:
    """Members that are only numbers, and what a drain does with them."""

    def __init__(self, size: int, numbers: Optional[random.Random] = None) -> None:
        self.loop = FakeLoop()
        self.began = self.loop.time()
        self.size = size
        self.half_open: Set[int] = set()
        self.left: List[Tuple[float, int]] = []
        self.events: List[Tuple[float, str]] = []
        self.drain: Any = None
        self._random = numbers or random.Random(1)

    def start(self, *, is_accepting: bool = True, **plan: Any) -> Drain:
        arguments: Any = {"loop": self.loop, "plan": DrainPlan(**plan), "logger": quiet_logger()}
        self.drain = Drain(
            **arguments,
            end_accepting=lambda: self._note("end_accepting"),
            members=lambda: list(range(self.size)),
            half_open=lambda: set(self.half_open),
            leave=self._leave,
            give_up=lambda: self._note("give_up"),
            random=self._random,
        )
        self.drain.start(is_accepting=is_accepting)
        return self.drain  # type: ignore[no-any-return]

    def _leave(self, member: int, code: int, reason: Optional[str]) -> None:
        assert (code, reason) == (self.drain._plan.code, self.drain._plan.reason)
        self.left.append((self.loop.time() - self.began, member))

    def _note(self, event: str) -> None:
        self.events.append((self.loop.time() - self.began, event))


def distance_from_uniform(times: List[float], spread: float) -> float:
    """The statistic of Kolmogorov and Smirnov: how far apart the distributions are at most."""
    ordered = sorted(times)
    count = len(ordered)
    return max(
        max((index + 1) / count - each / spread, each / spread - index / count)
        for index, each in enumerate(ordered)
    )


# By a fake clock


def test_everybody_leaves_once_uniformly_after_grace() -> None:
    fleet = Fleet(10_000)
    fleet.start(grace=5, spread=30, timeout=60)
    fleet.loop.advance(5)
    assert fleet.events == [(5.0, "end_accepting")]
    fleet.loop.advance(30)
    assert sorted(member for _, member in fleet.left) == list(range(10_000))
    times = [when - 5 for when, _ in fleet.left]
    assert min(times) >= 0
    assert max(times) <= 30
    # As many as are due at each time: better than independent random numbers, for which this
    # is below 0.0163 in 99 of 100 cases.
    assert distance_from_uniform(times, 30) < 0.001


def test_who_leaves_when_is_random() -> None:
    """The order says nothing about a member: every part of the list is spread out evenly."""
    fleet = Fleet(8_000)
    fleet.start(grace=0, spread=30, timeout=60)
    fleet.loop.advance(30)
    for start in range(0, 8_000, 2_000):
        times = [when for when, member in fleet.left if start <= member < start + 2_000]
        assert distance_from_uniform(times, 30) < 1.63 / 2_000**0.5


def test_single_connections_leave_at_any_time() -> None:
    """Many servers with one connection each are a fleet, too."""
    times = []
    numbers = random.Random(1)
    for _ in range(2_000):
        fleet = Fleet(1, numbers)
        fleet.start(grace=0, spread=30, timeout=60)
        fleet.loop.advance(31)
        ((when, _),) = fleet.left
        times.append(when)
    assert distance_from_uniform(times, 30) < 1.63 / 2_000**0.5


@pytest.mark.parametrize("spread", [0, 1])
def test_the_loop_goes_on_between_slices(spread: int) -> None:
    fleet = Fleet(10_000)
    seen: List[int] = []

    def look() -> None:
        seen.append(len(fleet.left))
        if len(fleet.left) < fleet.size:
            fleet.loop.call_soon(look)

    leave = fleet._leave

    def leave_and_look(member: int, *close: Any) -> None:
        leave(member, *close)
        if not seen:
            fleet.loop.call_soon(look)

    fleet._leave = leave_and_look  # type: ignore[method-assign]
    fleet.start(grace=0, spread=spread, timeout=60)
    fleet.loop.clock.now += 2  # the loop was blocked: all are due
    fleet.loop.advance(1)
    steps = [later - earlier for earlier, later in zip(seen, seen[1:])]
    assert seen[-1] == 10_000
    assert max(steps) <= 64
    assert len(seen) > 150


def test_no_timer_for_each_connection() -> None:
    fleet = Fleet(10_000)
    fleet.start(grace=5, spread=30, timeout=60)
    wakes = 0
    for _ in range(60 * 100):
        before = len(fleet.left)
        fleet.loop.advance(0.01)
        wakes += len(fleet.left) > before
        assert len(fleet.loop.timers) <= 2
        # 10,000 in 30 s: three or four in a hundredth of a second
        assert len(fleet.left) - before <= 8
    assert wakes > 2_000


def test_no_grace_for_a_server_that_does_not_accept() -> None:
    fleet = Fleet(1)
    fleet.start(is_accepting=False, grace=5, spread=0, timeout=60)
    assert fleet.events == [(0.0, "end_accepting")]
    assert fleet.left == [(0.0, 0)]


def test_timeout_counts_from_the_beginning() -> None:
    fleet = Fleet(10)
    fleet.start(grace=5, spread=30, timeout=60)
    fleet.loop.advance(59.9)
    assert fleet.events == [(5.0, "end_accepting")]
    fleet.loop.advance(1)
    assert fleet.events[1:] == [(60.0, "give_up")]
    assert not fleet.loop.timers


def test_a_grace_as_long_as_timeout() -> None:
    fleet = Fleet(10)
    fleet.start(grace=60, spread=0, timeout=60)
    fleet.loop.advance(60)
    assert fleet.events == [(60.0, "end_accepting"), (60.0, "give_up")]
    assert not fleet.loop.timers


def test_no_timeout() -> None:
    fleet = Fleet(10)
    fleet.start(grace=5, spread=30, timeout=None)
    fleet.loop.advance(1e6)
    assert len(fleet.left) == 10
    assert fleet.events == [(5.0, "end_accepting")]
    assert not fleet.loop.timers


def test_hurrying_during_grace() -> None:
    fleet = Fleet(100)
    drain = fleet.start(grace=5, spread=30, timeout=60)
    fleet.loop.advance(1)
    drain.hurry()
    fleet.loop.run_ready()
    assert fleet.events == [(1.0, "end_accepting")]
    assert {when for when, _ in fleet.left} == {1.0}
    assert len(fleet.left) == 100
    drain.hurry()
    fleet.loop.advance(60)
    assert len(fleet.left) == 100
    assert fleet.events[1:] == [(60.0, "give_up")]


def test_hurrying_during_spread() -> None:
    fleet = Fleet(1_000)
    drain = fleet.start(grace=5, spread=30, timeout=60)
    fleet.loop.advance(20)
    assert 450 < len(fleet.left) < 550
    drain.hurry()
    drain.hurry()
    fleet.loop.run_ready()
    assert len(fleet.left) == 1_000
    assert len({member for _, member in fleet.left}) == 1_000


def test_hurried_by_one_that_leaves() -> None:
    fleet = Fleet(1_000)
    leave = fleet._leave

    def leave_and_hurry(member: int, *close: Any) -> None:
        leave(member, *close)
        fleet.drain.hurry()

    fleet._leave = leave_and_hurry  # type: ignore[method-assign]
    fleet.start(grace=0, spread=30, timeout=60)
    fleet.loop.advance(30)
    assert sorted(member for _, member in fleet.left) == list(range(1_000))


def test_stopped() -> None:
    fleet = Fleet(1_000)
    drain = fleet.start(grace=0, spread=30, timeout=60)
    fleet.loop.advance(15)
    left = len(fleet.left)
    drain.stop()
    drain.hurry()
    fleet.loop.advance(60)
    assert len(fleet.left) == left
    assert not fleet.loop.timers


def test_stopped_by_the_last_one_that_leaves() -> None:
    fleet = Fleet(100)
    leave = fleet._leave

    def leave_and_stop(member: int, *close: Any) -> None:
        leave(member, *close)
        fleet.drain.stop()

    fleet._leave = leave_and_stop  # type: ignore[method-assign]
    fleet.start(grace=0, spread=0, timeout=60)
    fleet.loop.advance(60)
    assert len(fleet.left) == 1


def test_one_that_cannot_be_closed() -> None:
    fleet = Fleet(100)
    leave = fleet._leave

    def fail(member: int, *close: Any) -> None:
        leave(member, *close)
        if member == 50:
            raise OSError("no")

    fleet._leave = fail  # type: ignore[method-assign]
    fleet.start(grace=0, spread=0, timeout=60)
    fleet.loop.run_ready()
    assert len(fleet.left) == 100


def test_connections_that_open_meanwhile() -> None:
    """They leave at their own time, or at once if that has passed; before grace ends, nobody."""
    fleet = Fleet(100)
    fleet.half_open = {0, 1}
    drain = fleet.start(grace=5, spread=30, timeout=60)
    drain.opened(0)
    drain.opened(200)
    fleet.loop.advance(5)
    assert fleet.left == []
    drain.opened(1)
    drain.opened(300)  # it was none of the members
    assert [member for _, member in fleet.left] == [300]
    fleet.loop.advance(30)
    assert {member for _, member in fleet.left} == {*range(100), 300}
    left = len(fleet.left)
    drain.opened(1)
    assert [member for _, member in fleet.left[left:]] == [1]


# Plans


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"grace": -1}, "grace must be at least 0 and finite, not -1"),
        ({"spread": float("nan")}, "spread must be at least 0"),
        ({"timeout": float("inf")}, "timeout must be at least 0 and finite"),
        ({"timeout": 10**400}, "timeout must be at least 0 and finite"),  # beyond a float
        ({"grace": 31}, r"31 \+ 30 seconds are more than 60"),
        ({"timeout": 34.5}, r"grace and spread must end within timeout.* more than 34.5"),
        ({"prefix": "drain_", "timeout": 34.5}, "drain_grace and drain_spread must end within"),
        ({"prefix": "drain_", "grace": -1}, "drain_grace must be"),
    ],
)
def test_wrong_times(arguments: Any, text: str) -> None:
    with pytest.raises(WSInvalidOptionError, match=text):
        DrainPlan(**arguments)


@pytest.mark.parametrize("name", ["grace", "spread", "timeout"])
@pytest.mark.parametrize("value", ["5", True, b""])
def test_times_that_are_no_numbers(name: str, value: Any) -> None:
    with pytest.raises(TypeError, match=f"{name} must be a number of seconds, not"):
        DrainPlan(**{name: value})


def test_times_that_just_fit() -> None:
    DrainPlan(30, 30, 60)
    DrainPlan(0, 0, 0)
    DrainPlan(1e6, 1e6, None)
    DrainPlan(0.1, 0.2, 0.3)
    with pytest.raises(WSInvalidOptionError):
        DrainPlan(0.1, 0.2, 0.299999)


@pytest.mark.parametrize(
    ("code", "reason"), [(1006, None), (1015, None), (999, None), (1012, "x" * 124)]
)
async def test_codes_and_reasons_that_may_not_be_sent(code: int, reason: Optional[str]) -> None:
    async with ws_create_server(ANY_PORT, Echo) as server:
        with pytest.raises(WSInvalidCloseError):
            await server.drain(code=code, reason=reason)
        assert not server.is_draining
        assert server.is_serving()


# Servers


def start(server: WSServer, **plan: Any) -> asyncio.Task[None]:
    return asyncio.ensure_future(server.drain(**{"grace": 0, "spread": 0, **plan}))


@plain_backends
async def test_readiness_and_accepting_during_grace(backend: str) -> None:
    server = await ws_create_server(ANY_PORT, {"/ws": Echo, "/readyz": ready}, backend=backend)
    name = sockname(server)
    assert (await ask(name, "/readyz")).status == 200
    draining = start(server, grace=LONG, timeout=LONG)
    await eventually(lambda: server.is_draining)
    assert "draining" in repr(server)
    assert (await ask(name, "/readyz")).status == 503
    async with await RawClient.open(name, "/ws") as client:
        await echo(client)
        hurried = start(server)
        assert await client.read_close() == 1012
        assert refuses(name)
        assert not draining.done()
        client.write_close(1012)
        await draining
        await hurried
        assert await client.read_to_end() == b""
    assert server.connections == 0
    assert not server.is_serving()
    assert "closed" in repr(server)
    await server.drain()


@plain_backends
async def test_what_was_queued_is_delivered(backend: str) -> None:
    """A reader that is slower than close_timeout has until the end of timeout."""
    size = 8_000_000

    class Flood(WSListener):
        def on_ws_connected(self, transport: WSTransport) -> None:
            transport.send(2, bytes(size))

    server = await ws_create_server(
        ANY_PORT, Flood, backend=backend, close_timeout=0.05, max_write_queue_size=2 * size
    )
    async with await RawClient.open(sockname(server)) as client:
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        draining = start(server, timeout=LONG, reason="restart")
        await asyncio.sleep(0.2)
        assert not draining.done()
        client.writer.transport.resume_reading()  # type: ignore[attr-defined]
        frame = await client.read_frame()
        assert len(frame.payload) == size
        assert (await client.read_frame()).payload == b"\x03\xf4restart"
        client.write_close(1012)
        await draining


@tls_backends
async def test_over_tls(backend: str, certificates: Certificates) -> None:
    server = await ws_create_server(
        "wss://127.0.0.1:0", Echo, ssl_context=certificates.server_context(), backend=backend
    )
    context = certificates.client_context()
    async with await RawClient.open(sockname(server), context=context) as client:
        silent = socket.create_connection(sockname(server))
        await eventually(lambda: server.pending_handshakes == 1)
        draining = start(server)
        assert await client.read_close() == 1012
        client.write_close(1012)
        await eventually(lambda: server.connections == 1)
        assert not draining.done()  # a TLS handshake has begun
        silent.close()
        await draining


@plain_backends
async def test_after_timeout_the_rest_is_aborted(
    backend: str, caplog: pytest.LogCaptureFixture
) -> None:
    server = await ws_create_server(ANY_PORT, Echo, backend=backend, close_timeout=None)
    async with await RawClient.open(sockname(server)) as client:
        with caplog.at_level(logging.WARNING, "picows"):
            await server.drain(grace=0, spread=0, timeout=0.1)
        assert await client.read_close() == 1012
        assert await client.read_to_end() == b""
    assert "draining has not ended within 0.1 seconds" in caplog.text


async def test_a_client_that_does_not_answer_is_aborted_after_close_timeout() -> None:
    server = await ws_create_server(ANY_PORT, Echo, close_timeout=0.05)
    async with await RawClient.open(sockname(server)) as client:
        await server.drain(grace=0, spread=0, timeout=LONG)
        assert await client.read_close() == 1012


@pytest.mark.parametrize("callback", ["on_ws_connected", "on_ws_frame"])
async def test_a_drain_that_begins_in_a_callback_has_the_close_timeout(callback: str) -> None:
    class Ending(Echo):
        def end(self, transport: WSTransport, *_: object) -> None:
            transport.send(1, b"last words")
            server.start_draining(DrainPlan(0, 0, LONG))

    setattr(Ending, callback, Ending.end)
    async with await ws_create_server(ANY_PORT, Ending, close_timeout=0.1) as server:
        async with await RawClient.open(sockname(server)) as client:
            if callback == "on_ws_frame":
                client.write_frame(1, b"go")
            assert (await client.read_frame()).payload == b"last words"
            assert await client.read_close() == 1012
            assert await client.read_to_end() == b""  # although it does not answer
            await server.wait_closed()


async def test_without_timeout_close_timeout_is_for_slow_readers_too() -> None:
    class Flood(WSListener):
        def on_ws_connected(self, transport: WSTransport) -> None:
            transport.send(2, bytes(8_000_000))

    server = await ws_create_server(ANY_PORT, Flood, close_timeout=0.05)
    with socket.create_connection(sockname(server)) as client:
        client.sendall(upgrade_request())
        await eventually(lambda: server.connections and not server.pending_handshakes)
        await server.drain(grace=0, spread=0, timeout=None)


async def test_connections_that_are_closing_already() -> None:
    """They end as they would have, with the code that was sent."""
    transports: List[WSTransport] = []

    class Kept(WSListener):
        def on_ws_connected(self, transport: WSTransport) -> None:
            transports.append(transport)

    server = await ws_create_server(ANY_PORT, Kept)
    async with await RawClient.open(sockname(server)) as client:
        transports[0].disconnect(code=4000)
        draining = start(server)
        assert await client.read_close() == 4000
        client.write_close(4000)
        await draining
        assert await client.read_to_end() == b""


async def test_what_waits_in_the_queue_is_accepted() -> None:
    server = await ws_create_server(ANY_PORT, Echo, start_serving=False)
    server._listening.listen(16)
    name = sockname(server)
    clients = [socket.create_connection(name) for _ in range(10)]
    await server.start_serving()
    draining = start(server)  # before the loop looks at the listening socket
    server_side = asyncio.ensure_future(server.wait_closed())
    await eventually(lambda: not server.is_serving())
    assert server.connections == 10
    for client in clients:
        client.sendall(upgrade_request())
    await eventually(lambda: not server.pending_handshakes)
    for client in clients:
        client.settimeout(10)
        received = b""
        while b"\x88\x02\x03\xf4" not in received:
            data = client.recv(4096)
            assert data, received
            received += data
        assert received.startswith(b"HTTP/1.1 101 ")
        client.close()
    await draining
    await server_side


async def test_what_waits_in_the_queue_is_left_to_others() -> None:
    server = await ws_create_server(ANY_PORT, Echo)
    shared = socket.socket(fileno=socket.dup(server._listening.sockets[0].fileno()))
    with shared, socket.create_connection(sockname(server)) as client:
        stopped: List[bool] = []
        server.start_draining(
            DrainPlan(0, 0, 60),
            leaves_waiting=True,
            stopped_accepting=lambda: stopped.append(server.is_serving()),
        )
        await server.wait_closed()
        assert stopped == [False]
        shared.setblocking(True)
        accepted, _ = shared.accept()
        accepted.close()
        client.settimeout(10)
        assert client.recv(1) == b""


async def test_a_handshake_that_ends_after_its_turn() -> None:
    server = await ws_create_server(ANY_PORT, Echo)
    async with await RawClient.connect(sockname(server)) as client:
        await eventually(lambda: server.connections == 1)
        draining = start(server)
        await eventually(lambda: not server.is_serving())
        assert (await client.upgrade()).status == 101
        assert await client.read_close() == 1012
        client.write_close(1012)
        await draining


async def test_a_factory_that_decides_late() -> None:
    may_decide = asyncio.Event()

    async def factory() -> Echo:
        await may_decide.wait()
        return Echo()

    server = await ws_create_server(ANY_PORT, factory)
    async with await RawClient.connect(sockname(server)) as client:
        client.writer.write(upgrade_request())
        await eventually(lambda: server.pending_handshakes == 1)
        draining = start(server)
        await eventually(lambda: not server.is_serving())
        may_decide.set()
        assert (await client.read_response()).status == 101
        assert await client.read_close() == 1012
        client.write_close(1012)
        await draining


async def test_a_download_goes_on(tmp_path: Path) -> None:
    content = bytes(5_000_000)
    (tmp_path / "large").write_bytes(content)
    server = await ws_create_server(
        ANY_PORT, {"/": files(tmp_path)}, websocket_handshake_timeout=0.1
    )
    async with await RawClient.connect(sockname(server)) as client:
        client.writer.write(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
        head = await client.reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 ")
        draining = start(server)
        await eventually(lambda: not server.is_serving())
        assert not draining.done()
        assert await client.reader.readexactly(len(content)) == content
        await draining


async def test_a_download_is_aborted_at_timeout(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(bytes(5_000_000))
    server = await ws_create_server(ANY_PORT, {"/": files(tmp_path)})
    with socket.create_connection(sockname(server)) as client:
        client.sendall(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
        await eventually(lambda: server.connections)
        await server.drain(grace=0, spread=0, timeout=0.2)
    assert server.connections == 0


async def test_handlers_learn_it_and_are_cancelled_at_timeout() -> None:
    events: List[object] = []

    async def handler(connection: WSConnection) -> None:
        try:
            await connection.recv()
        except WSConnectionClosed as error:
            events.append(error.sent.code if error.sent is not None else None)
        try:
            await asyncio.sleep(LONG)
        except asyncio.CancelledError:
            events.append("cancelled")
            raise

    server = await serve(handler, ANY_PORT)
    async with await RawClient.open(sockname(server)) as client:
        draining = start(server, timeout=0.2)
        assert await client.read_close() == 1012
        client.write_close(1012)
        await client.read_to_end()
        await draining
    assert events == [1012, "cancelled"]


async def test_asgi_applications_learn_it_and_stop_last() -> None:
    events: List[object] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            events.append((await receive())["type"])
            await send({"type": "lifespan.shutdown.complete"})
            return
        await receive()
        await send({"type": "websocket.accept"})
        event = await receive()
        events.append((event["type"], event["code"]))

    server = await ws_create_server(ANY_PORT, {"/": Echo, "/app": asgi_listener(app)})
    async with await RawClient.open(sockname(server), "/app") as client:
        draining = start(server, code=1001, reason="bye")
        assert (await client.read_frame()).payload == b"\x03\xe9bye"
        client.write_close(1001)
        await draining
    assert events == [("websocket.disconnect", 1012), "lifespan.shutdown"]


async def test_cancellation_ends_the_wait_only() -> None:
    server = await ws_create_server(ANY_PORT, Echo)
    async with await RawClient.open(sockname(server)) as client:
        draining = start(server)
        assert await client.read_close() == 1012
        draining.cancel()
        with pytest.raises(asyncio.CancelledError):
            await draining
        assert server.is_draining
        assert server.connections == 1
        client.write_close(1012)
        await server.wait_closed()


async def test_close_during_a_drain() -> None:
    server = await ws_create_server(ANY_PORT, Echo, close_timeout=0.1)
    async with await RawClient.open(sockname(server)) as client:
        draining = start(server, grace=LONG / 4, spread=LONG / 4, timeout=LONG)
        await eventually(lambda: server.is_draining)
        server.close()
        assert await client.read_close() == 1001
        await draining


async def test_abort_during_a_drain() -> None:
    server = await ws_create_server(ANY_PORT, Echo)
    async with await RawClient.open(sockname(server)) as client:
        draining = start(server, spread=LONG / 2, timeout=LONG)
        await eventually(lambda: not server.is_serving())
        server.abort_clients()
        assert await client.read_to_end() == b""
        await draining


async def test_drain_after_close() -> None:
    server = await ws_create_server(ANY_PORT, Echo)
    async with await RawClient.open(sockname(server)) as client:
        server.close(close_clients=False)
        draining = start(server, grace=LONG / 2, timeout=LONG)
        assert await client.read_close() == 1012
        client.write_close(1012)
        await draining
    await server.drain()
    await server.wait_closed()


async def test_drain_of_a_server_that_is_being_closed() -> None:
    server = await ws_create_server(ANY_PORT, Echo)
    async with await RawClient.open(sockname(server)) as client:
        server.close()
        draining = start(server)
        assert await client.read_close() == 1001
        client.write_close(1001)
        await draining


async def test_drain_within_async_with() -> None:
    async with ws_create_server(ANY_PORT, Echo) as server:
        client = await RawClient.open(sockname(server))
        serving = asyncio.ensure_future(server.serve_forever())
        draining = start(server)
        assert await client.read_close() == 1012
        client.write_close(1012)
        await draining
        with pytest.raises(asyncio.CancelledError):
            await serving
    await client.close()


async def test_end_now() -> None:
    """CLOSE to everybody, and nobody's answer is waited for."""
    cancelled: List[bool] = []

    async def handler(connection: WSConnection) -> None:
        try:
            await asyncio.sleep(LONG)
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    server = await serve(handler, ANY_PORT, close_timeout=None)
    async with await RawClient.open(sockname(server)) as client:
        server.end_now(1012, "now")
        await server.wait_closed()
        assert (await client.read_frame()).payload == b"\x03\xf4now"
        assert await client.read_to_end() == b""
    assert cancelled == [True]
