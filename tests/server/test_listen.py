"""picows_server.listen: binding, and leaving nothing behind."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl
import sys
from pathlib import Path
from typing import Any, Iterator, List

import pytest

from picows_server import WSInvalidOptionError
from picows_server.listen import adopt_sockets, bind_tcp, bind_unix, given_sockets
from picows_server.url import parse_server_url
from tests.support.leaks import leaked_since, open_descriptors

needs_ipv6 = pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6")
needs_unix_sockets = pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="no Unix sockets")


class ResolvingLoop:
    """Stands in for a loop: resolves any name to given addresses."""

    def __init__(self, *addresses: str) -> None:
        self._addresses = addresses

    async def getaddrinfo(self, host: str, port: int, **options: Any) -> List[Any]:
        kind = options["type"]
        return [socket.getaddrinfo(address, port, type=kind)[0] for address in self._addresses]


@needs_unix_sockets
async def test_places_are_those_of_the_url_unless_sockets_are_given(tmp_path: Path) -> None:
    loop = asyncio.get_running_loop()
    url = parse_server_url("wss://localhost:0/chat")
    own = await bind_tcp(loop, "127.0.0.1", 0)
    port = own.sockets[0].getsockname()[1]
    assert own.places(url) == (f"wss://localhost:{port}/chat",)
    given = adopt_sockets([*own.sockets, *bind_unix(tmp_path / "s").sockets])
    assert given.places(url) == (f"wss://127.0.0.1:{port}/chat", f"unix:{tmp_path}/s")
    given.close()


async def test_address_literal() -> None:
    loop = asyncio.get_running_loop()
    listening = await bind_tcp(loop, "127.0.0.1", 0)
    (sock,) = listening.sockets
    host, port = sock.getsockname()
    assert host == "127.0.0.1"
    assert port
    assert sock.gettimeout() == 0
    listening.close()
    assert sock.fileno() == -1


async def test_nothing_is_accepted_before_listen() -> None:
    listening = await bind_tcp(asyncio.get_running_loop(), "127.0.0.1", 0)
    name = listening.sockets[0].getsockname()
    try:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(name)
        listening.listen(1)
        socket.create_connection(name).close()
    finally:
        listening.close()


@needs_ipv6
@pytest.mark.skipif(sys.platform != "linux", reason="reads struct tcp_info")
def test_a_socket_that_listens_keeps_its_backlog() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=33) as other, socket.socket() as own:
        own.bind(("127.0.0.1", 0))
        adopt_sockets([other, own]).listen(44)
        assert [_backlog_of(other), _backlog_of(own)] == [33, 44]


def _backlog_of(sock: socket.socket) -> int:
    """tcpi_sacked, which is that of a socket that listens."""
    info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
    return int.from_bytes(info[28:32], sys.byteorder)


@pytest.mark.skipif(sys.platform != "linux", reason="others do not let two bind it")
async def test_another_process_is_quicker_to_listen() -> None:
    loop = asyncio.get_running_loop()
    slow = await bind_tcp(loop, "127.0.0.1", 0)
    port = slow.sockets[0].getsockname()[1]
    quick = await bind_tcp(loop, "127.0.0.1", port)
    try:
        quick.listen(1)
        with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1:{port}") as caught:
            slow.listen(1)
        assert caught.value.errno == errno.EADDRINUSE
    finally:
        slow.close()
        quick.close()


async def test_ipv6_sockets_leave_ipv4_alone() -> None:
    listening = await bind_tcp(asyncio.get_running_loop(), "::", 0)
    (sock,) = listening.sockets
    assert sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
    listening.close()


async def test_host_name() -> None:
    listening = await bind_tcp(asyncio.get_running_loop(), "localhost", 0)
    try:
        assert {sock.getsockname()[0] for sock in listening.sockets} <= {"127.0.0.1", "::1"}
    finally:
        listening.close()


async def test_all_addresses_of_a_name_get_the_same_port() -> None:
    loop: Any = ResolvingLoop("127.0.0.1", "127.0.0.2", "127.0.0.1")
    listening = await bind_tcp(loop, "several.example", 0)
    try:
        names = [sock.getsockname() for sock in listening.sockets]
        assert [host for host, _ in names] == ["127.0.0.1", "127.0.0.2"]
        assert len({port for _, port in names}) == 1
    finally:
        listening.close()


async def test_an_address_that_this_host_does_not_have_is_skipped() -> None:
    loop: Any = ResolvingLoop("203.0.113.1", "127.0.0.1")
    listening = await bind_tcp(loop, "several.example", 0)
    assert [sock.getsockname()[0] for sock in listening.sockets] == ["127.0.0.1"]
    listening.close()


async def test_no_address_of_this_host() -> None:
    before = open_descriptors()
    loop: Any = ResolvingLoop("203.0.113.1", "203.0.113.2")
    with pytest.raises(OSError, match=r"203\.0\.113\.2") as caught:
        await bind_tcp(loop, "elsewhere.example", 0)
    assert caught.value.errno == errno.EADDRNOTAVAIL
    assert not leaked_since(before)


async def test_port_in_use_closes_what_was_bound() -> None:
    with socket.create_server(("127.0.0.2", 0)) as taken:
        port = taken.getsockname()[1]
        before = open_descriptors()
        loop: Any = ResolvingLoop("127.0.0.1", "127.0.0.2")
        with pytest.raises(OSError, match=rf"127\.0\.0\.2 port {port}") as caught:
            await bind_tcp(loop, "several.example", port)
        assert caught.value.errno == errno.EADDRINUSE
        assert not leaked_since(before)


async def test_unknown_host() -> None:
    with pytest.raises(OSError, match=r"cannot resolve 'does-not-exist\.invalid'"):
        await bind_tcp(asyncio.get_running_loop(), "does-not-exist.invalid", 0)


async def test_reuse_address() -> None:
    loop = asyncio.get_running_loop()
    for wanted in (True, False):
        listening = await bind_tcp(loop, "127.0.0.1", 0, reuse_address=wanted)
        (sock,) = listening.sockets
        assert bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)) is wanted
        listening.close()


@pytest.mark.skipif(not hasattr(socket, "SO_REUSEPORT"), reason="no SO_REUSEPORT")
async def test_reuse_port() -> None:
    loop = asyncio.get_running_loop()
    first = await bind_tcp(loop, "127.0.0.1", 0, reuse_port=True)
    port = first.sockets[0].getsockname()[1]
    second = await bind_tcp(loop, "127.0.0.1", port, reuse_port=True)
    second.close()
    first.close()


async def test_reuse_port_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(socket, "SO_REUSEPORT", raising=False)
    with pytest.raises(WSInvalidOptionError, match="reuse_port"):
        await bind_tcp(asyncio.get_running_loop(), "127.0.0.1", 0, reuse_port=True)


@needs_unix_sockets
def test_unix_socket_is_removed_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    listening = bind_unix(path)
    assert path.is_socket()
    listening.close()
    assert not path.exists()


@needs_unix_sockets
def test_stale_unix_socket_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    listening = bind_unix(os.fsencode(path))
    listening.listen(1)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
    listening.close()


@needs_unix_sockets
def test_unix_socket_in_use_stays(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    listening = bind_unix(path)
    listening.listen(1)
    before = open_descriptors()
    with pytest.raises(OSError, match="socket'") as caught:
        bind_unix(path)
    assert caught.value.errno == errno.EADDRINUSE
    assert not leaked_since(before)
    assert path.is_socket()
    listening.close()


@needs_unix_sockets
def test_another_file_at_the_unix_path_stays(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    path.write_text("precious")
    with pytest.raises(FileExistsError, match="not a socket"):
        bind_unix(path)
    assert path.read_text() == "precious"


@needs_unix_sockets
def test_unix_socket_of_a_successor_stays(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    listening = bind_unix(path)
    path.rename(tmp_path / "moved")
    successor = bind_unix(path)
    listening.close()
    assert path.is_socket()
    successor.close()
    assert not path.exists()


@needs_unix_sockets
def test_unix_socket_of_a_successor_with_the_same_number_stays(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    listening = bind_unix(path)
    file = os.stat(path)
    os.utime(path, ns=(file.st_atime_ns, file.st_mtime_ns + 1_000_000))  # as of a later bind()
    listening.close()
    assert path.is_socket()


@needs_unix_sockets
def test_unix_socket_of_other_rights_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    listening = bind_unix(path)
    path.chmod(0o666)
    listening.listen(1)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
    listening.close()
    assert not path.exists()


@needs_unix_sockets
def test_unix_path_that_is_gone_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    listening = bind_unix(path)
    path.unlink()
    listening.close()


@needs_unix_sockets
def test_unix_socket_that_cannot_be_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Any) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)

    path = tmp_path / "socket"
    listening = bind_unix(path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", refuse)
        listening.close()
    assert listening.sockets[0].fileno() < 0
    bind_unix(path).close()
    assert not path.exists()


@needs_unix_sockets
@pytest.mark.parametrize("name", ["x" * 200, "missing/socket"])
def test_unix_path_that_cannot_be_bound_is_named(tmp_path: Path, name: str) -> None:
    before = open_descriptors()
    with pytest.raises(OSError, match=name):
        bind_unix(tmp_path / name)
    assert not leaked_since(before)


@pytest.mark.skipif(sys.platform != "linux", reason="abstract sockets are Linux only")
def test_abstract_unix_socket() -> None:
    name = f"\0picows-test-{os.getpid()}"
    listening = bind_unix(name)
    assert listening.sockets[0].getsockname() == name.encode()
    listening.close()


def test_unix_socket_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(socket, "AF_UNIX", raising=False)
    with pytest.raises(WSInvalidOptionError, match="unix_path"):
        bind_unix("/tmp/socket")


@needs_unix_sockets
@pytest.mark.parametrize("path", [3, None, ["socket"]])
def test_unix_path_of_another_type(path: Any) -> None:
    with pytest.raises(TypeError, match="unix_path must be a str, bytes or path, not"):
        bind_unix(path)


@needs_unix_sockets
@pytest.mark.parametrize("path", ["", b""])
def test_empty_unix_path(path: Any) -> None:
    before = open_descriptors()
    with pytest.raises(WSInvalidOptionError, match="unix_path must not be empty"):
        bind_unix(path)
    assert not leaked_since(before)


def test_given_sockets() -> None:
    one, two = socket.socket(), socket.socket()
    with given_sockets(None) as none, given_sockets(one) as single:
        assert none is None
        assert single == [one]
    with given_sockets(iter([one, two])) as several:
        assert several == [one, two]
    assert one.fileno() != -1
    with pytest.raises(LookupError), given_sockets((one, two)):
        raise LookupError
    assert one.fileno() == two.fileno() == -1


def test_given_sockets_among_others() -> None:
    one, two = socket.socket(), socket.socket()

    def give() -> Iterator[Any]:
        yield one
        raise LookupError

    with pytest.raises(LookupError), given_sockets(give()):
        pass
    assert one.fileno() == -1
    mixed: Any = [None, two]
    with pytest.raises(TypeError, match="not NoneType"), given_sockets(mixed) as sockets:
        adopt_sockets(sockets or [])
    assert two.fileno() == -1


@pytest.mark.parametrize("sock", [5, True, socket.socket])
def test_given_sockets_of_another_type(sock: Any) -> None:
    wanted = r"sock must be a socket\.socket, or an iterable"
    with pytest.raises(TypeError, match=wanted), given_sockets(sock):
        pass


def test_sockets_of_the_caller() -> None:
    one, two = socket.create_server(("127.0.0.1", 0)), socket.create_server(("127.0.0.1", 0))
    listening = adopt_sockets([one, two])
    assert listening.sockets == (one, two)
    assert one.gettimeout() == 0
    listening.close()
    assert one.fileno() == two.fileno() == -1


@needs_unix_sockets
def test_unix_socket_of_the_caller(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        with pytest.raises(WSInvalidOptionError, match="not bound"):
            adopt_sockets([sock])
        sock.bind(str(tmp_path / "socket"))
        assert adopt_sockets([sock]).sockets == (sock,)


def test_socket_that_is_connected() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening, socket.create_connection(
        listening.getsockname()
    ) as client:
        accepted, _ = listening.accept()
        with accepted:
            for sock in (client, accepted):
                with pytest.raises(WSInvalidOptionError, match="connected; give the socket that"):
                    adopt_sockets([sock])


@pytest.mark.parametrize(
    "family", [socket.AF_INET, pytest.param(socket.AF_INET6, marks=needs_ipv6)]
)
def test_socket_that_is_not_bound(family: int) -> None:
    wanted = r"not bound; call its bind\(\), or leave"
    with socket.socket(family) as sock, pytest.raises(WSInvalidOptionError, match=wanted):
        adopt_sockets([sock])


def test_what_is_not_a_listening_socket() -> None:
    closed = socket.create_server(("127.0.0.1", 0))
    closed.close()
    with pytest.raises(WSInvalidOptionError, match="sock is closed"):
        adopt_sockets([closed])
    with pytest.raises(WSInvalidOptionError, match="no socket"):
        adopt_sockets([])
    with pytest.raises(TypeError, match=r"socket\.socket, not int"):
        adopt_sockets([3])  # type: ignore[list-item]
    with ssl.create_default_context().wrap_socket(
        socket.socket(), server_hostname="localhost", do_handshake_on_connect=False
    ) as tls, pytest.raises(TypeError, match="plain socket"):
        adopt_sockets([tls])
    with socket.socket(type=socket.SOCK_DGRAM) as datagrams:
        with pytest.raises(WSInvalidOptionError, match="stream socket"):
            adopt_sockets([datagrams])
        assert datagrams.fileno() != -1
