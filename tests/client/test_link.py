"""picows_client.link: what a link says of itself, and how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
import traceback
import weakref
from typing import Any, Callable, List, Set, Type

import pytest

from picows_client import (
    WSHandshakeError,
    WSInvalidStatusError,
    WSInvalidURL,
    WSMsgType,
    WSProxyError,
    WSStateError,
    WSTransport,
)
from picows_client.backoff import WSBackoff
from picows_client.keep_connected import ws_keep_connected
from picows_client.link import WSLink, WSLinkState
from picows_codec import WSConnectionClosed
from tests.client.exchange import Recorder, plain_choices, serve_echo, tls_choices
from tests.support.certificates import Certificates
from tests.support.leaks import eventually
from tests.support.loops import other_tasks
from tests.support.rawpeer import RawConnection, raw_peer

Run = Callable[..., Any]

CONNECTING = WSLinkState.CONNECTING
SOON = WSBackoff(base=0.001, longest=0.001)
NEVER = WSBackoff(first=1000.0)


async def close_at_once(peer: RawConnection) -> None:
    await peer.accept_upgrade()
    peer.write_frame(8, b"\x03\xf4restart")
    await peer.read_frame()


async def hold(peer: RawConnection) -> Any:
    """Accept, and answer the CLOSE frame whose payload is returned."""
    await peer.accept_upgrade()
    frame = await peer.read_frame()
    peer.write_frame(8, frame.payload)
    return frame.payload


async def answer_late(peer: RawConnection) -> Any:
    await peer.accept_upgrade()
    frame = await peer.read_frame()
    await asyncio.sleep(0.05)
    peer.write_frame(8, frame.payload)
    return frame.payload


async def refuse(peer: RawConnection) -> None:
    await peer.read_request()
    peer.respond("404 Not Found", [("Content-Length", "0")])


@plain_choices
def test_one_connection_after_another(run: Run, backend: str) -> None:
    states: List[WSLinkState] = []
    listener = Recorder()

    async def main() -> None:
        async with raw_peer(close_at_once) as peer:
            async with ws_keep_connected(
                peer.url(),
                listener,
                backoff=SOON,
                backend=backend,
                on_change=lambda link: states.append(link.state),
            ) as link:
                assert repr(link).startswith("<WSLink ")
                await eventually(lambda: listener.events.count("disconnected") >= 3)
                error = link.last_error
                assert isinstance(error, WSConnectionClosed)
                assert (error.code, error.reason) == (1012, "restart")
                assert link.attempts >= 3
            assert link.state is WSLinkState.CLOSED
        assert not other_tasks()

    run(main)
    assert listener.events[:4] == ["connected", "disconnected"] * 2
    assert states[:5] == [
        WSLinkState.CONNECTING,
        WSLinkState.CONNECTED,
        WSLinkState.WAITING,
        WSLinkState.CONNECTING,
        WSLinkState.CONNECTED,
    ]
    assert states[-1] is WSLinkState.CLOSED


def test_transport_in_callbacks(run: Run) -> None:
    """In on_ws_connected the link has the new transport already, for whoever subscribes there."""
    seen: List[Any] = []

    class Subscriber(Recorder):
        def on_ws_connected(self, transport: WSTransport) -> None:
            seen.append((link.transport is transport, link.listener is self))
            link.send(WSMsgType.TEXT, b"subscribe")

        def on_ws_disconnected(self, transport: WSTransport) -> None:
            seen.append(link.transport)

    link: WSLink[Any] = ws_keep_connected("ws://127.0.0.1:1", Subscriber)

    async def main() -> None:
        nonlocal link
        async with raw_peer(serve_echo) as peer:
            link = ws_keep_connected(peer.url(), Subscriber)
            assert link.transport is None
            assert link.listener is None
            async with link:
                transport = await link.wait_connected()
                assert link.transport is transport
                assert isinstance(link.listener, Subscriber)
                await link.listener.got_frame.wait()
                assert link.listener.frames == [(1, b"subscribe")]
            assert link.transport is None

    run(main)
    assert seen == [(True, True), None]


def test_send_while_away(run: Run) -> None:
    async def main() -> None:
        async with raw_peer(close_at_once) as peer, ws_keep_connected(
            peer.url(), Recorder, backoff=NEVER
        ) as link:
            await eventually(lambda: link.state is WSLinkState.WAITING)
            with pytest.raises(
                WSStateError, match=r"waiting for the next attempt.*nothing was sent"
            ):
                link.send(WSMsgType.TEXT, b"order")
        assert peer.accepted == 1

    run(main)


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


def test_error_that_ends_it(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with raw_peer(refuse) as peer:
            link = ws_keep_connected(peer.url(), Recorder)
            async with link:
                with pytest.raises(WSInvalidStatusError):
                    await link.wait_connected()
                with pytest.raises(WSInvalidStatusError):
                    await link.wait_closed()
                assert "last_error: WSInvalidStatusError: " in repr(link)
            async with ws_keep_connected(peer.url(), Recorder) as told:
                with pytest.raises(WSHandshakeError):
                    await told.wait_closed()
            with pytest.raises(WSInvalidStatusError) as caught:  # the block did not look
                async with ws_keep_connected(peer.url(), Recorder) as untold:
                    await eventually(lambda: untold.state is WSLinkState.CLOSED)
            assert caught.value is untold.last_error
            assert peer.accepted == 3

    run(main)
    assert caplog.text.count("the link has ended: ") == 3


def test_error_of_the_block(run: Run) -> None:
    """It is raised, not the link's."""

    async def main() -> None:
        async with raw_peer(refuse) as peer, ws_keep_connected(peer.url(), Recorder) as link:
            await eventually(lambda: link.state is WSLinkState.CLOSED)
            raise KeyError("block")

    with pytest.raises(KeyError, match="block"):
        run(main)


def test_exceptions_of_callbacks(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    """Those of the listener count as a loss, those of on_change are only logged."""

    class Faulty(Recorder):
        def on_ws_connected(self, transport: WSTransport) -> None:
            raise KeyError("listener")

    def on_change(link: WSLink[Any]) -> None:
        raise KeyError("on_change")

    async def main() -> None:
        async with raw_peer(serve_echo) as peer, ws_keep_connected(
            peer.url(), Faulty, backoff=SOON, on_change=on_change
        ) as link:
            await eventually(lambda: peer.accepted >= 3)
            assert isinstance(link.last_error, KeyError)

    run(main)
    assert "on_change raised an exception" in caplog.text


def test_entered_twice(run: Run) -> None:
    async def main() -> None:
        async with raw_peer(hold) as peer:
            link = ws_keep_connected(peer.url(), Recorder)
            with pytest.raises(WSStateError, match="has not been entered"):
                await link.wait_connected()
            with pytest.raises(WSStateError, match="has not been entered"):
                await link.wait_closed()
            with pytest.raises(TypeError, match="a link is not awaited: write async with"):
                await link  # type: ignore[misc]
            async with link:
                with pytest.raises(WSStateError, match="entered once"):
                    await link.__aenter__()
                await link.wait_connected()
            with pytest.raises(WSStateError, match="entered once"):
                await link.__aenter__()

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


def test_wrong_url_is_an_error_when_entered(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        with caplog.at_level(logging.CRITICAL), pytest.raises(WSInvalidURL):
            async with ws_keep_connected("http://127.0.0.1", Recorder):
                pytest.fail("it was entered")

    run(main)


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


def test_type_error_of_a_function(run: Run) -> None:
    """A token server that answered nonsense once is no reason to end."""
    answers: List[Any] = [None, None]

    async def main() -> None:
        async with raw_peer(hold) as peer:

            def url() -> str:
                return str(answers.pop()["url"] if answers else peer.url())

            async with ws_keep_connected(url, Recorder, backoff=SOON) as link:
                await link.wait_connected()

    run(main)


@tls_choices
@pytest.mark.parametrize("is_proxy", [False, True], ids=["server", "proxy"])
def test_certificate_that_does_not_verify(
    run: Run, backend: str, is_proxy: bool, certificates: Certificates
) -> None:
    """Nobody gets a better one by trying again; that of an https:// proxy counts, too."""

    async def main() -> None:
        # It does not know the tests' authority.
        context = ssl.create_default_context()
        async with raw_peer(hold, context=certificates.server_context()) as peer:
            url = peer.url(host="localhost")
            options: Any = {"ssl_context": context}
            if is_proxy:
                options = {"proxy_ssl_context": context, "proxy": url.replace("wss", "https")}
                url = "ws://example.test"
            with pytest.raises((ssl.CertificateError, WSProxyError), match="certificate"):
                async with ws_keep_connected(
                    url, Recorder, backoff=SOON, backend=backend, **options
                ) as link:
                    await asyncio.wait_for(link.wait_connected(), 20)
            assert link.attempts == 1

    run(main)


def peer_tasks(peer: Any) -> Set[Any]:
    return set(peer._tasks)


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


def test_cancelled_error_of_on_change(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    """That of a future that the callback looks at: it is logged, and the link goes on."""
    listener = Recorder()

    async def main() -> None:
        cancelled = asyncio.get_running_loop().create_future()
        cancelled.cancel()
        async with raw_peer(serve_echo) as peer, ws_keep_connected(
            peer.url(), listener, on_change=lambda _: cancelled.result()
        ) as link:
            await link.wait_connected()
            await asyncio.sleep(0)
            link.send(WSMsgType.TEXT, b"x")
            await listener.got_frame.wait()

    run(main)
    assert listener.events == ["connected", "disconnected"]
    assert "on_change raised an exception" in caplog.text


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


def test_error_that_is_raised_again_and_again(run: Run) -> None:
    """Its traceback does not grow, nor does it keep the frames of those who asked."""

    async def main() -> None:
        async with raw_peer(refuse) as peer:
            link = ws_keep_connected(peer.url(), Recorder)
            lengths = []
            with contextlib.suppress(WSInvalidStatusError):
                async with link:
                    for _ in range(3):
                        try:
                            await link.wait_connected()
                        except WSInvalidStatusError as error:
                            lengths.append(len(traceback.extract_tb(error.__traceback__)))
            assert len(lengths) == 3
            assert len(set(lengths)) == 1

    run(main)


@pytest.mark.parametrize("script", [hold, close_at_once])
def test_nothing_refers_to_a_link_that_has_ended(
    run: Run, script: Any, without_collector: None
) -> None:
    refs: List[Any] = []

    async def main() -> None:
        async def hold_it() -> None:
            link = ws_keep_connected(peer.url(), Recorder, backoff=NEVER)
            refs.append(weakref.ref(link))
            async with link:
                await eventually(lambda: peer.accepted and link.state is not CONNECTING)

        async with raw_peer(script) as peer:
            await hold_it()

    run(main)
    assert [ref() for ref in refs] == [None]
