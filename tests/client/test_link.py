"""picows_client.link: what a link says of itself, and how it goes on."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
import traceback
import weakref
from typing import Any, Callable, List

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
from tests.client.exchange import (
    Recorder,
    close_at_once,
    hold,
    plain_choices,
    refuse,
    serve_echo,
    tls_choices,
)
from tests.support.certificates import Certificates
from tests.support.leaks import eventually
from tests.support.loops import other_tasks
from tests.support.rawpeer import raw_peer

Run = Callable[..., Any]
CONNECTING = WSLinkState.CONNECTING
SOON = WSBackoff(base=0.001, longest=0.001)
NEVER = WSBackoff(first=1000.0)


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


def test_wrong_url_is_an_error_when_entered(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        with caplog.at_level(logging.CRITICAL), pytest.raises(WSInvalidURL):
            async with ws_keep_connected("http://127.0.0.1", Recorder):
                pytest.fail("it was entered")

    run(main)


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
