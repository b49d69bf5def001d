"""picows_client.connections: ``async for ws in connect(...)``."""

from __future__ import annotations

import asyncio
import socket
from typing import Any, Callable, List

import pytest

from picows_client import (
    WSInvalidOptionError,
    WSInvalidStatusError,
    WSInvalidURL,
    WSState,
    connect,
)
from picows_client.backoff import WSBackoff
from picows_codec import WSConnectionClosed
from tests.client.test_link import SOON, close_at_once, hold, refuse
from tests.support.leaks import eventually
from tests.support.loops import other_tasks
from tests.support.rawpeer import RawConnection, raw_peer
from tests.support.skipping_loop import run_skipping

Run = Callable[..., Any]


async def send_numbers(peer: RawConnection) -> None:
    await peer.accept_upgrade()
    for number in range(3):
        peer.write_frame(1, str(number).encode())
    peer.write_frame(8, b"\x03\xe8")
    await peer.read_frame()


def test_one_after_another(run: Run) -> None:
    messages: List[Any] = []

    async def main() -> None:
        async with raw_peer(send_numbers) as peer:
            async for ws in connect(peer.url(), backoff=SOON):
                messages.append([message async for message in ws])
                if len(messages) == 3:
                    break
            await eventually(lambda: ws.state is WSState.CLOSED)
            assert peer.accepted == 3

    run(main)
    assert messages == [["0", "1", "2"]] * 3


def test_losses(run: Run) -> None:
    """As written for other libraries: whoever loses a connection continues."""
    errors: List[Any] = []

    async def main() -> None:
        async with raw_peer(close_at_once) as peer:
            async for ws in connect(peer.url(), backoff=SOON):
                try:
                    await ws.recv()
                except WSConnectionClosed as error:
                    errors.append(error.code)
                    if len(errors) < 3:
                        continue
                    return

    run(main)
    assert errors == [1012] * 3


def test_work_on_a_lost_connection() -> None:
    """It makes no connection stable that the server has closed at once."""
    ended = 0

    async def follow(url: str) -> None:
        nonlocal ended
        backoff = WSBackoff(stable_after=1000.0)
        async for ws in connect(url, backoff=backoff, max_attempts=3):
            await ws.wait_closed()
            await asyncio.sleep(5000.0)
            ended += 1
            assert ended <= 3

    async def main() -> None:
        async with raw_peer(close_at_once) as peer:
            with pytest.raises(WSConnectionClosed):
                await follow(peer.url())

    run_skipping(main)
    assert ended == 3


def test_open_connections_are_closed(run: Run) -> None:
    """By ``continue`` before the next is opened, by ``break`` and by an exception soon after."""

    async def main() -> None:
        async with raw_peer(hold) as peer:
            found: List[Any] = []

            async def follow() -> None:
                async for ws in connect(peer.url(), backoff=SOON):
                    assert all(earlier.state is WSState.CLOSED for earlier in found)
                    found.append(ws)
                    if len(found) == 3:
                        raise KeyError

            with pytest.raises(KeyError):
                await follow()
            await eventually(lambda: found[-1].state is WSState.CLOSED)
            await peer.finished()
            assert peer.results == [b"\x03\xe8"] * 3
            assert not other_tasks() - set(peer._tasks)

    run(main)


def test_options_without_iteration(run: Run) -> None:
    """They would have no effect."""

    async def main() -> None:
        async with raw_peer(hold) as peer:
            with pytest.raises(WSInvalidOptionError, match=r"backoff=, max_attempts= .*async for"):
                await connect(peer.url(), backoff=SOON, max_attempts=5)
            with pytest.raises(WSInvalidOptionError, match=r"retry= .*ws_keep_connected"):
                async with connect(peer.url(), retry=lambda _: False):
                    pass
            with pytest.raises(WSInvalidOptionError):
                await asyncio.ensure_future(connect(peer.url(), max_elapsed=1.0))
            assert peer.accepted == 0

    run(main)
    with pytest.raises(TypeError, match="backoff must be a WSBackoff"):
        connect("ws://127.0.0.1:1", backoff=3)  # type: ignore[arg-type]


async def anext_of(call: Any) -> Any:
    return await call.__aiter__().__anext__()


def test_error_that_lasts(run: Run) -> None:
    async def main() -> None:
        async with raw_peer(refuse) as peer:
            with pytest.raises(WSInvalidStatusError):
                await anext_of(connect(peer.url()))
            with pytest.raises(WSInvalidURL):
                await anext_of(connect("http://127.0.0.1"))
            with pytest.raises(WSInvalidStatusError):
                await anext_of(
                    connect(peer.url(), retry=lambda _: True, max_attempts=3, backoff=SOON)
                )
            assert peer.accepted == 4

    run(main)


def test_url_of_a_function(run: Run) -> None:
    """For a single connection, too."""

    async def main() -> None:
        async with raw_peer(hold) as peer:

            async def url() -> str:
                return peer.url("/token")

            async with connect(url) as ws:
                assert ws.request.path == "/token"

    run(main)


def test_cancelled_in_a_pause(run: Run) -> None:
    async def main() -> None:
        async with raw_peer(close_at_once) as peer:

            async def follow() -> None:
                async for ws in connect(peer.url(), backoff=WSBackoff(first=1000.0)):
                    await ws.wait_closed()

            task = asyncio.ensure_future(follow())
            await eventually(lambda: peer.results)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            # The collector may have one more task close the generator.
            await eventually(lambda: not other_tasks() - set(peer._tasks))

    run(main)


def test_one_use(run: Run) -> None:
    async def main() -> None:
        async with raw_peer(hold) as peer:
            call = connect(peer.url())
            async with call:
                pass
            with pytest.raises(RuntimeError, match="awaited already"):
                call.__aiter__()
            call = connect(peer.url())
            call.__aiter__()
            with pytest.raises(RuntimeError, match="awaited already"):
                await call

    run(main)


def test_socket_serves_one_connection(run: Run) -> None:
    async def main() -> None:
        ours, theirs = socket.socketpair()
        call = connect("ws://localhost", sock=ours)
        with ours, theirs, pytest.raises(WSInvalidOptionError, match="write socket_factory="):
            call.__aiter__()

    run(main)
