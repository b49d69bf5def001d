"""From a host, a path or the user's own socket to a connected, non-blocking stream socket.

A function in here that fails or is cancelled closes the sockets that it opened or was given.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import inspect
import os
import socket
from typing import Iterator, Optional, Sequence, Union

from picows_client.first_hop import FirstHop, SocketFactory, check_stream_socket
from picows_client.race import first_connected
from picows_client.resolve import AddressInfo, describe, explain, numeric_addresses, resolve
from picows_client.url import WSURL
from picows_codec import WSInvalidOptionError

__all__ = ["Attempt", "attempt_at_once", "dial"]

_TCP_FAMILIES = (socket.AF_INET, socket.AF_INET6)

# Saves a system call where the platform has it.
_NON_BLOCKING = getattr(socket, "SOCK_NONBLOCK", 0)

# The errors of a connect that goes on in the background.
_UNDER_WAY = (errno.EINPROGRESS, errno.EALREADY, errno.EINTR)

# Seconds between attempts on a Unix socket whose backlog is full.
_UNIX_RETRY_DELAY = 0.02


class Attempt:
    """A TCP connection that has been begun.

    Raises the system's :class:`OSError`, which names the address; nothing is open then.
    """

    __slots__ = ("_address", "is_connected", "sock")

    def __init__(self, address: AddressInfo) -> None:
        self._address = address
        self.sock = _open_socket(address, _NON_BLOCKING)
        try:
            if not _NON_BLOCKING:  # pragma: no cover - of platforms without SOCK_NONBLOCK
                self.sock.setblocking(False)
            _send_small_frames_at_once(self.sock)
            error = self.sock.connect_ex(address[4])
            if error == errno.EINPROGRESS:
                # A second call: a peer on this computer has accepted by now.
                error = self.sock.connect_ex(address[4])
            self.is_connected = error in (0, errno.EISCONN)
            if not self.is_connected and error not in _UNDER_WAY:
                cause = OSError(error, os.strerror(error))
                raise explain(cause, f"cannot connect to {describe(address)}") from cause
        except BaseException:
            self.sock.close()
            raise

    async def finish(self, loop: asyncio.AbstractEventLoop) -> None:
        """Wait for the connection; the socket stays the caller's to close."""
        try:
            await _connect_to(loop, self.sock, self._address)
        except OSError as error:
            # BSD's error for a connection that was made between two calls.
            if error.errno != errno.EISCONN:
                raise


def attempt_at_once(url: WSURL, first_hop: FirstHop) -> Optional[Attempt]:
    """Begin to connect to ``url`` if that needs no wait: by TCP to one numeric address.

    Returns None if :func:`dial` must do it. The loop must report readiness, because a proactor
    cannot use a socket that is connecting.
    """
    if not first_hop.is_plain_tcp:
        return None
    addresses = numeric_addresses(url.host, url.port, first_hop.family)
    return Attempt(addresses[0]) if len(addresses) == 1 else None


async def dial(loop: asyncio.AbstractEventLoop, url: WSURL, first_hop: FirstHop) -> socket.socket:
    """Connect to the host of ``url`` as ``first_hop`` says; the caller owns the returned socket.

    Raises the system's :class:`OSError`; if several addresses failed, it names them all. An
    exception of a socket factory passes through.
    """
    sock = first_hop.sock
    if sock is None and first_hop.socket_factory is not None:
        sock = await _ask(first_hop.socket_factory, url)
    if sock is not None:
        await _adopt(loop, sock, url)
    elif first_hop.unix_path is not None:
        sock = await _connect_unix(os.fspath(first_hop.unix_path))
    else:
        sock = await _connect_tcp(loop, url, first_hop)
    if sock.family in _TCP_FAMILIES:
        with _closed_on_error(sock):
            _send_small_frames_at_once(sock)
    return sock


def _send_small_frames_at_once(sock: socket.socket) -> None:
    # Otherwise small writes wait for the acknowledgement of earlier ones.
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


async def _ask(factory: SocketFactory, url: WSURL) -> Optional[socket.socket]:
    made = factory(url)
    sock = await made if inspect.isawaitable(made) else made
    if sock is not None and not isinstance(sock, socket.socket):
        raise TypeError(
            f"socket_factory must return a socket.socket or None, not {type(sock).__name__}"
        )
    return sock


async def _adopt(loop: asyncio.AbstractEventLoop, sock: socket.socket, url: WSURL) -> None:
    """Take over the user's socket, and connect it if it is not connected."""
    with _closed_on_error(sock):
        check_stream_socket("the socket", sock)
        sock.setblocking(False)
        if _is_connected(sock):
            return
        if sock.family not in _TCP_FAMILIES:
            raise WSInvalidOptionError(f"only TCP sockets are connected for you; connect {sock!r}")
        # One address, because a socket cannot be used again after a failed connect() (POSIX).
        addresses = await resolve(loop, url.host, url.port, sock.family)
        await _connect_to(loop, sock, addresses[0])


async def _connect_tcp(
    loop: asyncio.AbstractEventLoop, url: WSURL, first_hop: FirstHop
) -> socket.socket:
    addresses = await resolve(loop, url.host, url.port, first_hop.family)
    local: Optional[Sequence[AddressInfo]] = None
    if first_hop.local_addr is not None:
        local = await resolve(loop, *first_hop.local_addr, first_hop.family)

    async def connect(address: AddressInfo) -> socket.socket:
        sock = _open_socket(address)
        with _closed_on_error(sock):
            sock.setblocking(False)
            if local is not None:
                _bind(sock, local)
            await _connect_to(loop, sock, address)
        return sock

    return await first_connected(addresses, connect)


async def _connect_unix(path: Union[str, bytes]) -> socket.socket:
    try:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    except OSError as error:
        raise explain(error, f"cannot connect to the Unix socket {path!r}") from error
    with _closed_on_error(sock):
        sock.setblocking(False)
        while True:
            try:
                sock.connect(path)
            except BlockingIOError:
                # The backlog is full, and no event says when it has room (connect(2), EAGAIN).
                await asyncio.sleep(_UNIX_RETRY_DELAY)
            except OSError as error:
                raise explain(error, f"cannot connect to the Unix socket {path!r}") from error
            else:
                return sock


def _open_socket(address: AddressInfo, flags: int = 0) -> socket.socket:
    try:
        return socket.socket(address[0], address[1] | flags, address[2])
    except OSError as error:  # no descriptors left, or a family that this system lacks
        raise explain(error, f"cannot connect to {describe(address)}") from error


async def _connect_to(
    loop: asyncio.AbstractEventLoop, sock: socket.socket, address: AddressInfo
) -> None:
    try:
        await loop.sock_connect(sock, address[4])
    except OSError as error:
        raise explain(error, f"cannot connect to {describe(address)}") from error


def _bind(sock: socket.socket, local: Sequence[AddressInfo]) -> None:
    failure: Optional[OSError] = None
    for address in local:
        if address[0] == sock.family:
            try:
                sock.bind(address[4])
            except OSError as error:
                failure = explain(error, f"cannot bind to local_addr {describe(address)}")
            else:
                return
    raise failure or OSError(
        errno.EADDRNOTAVAIL, "local_addr has no address of the same family as the host's"
    )


def _is_connected(sock: socket.socket) -> bool:
    try:
        sock.getpeername()
    except OSError as error:
        if error.errno != errno.ENOTCONN:
            raise
        return False
    return True


@contextlib.contextmanager
def _closed_on_error(sock: socket.socket) -> Iterator[None]:
    try:
        yield
    except BaseException:
        sock.close()
        raise
