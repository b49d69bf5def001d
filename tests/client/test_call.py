"""picows_client.call: ``async with ws_connect(...)`` ends the connection, whatever happens."""

from __future__ import annotations

import asyncio
from typing import Any, Callable, List

import pytest

from picows_client import WSDisconnectKind, WSState, ws_connect
from tests.client.exchange import Recorder, serve_echo
from tests.support.loops import other_tasks
from tests.support.rawpeer import RawConnection, raw_peer
from tests.support.servers import PLAIN_BACKENDS

Run = Callable[..., Any]

every_backend = pytest.mark.parametrize("backend", PLAIN_BACKENDS)


async def read_close(peer: RawConnection) -> bytes:
    """Script of a raw peer: answer the CLOSE frame; returns its payload."""
    await peer.accept_upgrade()
    frame = await peer.read_frame()
    assert frame.opcode == 8
    peer.write_frame(8, frame.payload)
    return frame.payload


async def ignore_close(peer: RawConnection) -> bytes:
    """Script of a raw peer that reads a CLOSE frame and does not answer."""
    await peer.accept_upgrade()
    frame = await peer.read_frame()
    await peer.read_to_end()
    return frame.payload


@every_backend
def test_end_of_the_block(run: Run, backend: str) -> None:
    async def main() -> None:
        async with raw_peer(read_close) as peer:
            async with ws_connect(peer.url(), Recorder, backend=backend) as (transport, listener):
                assert transport.state is WSState.OPEN
                assert listener.events == ["connected"]
                assert other_tasks().isdisjoint({asyncio.current_task()})
            assert transport.is_disconnected
            assert listener.events == ["connected", "disconnected"]
            await peer.finished()
            assert peer.results == [b"\x03\xe8"]

    run(main)


@every_backend
def test_cancelled(run: Run, backend: str) -> None:
    """The peer gets a CLOSE frame, and the listener is told, before the task ends."""
    listeners: List[Recorder] = []

    async def main() -> None:
        async with raw_peer(read_close) as peer:
            is_open = asyncio.Event()

            async def client() -> None:
                async with ws_connect(peer.url(), Recorder, backend=backend) as (_, listener):
                    listeners.append(listener)
                    is_open.set()
                    await asyncio.sleep(60)

            task = asyncio.ensure_future(client())
            await is_open.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert listeners[0].events == ["connected", "disconnected"]
            await peer.finished()
            assert peer.results == [b"\x03\xe8"]

    run(main)


@every_backend
def test_cancelled_twice(run: Run, backend: str) -> None:
    """The second time nobody waits for the peer."""

    async def main() -> None:
        async with raw_peer(ignore_close) as peer:
            entered: List[Any] = []
            is_open = asyncio.Event()

            async def client() -> None:
                async with ws_connect(
                    peer.url(), Recorder, backend=backend, close_timeout=None
                ) as pair:
                    entered.extend(pair)
                    is_open.set()
                    await asyncio.sleep(60)

            task = asyncio.ensure_future(client())
            await is_open.wait()
            transport, listener = entered
            task.cancel()
            while transport.state is WSState.OPEN:
                await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert not task.done()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert listener.events == ["connected", "disconnected"]
            assert transport.is_disconnected
            await peer.finished()
            assert peer.results == [b"\x03\xe8"]

    run(main)


def test_body_that_raises(run: Run) -> None:
    async def main() -> None:
        async with raw_peer(read_close) as peer:
            with pytest.raises(KeyError):
                async with ws_connect(peer.url(), Recorder) as (transport, _):
                    raise KeyError
            assert transport.disconnect_cause is not None
            assert transport.disconnect_cause.kind is WSDisconnectKind.LOCAL_CLOSE

    run(main)


def test_connection_that_has_ended(run: Run) -> None:
    async def main() -> None:
        async with raw_peer(serve_echo) as peer:
            async with ws_connect(peer.url(), Recorder) as (transport, listener):
                transport.disconnect()
                await transport.wait_disconnected()
            assert listener.events == ["connected", "disconnected"]

    run(main)


def test_wait_for_and_gather(run: Run) -> None:
    async def main() -> None:
        async with raw_peer(serve_echo) as peer:
            one, _ = await asyncio.wait_for(ws_connect(peer.url(), Recorder), 10)
            (two, _), (three, _) = await asyncio.gather(
                ws_connect(peer.url(), Recorder), ws_connect(peer.url(), Recorder)
            )
            for transport in (one, two, three):
                transport.disconnect()
                await transport.wait_disconnected()

    run(main)


def test_forgotten() -> None:
    with pytest.warns(RuntimeWarning, match="coroutine 'ws_connect' was never awaited"):
        ws_connect("ws://127.0.0.1:1", Recorder)
