"""picows_server.running.process: one server from its start to its exit status."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import ssl
import sys
from contextlib import asynccontextmanager, suppress
from typing import Any, AsyncIterator, Callable, List, Optional

import pytest

from picows_server import (
    WSConnection,
    WSInvalidOptionError,
    WSServer,
    WSUpgradeResponse,
    create_ssl_context,
    watch_certificates,
)
from picows_server.draining import DrainPlan
from picows_server.running.process import Commands, Control, serve_process
from picows_server.running.settings import RunSettings
from tests.support.certificates import Certificates
from tests.support.judge import ask
from tests.support.leaks import eventually
from tests.support.rawclient import RawClient, upgrade_request
from tests.support.servers import ANY_PORT, Echo, echo, refuses, sockname

LONG = 3600.0
NOW = DrainPlan(0, 0, LONG)


class Noting(Control):
    """Keeps the commands, and notes what it is told."""

    commands: Commands

    def __init__(self, events: List[str]) -> None:
        self.events = events
        self.server: Optional[WSServer] = None

    def bind(self, commands: Commands) -> None:
        self.commands = commands
        self.events.append("bind")

    def started(self, server: WSServer) -> None:
        self.server = server
        self.events.append("started")

    def draining(self) -> None:
        self.events.append("draining")

    def stopped_accepting(self) -> None:
        self.events.append("stopped accepting")

    def stopped(self) -> None:
        self.events.append("stopped")


class Process:
    """A process that is only a task of this one."""

    def __init__(self, factory: Any = Echo, sockets: Any = None, **settings: Any) -> None:
        self.events: List[str] = []
        self.control = Noting(self.events)
        settings = {"drain": NOW, **settings}
        self.task = asyncio.ensure_future(
            serve_process(
                RunSettings(ANY_PORT, factory, **settings), sockets=sockets, control=self.control
            )
        )

    async def started(self) -> Any:
        await eventually(lambda: "started" in self.events or self.task.done())
        assert self.control.server is not None
        return sockname(self.control.server)

    @property
    def commands(self) -> Commands:
        return self.control.commands

    def lifespan(self, *errors: BaseException) -> Callable[[], Any]:
        """One that notes when it begins and ends."""

        @asynccontextmanager
        async def noting() -> AsyncIterator[str]:
            self.events.append("up")
            try:
                yield "the state"
            finally:
                self.events.append("down")

        return noting


def state(request: Any) -> WSUpgradeResponse:
    return WSUpgradeResponse.create_ok_response(repr(request.server.state))


async def test_from_start_to_end() -> None:
    events: List[str] = []

    @asynccontextmanager
    async def lifespan(server: WSServer) -> AsyncIterator[List[int]]:
        assert not server.is_serving()
        assert refuses(sockname(server))
        events.append("up")
        yield [5]
        assert server.connections == 0
        events.append("down")

    process = Process({"/": Echo, "/state": state}, lifespan=lifespan)
    name = await process.started()
    assert (await ask(name, "/state")).body == b"[5]"
    async with await RawClient.open(name) as client:
        process.commands.drain()
        assert await client.read_close() == 1012
        assert events == ["up"]
        client.write_close(1012)
        assert await process.task == 0
    assert events == ["up", "down"]
    assert process.events == ["bind", "started", "draining", "stopped accepting", "stopped"]


async def test_handler() -> None:
    closed: List[object] = []

    async def handler(connection: WSConnection) -> None:
        try:
            async for message in connection:
                await connection.send(message)
        finally:
            closed.append(connection.request.server.state)

    process = Process(
        None, handler=handler, lifespan=lambda: nullcontext(5), server_options={"max_queue": 5}
    )
    async with await RawClient.open(await process.started()) as client:
        await echo(client)
        process.commands.drain()
        assert await client.read_close() == 1012
        client.write_close(1012)
        assert await process.task == 0
    assert closed == [5]


@asynccontextmanager
async def nullcontext(value: object) -> AsyncIterator[object]:
    yield value


async def test_aborted_while_it_drains() -> None:
    process = Process(drain=DrainPlan(LONG, LONG, None))
    name = await process.started()
    async with await RawClient.open(name) as client:
        process.commands.drain()
        await echo(client)
        assert "stopped accepting" not in process.events
        process.commands.abort(143)
        assert await client.read_close() == 1012
        assert refuses(name)
        assert await process.task == 143
        assert await client.read_to_end() == b""


async def test_another_grace_than_that_of_the_settings() -> None:
    process = Process(drain=DrainPlan(LONG, 0, None, 1001, "bye"))
    async with await RawClient.open(await process.started()) as client:
        process.commands.drain(grace=0)
        assert (await client.read_frame()).payload == b"\x03\xe9bye"
        client.write_close(1001)
        assert await process.task == 0


async def test_a_grace_that_does_not_fit_into_the_settings_is_an_error() -> None:
    process = Process(drain=DrainPlan(0, 0, 1))
    await process.started()
    with pytest.raises(WSInvalidOptionError):
        process.commands.drain(grace=5)
    process.commands.drain()
    assert await process.task == 0


async def test_abort() -> None:
    process = Process()
    async with await RawClient.open(await process.started()) as client:
        process.commands.abort(143)
        assert await client.read_close() == 1012
        assert await client.read_to_end() == b""
        assert await process.task == 143
    assert process.events == ["bind", "started", "stopped"]


async def test_a_task_that_does_not_end() -> None:
    """Aborting once more gives it up."""
    may_end = asyncio.Event()

    async def factory() -> Echo:
        while not may_end.is_set():
            with suppress(asyncio.CancelledError):
                await asyncio.wait_for(may_end.wait(), LONG)
        return Echo()

    process = Process(factory)
    with socket.create_connection(await process.started()) as client:
        client.sendall(upgrade_request())
        server = process.control.server
        assert server is not None
        await eventually(lambda: server.pending_handshakes)
        process.commands.abort(143)
        await eventually(lambda: not server.connections)
        for _ in range(10):
            await asyncio.sleep(0)
        assert not process.task.done()
        process.commands.abort(143)
        assert await process.task == 143
        may_end.set()
        await server.wait_closed()


async def test_closed_by_the_program() -> None:
    process = Process()
    await process.started()
    assert process.control.server is not None
    process.control.server.close()
    assert await process.task == 0
    assert process.events == ["bind", "started", "stopped"]
    process.commands.drain()
    assert process.events == ["bind", "started", "stopped"]


async def test_drained_while_it_starts() -> None:
    events: List[str] = []

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        events.append("up")
        try:
            await asyncio.sleep(LONG)
            yield
        finally:
            events.append("down")

    process = Process(lifespan=lifespan)
    await eventually(lambda: events)
    process.commands.drain()
    assert await process.task == 0
    assert events == ["up", "down"]
    assert process.events == ["bind", "stopped"]


async def test_a_lifespan_that_goes_on_when_the_process_is_to_end() -> None:
    events: List[str] = []

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        events.append("connecting")
        with suppress(asyncio.CancelledError):  # as loops do that try again after any error
            await asyncio.sleep(LONG)
        events.append("up")
        yield
        events.append("down")

    process = Process(lifespan=lifespan)
    await eventually(lambda: events)
    process.commands.drain()
    assert await asyncio.wait_for(process.task, 20) == 0
    assert events == ["connecting", "up", "down"]
    assert process.events == ["bind", "stopped"]


async def test_aborted_while_it_ends() -> None:
    events: List[str] = []

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        yield
        events.append("ending")
        await asyncio.sleep(LONG)

    process = Process(lifespan=lifespan)
    await process.started()
    process.commands.drain()
    await eventually(lambda: events)
    process.commands.drain()
    await asyncio.sleep(0)
    assert not process.task.done()
    process.commands.abort(143)
    assert await process.task == 143


async def test_a_lifespan_that_fails_at_the_start() -> None:
    def lifespan() -> Any:
        raise KeyError("database")

    process = Process(lifespan=lifespan)
    with pytest.raises(KeyError):
        await process.task
    assert process.events == ["bind", "stopped"]


async def test_a_lifespan_that_exits_at_the_start() -> None:
    process = Process(lifespan=lambda: sys.exit(0))
    with pytest.raises(RuntimeError, match=r"sys\.exit\(0\) was called before the server served"):
        await process.task
    assert process.events == ["bind", "stopped"]


async def test_a_lifespan_that_fails_at_the_end() -> None:
    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        yield
        raise KeyError("database")

    process = Process(lifespan=lifespan)
    await process.started()
    process.commands.drain()
    with pytest.raises(KeyError):
        await process.task
    assert process.events[-1] == "stopped"


async def test_cancelled_from_outside() -> None:
    """For example by a task group in lifespan, one of whose tasks has failed."""
    events: List[str] = []

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        try:
            yield
        finally:
            events.append("down")

    process = Process(lifespan=lifespan)
    async with await RawClient.open(await process.started()) as client:
        process.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await process.task
        assert await client.read_close() == 1012
        assert await client.read_to_end() == b""
    assert events == ["down"]
    assert process.events[-1] == "stopped"


@pytest.mark.parametrize("is_option", [False, True])
async def test_an_application_that_cannot_be_imported_closes_the_sockets(is_option: bool) -> None:
    sock = socket.create_server(("127.0.0.1", 0))
    options = {"sock": sock} if is_option else {}
    process = Process("nothing_there:x", None if is_option else [sock], server_options=options)
    with pytest.raises(WSInvalidOptionError):
        await process.task
    assert sock.fileno() == -1
    assert process.events == ["stopped"]


async def test_given_sockets() -> None:
    """They are used instead of any other address, and what waits in them is for others."""
    sock = socket.create_server(("127.0.0.1", 0))
    with sock.dup() as shared:
        process = Process(sockets=[sock], server_options={"reuse_port": True})
        assert await process.started() == shared.getsockname()
        with socket.create_connection(shared.getsockname()) as waiting:
            process.commands.drain()  # before the loop accepts it
            assert await process.task == 0
            shared.setblocking(True)
            accepted, peer = shared.accept()
            assert peer == waiting.getsockname()
            accepted.close()


async def test_given_sockets_that_nobody_else_reads() -> None:
    sock = socket.create_server(("127.0.0.1", 0))
    with sock.dup() as shared:
        process = Process(sockets=[sock])
        await process.started()
        client = socket.create_connection(shared.getsockname())
        process.commands.drain(leaves_waiting=False)
        assert process.control.server is not None
        assert process.control.server.connections == 1
        client.close()
        assert await process.task == 0


async def test_reload_without_certificates(caplog: pytest.LogCaptureFixture) -> None:
    process = Process()
    await process.started()
    with caplog.at_level(logging.INFO, "picows"):
        process.commands.reload_certificates()
    assert "there are no certificates" in caplog.text
    process.commands.drain()
    await process.task


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="no SIGHUP")
async def test_certificates_that_the_application_watches(
    certificates: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    pair = certificates.server_chain, certificates.server_key
    foreign = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        # Not for SIGHUP: that is the process's.
        quiet = watch_certificates(foreign, *pair, sighup=False)
        async with quiet, watch_certificates(foreign, *pair):
            yield

    events: List[str] = []
    control = Noting(events)
    settings = RunSettings(
        "wss://127.0.0.1:0", Echo, ssl_context=foreign, lifespan=lifespan, drain=NOW
    )
    before = signal.signal(signal.SIGHUP, lambda *_: None)
    try:
        task = asyncio.ensure_future(serve_process(settings, control=control))
        await eventually(lambda: "started" in events or task.done())
        control.commands.reload_certificates()
        assert caplog.text.count("certificates looked at: 1, replaced: 0") == 1
        control.commands.drain()
        assert await task == 0
        assert "there are no certificates" not in caplog.text
    finally:
        signal.signal(signal.SIGHUP, before)


async def test_without_control() -> None:
    @asynccontextmanager
    async def lifespan(server: WSServer) -> AsyncIterator[None]:
        asyncio.get_running_loop().call_soon(server.close)
        yield

    assert await serve_process(RunSettings(ANY_PORT, Echo, lifespan=lifespan)) == 0


async def test_certificates_that_can_be_watched_are(
    certificates: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    known = create_ssl_context(certificates.server_chain, certificates.server_key)
    foreign = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    foreign.load_cert_chain(certificates.server_chain, certificates.server_key)
    events: List[str] = []
    control = Noting(events)
    contexts = {"a.example": foreign, "*": known}
    settings = RunSettings("wss://127.0.0.1:0", Echo, ssl_context=contexts, drain=NOW)
    task = asyncio.ensure_future(serve_process(settings, control=control))
    await eventually(lambda: "started" in events or task.done())
    control.commands.reload_certificates()
    control.commands.drain()
    assert await task == 0
    assert "the certificate of ssl_context['a.example'] is not watched" in caplog.text
    assert "certificates looked at: 1, replaced: 0" in caplog.text
