"""picows_server.connections: counting, limits, the ways to end, and nothing left behind."""

from __future__ import annotations

import asyncio
import logging
import socket
import weakref
from typing import Any, Awaitable, Callable, List, Optional

import pytest

from picows_codec import WSOptions
from picows_server import (
    WSDisconnectKind,
    WSFrame,
    WSInvalidCloseError,
    WSListener,
    WSTransport,
    WSUpgradeResponse,
    create_ssl_context,
)
from picows_server.backend import ServerTls, choose_backend
from picows_server.connections import Connections
from picows_server.protocol import ServerProtocol
from tests.support.certificates import Certificates
from tests.support.leaks import count_instances, eventually, leaked_since, open_descriptors
from tests.support.rawclient import RawClient, upgrade_request
from tests.support.servers import (
    Echo,
    plain_backends,
    quiet_logger,
    tls_backends,
)


class Site:
    """Connections without a server: each is fed with one end of a pair of sockets."""

    def __init__(
        self,
        backend: str = "auto",
        *,
        route: Callable[[Any], Any] = lambda request: Echo(),
        certificates: Optional[Certificates] = None,
        logger: Optional[logging.Logger] = None,
        max_connections: Optional[int] = None,
        max_pending_handshakes: Optional[int] = None,
        **options: Any,
    ) -> None:
        self._certificates = certificates
        tls = None
        if certificates is not None:
            context = create_ssl_context(certificates.server_chain, certificates.server_key)
            tls = ServerTls(context, 1.0)
        loop = asyncio.get_running_loop()
        self.released = 0
        self.backend = choose_backend(backend, loop, tls, quiet_logger())
        self.connections = Connections(
            loop=loop,
            backend=self.backend,
            route=route,
            options=WSOptions(**options),
            logger=logger or logging.getLogger("picows.test"),
            released=self._count_released,
            max_connections=max_connections,
            max_pending_handshakes=max_pending_handshakes,
        )

    def _count_released(self) -> None:
        self.released += 1

    def add(self) -> socket.socket:
        """Add a connection; returns the client's end, non-blocking."""
        with socket.create_server(("127.0.0.1", 0)) as listening:
            client = socket.create_connection(listening.getsockname())
            accepted, peer = listening.accept()
        client.setblocking(False)
        accepted.setblocking(False)
        self.connections.add(accepted, peer)
        return client

    async def dial(self) -> RawClient:
        """Add a connection; its TLS handshake is done, its upgrade is not."""
        tls = {}
        if self._certificates is not None:
            tls = {"ssl": self._certificates.client_context(), "server_hostname": "localhost"}
        return RawClient(*await asyncio.open_connection(sock=self.add(), **tls))  # type: ignore[arg-type]

    async def open(self) -> RawClient:
        """Add a connection and open it."""
        client = await self.dial()
        assert (await client.upgrade()).status == 101
        return client

    async def __aenter__(self) -> Site:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self.connections.abort_all()
        await eventually(lambda: not self.connections)
        self.backend.close()


@plain_backends
async def test_life_of_a_connection(backend: str) -> None:
    async with Site(backend) as site:
        client = await site.dial()
        assert len(site.connections) == 1
        assert site.connections.pending_handshakes == 1
        await client.upgrade()
        await eventually(lambda: site.connections.pending_handshakes == 0)
        assert len(site.connections) == 1
        assert site.released
        released = site.released
        await client.close()
        await eventually(lambda: not site.connections)
        assert site.released > released


@tls_backends
async def test_life_of_a_tls_connection(backend: str, certificates: Certificates) -> None:
    async with Site(backend, certificates=certificates) as site:
        silent = site.add()
        assert site.connections.pending_handshakes == 1
        client = await site.dial()
        assert len(site.connections) == 2
        await eventually(lambda: site.connections.pending_handshakes == 2)
        await client.upgrade()
        await eventually(lambda: site.connections.pending_handshakes == 1)
        silent.close()
        await eventually(lambda: len(site.connections) == 1)
        await client.close()
        await eventually(lambda: not site.connections)
        assert site.connections.pending_handshakes == 0


async def test_max_connections_counts_every_connection() -> None:
    async with Site(max_connections=2) as site:
        assert site.connections.has_room()
        client = await site.open()
        half_open = site.add()
        assert not site.connections.has_room()
        await client.close()
        await eventually(site.connections.has_room)
        half_open.close()


async def test_max_pending_handshakes_counts_the_half_open() -> None:
    async with Site(max_pending_handshakes=2) as site:
        client = await site.open()
        half_open = [site.add(), site.add()]
        await eventually(lambda: site.connections.pending_handshakes == 2)
        assert not site.connections.has_room()
        half_open[0].close()
        await eventually(site.connections.has_room)
        half_open[1].close()
        await client.close()


@pytest.mark.parametrize("answer", [None, WSUpgradeResponse.create_error_response(403), "nonsense"])
async def test_a_refused_request_is_pending_until_its_connection_is_gone(answer: Any) -> None:
    async with Site(route=lambda request: answer, logger=quiet_logger()) as site:
        client = await site.dial()
        assert (await client.upgrade()).status in (403, 404, 500)
        assert len(site.connections) == site.connections.pending_handshakes == 1
        assert site.released == 0
        await client.close()
        await eventually(lambda: site.connections.pending_handshakes == 0)
        assert site.released


@plain_backends
async def test_max_pending_handshakes_counts_the_refused_that_linger(backend: str) -> None:
    async with Site(backend, max_pending_handshakes=3) as site:
        clients = [await site.dial() for _ in range(3)]
        for client in clients:
            client.writer.write(b"x\r\n")
        for client in clients:
            assert (await client.read_response()).status == 400
        assert site.connections.pending_handshakes == 3
        assert not site.connections.has_room()
        # A peer that does not hang up is not waited for very long.
        await eventually(site.connections.has_room)
        for client in clients:
            await client.close()


async def test_silent_peer_is_dropped_at_the_deadline() -> None:
    async with Site(websocket_handshake_timeout=0.05) as site:
        client = site.add()
        client.send(b"GET / HTTP/1.1\r\n")
        await eventually(lambda: site.connections.pending_handshakes == 0)
        client.close()


@plain_backends
async def test_close_all(backend: str) -> None:
    async with Site(backend) as site:
        clients = [await site.open() for _ in range(3)]
        half_open = await site.dial()
        site.connections.close_all(1012, "moving")
        for client in clients:
            frame = await client.read_frame()
            assert frame.payload == b"\x03\xf4moving"
            client.write_close(1012)
            assert await client.read_to_end() == b""
            await client.close()
        await eventually(lambda: len(site.connections) == 1)
        assert (await half_open.upgrade()).status == 101
        await half_open.close()


async def test_close_all_with_a_code_that_may_not_be_sent() -> None:
    async with Site() as site:
        with pytest.raises(WSInvalidCloseError):
            site.connections.close_all(1006, None)
        client = await site.open()
        with pytest.raises(WSInvalidCloseError):
            site.connections.close_all(1006, None)
        client.write_frame(1, b"still here")
        assert (await client.read_frame()).payload == b"still here"
        await client.close()


@plain_backends
async def test_close_all_with_half_open_ones(backend: str) -> None:
    async with Site(backend) as site:
        client = await site.open()
        half_open = await site.dial()
        half_open.writer.write(upgrade_request()[:50])
        untouched = site.add()
        site.connections.close_all(1001, None, half_open=True)
        assert await half_open.read_to_end() == b""
        await eventually(lambda: len(site.connections) == 1)
        assert await client.read_close() == 1001
        for each in (client, half_open):
            await each.close()
        untouched.close()


@tls_backends
async def test_close_all_with_half_open_tls(backend: str, certificates: Certificates) -> None:
    async with Site(backend, certificates=certificates) as site:
        before = open_descriptors()
        silent = site.add()
        await asyncio.sleep(0.01)
        # This one is dropped before its task has begun.
        fresh = site.add()
        site.connections.close_all(1001, None, half_open=True)
        await eventually(lambda: not site.connections)
        silent.close()
        fresh.close()
        await eventually(lambda: not leaked_since(before))


@plain_backends
async def test_abort_all(backend: str) -> None:
    causes: List[Any] = []

    class Listener(WSListener):
        def on_ws_disconnected(self, transport: WSTransport) -> None:
            causes.append(transport.disconnect_cause)

    async with Site(backend, route=lambda request: Listener()) as site:
        client = await site.open()
        half_open = await site.dial()
        site.connections.abort_all()
        assert await client.read_to_end() == await half_open.read_to_end() == b""
        await eventually(lambda: not site.connections)
        assert [cause.kind for cause in causes] == [WSDisconnectKind.LOCAL_ABORT]
        await client.close()
        await half_open.close()


@tls_backends
async def test_abort_all_tls(backend: str, certificates: Certificates) -> None:
    async with Site(backend, certificates=certificates) as site:
        silent = site.add()
        client = await site.open()
        site.connections.abort_all()
        await eventually(lambda: not site.connections)
        assert await client.read_to_end() == b""
        silent.close()
        await client.close()


async def test_transport_that_cannot_be_made(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Site("loop") as site:

        async def fail(*_: object) -> None:
            raise LookupError("no transport today")

        monkeypatch.setattr(site.backend, "connect", fail)
        client = site.add()
        await eventually(lambda: not site.connections)
        assert client.recv(1) == b""
        client.close()
        assert site.released == 1
    assert "no transport today" in caplog.text


@pytest.mark.parametrize(
    ("error", "level"), [(LookupError("none today"), "ERROR"), (ConnectionResetError(), "INFO")]
)
async def test_a_backend_that_fails_at_once_is_counted(
    error: Exception, level: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO, "picows.test")
    async with Site("stream") as site:

        def fail(*_: object) -> None:
            raise error

        monkeypatch.setattr(site.backend, "connect", fail)
        client = site.add()
        assert client.recv(1) == b""
        client.close()
        assert not site.connections
        assert site.connections.is_idle
        assert site.released == 1
        closed = site.connections.totals.values()["closed"]
        assert closed[WSDisconnectKind.HANDSHAKE_FAILURE] == sum(closed.values()) == 1
    (record,) = [record for record in caplog.records if record.name == "picows.test"]
    assert record.levelname == level


async def test_a_transport_that_fails_when_it_has_begun_is_counted_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with Site("stream") as site:
        connect = site.backend.connect

        def fail(sock: socket.socket, protocol: ServerProtocol) -> None:
            connect(sock, protocol)
            protocol.transport.disconnect(graceful=False)
            raise OSError("no more descriptors to watch")

        monkeypatch.setattr(site.backend, "connect", fail)
        site.add().close()
        await eventually(lambda: not site.connections)
        assert sum(site.connections.totals.values()["closed"].values()) == 1


async def test_a_plain_connection_that_is_lost_early(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO, "picows.test")
    async with Site("loop") as site:

        async def fail(*_: object) -> None:
            raise ConnectionResetError

        monkeypatch.setattr(site.backend, "connect", fail)
        client = site.add()
        await eventually(lambda: not site.connections)
        peer = "{}:{}".format(*client.getsockname())
        client.close()
    assert [record.getMessage() for record in caplog.records if record.name == "picows.test"] == [
        f"{peer}: the connection was lost before it was served: the peer closed the connection"
    ]


@tls_backends
async def test_failed_tls_handshakes_are_no_errors_of_ours(
    backend: str, certificates: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "picows.test")
    async with Site(backend, certificates=certificates) as site:
        client = site.add()
        client.send(upgrade_request())
        await eventually(lambda: not site.connections)
        client.close()
    records = [record for record in caplog.records if record.name == "picows.test"]
    assert [record.levelname for record in records] == ["INFO"]
    assert "http request" in records[0].getMessage()


# Ways in which a connection can end. Every one leaves nothing behind.


async def peer_closes(site: Site) -> None:
    async with await site.open() as client:
        client.write_close(1000)
        assert await client.read_close() == 1000


async def server_closes(site: Site) -> None:
    async with await site.open() as client:
        site.connections.close_all(1001, None)
        assert await client.read_close() == 1001
        client.write_close(1001)


async def peer_breaks_the_protocol(site: Site) -> None:
    async with await site.open() as client:
        client.write_frame(3, b"reserved opcode")
        assert await client.read_close() == 1002


async def listener_raises(site: Site) -> None:
    async with await site.open() as client:
        client.write_frame(1, b"raise")
        assert await client.read_close() == 1011


async def peer_hangs_up(site: Site) -> None:
    async with await site.open():
        pass


async def peer_resets(site: Site) -> None:
    async with await site.open() as client:
        client.reset()


async def server_aborts(site: Site) -> None:
    async with await site.open() as client:
        site.connections.abort_all()
        assert await client.read_to_end() == b""


async def factory_refuses(site: Site) -> None:
    async with await site.dial() as client:
        assert (await client.upgrade("/missing")).status == 404


async def factory_raises(site: Site) -> None:
    async with await site.dial() as client:
        assert (await client.upgrade("/raise")).status == 500


async def request_is_not_http(site: Site) -> None:
    async with await site.dial() as client:
        client.writer.write(b"GET / HTTP/1.1\nnot HTTP\r\n\r\n")
        assert (await client.read_response()).status == 400


async def request_is_not_finished(site: Site) -> None:
    async with await site.dial() as client:
        client.writer.write(upgrade_request()[:40])


async def handshake_is_dropped(site: Site) -> None:
    async with await site.dial() as client:
        site.connections.close_all(1001, None, half_open=True)
        await client.read_to_end()


ENDS = pytest.mark.parametrize(
    "end",
    [
        peer_closes,
        server_closes,
        peer_breaks_the_protocol,
        listener_raises,
        peer_hangs_up,
        peer_resets,
        server_aborts,
        factory_refuses,
        factory_raises,
        request_is_not_http,
        request_is_not_finished,
        handshake_is_dropped,
    ],
    ids=lambda function: function.__name__,
)
End = Callable[[Site], Awaitable[None]]


async def check_that_nothing_is_left(end: End, **options: Any) -> None:
    listeners: List[Any] = []

    class Listener(WSListener):
        def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
            if frame.get_payload_as_bytes() == b"raise":
                raise LookupError("as asked for")

    def route(request: Any) -> Optional[WSListener]:
        if request.path == "/raise":
            raise LookupError("as asked for")
        if request.path == "/missing":
            return None
        listener = Listener()
        listeners.append(weakref.ref(listener))
        return listener

    async with Site(route=route, logger=quiet_logger(), **options) as site:
        before, tasks = open_descriptors(), asyncio.all_tasks()
        protocols, transports = count_instances(ServerProtocol), count_instances(WSTransport)
        for _ in range(3):
            await end(site)
        await eventually(lambda: not site.connections)
        await eventually(lambda: not leaked_since(before))
        await eventually(lambda: asyncio.all_tasks() == tasks)
        assert site.connections.pending_handshakes == 0
        await eventually(lambda: count_instances(ServerProtocol) <= protocols)
        assert count_instances(WSTransport) <= transports
        assert not any(listener() for listener in listeners)


@ENDS
@plain_backends
@pytest.mark.usefixtures("without_collector")
async def test_nothing_is_left_behind(backend: str, end: End) -> None:
    await check_that_nothing_is_left(end, backend=backend)


@ENDS
@tls_backends
@pytest.mark.usefixtures("without_collector")
async def test_nothing_is_left_behind_with_tls(
    backend: str, end: End, certificates: Certificates
) -> None:
    await check_that_nothing_is_left(end, backend=backend, certificates=certificates)
