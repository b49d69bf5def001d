"""One epoll descriptor for many connections, and for transports of others."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import Any, Dict, List

import pytest

from picows_codec import WSDisconnectKind, WSFrame, WSTransport
from tests.support.connection import Recorder, both_roles
from tests.support.frames import BINARY, TEXT, Frame
from tests.support.leaks import eventually, open_descriptors
from tests.support.stream_link import (
    Link,
    Run,
    echo,
    kind_of,
    needs_epoll,
    poller_for,
    run_with_fresh_buffers,
    stream,
    watched_by,
)


@both_roles
@watched_by
def test_busy_poll(run: Run, role: str, polled: bool) -> None:
    async def main() -> None:
        turns = 0

        async def other_task() -> None:
            nonlocal turns
            while True:
                await asyncio.sleep(0)
                turns += 1

        task = asyncio.ensure_future(other_task())
        with poller_for(polled) as poller:
            async with Link(role, echo(), poller=poller, busy_poll=True) as link:
                await exchange(link)
                assert turns > 50
                # With company.
                async with Link(role, echo(), poller=poller, busy_poll=True) as other:
                    await exchange(other)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        # It polls no longer than the connection lives.
        await asyncio.sleep(0.01)

    async def exchange(link: Link) -> None:
        for i in range(50):
            await link.send_frame(BINARY, b"%d" % i)
            assert await link.recv(1) == [Frame(BINARY, b"%d" % i)]
        # Timers fire, too.
        await asyncio.sleep(0.01)
        link.transport.pause_reading()
        await link.send_frame(BINARY, b"unheard")
        await asyncio.sleep(0.01)
        assert len(link.listener.frames) == 50
        link.transport.resume_reading()
        await link.recv(1)

    run(main)


@needs_epoll
@both_roles
def test_poller_with_many_connections(run: Run, role: str) -> None:
    async def main() -> None:
        poller = stream.Poller(asyncio.get_running_loop())
        links = [Link(role, echo(), poller=poller) for _ in range(200)]
        await asyncio.gather(*(link.open() for link in links))
        assert len(poller) == 200
        for turn in range(3):
            for i, link in enumerate(links):
                link.peer.send(link.build(BINARY, b"%d %d" % (turn, i)))
            for i, link in enumerate(links):
                assert await link.recv(1) == [Frame(BINARY, b"%d %d" % (turn, i))]
        for link in links[::2]:
            link.ws.disconnect(graceful=False)
        await asyncio.gather(*(link.lost() for link in links[::2]))
        assert len(poller) == 100
        for link in links[1::2]:
            await link.send_frame(TEXT, b"still here")
            assert await link.recv(1) == [Frame(TEXT, b"still here")]
        for link in links[1::2]:
            link.peer.close()
        await asyncio.gather(*(link.lost() for link in links))
        assert len(poller) == 0
        for link in links:
            link.peer.close()
        poller.close()
        poller.close()

    run(main)


@both_roles
@watched_by
def test_busy_connections_do_not_starve_others(run: Run, role: str, polled: bool) -> None:
    """One read a turn, however many small frames there are: others are served in between."""
    flood = 400

    async def main() -> None:
        with poller_for(polled) as poller, contextlib.ExitStack() as stack:
            options: Dict[str, Any] = {"poller": poller, "read_buffer_init_size": 512}
            busy = [Link(role, **options) for _ in range(3)]
            quiet = [Link(role, echo(), **options) for _ in range(2)]
            for link in busy + quiet:
                stack.callback(link.peer.close)
                await link.open()
            for link in busy:
                link.peer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
                assert link.peer.send(link.build(BINARY, b"x" * 100) * flood) > 90 * flood
            for link in quiet:
                link.peer.send(link.build(TEXT, b"me too"))
            turns = 0
            while not all(link.listener.frames for link in quiet):
                await asyncio.sleep(0)
                turns += 1
                # 512 bytes are five frames and a bit.
                assert all(len(link.listener.frames) <= 6 * (turns + 1) for link in busy)
            assert turns < 10
            assert all(len(link.listener.frames) < flood // 2 for link in busy)
            for link in quiet:
                assert await link.recv(1) == [Frame(TEXT, b"me too")]
            await eventually(lambda: all(len(link.listener.frames) == flood for link in busy))
            for link in busy + quiet:
                link.ws.disconnect(graceful=False)
                await link.lost()

    run_with_fresh_buffers(run, main)


@needs_epoll
def test_more_ready_connections_than_a_batch(run: Run) -> None:
    """Those that a turn has no room for come next, though the first ones are ready again."""

    async def main() -> None:
        with poller_for(True) as poller, contextlib.ExitStack() as stack:
            links = [Link("server", poller=poller, read_buffer_init_size=256) for _ in range(300)]
            for link in links:
                stack.callback(link.peer.close)
            await asyncio.gather(*(link.open() for link in links))
            for link in links:
                link.peer.send(link.build(BINARY, b"x" * 100) * 100)
            turns = 0
            while not all(link.listener.frames for link in links):
                await asyncio.sleep(0)
                turns += 1
            assert turns < 10
            assert max(len(link.listener.frames) for link in links) < 50
            await eventually(lambda: all(len(link.listener.frames) == 100 for link in links))
            for link in links:
                link.ws.disconnect(graceful=False)
            await asyncio.gather(*(link.lost() for link in links))

    run_with_fresh_buffers(run, main)


@needs_epoll
@both_roles
def test_a_callback_that_ends_the_others_of_its_batch(run: Run, role: str) -> None:
    async def main() -> None:
        def end_all(transport: WSTransport, frame: WSFrame) -> None:
            for link in links:
                link.ws.disconnect(graceful=False)

        with poller_for(True) as poller:
            links: List[Link] = []
            for _ in range(20):
                listener = Recorder().act("on_ws_frame", end_all)
                links.append(Link(role, listener, poller=poller))
                await links[-1].open()
            for link in links:
                link.peer.send(link.build(TEXT, b"x"))
            await asyncio.gather(*(link.lost() for link in links))
            assert sum(len(link.listener.frames) for link in links) == 1
            assert all(link.listener.count("disconnected") == 1 for link in links)
            for link in links:
                link.peer.close()

    run(main)


@watched_by
@pytest.mark.parametrize("error", [LookupError, asyncio.CancelledError])
def test_exceptions_of_one_listener_leave_the_others_alone(
    run: Run, polled: bool, error: Any
) -> None:
    async def main() -> None:
        def handler(transport: WSTransport, frame: WSFrame) -> None:
            raise error

        reports: List[Dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, report: reports.append(report))
        with poller_for(polled) as poller:
            bad = Link("server", Recorder().act("on_ws_frame", handler), poller=poller)
            good = Link("server", echo(), poller=poller)
            await asyncio.gather(bad.open(), good.open())
            for i in range(3):
                with contextlib.suppress(OSError):
                    bad.peer.send(bad.build(TEXT, b"x"))
                good.peer.send(good.build(TEXT, b"%d" % i))
                assert await good.recv(1) == [Frame(TEXT, b"%d" % i)]
            bad.peer.close()
            await bad.lost()
            assert kind_of(bad) is WSDisconnectKind.LISTENER_EXCEPTION
            assert bad.listener.count("disconnected") == 1
            good.ws.disconnect(graceful=False)
            await good.lost()
            good.peer.close()
        # An Exception was logged by the endpoint; anything else is for the loop to tell.
        assert len(reports) == (0 if error is LookupError else 1)

    run(main)


class Watched:
    """One end of a pair of sockets as somebody else's transport has it; ``calls`` counts."""

    def __init__(self, poller: Any) -> None:
        self.poller = poller
        self.ours, self.peer = socket.socketpair()
        self.ours.setblocking(False)
        self.fd = self.ours.fileno()
        self.received = b""
        self.writable = 0

    def read(self) -> None:
        self.received += self.ours.recv(1000)

    def write(self) -> None:
        self.writable += 1
        self.poller.remove_writer(self.fd)

    def close(self) -> None:
        self.poller.remove_reader(self.fd)
        self.poller.remove_writer(self.fd)
        self.ours.close()
        self.peer.close()


@needs_epoll
def test_poller_for_other_transports(run: Run) -> None:
    """Its methods do what a loop's do, beside connections of its own."""

    async def main() -> None:
        with poller_for(True) as poller:
            first, second = Watched(poller), Watched(poller)
            async with Link("server", echo(), poller=poller) as link:
                assert poller.remove_reader(first.fd) is False
                assert poller.remove_writer(first.fd) is False
                assert len(poller) == 1
                for each in (first, second):
                    poller.add_reader(each.fd, each.read)
                    each.peer.send(b"a")
                await link.send_frame(TEXT, b"x")
                assert await link.recv(1) == [Frame(TEXT, b"x")]
                await eventually(lambda: (first.received, second.received) == (b"a", b"a"))
                poller.add_writer(first.fd, first.write)
                await eventually(lambda: first.writable == 1)
                first.peer.send(b"b")
                await eventually(lambda: first.received == b"ab")
                assert poller.remove_reader(first.fd) is True
                first.peer.send(b"c")
                second.peer.send(b"c")
                await eventually(lambda: second.received == b"ac")
                assert first.received == b"ab"
                assert len(poller) == 2
                with pytest.raises(TypeError):
                    poller.add_reader(link.socket.fileno(), first.read)
            first.close()
            assert len(poller) == 1
            second.peer.send(b"alone")
            await eventually(lambda: second.received == b"acalone")
            second.close()
            for wrong in (-1, 10**6):
                with pytest.raises(OSError, match="cannot watch"):
                    poller.add_reader(wrong, first.read)

    run(main)


@needs_epoll
def test_callbacks_of_a_poller_that_raise(run: Run) -> None:
    """They are reported, and the others are called all the same."""
    reported: List[Dict[str, Any]] = []

    def fail() -> None:
        broken.read()
        raise ValueError("on purpose")

    async def main() -> None:
        nonlocal broken
        asyncio.get_running_loop().set_exception_handler(
            lambda _, context: reported.append(context)
        )
        with poller_for(True) as poller:
            broken, whole = Watched(poller), Watched(poller)
            poller.add_reader(broken.fd, fail)
            poller.add_reader(whole.fd, whole.read)
            for _ in range(2):
                broken.peer.send(b"x")
                whole.peer.send(b"x")
            await eventually(lambda: whole.received == b"xx" and broken.received == b"xx")
            broken.close()
            whole.close()

    broken: Any = None
    run(main)
    assert {str(context["exception"]) for context in reported} == {"on purpose"}
    assert "fail" in reported[0]["message"]


@needs_epoll
def test_callback_of_a_poller_that_ends_another(run: Run) -> None:
    async def main() -> None:
        with poller_for(True) as poller:
            pair = [Watched(poller), Watched(poller)]

            def end_both() -> None:
                calls.append(1)
                for each in pair:
                    each.close()

            for each in pair:
                poller.add_reader(each.fd, end_both)
            for each in pair:
                each.peer.send(b"x")
            await eventually(lambda: calls)
            await asyncio.sleep(0.02)
            assert calls == [1]

    calls: List[int] = []
    run(main)


@needs_epoll
def test_closed_poller(run: Run) -> None:
    async def main() -> None:
        poller = stream.Poller(asyncio.get_running_loop())
        link = Link("server", echo(), poller=poller)
        await link.open()
        poller.close()
        assert len(poller) == 0
        await link.send_frame(TEXT, b"nobody listens")
        await asyncio.sleep(0.02)
        assert link.listener.frames == []
        link.ws.disconnect(graceful=False)
        await link.lost()
        link.peer.close()
        poller.add_reader(0, print)
        assert poller.remove_reader(0) is False
        assert len(poller) == 0

    run(main)


def test_member_of_no_kind() -> None:
    """What a poller watches says itself what it does when it is ready."""
    with pytest.raises(NotImplementedError):
        stream.poller.Member()._is_readable()


@needs_epoll
def test_poller_that_was_not_made(run: Run) -> None:
    async def main() -> None:
        before = open_descriptors()
        for arguments in ((), (None,), (object(),), (asyncio.get_running_loop(), 1)):
            with pytest.raises((TypeError, AttributeError)):
                stream.Poller(*arguments)
        stream.Poller.__new__(stream.Poller)
        assert open_descriptors() == before

    run(main)
