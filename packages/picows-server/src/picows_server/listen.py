"""Listening sockets: TCP by host and port, Unix by path, or the caller's own."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import ssl
import stat
import sys
from collections import abc
from dataclasses import replace
from typing import Iterable, Iterator, List, Optional, Sequence, Tuple, Union

from picows_codec import WSInvalidOptionError
from picows_codec.socket_address import UnixPath, format_address
from picows_server.url import ServerURL

__all__ = [
    "ListeningSockets",
    "adopt_sockets",
    "bind_tcp",
    "bind_unix",
    "given_sockets",
]

# What getaddrinfo returns: family, type, protocol, canonical name, address.
_AddressInfo = Tuple[int, int, int, str, Tuple[object, ...]]

# How often another port is tried when the one for port 0 is taken on another address.
_FREE_PORT_ATTEMPTS = 16


class ListeningSockets:
    """Bound sockets, owned: :meth:`close` closes them and removes a Unix socket's file.

    ``are_given``: somebody else has bound them, so their host may be another one than the URL's.
    """

    def __init__(
        self,
        sockets: Sequence[socket.socket],
        unix_path: Optional[UnixPath] = None,
        *,
        are_given: bool = False,
    ) -> None:
        self.sockets = tuple(sockets)
        self._are_given = are_given
        self._unix_path = unix_path
        self._unix_file = None if unix_path is None else _identity(unix_path)

    def places(self, url: ServerURL) -> Tuple[str, ...]:
        """Return where they are, for the log: as ``url`` with host and port, or ``unix:/path``."""
        found = []
        for sock in self.sockets:
            name = sock.getsockname()
            if isinstance(name, tuple):
                shown = replace(url, host=name[0]) if self._are_given else url
                found.append(shown.with_port(name[1]))
            else:
                found.append(format_address(name))
        return tuple(dict.fromkeys(found))

    def listen(self, backlog: int) -> None:
        """Let the kernel accept, and queue up to ``backlog`` connections per socket.

        A socket that listens keeps the length of its queue: whoever made it listen has chosen that,
        such as a service manager or a supervisor.

        Raises :class:`OSError` naming the address if another process was quicker: Linux lets
        several bind it with SO_REUSEADDR as long as none of them listens.
        """
        for sock in self.sockets:
            if _is_listening(sock):
                continue
            try:
                sock.listen(backlog)
            except OSError as error:
                raise _explain(error, format_address(sock.getsockname())) from None

    def close(self) -> None:
        for sock in self.sockets:
            sock.close()
        if self._unix_path is not None:
            # A later server may have the path by now; its file stays. So does one that cannot be
            # removed, for example because the process has given up its rights: what follows, such
            # as the end of connections, matters more, and the next server replaces the file.
            with contextlib.suppress(OSError):
                if _identity(self._unix_path) == self._unix_file:
                    os.unlink(self._unix_path)


def _identity(path: UnixPath) -> Tuple[int, int, int]:
    # Many file systems give the next file the number of one that was removed. The time is that of
    # bind(): neither connections nor chmod() change it.
    status = os.stat(path)
    return status.st_dev, status.st_ino, status.st_mtime_ns


def _is_listening(sock: socket.socket) -> bool:
    try:
        return bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
    except OSError:  # pragma: no cover - not every system knows it
        return False


async def bind_tcp(
    loop: asyncio.AbstractEventLoop,
    host: str,
    port: int,
    *,
    reuse_address: Optional[bool] = None,
    reuse_port: bool = False,
) -> ListeningSockets:
    """Bind every address of ``host``; with port 0 all of them get the same free port.

    IPv6 sockets take IPv6 only, so that a name with addresses of both families and servers on
    ``0.0.0.0`` and ``::`` can share a port.

    ``reuse_address`` (SO_REUSEADDR) is on by default, because it lets a server restart; but off on
    Windows, where it would let another process take the port over.

    Raises :class:`OSError` naming the address; no socket stays open then.
    """
    if reuse_address is None:
        reuse_address = os.name == "posix" and sys.platform != "cygwin"
    if reuse_port and not hasattr(socket, "SO_REUSEPORT"):
        raise WSInvalidOptionError("reuse_port: this platform has no SO_REUSEPORT")
    addresses = await _resolve(loop, host, port)
    attempts = 1 if port else _FREE_PORT_ATTEMPTS
    while True:
        attempts -= 1
        try:
            return ListeningSockets(_bind_all(addresses, port, reuse_address, reuse_port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE or not attempts:
                raise


def bind_unix(path: UnixPath) -> ListeningSockets:
    """Bind a Unix socket; a path that starts with a null byte is an abstract one (Linux).

    A socket file that a dead process has left is replaced. Anything else at the path raises
    :class:`OSError`.
    """
    if not hasattr(socket, "AF_UNIX"):
        raise WSInvalidOptionError("unix_path: this platform has no Unix sockets")
    if not isinstance(path, (str, bytes, os.PathLike)):
        raise TypeError(f"unix_path must be a str, bytes or path, not {type(path).__name__}")
    name = os.fspath(path)
    if not name:
        raise WSInvalidOptionError("unix_path must not be empty")
    is_abstract = name[:1] in ("\0", b"\0")
    if not is_abstract:
        _remove_stale_socket(name)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with _closed_on_error([sock]):
        sock.setblocking(False)
        try:
            sock.bind(name)
        except OSError as error:
            raise _explain(error, repr(name)) from None
        return ListeningSockets([sock], None if is_abstract else name)


def _explain(error: OSError, where: str) -> OSError:
    """Make an error of the same class and number that names the address."""
    if error.errno is None:  # for example, a path that is too long
        return OSError(f"cannot listen on {where}: {error}")
    return OSError(error.errno, f"cannot listen on {where}: {error.strerror}")


@contextlib.contextmanager
def given_sockets(
    sock: Union[socket.socket, Iterable[socket.socket], None],
) -> Iterator[Optional[List[socket.socket]]]:
    """Own the caller's ``sock``, as a list; an exception in the block closes all of them."""
    if sock is None:
        yield None
        return
    if not isinstance(sock, (socket.socket, abc.Iterable)):
        raise TypeError(
            f"sock must be a socket.socket, or an iterable of them, not {type(sock).__name__}"
        )
    owned: List[socket.socket] = []
    with _closed_on_error(owned):
        owned.extend([sock] if isinstance(sock, socket.socket) else sock)
        yield owned


def adopt_sockets(sockets: Sequence[socket.socket]) -> ListeningSockets:
    """Take over stream sockets that the caller has bound."""
    if not sockets:
        raise WSInvalidOptionError("sock: no socket to listen on")
    for sock in sockets:
        _check_bound_socket(sock)
    for sock in sockets:
        sock.setblocking(False)
    return ListeningSockets(sockets, are_given=True)


def _check_bound_socket(sock: object) -> None:
    if not isinstance(sock, socket.socket):
        raise TypeError(f"sock must be a socket.socket, not {type(sock).__name__}")
    if isinstance(sock, ssl.SSLSocket):
        raise TypeError("sock must be a plain socket; give the TLS context as ssl_context")
    if sock.type != socket.SOCK_STREAM:
        raise WSInvalidOptionError(f"sock must be a stream socket, not {sock!r}")
    if sock.fileno() < 0:
        raise WSInvalidOptionError("sock is closed; give a bound socket that is open")
    if _is_connected(sock):
        raise WSInvalidOptionError(
            "sock is connected; give the socket that connections are to be accepted from, which"
            f" is bound and nothing else: {sock!r}"
        )
    if not _is_bound(sock):
        raise WSInvalidOptionError(
            "sock is not bound; call its bind(), or leave sock out to listen on host and port of"
            f" the URL: {sock!r}"
        )


def _is_connected(sock: socket.socket) -> bool:
    try:
        sock.getpeername()
    except OSError:
        return False
    return True


def _is_bound(sock: socket.socket) -> bool:
    try:
        name = sock.getsockname()
    except OSError:  # pragma: no cover - Windows raises this for a socket without a name
        return False
    # TCP: (host, port, ...); Unix sockets: the path.
    return bool(name[1] if sock.family in (socket.AF_INET, socket.AF_INET6) else name)


async def _resolve(loop: asyncio.AbstractEventLoop, host: str, port: int) -> List[_AddressInfo]:
    flags = socket.AI_PASSIVE
    try:
        # An address needs no resolver, and so no thread of the loop's executor.
        found = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=flags | socket.AI_NUMERICHOST
        )
    except socket.gaierror:
        try:
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
        except socket.gaierror as error:
            raise OSError(error.errno, f"cannot resolve {host!r}: {error.strerror}") from error
    return list(dict.fromkeys(found))


def _bind_all(
    addresses: Sequence[_AddressInfo], port: int, reuse_address: bool, reuse_port: bool
) -> List[socket.socket]:
    sockets: List[socket.socket] = []
    unavailable: Optional[OSError] = None
    with _closed_on_error(sockets):
        for family, kind, protocol, _, (host, _, *scope) in addresses:
            target = (host, port, *scope)
            try:
                sock = socket.socket(family, kind, protocol)
            except OSError as error:  # pragma: no cover - the kernel has no such family
                unavailable = error
                continue
            sockets.append(sock)
            sock.setblocking(False)
            if reuse_address:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if reuse_port:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            try:
                sock.bind(target)
            except OSError as error:
                named = _explain(error, f"{host} port {port}")
                if error.errno != errno.EADDRNOTAVAIL:
                    raise named from None
                # One family of a name may be switched off; the others are enough.
                unavailable = named
                sockets.pop().close()
                continue
            port = sock.getsockname()[1]
        if not sockets and unavailable is not None:
            raise unavailable
    return sockets


def _remove_stale_socket(name: Union[str, bytes]) -> None:
    try:
        mode = os.stat(name).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise FileExistsError(errno.EEXIST, "there is a file that is not a socket", name)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        # Only "refused" means that nobody listens; a full backlog gives EAGAIN, for example.
        if probe.connect_ex(name) == errno.ECONNREFUSED:
            os.unlink(name)


@contextlib.contextmanager
def _closed_on_error(sockets: List[socket.socket]) -> Iterator[None]:
    try:
        yield
    except BaseException:
        for sock in sockets:
            if isinstance(sock, socket.socket):  # a caller may pass anything
                sock.close()
        raise
