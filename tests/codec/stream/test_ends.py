"""How a connection over a plain socket ends, and what is left of it."""

from __future__ import annotations

import asyncio
import socket
import weakref
from typing import Awaitable, Callable

import pytest

from picows_codec import WSDisconnectKind, WSListener
from tests.support import frames
from tests.support.connection import Recorder, both_roles
from tests.support.frames import BINARY, CLOSE, PING, PONG, TEXT, Frame
from tests.support.leaks import open_descriptors
from tests.support.stream_link import (
    Link,
    Run,
    kind_of,
    poller_for,
    reset,
    watched_by,
)

# Ends


@both_roles
@watched_by
def test_closing_handshake(run: Run, role: str, polled: bool) -> None:
    async def main() -> None:
        async with Link(role, polled=polled) as link:
            await link.send_frame(CLOSE, frames.close_payload(1001))
            assert await link.recv(1) == [Frame(CLOSE, frames.close_payload(1001))]
            if role == "client":
                link.peer.shutdown(socket.SHUT_WR)
            assert await link.read_to_end() == b""
            await link.lost()
            assert kind_of(link) is WSDisconnectKind.PEER_CLOSE
            assert link.socket.fileno() == -1
            assert link.listener.count("disconnected") == 1

    run(main)


@both_roles
@watched_by
@pytest.mark.parametrize("queued", [True, False])
def test_abort(run: Run, role: str, polled: bool, queued: bool) -> None:
    async def main() -> None:
        async with Link(role, polled=polled, buffer_size=4096) as link:
            if queued:
                link.ws.send(BINARY, b"x" * 1_000_000)
            size = link.transport.get_write_buffer_size()
            assert (size > 0) == queued
            link.ws.disconnect(graceful=False)
            link.transport.abort()
            # Never from inside a method.
            assert link.listener.count("disconnected") == 0
            await link.lost()
            assert link.listener.count("disconnected") == 1
            assert link.ws.disconnect_cause is not None
            assert link.ws.disconnect_cause.kind is WSDisconnectKind.LOCAL_ABORT
            assert link.ws.disconnect_cause.unsent_bytes == size
            assert link.socket.fileno() == -1
            assert link.transport.get_protocol() is None

    run(main)


@both_roles
@watched_by
def test_half_close_of_the_peer(run: Run, role: str, polled: bool) -> None:
    async def main() -> None:
        async with Link(role, polled=polled, buffer_size=4096) as link:
            link.ws.send(BINARY, b"x" * 100_000)
            await link.send_frame(TEXT, b"last words")
            link.peer.shutdown(socket.SHUT_WR)
            # What was queued still arrives.
            assert await link.recv(1) == [Frame(BINARY, b"x" * 100_000)]
            assert await link.read_to_end() == b""
            await link.lost()
            assert link.listener.frames == [(TEXT, b"last words", True)]
            assert kind_of(link) is WSDisconnectKind.CONNECTION_LOST

    run(main)


@both_roles
@watched_by
def test_peer_that_goes_away(run: Run, role: str, polled: bool) -> None:
    async def main() -> None:
        async with Link(role, polled=polled, tcp=True) as link:
            link.peer.close()
            await link.lost()
            assert kind_of(link) is WSDisconnectKind.CONNECTION_LOST
            assert link.listener.events == [("connected",), ("disconnected",)]

    run(main)


@both_roles
@watched_by
@pytest.mark.parametrize("queued", [0, 10_000_000])
def test_reset(run: Run, role: str, polled: bool, queued: int) -> None:
    async def main() -> None:
        async with Link(role, polled=polled, tcp=True) as link:
            if queued:
                link.ws.send(BINARY, b"x" * queued)
            reset(link.peer)
            await link.lost()
            cause = link.ws.disconnect_cause
            assert cause is not None
            assert cause.kind is WSDisconnectKind.CONNECTION_LOST
            assert isinstance(cause.exception, ConnectionError)
            assert (cause.unsent_bytes > 0) == (queued > 0)
            assert link.listener.count("disconnected") == 1

    run(main)


@both_roles
@watched_by
def test_violation(run: Run, role: str, polled: bool) -> None:
    """The CLOSE frame is not lost to a reset although the peer goes on sending."""

    async def main() -> None:
        async with Link(role, polled=polled, tcp=True) as link:
            await link.send(link.build(TEXT, b"first") + link.build(3) + b"\xff" * 100_000)
            await link.send(b"\xff" * 100_000)
            await asyncio.sleep(0.05)
            await link.send(b"\xff" * 100_000)
            (close,) = await link.recv(1)
            assert close.payload[:2] == frames.close_payload(1002)
            assert await link.read_some() == b""
            assert not link.ws.is_disconnected
            link.peer.close()
            await link.lost()
            assert kind_of(link) is WSDisconnectKind.PROTOCOL_ERROR
            assert link.listener.frames == [(TEXT, b"first", True)]

    run(main)


@both_roles
def test_violation_of_a_peer_that_stays(run: Run, role: str) -> None:
    async def main() -> None:
        async with Link(role, tcp=True, close_timeout=0.05) as link:
            await link.send(link.build(3))
            await link.lost()
            assert kind_of(link) is WSDisconnectKind.PROTOCOL_ERROR

    run(main)


@both_roles
@watched_by
@pytest.mark.parametrize("graceful", [True, False])
def test_disconnect_inside_a_callback(run: Run, role: str, polled: bool, graceful: bool) -> None:
    async def main() -> None:
        with poller_for(polled) as poller:
            listener = Recorder()
            listener.act("on_ws_frame", lambda transport, _: transport.disconnect(graceful))
            async with Link(role, listener, poller=poller) as link:
                await link.send(link.build(TEXT, b"1") + link.build(TEXT, b"2"))
                if graceful:
                    assert [frame.opcode for frame in await link.recv(1)] == [CLOSE]
                    await link.send_frame(CLOSE)
                    link.peer.close()
                await link.lost()
                assert listener.events == [("connected",), (TEXT, b"1", True), ("disconnected",)]

    run(main)


# What is left


Ending = Callable[[Link], Awaitable[None]]


async def end_by_close(link: Link) -> None:
    await link.send_frame(CLOSE)
    await link.recv(1)
    link.peer.close()


async def end_by_abort(link: Link) -> None:
    link.ws.send(BINARY, b"x" * 1_000_000)
    link.ws.disconnect(graceful=False)


async def end_by_peer(link: Link) -> None:
    link.peer.close()


async def end_by_violation(link: Link) -> None:
    await link.send_frame(3)
    link.peer.close()


async def end_by_listener(link: Link) -> None:
    link.listener.act("on_ws_frame", lambda *_: {}["missing"])
    await link.send_frame(TEXT)
    link.peer.close()


@both_roles
@watched_by
@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize(
    "end", [end_by_close, end_by_abort, end_by_peer, end_by_violation, end_by_listener]
)
@pytest.mark.parametrize("busy_poll", [True, False])
def test_nothing_is_left(run: Run, role: str, polled: bool, end: Ending, busy_poll: bool) -> None:
    async def main() -> None:
        before = open_descriptors()
        with poller_for(polled) as poller:
            link = Link(role, poller=poller, busy_poll=busy_poll)
            await link.open()
            alive = [
                weakref.ref(each)
                for each in (link.endpoint, link.ws, link.transport, link.listener, link.socket)
            ]
            await end(link)
            await link.lost()
            link.peer.close()
            del link
            for _ in range(3):
                await asyncio.sleep(0)
            assert [each() for each in alive] == [None] * len(alive)
        assert open_descriptors() == before

    run(main)


def test_listener_of_its_own_class(run: Run) -> None:
    """A listener without any callback in Python is served without one."""

    async def main() -> None:
        async with Link("server", WSListener()) as link:
            await link.send_frame(TEXT, b"x")
            await link.send_frame(PING, b"p")
            assert await link.recv(1) == [Frame(PONG, b"p")]

    run(main)
