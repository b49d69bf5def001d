"""picows_client.keep_connected: arguments, and what is made anew."""

from __future__ import annotations

import asyncio
import inspect
import logging
from typing import Any, Callable, Dict, List, Type

import pytest

from picows_client import (
    WSConnectionError,
    WSInvalidOptionError,
    WSTransport,
    connect,
    ws_connect,
)
from picows_client.backoff import WSBackoff
from picows_client.keep_connected import ws_keep_connected
from picows_client.protocol import ClientProtocol
from picows_codec import ClientHandshake
from tests.client.exchange import Recorder
from tests.client.proxies import HttpProxy
from tests.client.test_link import SOON, close_at_once
from tests.support.leaks import count_instances, eventually
from tests.support.rawpeer import RawConnection, raw_peer

Run = Callable[..., Any]

# It does not do what a server that refuses by 503 asks for.
IMPATIENT = WSBackoff(base=0.001, longest=0.001, longest_retry_after=0.0)


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


class Faulty(Recorder):
    def on_ws_connected(self, transport: WSTransport) -> None:
        raise KeyError("listener")


async def refuse_busily(peer: RawConnection) -> None:
    await peer.read_request()
    peer.respond("503 Busy", [("Content-Length", "0")])


async def redirect(peer: RawConnection) -> None:
    await peer.redirect("/elsewhere")


async def reset(peer: RawConnection) -> None:
    await peer.accept_upgrade()
    peer.reset()


async def violate(peer: RawConnection) -> None:
    await peer.accept_upgrade()
    peer.writer.write(b"\xff" * 10)


@pytest.mark.parametrize("listener", [Recorder, Faulty])
@pytest.mark.parametrize("script", [close_at_once, refuse_busily, redirect, reset, violate, None])
@pytest.mark.usefixtures("without_collector")
def test_nothing_piles_up(
    run: Run, script: Any, listener: Type[Recorder], caplog: pytest.LogCaptureFixture
) -> None:
    """Of fifty connections and failed attempts nothing waits for the garbage collector."""
    caplog.set_level(logging.CRITICAL, "picows")  # pytest keeps what is logged, with tracebacks

    async def main() -> None:
        async with raw_peer(script or close_at_once) as peer:
            url = "ws://127.0.0.1:1" if script is None else peer.url()
            async with ws_keep_connected(url, listener, backoff=IMPATIENT) as link:
                await eventually(lambda: link.attempts >= 50)
                # The connection that has just ended, and the next, but none before.
                assert count_instances(ClientProtocol) <= 2
                assert count_instances(ClientHandshake) <= 2
        assert count_instances(ClientProtocol) == 0

    run(main)


def test_error_is_the_last_one(run: Run) -> None:
    async def main() -> None:
        async with raw_peer(close_at_once) as peer, ws_keep_connected(
            peer.url(), Recorder, backoff=SOON, max_attempts=2
        ) as link:
            with pytest.raises(WSConnectionError):
                await link.wait_closed()
            assert peer.accepted == 2

    run(main)


def test_arguments_in_the_wrong_place() -> None:
    with pytest.raises(TypeError, match=r"the URL comes first.*: ws_keep_connected\('ws://host'"):
        ws_keep_connected(Recorder, "ws://host")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="ws_keep_connected and connect take a function"):
        asyncio.run(ws_connect(lambda: "ws://host", Recorder))  # type: ignore[arg-type, return-value]
