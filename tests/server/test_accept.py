"""picows_server.accept: batches, room, and errors that must not end the accept loop."""

from __future__ import annotations

import asyncio
import errno
import logging
import re
import socket
from typing import Any, Callable, Iterator, List, Optional, Type

import pytest

from picows_server import accept
from picows_server.accept import Acceptor, AwaitingAcceptor, ReadinessAcceptor
from tests.support.leaks import eventually, leaked_since, open_descriptors

BOTH = pytest.mark.parametrize("acceptor_type", [ReadinessAcceptor, AwaitingAcceptor])


class FailingSocket(socket.socket):
    """A listening socket whose next accepts fail with the errors in ``failures``."""

    failures: List[int]

    def accept(self) -> Any:
        if self.failures:
            number = self.failures.pop(0)
            raise OSError(number, errno.errorcode[number])
        return super().accept()


class FailingLoop:
    """The loop, with a ``sock_accept`` that obeys ``FailingSocket.failures``.

    A loop may accept in C, where the socket's own ``accept`` is not asked.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)

    async def sock_accept(self, sock: FailingSocket) -> Any:
        if sock.failures:
            await asyncio.sleep(0)
            return sock.accept()
        return await self._loop.sock_accept(sock)


class Site:
    """A listening socket with an acceptor, and what was accepted."""

    def __init__(
        self,
        acceptor_type: Type[Acceptor],
        listening: FailingSocket,
        take: Optional[Callable[[socket.socket, Any], None]] = None,
    ) -> None:
        self.accepted: List[socket.socket] = []
        self.peers: List[Any] = []
        self.room = 1000
        self.clients: List[socket.socket] = []
        self.listening = listening
        loop: Any = FailingLoop(asyncio.get_running_loop())
        self.acceptor = acceptor_type(
            loop,
            [listening],
            take or self._take,
            lambda: len(self.accepted) < self.room,
            logging.getLogger("picows.test"),
        )

    def _take(self, sock: socket.socket, peer: Any) -> None:
        self.accepted.append(sock)
        self.peers.append(peer)

    def dial(self, count: int = 1) -> None:
        for _ in range(count):
            self.clients.append(socket.create_connection(self.listening.getsockname()))

    async def __aenter__(self) -> Site:
        self._tasks_before = asyncio.all_tasks()
        self.acceptor.start()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self.acceptor.stop()
        await eventually(lambda: asyncio.all_tasks() == self._tasks_before)
        for sock in (*self.accepted, *self.clients):
            sock.close()


@pytest.fixture
def listening() -> Iterator[FailingSocket]:
    with FailingSocket() as sock:
        sock.failures = []
        sock.setblocking(False)
        sock.bind(("127.0.0.1", 0))
        sock.listen(512)
        yield sock


@pytest.fixture
def short_retry_delay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accept, "_RETRY_DELAY", 0.02)


@BOTH
async def test_accepts(acceptor_type: Type[Acceptor], listening: FailingSocket) -> None:
    async with Site(acceptor_type, listening) as site:
        site.dial(3)
        await eventually(lambda: len(site.accepted) == 3)
        for sock in site.accepted:
            assert sock.gettimeout() == 0
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert site.peers == [client.getsockname() for client in site.clients]


@BOTH
async def test_several_sockets(acceptor_type: Type[Acceptor], listening: FailingSocket) -> None:
    accepted: List[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as other:
        other.setblocking(False)
        acceptor = acceptor_type(
            asyncio.get_running_loop(),
            [listening, other],
            lambda sock, _: accepted.append(sock),
            lambda: True,
            logging.getLogger("picows.test"),
        )
        tasks_before = asyncio.all_tasks()
        acceptor.start()
        clients = [socket.create_connection(sock.getsockname()) for sock in (listening, other)]
        await eventually(lambda: len(accepted) == 2)
        acceptor.stop()
        await eventually(lambda: asyncio.all_tasks() == tasks_before)
        for sock in accepted + clients:
            sock.close()


async def test_a_crowd_is_accepted_in_batches(listening: FailingSocket) -> None:
    async with Site(ReadinessAcceptor, listening) as site:
        site.dial(100)
        sizes = set()
        while len(site.accepted) < 100:
            await asyncio.sleep(0)
            sizes.add(len(site.accepted))
        assert 64 in sizes


@BOTH
async def test_without_room_connections_wait(
    acceptor_type: Type[Acceptor], listening: FailingSocket
) -> None:
    async with Site(acceptor_type, listening) as site:
        site.room = 2
        site.dial(3)
        await eventually(lambda: len(site.accepted) == 2)
        await asyncio.sleep(0.03)
        assert len(site.accepted) == 2
        site.acceptor.wake()  # but there is still no room
        await asyncio.sleep(0.03)
        assert len(site.accepted) == 2
        site.room = 3
        site.acceptor.wake()
        await eventually(lambda: len(site.accepted) == 3)


@BOTH
async def test_wake_while_there_is_room_changes_nothing(
    acceptor_type: Type[Acceptor], listening: FailingSocket
) -> None:
    async with Site(acceptor_type, listening) as site:
        site.acceptor.wake()
        site.dial()
        await eventually(lambda: len(site.accepted) == 1)


@BOTH
@pytest.mark.usefixtures("short_retry_delay")
@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EINVAL])
async def test_lack_of_resources_is_logged_and_waited_for(
    acceptor_type: Type[Acceptor],
    listening: FailingSocket,
    number: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    listening.failures = [number, number]
    async with Site(acceptor_type, listening) as site:
        site.dial()
        await eventually(lambda: len(site.accepted) == 1)
    lines = [record.getMessage() for record in caplog.records if record.name == "picows.test"]
    assert len(lines) == 2
    assert errno.errorcode[number] in lines[0]


@BOTH
async def test_stop_during_the_retry_delay(
    acceptor_type: Type[Acceptor], listening: FailingSocket
) -> None:
    listening.failures = [errno.EMFILE]
    async with Site(acceptor_type, listening) as site:
        site.dial()
        await eventually(lambda: not listening.failures)
        site.acceptor.wake()  # must not end the delay
        await asyncio.sleep(0.02)
        assert not site.accepted


@BOTH
async def test_connections_that_died_early_are_skipped(
    acceptor_type: Type[Acceptor], listening: FailingSocket, caplog: pytest.LogCaptureFixture
) -> None:
    listening.failures = [errno.ECONNABORTED, errno.EPROTO]
    async with Site(acceptor_type, listening) as site:
        site.dial()
        await eventually(lambda: len(site.accepted) == 1)
    assert "picows.test" not in {record.name for record in caplog.records}


@BOTH
async def test_a_socket_that_cannot_be_served_is_closed(
    acceptor_type: Type[Acceptor], listening: FailingSocket, caplog: pytest.LogCaptureFixture
) -> None:
    refused: List[socket.socket] = []

    def refuse(sock: socket.socket, peer: Any) -> None:
        refused.append(sock)
        raise LookupError("no one at home")

    async with Site(acceptor_type, listening, refuse) as site:
        site.dial(2)
        await eventually(lambda: len(refused) == 2)
        assert [sock.fileno() for sock in refused] == [-1, -1]
    assert "no one at home" in caplog.text
    assert re.search(r"127\.0\.0\.1:\d+: the connection could not be served", caplog.text)


@BOTH
async def test_a_socket_that_refuses_options_is_closed(
    acceptor_type: Type[Acceptor],
    listening: FailingSocket,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    # As where connections do not inherit them.
    monkeypatch.setattr("picows_server.accept._INHERITS", False)
    asked: List[int] = []
    before = open_descriptors()

    def refuse(sock: socket.socket, *_: int) -> None:
        asked.append(sock.fileno())
        raise OSError(errno.EINVAL, "the connection is gone")

    async with Site(acceptor_type, listening) as site:
        with monkeypatch.context() as patch:
            patch.setattr(socket.socket, "setsockopt", refuse)
            client = socket.socket()
            client.connect(listening.getsockname())
            await eventually(lambda: asked)
        assert not site.accepted
        client.close()
    assert not leaked_since(before)
    assert "ERROR" not in caplog.text


@BOTH
async def test_nothing_is_accepted_after_stop(
    acceptor_type: Type[Acceptor], listening: FailingSocket
) -> None:
    async with Site(acceptor_type, listening) as site:
        site.acceptor.stop()
        site.acceptor.wake()
        site.dial()
        await asyncio.sleep(0.03)
        assert not site.accepted


async def test_accept_waiting(listening: FailingSocket) -> None:
    """All of the queue at once, but for what there is no room for."""
    async with Site(ReadinessAcceptor, listening) as site:
        site.dial(100)
        site.acceptor.accept_waiting()
        assert len(site.accepted) == 100
        site.room = 105
        site.dial(10)
        site.acceptor.accept_waiting()
        assert len(site.accepted) == 105
        site.acceptor.accept_waiting()
        assert len(site.accepted) == 105


async def test_accept_waiting_with_errors(listening: FailingSocket) -> None:
    async with Site(ReadinessAcceptor, listening) as site:
        site.dial(2)
        listening.failures = [errno.ECONNABORTED]
        site.acceptor.accept_waiting()
        assert len(site.accepted) == 2
        site.dial()
        listening.failures = [errno.EMFILE]
        site.acceptor.accept_waiting()
        assert len(site.accepted) == 2


@pytest.mark.usefixtures("short_retry_delay")
async def test_stop_after_several_errors(listening: FailingSocket) -> None:
    """No delay is forgotten, at whose end accepting would begin again."""
    async with Site(ReadinessAcceptor, listening) as site:
        site.dial()
        listening.failures = [errno.EMFILE] * 2
        site.acceptor.accept_waiting()
        site.acceptor.accept_waiting()
        site.acceptor.stop()
        await asyncio.sleep(0.05)
        assert not site.accepted


async def test_no_accept_waiting_without_readiness(listening: FailingSocket) -> None:
    async with Site(AwaitingAcceptor, listening) as site:
        site.acceptor.accept_waiting()
        assert site.accepted == []
