"""picows_client.link: how a link ends: left, closed, cancelled, or by an error of the program."""

from __future__ import annotations

import asyncio
from typing import Any, Callable, List, Set, Type

import pytest

from picows_client import (
    WSStateError,
    WSTransport,
)
from picows_client.backoff import WSBackoff
from picows_client.keep_connected import ws_keep_connected
from picows_client.link import WSLink, WSLinkState
from tests.client.exchange import (
    Recorder,
    close_at_once,
    hold,
    refuse,
    serve_echo,
)
from tests.support.leaks import eventually
from tests.support.loops import other_tasks
from tests.support.rawpeer import RawConnection, raw_peer

Run = Callable[..., Any]
SOON = WSBackoff(base=0.001, longest=0.001)
NEVER = WSBackoff(first=1000.0)


def peer_tasks(peer: Any) -> Set[Any]:
    return set(peer._tasks)


async def answer_late(peer: RawConnection) -> Any:
    await peer.accept_upgrade()
    frame = await peer.read_frame()
    await asyncio.sleep(0.05)
    peer.write_frame(8, frame.payload)
    return frame.payload


def test_leaving_while_connected(run: Run) -> None:
    listener = Recorder()

    async def main() -> None:
        async with raw_peer(hold) as peer:
            async with ws_keep_connected(peer.url(), listener) as link:
                await link.wait_connected()
            assert not other_tasks() - peer_tasks(peer)
            await peer.finished()
            assert peer.results == [b"\x03\xe8"]

    run(main)
    assert listener.events == ["connected", "disconnected"]


def test_leaving_while_waiting(run: Run) -> None:
    async def main() -> None:
        async with raw_peer(close_at_once) as peer:
            async with ws_keep_connected(peer.url(), Recorder, backoff=NEVER) as link:
                await eventually(lambda: link.state is WSLinkState.WAITING)
            assert link.state is WSLinkState.CLOSED

    run(main)


def test_leaving_in_the_handshake(run: Run) -> None:
    async def silent(peer: RawConnection) -> None:
        await peer.read_request()
        await peer.read_to_end()

    async def main() -> None:
        async with raw_peer(silent) as peer:
            async with ws_keep_connected(peer.url(), Recorder) as link:
                await eventually(lambda: peer.accepted)
                assert link.state is WSLinkState.CONNECTING
            assert link.state is WSLinkState.CLOSED

    run(main)


def test_leaving_while_the_url_is_made(run: Run) -> None:
    ended: List[str] = []

    async def make() -> str:
        try:
            await asyncio.sleep(1000)
        finally:
            ended.append("ended")
        return "ws://127.0.0.1:1"

    async def main() -> None:
        async with ws_keep_connected(make, Recorder):
            await asyncio.sleep(0)
        assert ended == ["ended"]

    run(main)


def test_close_from_a_callback(run: Run) -> None:
    async def main() -> None:
        async with raw_peer(hold) as peer:

            def close(link: WSLink[Any]) -> None:
                if link.state is WSLinkState.CONNECTED:
                    link.close()

            async with ws_keep_connected(peer.url(), Recorder, on_change=close) as link:
                await link.wait_closed()
                assert link.state is WSLinkState.CLOSED
                with pytest.raises(WSStateError, match="the link was closed"):
                    await link.wait_connected()
        assert peer.results == [b"\x03\xe8"]

    run(main)


def test_error_of_the_block(run: Run) -> None:
    """It is raised, not the link's."""

    async def main() -> None:
        async with raw_peer(refuse) as peer, ws_keep_connected(peer.url(), Recorder) as link:
            await eventually(lambda: link.state is WSLinkState.CLOSED)
            raise KeyError("block")

    with pytest.raises(KeyError, match="block"):
        run(main)


def test_waiting_tasks_may_be_cancelled(run: Run) -> None:
    async def main() -> None:
        async with raw_peer(hold) as peer:
            release = asyncio.Event()

            async def url() -> str:
                await release.wait()
                return peer.url()

            async with ws_keep_connected(url, Recorder) as link:
                first = asyncio.ensure_future(link.wait_connected())
                second = asyncio.ensure_future(link.wait_connected())
                await asyncio.sleep(0)
                first.cancel()
                release.set()
                assert await second is link.transport
                assert first.cancelled()

    run(main)


def test_cancelled_while_leaving(run: Run) -> None:
    """The peer does not answer the CLOSE frame; a second cancellation drops the connection."""

    async def ignore(peer: RawConnection) -> None:
        await peer.accept_upgrade()
        await peer.read_to_end()

    listener = Recorder()

    async def main() -> None:
        async with raw_peer(ignore) as peer:

            async def hold_it() -> None:
                async with ws_keep_connected(peer.url(), listener, close_timeout=None) as link:
                    await link.wait_connected()
                    link.close()
                    await asyncio.sleep(0.01)
                    link.close()
                    await link.wait_closed()

            await asyncio.wait_for(hold_it(), 20)

    run(main)
    assert listener.events == ["connected", "disconnected"]


def test_cancelled_while_entered(run: Run) -> None:
    """A block that is not entered is not left either: nothing may stay behind."""

    async def enter(url: str) -> None:
        async with ws_keep_connected(url, Recorder):
            pytest.fail("it was entered")

    async def main() -> None:
        async with raw_peer(hold) as peer:
            task = asyncio.ensure_future(enter(peer.url()))
            asyncio.get_running_loop().call_soon(task.cancel)
            with pytest.raises(asyncio.CancelledError):
                await task
            assert peer.accepted <= 1

    run(main)


def test_close_and_leave(run: Run) -> None:
    """Leaving the block after close() waits for the closing handshake that is under way."""

    listener = Recorder()

    async def main() -> None:
        async with raw_peer(answer_late) as peer:
            async with ws_keep_connected(peer.url(), listener) as link:
                transport = await link.wait_connected()
                link.close()
            assert transport.close_handshake is not None
            assert transport.close_handshake.recv is not None
            await peer.finished()
            assert peer.results == [b"\x03\xe8"]

    run(main)


def test_cancelled_while_the_peer_does_not_answer(run: Run) -> None:
    async def ignore(peer: RawConnection) -> None:
        await peer.accept_upgrade()
        await peer.read_to_end()

    async def hold_it(url: str, closing: asyncio.Event) -> None:
        async with ws_keep_connected(url, Recorder, close_timeout=None) as link:
            await link.wait_connected()
            closing.set()

    async def main() -> None:
        closing = asyncio.Event()
        async with raw_peer(ignore) as peer:
            task = asyncio.ensure_future(hold_it(peer.url(), closing))
            await closing.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asyncio.wait_for(task, 10)
            await peer.finished()

    run(main)


@pytest.mark.parametrize("where", ["on_ws_connected", "on_ws_disconnected", "factory"])
def test_close_from_the_listener(run: Run, where: str) -> None:
    class Closer(Recorder):
        def __init__(self) -> None:
            super().__init__()
            if where == "factory":
                link.close()

        def on_ws_connected(self, transport: WSTransport) -> None:
            if where == "on_ws_connected":
                link.close()

        def on_ws_disconnected(self, transport: WSTransport) -> None:
            if where == "on_ws_disconnected":
                link.close()

    link: WSLink[Any] = ws_keep_connected("ws://127.0.0.1:1", Recorder)

    async def main() -> None:
        nonlocal link
        async with raw_peer(close_at_once) as peer:
            async with ws_keep_connected(peer.url(), Closer, backoff=NEVER) as link:
                await asyncio.wait_for(link.wait_closed(), 10)
            assert not other_tasks() - peer_tasks(peer)

    run(main)


def test_cancellation_that_is_not_ours(run: Run) -> None:
    """The function awaits what somebody cancels: the program learns that the link has ended."""

    async def main() -> None:
        token = asyncio.get_running_loop().create_future()

        async def url() -> str:
            return str(await token)

        async with ws_keep_connected(url, Recorder) as link:
            token.cancel()
            with pytest.raises(WSStateError, match="cancelled, but not by close"):
                await link.wait_connected()

    run(main)


def test_all_tasks_are_cancelled(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    """As asyncio.run does after Ctrl-C before Python 3.11: the connection is closed in order."""

    async def hold_it(url: str) -> None:
        async with ws_keep_connected(url, Recorder) as link:
            found.append((link, await link.wait_connected()))
            await asyncio.sleep(1000)

    found: List[Any] = []

    async def main() -> None:
        async with raw_peer(answer_late) as peer:
            task = asyncio.ensure_future(hold_it(peer.url()))
            await eventually(lambda: found)
            found[0][0]._task.cancel()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await peer.finished()
            assert peer.results == [b"\x03\xe8"]
            closing = found[0][1].close_handshake
            assert closing is not None
            assert closing.recv is not None

    run(main)
    assert "the link has ended" not in caplog.text


@pytest.mark.parametrize("converted_to", [None, OSError("no token")])
def test_function_that_swallows_the_cancellation(run: Run, converted_to: Any) -> None:
    """As some HTTP clients do. The link ends all the same, and connects no more."""

    async def main() -> None:
        async with raw_peer(hold) as peer:
            asked = asyncio.Event()

            async def url() -> str:
                asked.set()
                try:
                    await asyncio.sleep(1000)
                except asyncio.CancelledError:
                    if converted_to is not None:
                        raise converted_to from None
                return peer.url()

            async def hold_it() -> None:
                async with ws_keep_connected(url, Recorder, backoff=SOON) as link:
                    await asked.wait()
                assert link.state is WSLinkState.CLOSED

            await asyncio.wait_for(hold_it(), 20)
            await peer.finished()
            assert peer.results == ([b"\x03\xe8"] if converted_to is None else [])

    run(main)


def test_cancelled_error_of_retry(run: Run) -> None:
    """The program learns that the link has ended."""

    def retry(_: object) -> bool:
        raise asyncio.CancelledError

    async def main() -> None:
        async with raw_peer(close_at_once) as peer, ws_keep_connected(
            peer.url(), Recorder, retry=retry
        ) as link:
            with pytest.raises(WSStateError, match="cancelled, but not by close"):
                await link.wait_closed()

    run(main)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_interrupted_in_on_change(run: Run, error: Type[BaseException]) -> None:
    """The connection does not outlive its link."""
    listener = Recorder()

    def interrupt(link: WSLink[Any]) -> None:
        if link.state is WSLinkState.CONNECTED:
            raise error

    async def main() -> None:
        async with raw_peer(serve_echo) as peer, ws_keep_connected(
            peer.url(), listener, on_change=interrupt
        ) as link:
            await link.wait_closed()

    with pytest.raises(error):
        run(main)
    assert listener.events == ["connected", "disconnected"]


class Outcome(BaseException):
    """As test frameworks end a test, from whatever place of it."""


@pytest.mark.parametrize("where", ["url", "retry"])
def test_base_exception_of_a_function(run: Run, where: str) -> None:
    """The program learns that the link has ended."""

    def url() -> str:
        if where == "url":
            raise Outcome
        return "ws://127.0.0.1:1"

    def retry(_: object) -> bool:
        raise Outcome

    async def main() -> None:
        with pytest.raises(Outcome):
            async with ws_keep_connected(url, Recorder, retry=retry) as link:
                await link.wait_closed()

    run(main)
