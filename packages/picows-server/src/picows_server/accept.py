"""The accept loop: from listening sockets to connected, non-blocking sockets.

Neither a peer nor a lack of descriptors ends it. An error of a connection that died early is
skipped; any other error is logged, and accepting goes on after a pause. Connections for which there
is no room are not accepted, so they wait in the kernel's backlog.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import sys
from typing import Callable, Optional, Sequence

from picows_codec.socket_address import format_address
from picows_server.logs import Logger, log_fields

__all__ = ["Acceptor", "AwaitingAcceptor", "ReadinessAcceptor"]

_TCP_FAMILIES = (socket.AF_INET, socket.AF_INET6)

# On Linux a connection inherits the options of its listening socket, which saves system calls.
_INHERITS = sys.platform == "linux"

# Connections accepted per socket and loop iteration, so that the open ones do not wait long.
_ACCEPTS_PER_ITERATION = 64

# Batches accepted per socket at the end, so that clients which come ever faster do not delay it.
_LAST_BATCHES = 64

# Seconds without accepting after an error that the peer did not cause, e.g. EMFILE.
_RETRY_DELAY = 1.0

# Errors of one connection that failed before it was accepted (accept(2), "Error handling").
_EARLY_DEATHS = frozenset(
    getattr(errno, name)
    for name in (
        "ECONNABORTED",
        "ECONNRESET",
        "EHOSTDOWN",
        "EHOSTUNREACH",
        "ENETDOWN",
        "ENETUNREACH",
        "ENONET",
        "ENOPROTOOPT",
        "EOPNOTSUPP",
        "EPERM",
        "EPROTO",
    )
    if hasattr(errno, name)
)


class Acceptor:
    """What both kinds of accept loop share.

    ``accepted`` gets every connected socket, which it owns from then on, and its peer's address;
    ``has_room`` says whether another one may be accepted. The listening sockets stay the caller's.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sockets: Sequence[socket.socket],
        accepted: Callable[[socket.socket, object], None],
        has_room: Callable[[], bool],
        logger: Logger,
    ) -> None:
        self._loop = loop
        self._sockets = sockets
        self._accepted = accepted
        self._has_room = has_room
        self._logger = logger
        for sock in sockets:
            if _INHERITS and sock.family in _TCP_FAMILIES:
                _send_small_frames_at_once(sock)

    def start(self) -> None:
        """Begin to accept."""
        raise NotImplementedError

    def wake(self) -> None:
        """Check again whether there is room, because a connection has opened or ended."""
        raise NotImplementedError

    def accept_waiting(self) -> None:
        """Accept what waits in the kernel's queues, which is reset when the sockets are closed."""

    def stop(self) -> None:
        """Accept no more; the listening sockets can be closed afterwards."""
        raise NotImplementedError

    def _hand_over(self, sock: socket.socket, peer: object) -> None:
        try:
            sock.setblocking(False)
            if not _INHERITS and sock.family in _TCP_FAMILIES:
                _send_small_frames_at_once(sock)
        except OSError as error:
            # Some platforms refuse options on a connection that the peer has reset.
            self._logger.debug(
                "%s: the connection was lost before it was served: %s",
                format_address(peer),
                error,
                extra=log_fields(format_address(peer)),
            )
            sock.close()
            return
        try:
            self._accepted(sock, peer)
        except Exception:
            self._logger.exception(
                "%s: the connection could not be served",
                format_address(peer),
                extra=log_fields(format_address(peer)),
            )
            sock.close()

    def _log_retry(self, error: OSError) -> None:
        self._logger.error(
            "accepting connections failed, trying again in %g s: %s", _RETRY_DELAY, error
        )


def _send_small_frames_at_once(sock: socket.socket) -> None:
    # Otherwise small writes wait for the acknowledgement of earlier ones.
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


class ReadinessAcceptor(Acceptor):
    """Accepts in batches when the loop reports a listening socket as readable."""

    _is_full = False
    _retry: Optional[asyncio.TimerHandle] = None

    def start(self) -> None:
        for sock in self._sockets:
            self._loop.add_reader(sock.fileno(), self._accept_batch, sock)

    def wake(self) -> None:
        if self._is_full and self._has_room():
            self._is_full = False
            self.start()

    def stop(self) -> None:
        self._is_full = False
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        self._pause()

    def _pause(self) -> None:
        for sock in self._sockets:
            self._loop.remove_reader(sock.fileno())

    def accept_waiting(self) -> None:
        for sock in self._sockets:
            for _ in range(_LAST_BATCHES):
                if not self._accept_batch(sock):
                    break

    def _accept_batch(self, listening: socket.socket) -> bool:
        """Return whether more connections may wait."""
        for _ in range(_ACCEPTS_PER_ITERATION):
            if not self._has_room():
                self._is_full = True
                self._pause()
                return False
            try:
                sock, peer = listening.accept()
            except (BlockingIOError, InterruptedError):
                return False
            except OSError as error:
                if error.errno in _EARLY_DEATHS:
                    continue
                self._log_retry(error)
                # The socket stays readable, so the loop would spin without a pause.
                self._pause()
                if self._retry is None:
                    self._retry = self._loop.call_later(_RETRY_DELAY, self._end_retry_delay)
                return False
            self._hand_over(sock, peer)
        return True

    def _end_retry_delay(self) -> None:
        self._retry = None
        self.start()


class AwaitingAcceptor(Acceptor):
    """One task per listening socket, for loops that cannot report readiness (proactor)."""

    _tasks: Sequence[asyncio.Task[None]] = ()

    def start(self) -> None:
        self._room = asyncio.Event()
        self._tasks = [self._loop.create_task(self._serve(sock)) for sock in self._sockets]

    def wake(self) -> None:
        self._room.set()

    def stop(self) -> None:
        for task in self._tasks:
            task.cancel()

    async def _serve(self, listening: socket.socket) -> None:
        while True:
            while not self._has_room():
                self._room.clear()
                await self._room.wait()
            try:
                sock, peer = await self._loop.sock_accept(listening)
            except OSError as error:
                if error.errno in _EARLY_DEATHS:
                    continue
                self._log_retry(error)
                await asyncio.sleep(_RETRY_DELAY)
            else:
                self._hand_over(sock, peer)
