"""picows_client.keep_connected: arguments, what is made anew, and a server that does everything."""

from __future__ import annotations

import asyncio
import inspect
import random
import time
from typing import Any, Awaitable, Callable, Dict, List, Type

import pytest

from picows_client import (
    WSConnectionError,
    WSFrame,
    WSInvalidOptionError,
    WSListener,
    WSMsgType,
    WSTransport,
    connect,
    ws_connect,
)
from picows_client.backoff import WSBackoff
from picows_client.keep_connected import ws_keep_connected
from picows_client.link import WSLinkState
from tests.client.exchange import Recorder
from tests.client.proxies import HttpProxy
from tests.client.test_link import SOON, close_at_once
from tests.support.leaks import eventually
from tests.support.loops import other_tasks
from tests.support.rawpeer import RawConnection, raw_peer
from tests.support.skipping_loop import run_skipping

Run = Callable[..., Any]


def test_signature() -> None:
    """It takes every option of ws_connect but the one that serves a single connection."""
    own = {"url", "listener_or_factory", "logger_name", "backoff", "retry", "max_attempts"}
    own |= {"max_elapsed", "on_change"}
    there = set(inspect.signature(ws_keep_connected).parameters)
    options = set(inspect.signature(ws_connect).parameters)
    assert there == own | options - {"sock", "listener_factory"}
    assert not inspect.iscoroutinefunction(ws_keep_connected)


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"backof": 1}, TypeError, r"no option 'backof': did you mean 'backoff'"),
        ({"sock": None}, TypeError, r"no option 'sock'"),
        ({"retry": 3}, TypeError, r"retry must be a function"),
        ({"on_change": 3}, TypeError, r"on_change must be a function"),
        ({"on_change": asyncio.sleep}, TypeError, r"on_change must be a function"),
        ({"max_attempts": 0}, WSInvalidOptionError, r"max_attempts=0"),
        ({"logger_name": 1}, TypeError, r"logger_name"),
        ({"listener_or_factory": 1}, TypeError, r"listener_factory must be"),
    ],
)
def test_wrong_arguments(options: Dict[str, Any], error: Type[Exception], text: str) -> None:
    arguments = {"url": "ws://127.0.0.1:1", "listener_or_factory": Recorder, **options}
    with pytest.raises(error, match=text):
        ws_keep_connected(**arguments)


def test_made_anew(run: Run) -> None:
    """URL, headers and subprotocols of functions and coroutine functions, for each attempt."""
    numbers = {"url": 0, "headers": 0, "subprotocols": 0}

    async def main() -> None:
        requests: List[Any] = []

        async def script(peer: RawConnection) -> None:
            requests.append(await peer.accept_upgrade())
            peer.write_frame(8)
            await peer.read_frame()

        async with raw_peer(script) as peer:

            async def url() -> str:
                numbers["url"] += 1
                await asyncio.sleep(0)
                return peer.url(f"/{numbers['url']}")

            def headers() -> Dict[str, str]:
                numbers["headers"] += 1
                return {"X-Token": str(numbers["headers"])}

            def subprotocols() -> List[str]:
                numbers["subprotocols"] += 1
                return [f"v{numbers['subprotocols']}"]

            async with ws_keep_connected(
                url, Recorder, backoff=SOON, extra_headers=headers, subprotocols=subprotocols
            ):
                await eventually(lambda: len(requests) >= 3)
        for number, request in enumerate(requests[:3], 1):
            assert request.target == f"/{number}"
            assert request.header("X-Token") == str(number)
            assert request.header("Sec-WebSocket-Protocol") == f"v{number}"

    run(main)


def test_iterators_serve_every_attempt(run: Run) -> None:
    requests: List[Any] = []

    async def main() -> None:
        async def script(peer: RawConnection) -> None:
            requests.append(await peer.accept_upgrade())
            peer.write_frame(8)
            await peer.read_frame()

        async with raw_peer(script) as peer:
            headers, subprotocols = [("A", "1"), ("B", "2")], ["v1", "v2"]
            async with ws_keep_connected(
                peer.url(),
                Recorder,
                backoff=SOON,
                extra_headers=iter(headers),
                subprotocols=(name for name in subprotocols),
            ):
                await eventually(lambda: len(requests) >= 2)
            async for ws in connect(peer.url(), backoff=SOON, extra_headers=iter(headers)):
                await ws.wait_closed()
                if len(requests) >= 5:
                    break

    run(main)
    for request in requests:
        assert (request.header("A"), request.header("B")) == ("1", "2")
    assert [request.header("Sec-WebSocket-Protocol") for request in requests[:2]] == ["v1, v2"] * 2


def test_iterator_of_headers_for_a_proxy(run: Run) -> None:
    async def main() -> None:
        proxy = HttpProxy(hosts={"example.test": "127.0.0.1"})
        async with raw_peer(close_at_once) as server, raw_peer(
            proxy.serve
        ) as peer, ws_keep_connected(
            server.url(host="example.test"),
            Recorder,
            backoff=SOON,
            proxy=f"http://127.0.0.1:{peer.port}",
            proxy_headers=iter([("X-Gateway", "7")]),
        ):
            await eventually(lambda: len(proxy.requests) >= 3)
        assert {request.header("X-Gateway") for request in proxy.requests} == {"7"}

    run(main)


def test_error_of_a_function(run: Run) -> None:
    """A token server that is away is tried again."""
    calls: List[int] = []

    async def main() -> None:
        async with raw_peer(close_at_once) as peer:

            def url() -> str:
                calls.append(1)
                if len(calls) < 3:
                    raise OSError("the token server is away")
                return peer.url()

            async with ws_keep_connected(url, Recorder, backoff=SOON) as link:
                await link.wait_connected()
                assert len(calls) >= 3

    run(main)


# A server that does everything wrong, now and then


class Counter(WSListener):
    """Collects the numbers that the server sends, per connection."""

    def __init__(self) -> None:
        self.connections: List[List[int]] = []

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.connections.append([])
        transport.send(WSMsgType.TEXT, b"subscribe")

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.opcode == WSMsgType.TEXT:
            self.connections[-1].append(int(frame.get_payload_as_bytes()))


async def subscribed(peer: RawConnection) -> None:
    await peer.accept_upgrade()
    assert (await peer.read_frame()).payload == b"subscribe"


async def refuses(peer: RawConnection) -> None:
    await peer.read_request()
    status = random.choice(["429 Too Many", "500 No", "502 Bad", "503 Busy", "418 Teapot"])
    peer.respond(status, [("Content-Length", "0"), ("Retry-After", "1")])


async def resets(peer: RawConnection) -> None:
    if random.random() < 0.5:
        await subscribed(peer)
    peer.reset()


async def stalls(peer: RawConnection) -> None:
    if random.random() < 0.5:
        await subscribed(peer)
        peer.writer.write(b"\x81\x7e")  # half of a header
    await peer.read_to_end()


async def closes(peer: RawConnection) -> None:
    await subscribed(peer)
    code = random.choice([*range(1000, 1004), *range(1007, 1015), 3000, 3999, 4000, 4999])
    peer.write_frame(8, code.to_bytes(2, "big") + b"bye")
    await peer.read_frame()


async def sends_garbage(peer: RawConnection) -> None:
    if random.random() < 0.5:
        await subscribed(peer)
    peer.writer.write(random.Random(1).randbytes(200) if hasattr(random, "randbytes") else b"\xff")
    await peer.read_to_end()


async def leaves(peer: RawConnection) -> None:
    if random.random() < 0.5:
        await peer.read_request()


FAULTS: List[Callable[[RawConnection], Awaitable[None]]] = [
    refuses,
    resets,
    stalls,
    closes,
    sends_garbage,
    leaves,
]


async def behave_until(end: Callable[[], bool], backoff: WSBackoff) -> None:
    """A link to a server that fails in every way, and in between sends 100 numbers in order."""
    listener = Counter()
    whole: List[int] = []

    async def script(peer: RawConnection) -> None:
        if random.random() < 0.6:
            await random.choice(FAULTS)(peer)
            return
        await subscribed(peer)
        for number in range(100):
            peer.write_frame(1, str(number).encode())
            if number % 25 == 0:
                await asyncio.sleep(0.01)
        peer.write_frame(8, b"\x03\xe8")
        await peer.read_frame()
        whole.append(1)

    async with raw_peer(script) as peer:
        async with ws_keep_connected(
            peer.url(),
            listener,
            backoff=backoff,
            websocket_handshake_timeout=0.2,
            close_timeout=0.2,
            enable_auto_ping=True,
            auto_ping_idle_timeout=0.2,
            auto_ping_reply_timeout=0.2,
        ) as link:
            await eventually(end, timeout=45.0)
        assert link.state is WSLinkState.CLOSED
        assert link.transport is None
    assert not other_tasks()
    assert whole
    complete = [numbers for numbers in listener.connections if len(numbers) == 100]
    assert len(complete) >= len(whole) - 1  # the last one may have met the end of the link
    for numbers in listener.connections:
        assert numbers == list(range(len(numbers)))  # in order, from the first one on


def test_chaos(run: Run) -> None:
    """In real time; ten times as long with ``-m soak``."""
    backoff = WSBackoff(base=0.001, longest=0.005, longest_retry_after=0.01)

    async def main() -> None:
        end = time.monotonic() + 3.0
        await behave_until(lambda: time.monotonic() > end, backoff)

    run(main)


def test_chaos_in_time_that_jumps() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        end = loop.time() + 60.0
        await behave_until(lambda: loop.time() > end, WSBackoff())

    run_skipping(main)


def test_error_is_the_last_one(run: Run) -> None:
    async def main() -> None:
        async with raw_peer(close_at_once) as peer, ws_keep_connected(
            peer.url(), Recorder, backoff=SOON, max_attempts=2
        ) as link:
            with pytest.raises(WSConnectionError):
                await link.wait_closed()
            assert peer.accepted == 2

    run(main)
