"""picows_client.dial: every way to a connected socket, and what stays behind when it fails."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import ssl
import sys
from pathlib import Path
from typing import Any, Callable, Iterator, List, Optional, Tuple

import pytest

from picows_client import (
    WSURL,
    WSHandshakeError,
    WSHandshakeTimeout,
    WSInvalidOptionError,
    WSProxyError,
    race,
    ws_connect,
)
from picows_client.dial import attempt_at_once, dial
from picows_client.first_hop import FirstHop
from picows_client.resolve import explain, resolve
from tests.client.exchange import Recorder, check_echo, serve_echo
from tests.support.rawpeer import RawConnection, raw_peer

Run = Callable[..., Any]


class FakeResolver:
    """A loop whose resolver knows what a test says, and whose connects to some ports hang."""

    def __init__(
        self,
        *found: Tuple[str, int],
        hanging: Tuple[int, ...] = (),
        failure: Optional[OSError] = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._found = found
        self._hanging = hanging
        self._failure = failure
        self.asked: List[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)

    async def getaddrinfo(self, host: str, port: int, **options: Any) -> Any:
        self.asked.append(host)
        if self._failure is not None:
            raise self._failure
        if not self._found:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [
            (
                socket.AF_INET6 if ":" in found else socket.AF_INET,
                socket.SOCK_STREAM,
                6,
                "",
                (found, to),
            )
            for found, to in self._found
        ]

    async def sock_connect(self, sock: socket.socket, address: Any) -> None:
        if address[1] in self._hanging:
            await asyncio.sleep(3600)
        await self._loop.sock_connect(sock, address)


def closed_port() -> int:
    """A port of 127.0.0.1 on which nobody listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


async def dialled(url: str, loop: Any = None, **options: Any) -> socket.socket:
    return await dial(loop or asyncio.get_running_loop(), WSURL.parse(url), FirstHop(**options))


# TCP


def test_connected_socket(run: Run) -> None:
    async def main() -> None:
        async with raw_peer(RawConnection.read_to_end) as peer:
            with await dialled(peer.url()) as sock:
                assert sock.getpeername() == ("127.0.0.1", peer.port)
                assert not sock.getblocking()
                assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)

    run(main)


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "[::1%251]"])
def test_addresses_are_not_looked_up(run: Run, host: str) -> None:
    async def main() -> None:
        bare = host.strip("[]").partition("%")[0]
        async with raw_peer(RawConnection.read_to_end, host=bare) as peer:
            loop = FakeResolver()
            with await dialled(peer.url(host=host), loop):
                assert loop.asked == []

    run(main)


def test_names_are_looked_up(run: Run) -> None:
    async def main() -> None:
        async with raw_peer(RawConnection.read_to_end) as peer:
            loop = FakeResolver(("127.0.0.1", peer.port))
            with await dialled(peer.url(host="Server.Example"), loop) as sock:
                assert sock.getpeername() == ("127.0.0.1", peer.port)
            assert loop.asked == ["server.example"]
            with await dialled(peer.url(host="localhost")):
                pass

    run(main)


def test_unknown_name(run: Run) -> None:
    async def main() -> None:
        with pytest.raises(socket.gaierror, match=r"cannot resolve 'server\.example'") as caught:
            await dialled("ws://server.example", FakeResolver())
        assert caught.value.errno == socket.EAI_NONAME
        assert isinstance(caught.value.__cause__, socket.gaierror)

    run(main)


@contextlib.contextmanager
def no_descriptors_left() -> Iterator[None]:
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest_free = os.dup(0)
    os.close(lowest_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


@pytest.mark.parametrize(
    ("url", "options", "named"),
    [
        ("ws://127.0.0.1:7", {}, "127.0.0.1 port 7"),
        ("ws://[::1]:7", {}, "::1 port 7"),
        ("ws://127.0.0.1:7", {"local_addr": ("127.0.0.1", 0)}, "127.0.0.1 port 7"),
        ("ws://localhost", {"proxy": "http://127.0.0.1:7"}, "127.0.0.1 port 7"),
        ("ws://localhost", {"unix_path": "/some/path"}, "the Unix socket '/some/path'"),
    ],
)
def test_no_descriptors_left(run: Run, url: str, options: Any, named: str) -> None:
    async def main() -> None:
        with no_descriptors_left(), pytest.raises(OSError, match="Too many open files") as caught:
            await ws_connect(url, Recorder, **options)
        error = caught.value.__cause__ if isinstance(caught.value, WSProxyError) else caught.value
        assert isinstance(error, OSError)
        assert error.errno == errno.EMFILE
        assert error.strerror == f"cannot connect to {named}: Too many open files"

    run(main)


def test_no_descriptors_left_for_a_name(run: Run) -> None:
    async def main() -> None:
        loop = FakeResolver(failure=OSError(errno.EMFILE, "Too many open files"))
        with pytest.raises(OSError, match=r"cannot resolve 'a\.example': Too many") as caught:
            await resolve(loop, "a.example", 80, 0)  # type: ignore[arg-type]
        assert caught.value.errno == errno.EMFILE

    run(main)


def test_refused(run: Run) -> None:
    async def main() -> None:
        port = closed_port()
        expected = f"cannot connect to 127.0.0.1 port {port}: "
        with pytest.raises(ConnectionRefusedError, match=expected) as caught:
            await dialled(f"ws://127.0.0.1:{port}")
        assert caught.value.errno == errno.ECONNREFUSED
        assert isinstance(caught.value.__cause__, ConnectionRefusedError)
        with pytest.raises(ConnectionRefusedError):
            await ws_connect(f"ws://127.0.0.1:{port}", Recorder)

    run(main)


def test_next_address_after_a_refusal(run: Run) -> None:
    async def main() -> None:
        async with raw_peer(RawConnection.read_to_end) as peer:
            loop = FakeResolver(("127.0.0.1", closed_port()), ("127.0.0.1", peer.port))
            with await dialled("ws://server.example", loop) as sock:
                assert sock.getpeername()[1] == peer.port

    run(main)


def test_next_address_if_one_hangs(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(race, "_NEXT_ADDRESS_DELAY", 0.02)

    async def main() -> None:
        async with raw_peer(RawConnection.read_to_end) as peer:
            loop = FakeResolver(("127.0.0.1", 1), ("127.0.0.1", peer.port), hanging=(1,))
            with await dialled("ws://server.example", loop) as sock:
                assert sock.getpeername()[1] == peer.port

    run(main)


def test_no_address_answers(run: Run) -> None:
    async def main() -> None:
        ports = [closed_port(), closed_port()]
        loop = FakeResolver(*(("127.0.0.1", port) for port in ports))
        with pytest.raises(ConnectionRefusedError) as caught:
            await dialled("ws://server.example", loop)
        for port in ports:
            assert f"127.0.0.1 port {port}" in str(caught.value)

    run(main)


def test_families_take_turns(run: Run) -> None:
    async def main() -> None:
        loop = FakeResolver(("::1", 1), ("::2", 1), ("::1", 1), ("127.0.0.1", 1), ("127.0.0.2", 1))
        found = await resolve(loop, "name.example", 1, 0)  # type: ignore[arg-type]
        hosts = [info[4][0] for info in found]
        assert hosts == ["::1", "127.0.0.1", "::2", "127.0.0.2"]

    run(main)


def test_family(run: Run) -> None:
    async def main() -> None:
        async with raw_peer(RawConnection.read_to_end) as peer:
            url = peer.url(host="localhost")
            with await dialled(url, family=socket.AF_INET) as sock:
                assert sock.family == socket.AF_INET
            with pytest.raises(socket.gaierror, match=r"cannot resolve '127\.0\.0\.1'"):
                await dialled(peer.url(), family=socket.AF_INET6)

    run(main)


def test_local_addr(run: Run) -> None:
    async def peer_address(peer: RawConnection) -> str:
        host: str = peer.writer.get_extra_info("peername")[0]
        return host

    async def main() -> None:
        async with raw_peer(peer_address) as peer:
            with await dialled(peer.url(), local_addr=("127.0.0.2", 0)):
                pass
        assert peer.results == ["127.0.0.2"]

    run(main)


def test_local_addr_that_is_not_ours(run: Run) -> None:
    async def main() -> None:
        with pytest.raises(OSError, match=r"cannot bind to local_addr 192\.0\.2\.1") as caught:
            await dialled("ws://127.0.0.1", local_addr=("192.0.2.1", 0))
        assert caught.value.errno == errno.EADDRNOTAVAIL
        with pytest.raises(OSError, match="family"):
            await dialled("ws://127.0.0.1", local_addr=("::1", 0))

    run(main)


# Unix sockets


def test_unix_socket(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "socket"

    async def main() -> None:
        async with raw_peer(serve_echo, unix_path=str(path)) as peer:
            for form in (path, str(path), bytes(path)):
                for backend in ("auto", "loop"):
                    await check_echo(
                        *await ws_connect(
                            "ws://server.example", Recorder, unix_path=form, backend=backend
                        )
                    )
        assert peer.results[0].header("Host") == "server.example"

    run(main)


def test_tls_over_a_unix_socket(
    run: Run, tmp_path: Path, server_context: ssl.SSLContext, client_context: ssl.SSLContext
) -> None:
    path = str(tmp_path / "socket")

    async def main() -> None:
        async with raw_peer(serve_echo, unix_path=path, context=server_context):
            for backend in ("auto", "loop"):
                await check_echo(
                    *await ws_connect(
                        "wss://localhost",
                        Recorder,
                        unix_path=path,
                        ssl_context=client_context,
                        backend=backend,
                    )
                )

    run(main)


def test_missing_unix_socket(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        path = str(tmp_path / "socket")
        with pytest.raises(FileNotFoundError, match="cannot connect to the Unix socket"):
            await dialled("ws://localhost", unix_path=path)

    run(main)


@pytest.mark.skipif(sys.platform != "linux", reason="others refuse")
def test_unix_socket_with_a_full_backlog(run: Run, tmp_path: Path) -> None:
    path = str(tmp_path / "socket")

    async def main() -> None:
        with socket.socket(socket.AF_UNIX) as listening, socket.socket(socket.AF_UNIX) as first:
            listening.bind(path)
            listening.listen(0)
            first.connect(path)
            task = asyncio.ensure_future(dialled("ws://localhost", unix_path=path))
            await asyncio.sleep(0.05)
            assert not task.done()
            listening.accept()[0].close()
            with await task as sock:
                assert sock.getpeername() == path

    run(main)


# The user's sockets


def test_given_socket(run: Run) -> None:
    async def main() -> None:
        async with raw_peer(serve_echo) as peer:
            for backend in ("auto", "loop"):
                sock = socket.create_connection(("127.0.0.1", peer.port))
                transport, listener = await ws_connect(
                    "ws://server.example", Recorder, sock=sock, backend=backend
                )
                assert transport.underlying_transport.get_extra_info("peername")[1] == peer.port
                await check_echo(transport, listener)
                assert sock.fileno() == -1
        assert peer.results[0].header("Host") == "server.example"

    run(main)


def test_given_socket_pair(run: Run) -> None:
    async def main() -> None:
        ours, theirs = socket.socketpair()
        peer = RawConnection(*await asyncio.open_connection(sock=theirs))
        task = asyncio.ensure_future(serve_echo(peer))
        transport, listener = await ws_connect("ws://server.example", Recorder, sock=ours)
        transport.send(1, b"Hello")
        await listener.got_frame.wait()
        transport.disconnect(graceful=False)
        await transport.wait_disconnected()
        with pytest.raises(asyncio.IncompleteReadError):
            await task
        peer.writer.close()
        await peer.writer.wait_closed()

    run(main)


def test_given_socket_that_is_not_connected(run: Run) -> None:
    async def main() -> None:
        async with raw_peer(serve_echo) as peer:
            sock = socket.socket()
            sock.bind(("127.0.0.3", 0))
            transport, listener = await ws_connect(peer.url(), Recorder, sock=sock)
            address = transport.underlying_transport.get_extra_info("sockname")
            assert address[0] == "127.0.0.3"
            await check_echo(transport, listener)

    run(main)


@pytest.mark.parametrize(
    ("url", "options"),
    [
        ("http://wrong", {}),
        ("ws://localhost", {"max_frame_size": 0}),
        ("ws://localhost", {"unix_path": "another"}),
        ("ws://localhost", {"subprotocols": ["a b"]}),
        ("ws://localhost", {"backend": "none"}),
    ],
)
def test_given_socket_is_closed_if_the_call_is_wrong(run: Run, url: str, options: Any) -> None:
    async def main() -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            with pytest.raises(ValueError):  # noqa: PT011
                await ws_connect(url, Recorder, sock=ours, **options)
            assert ours.fileno() == -1
            assert theirs.recv(1) == b""

    run(main)


def test_unconnected_unix_socket(run: Run) -> None:
    async def main() -> None:
        sock = socket.socket(socket.AF_UNIX)
        with pytest.raises(WSInvalidOptionError, match="connect"):
            await dialled("ws://localhost", sock=sock)
        assert sock.fileno() == -1

    run(main)


# Socket factories


def test_socket_factories(run: Run) -> None:
    async def main() -> None:
        async with raw_peer(serve_echo) as peer:
            seen: List[WSURL] = []

            def connected(url: WSURL) -> socket.socket:
                seen.append(url)
                return socket.create_connection(("127.0.0.1", peer.port))

            async def connected_later(url: WSURL) -> socket.socket:
                await asyncio.sleep(0)
                return connected(url)

            def unconnected(_: WSURL) -> socket.socket:
                return socket.socket()

            def default(_: WSURL) -> None:
                return None

            async def default_later(_: WSURL) -> None:
                return None

            for factory in (connected, connected_later):
                url = "ws://user@server.example:81/path"
                await check_echo(*await ws_connect(url, Recorder, socket_factory=factory))
            assert seen == [WSURL.parse(url)] * 2
            factories: List[Callable[..., Any]] = [unconnected, default, default_later]
            for other in factories:
                await check_echo(*await ws_connect(peer.url(), Recorder, socket_factory=other))

    run(main)


def test_unconnected_socket_of_a_factory_is_refused(run: Run) -> None:
    async def main() -> None:
        made = socket.socket()
        with pytest.raises(ConnectionRefusedError):
            await dialled(f"ws://127.0.0.1:{closed_port()}", socket_factory=lambda url: made)
        assert made.fileno() == -1

    run(main)


def test_factory_raises(run: Run) -> None:
    def factory(_: WSURL) -> Optional[socket.socket]:
        raise ZeroDivisionError

    async def main() -> None:
        with pytest.raises(ZeroDivisionError):
            await ws_connect("ws://localhost", Recorder, socket_factory=factory)

    run(main)


def test_factory_returns_something_else(run: Run) -> None:
    async def main() -> None:
        with pytest.raises(TypeError, match=r"must return a socket\.socket or None, not str"):
            await dialled("ws://localhost", socket_factory=lambda url: "socket")
        made = socket.socket(type=socket.SOCK_DGRAM)
        with pytest.raises(WSInvalidOptionError, match="stream socket"):
            await dialled("ws://localhost", socket_factory=lambda url: made)
        assert made.fileno() == -1

    run(main)


def test_factory_within_the_deadline(run: Run) -> None:
    async def factory(_: WSURL) -> Optional[socket.socket]:
        await asyncio.sleep(3600)
        return None

    async def main() -> None:
        with pytest.raises(TimeoutError):
            await ws_connect(
                "ws://localhost",
                Recorder,
                socket_factory=factory,
                websocket_handshake_timeout=0.02,
            )

    run(main)


# Without waiting


def test_a_numeric_address_of_this_computer_is_connected_at_once(run: Run) -> None:
    async def main() -> None:
        async with raw_peer(RawConnection.read_to_end) as peer:
            attempt = attempt_at_once(WSURL.parse(peer.url()), FirstHop())
            assert attempt is not None
            with attempt.sock as sock:
                if not attempt.is_connected:
                    await attempt.finish(asyncio.get_running_loop())
                assert sock.getpeername() == ("127.0.0.1", peer.port)
                assert not sock.getblocking()
                assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)

    run(main)


@pytest.mark.parametrize(
    ("url", "options"),
    [
        ("ws://localhost", {}),
        ("ws://127.0.0.1", {"local_addr": ("127.0.0.1", 0)}),
        ("ws://127.0.0.1", {"unix_path": "/nowhere"}),
        ("ws://127.0.0.1", {"socket_factory": lambda url: None}),
        ("ws://127.0.0.1", {"family": socket.AF_INET6}),
    ],
)
def test_what_has_to_be_waited_for(url: str, options: Any) -> None:
    assert attempt_at_once(WSURL.parse(url), FirstHop(**options)) is None


def test_refused_at_once(run: Run) -> None:
    port = closed_port()
    with pytest.raises(ConnectionRefusedError, match=f"127.0.0.1 port {port}: ") as caught:
        attempt_at_once(WSURL.parse(f"ws://127.0.0.1:{port}"), FirstHop())
    assert caught.value.errno == errno.ECONNREFUSED
    assert isinstance(caught.value.__cause__, ConnectionRefusedError)


@pytest.mark.parametrize("how", ["cancel", "deadline", "accept"])
def test_an_attempt_under_way(run: Run, how: str) -> None:
    """A backlog that is full keeps a connect waiting."""

    async def main() -> None:
        with socket.socket() as listener, contextlib.ExitStack() as fillers:
            listener.settimeout(20)
            listener.bind(("127.0.0.1", 0))
            listener.listen(0)
            address = listener.getsockname()
            for _ in range(3):
                filler = fillers.enter_context(socket.socket())
                filler.setblocking(False)
                filler.connect_ex(address)
            timeout = 0.1 if how == "deadline" else 20
            connecting = asyncio.ensure_future(
                ws_connect(
                    f"ws://127.0.0.1:{address[1]}", Recorder, websocket_handshake_timeout=timeout
                )
            )
            await asyncio.sleep(0.05)
            assert not connecting.done()
            if how == "cancel":
                connecting.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await connecting
                return
            if how == "deadline":
                with pytest.raises(WSHandshakeTimeout, match=r"websocket_handshake_timeout=0\.1"):
                    await connecting
                return
            fillers.close()
            # Whoever comes through is turned away: the attempt was finished.
            while not connecting.done():
                sock = await asyncio.get_running_loop().run_in_executor(None, listener.accept)
                sock[0].close()
                await asyncio.sleep(0.05)
            with pytest.raises((WSHandshakeError, OSError)):
                await connecting

    run(main)


def test_errors_say_what_failed() -> None:
    refused = explain(ConnectionRefusedError(errno.ECONNREFUSED, "no"), "cannot connect")
    assert type(refused) is ConnectionRefusedError
    assert str(refused).endswith(f"cannot connect: {os.strerror(errno.ECONNREFUSED)}")
    # A loop of another kind may raise one without a number.
    assert str(explain(OSError("all of it"), "cannot connect")) == "cannot connect: all of it"
