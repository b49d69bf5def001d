"""The listening sockets that workers accept from. They are the supervisor's.

Where SO_REUSEPORT balances, each slot has sockets of its own: the kernel spreads the connections,
and no worker wakes up for one that another takes. Closing such a socket resets the connections that
wait in its queue. So the supervisor has it as long as there is the slot, and a worker that is
replaced leaves it to its successor. Unix sockets, sockets of a service manager and platforms
without such an option have one set of sockets, from which all workers accept.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from typing import Any, Dict, Iterable, List, Optional, Sequence, Set, Tuple

from picows_codec import WSInvalidOptionError
from picows_codec.socket_address import UnixPath
from picows_server.listen import ListeningSockets, adopt_sockets, bind_tcp, bind_unix
from picows_server.logs import Logger
from picows_server.running.workers.steering import HAS_STEERING, steer, stop_steering
from picows_server.url import ServerURL

__all__ = ["SeparateSockets", "SharedSockets", "SlotSockets", "open_slot_sockets"]

# Linux balances among the sockets of SO_REUSEPORT, FreeBSD among those of another option; macOS
# has the option, but one socket gets everything.
_REUSE_PORT: Optional[int] = (
    getattr(socket, "SO_REUSEPORT", None)
    if sys.platform == "linux"
    else getattr(socket, "SO_REUSEPORT_LB", None)
)


class SlotSockets:
    """What both kinds share: sockets by slot number, and where they are."""

    #: Why there is one set of sockets for all workers; empty if each slot has its own.
    shared_because = ""
    #: Whether somebody else keeps the sockets, and what waits in their queues at the end.
    are_kept = False

    def __init__(self, first: ListeningSockets, url: ServerURL) -> None:
        self.places = first.places(url)

    def open(self, slot: int) -> Sequence[socket.socket]:
        """Return the sockets of a slot, which listen."""
        raise NotImplementedError

    def serve_from(self, slots: Iterable[int]) -> None:
        """Let new connections go to these slots, if the platform can choose."""

    def release(self, slot: int) -> None:
        """Leave the sockets of a slot to its worker, which accepts until it closes them."""
        raise NotImplementedError

    def forget(self, slot: int) -> None:
        """The worker of a released slot has closed the sockets."""

    def close(self) -> None:
        """Close everything, and remove the file of a Unix socket."""
        raise NotImplementedError


class SharedSockets(SlotSockets):
    """One set of sockets. The file of a Unix socket stays until the last worker accepts no more."""

    def __init__(
        self,
        listening: ListeningSockets,
        url: ServerURL,
        backlog: int,
        because: str,
        *,
        are_kept: bool = False,
    ) -> None:
        super().__init__(listening, url)
        self.shared_because = because
        self.are_kept = are_kept
        self._listening = listening
        self._backlog = backlog
        self._slots: Set[int] = set()
        self._released: Set[int] = set()

    def open(self, slot: int) -> Sequence[socket.socket]:
        if not self._slots:
            self._listening.listen(self._backlog)
        self._slots.add(slot)
        return self._listening.sockets

    def release(self, slot: int) -> None:
        self._released.add(slot)
        if self._slots <= self._released:
            for sock in self._listening.sockets:
                sock.close()

    def forget(self, slot: int) -> None:
        self._slots.discard(slot)
        self._released.discard(slot)
        if not self._slots:
            self.close()

    def close(self) -> None:
        self._listening.close()


class SeparateSockets(SlotSockets):
    """A socket per slot and address of the host."""

    def __init__(
        self,
        first: ListeningSockets,
        url: ServerURL,
        backlog: int,
        logger: Logger,
        *,
        has_others: bool = False,
    ) -> None:
        super().__init__(first, url)
        self._first: Optional[ListeningSockets] = first
        self._names = [(sock.family, sock.proto, sock.getsockname()) for sock in first.sockets]
        self._backlog = backlog
        self._logger = logger
        self._sockets: Dict[int, ListeningSockets] = {}
        # The slots in the order of the kernel's group, which is the same for each address.
        self._order: List[int] = []
        # Sockets of other processes in the group would have places that nobody here knows.
        self._can_steer = HAS_STEERING and not has_others
        self._chosen: Optional[List[int]] = None

    def open(self, slot: int) -> Sequence[socket.socket]:
        if self._first is not None:
            listening, self._first = self._first, None
        else:
            listening = ListeningSockets(_bind_same(self._names))
        self._sockets[slot] = listening
        listening.listen(self._backlog)
        self._order.append(slot)
        return listening.sockets

    def serve_from(self, slots: Iterable[int]) -> None:
        if not self._can_steer or not self._sockets:
            return
        wanted = set(slots)
        indexes = [index for index, slot in enumerate(self._order) if slot in wanted]
        if not indexes or len(indexes) == len(self._order):
            indexes = []  # all of them; also if none is ready, because clients can wait for a while
        if indexes == (self._chosen or []):
            return
        try:
            for sock in next(iter(self._sockets.values())).sockets:
                if indexes:
                    steer(sock, indexes)
                else:
                    self._stop_steering(sock)
        except (OSError, ImportError) as error:
            self._can_steer = False
            self._logger.info("the kernel cannot be told which worker to prefer: %s", error)
        self._chosen = indexes

    def _stop_steering(self, sock: socket.socket) -> None:
        try:
            stop_steering(sock)
        except OSError:  # before Linux 5.3 a program stays: it has to name all of them
            steer(sock, range(len(self._order)))

    def release(self, slot: int) -> None:
        listening = self._sockets.pop(slot, None)
        if listening is not None:
            listening.close()

    def forget(self, slot: int) -> None:
        # The kernel moves the last socket of the group to the place that is free.
        index = self._order.index(slot)
        last = self._order.pop()
        if last != slot:
            self._order[index] = last
        if self._chosen:
            self._chosen = [-1]  # the places have changed

    def close(self) -> None:
        for slot in list(self._sockets):
            self.release(slot)
        if self._first is not None:
            self._first.close()
            self._first = None


def _bind_same(names: Iterable[Tuple[int, int, Any]]) -> List[socket.socket]:
    sockets: List[socket.socket] = []
    try:
        for family, protocol, name in names:
            sock = socket.socket(family, socket.SOCK_STREAM, protocol)
            sockets.append(sock)
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if _REUSE_PORT is not None:
                sock.setsockopt(socket.SOL_SOCKET, _REUSE_PORT, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind(name)
    except BaseException:
        for sock in sockets:
            sock.close()
        raise
    return sockets


async def open_slot_sockets(
    loop: asyncio.AbstractEventLoop,
    url: ServerURL,
    logger: Logger,
    *,
    backlog: int = 1024,
    unix_path: Optional[UnixPath] = None,
    given: Optional[Sequence[socket.socket]] = None,
    are_kept: bool = False,
    reuse_address: Optional[bool] = None,
    reuse_port: bool = False,
) -> SlotSockets:
    """Bind what the workers will listen on, and listen on what no other process may share.

    With port 0 the first slot gets a free port, and the others the same. Without ``reuse_port`` an
    address that another process listens on is refused, although SO_REUSEPORT would let processes
    of one user share it. ``given`` are bound sockets; ``are_kept`` if their owner keeps them.

    Raises :class:`OSError` naming the address, and :class:`WSInvalidOptionError` for options that
    exclude each other.
    """
    if given is not None and unix_path is not None:
        raise WSInvalidOptionError("unix_path and sock exclude each other")
    if (given is not None or unix_path is not None) and (reuse_address is not None or reuse_port):
        raise WSInvalidOptionError(
            "reuse_address and reuse_port are for host and port, not for unix_path and sock"
        )
    if given is not None:
        because = "they were bound by another process"
        return SharedSockets(adopt_sockets(given), url, backlog, because, are_kept=are_kept)
    if unix_path is not None:
        return SharedSockets(bind_unix(unix_path), url, backlog, "it is a Unix socket")
    if _REUSE_PORT is None:
        first = await bind_tcp(loop, url.host, url.port, reuse_address=reuse_address)
        because = f"{sys.platform} does not balance between sockets of one port"
        return SharedSockets(first, url, backlog, because)
    # The option comes after bind() and listen(), which with it would not notice that the port is
    # taken.
    first = await bind_tcp(
        loop, url.host, url.port, reuse_address=reuse_address, reuse_port=reuse_port
    )
    try:
        first.listen(backlog)
        for sock in first.sockets:
            sock.setsockopt(socket.SOL_SOCKET, _REUSE_PORT, 1)
    except BaseException:
        first.close()
        raise
    return SeparateSockets(first, url, backlog, logger, has_others=reuse_port)
