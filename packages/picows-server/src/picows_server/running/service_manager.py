"""What systemd passes to a service, and what it is told: sockets, READY, STOPPING, the watchdog.

The protocols are those of sd_listen_fds(3) and sd_notify(3), which other service managers speak,
too. Nothing of this does anything where the environment does not ask for it.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from typing import List, MutableMapping, Optional, Tuple

from picows_codec import WSInvalidOptionError
from picows_server.logs import Logger

__all__ = ["ServiceManager", "inherited_sockets"]

_FIRST_DESCRIPTOR = 3  # SD_LISTEN_FDS_START

# Seconds for which a message waits for room in the service manager's queue, which is rarely full.
_PATIENCE = 1.0


def inherited_sockets(
    environ: Optional[MutableMapping[str, str]] = None,
) -> Optional[List[Tuple[str, socket.socket]]]:
    """Take over the listening sockets of socket activation, with their names; None without any.

    ``LISTEN_FDS``, ``LISTEN_PID`` and ``LISTEN_FDNAMES`` are removed from the environment, and the
    sockets are not inherited by processes that this one starts. What is meant for another process
    is left alone.

    Raises :class:`WSInvalidOptionError` for what is no stream socket that listens.
    """
    variables = os.environ if environ is None else environ
    count_text = variables.get("LISTEN_FDS", "")
    if variables.get("LISTEN_PID", "") != str(os.getpid()) or not count_text.isdigit():
        return None
    count = int(count_text)
    names = variables.get("LISTEN_FDNAMES", "").split(":")
    for name in ("LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"):
        variables.pop(name, None)
    if not count:
        return None
    names += ["unknown"] * (count - len(names))
    descriptors = range(_FIRST_DESCRIPTOR, _FIRST_DESCRIPTOR + count)
    found: List[Tuple[str, socket.socket]] = []
    try:
        for name, descriptor in zip(names, descriptors):
            os.set_inheritable(descriptor, False)
            found.append((name or "unknown", _listening_socket(name, descriptor)))
    except BaseException:
        for _, sock in found:
            sock.close()
        raise
    return found


def _listening_socket(name: str, descriptor: int) -> socket.socket:
    what = f"the descriptor {descriptor} of LISTEN_FDS ({name or 'without a name'})"
    try:
        sock = socket.socket(fileno=descriptor)
    except OSError as error:
        raise WSInvalidOptionError(f"{what} is no socket: {error.strerror}") from None
    try:
        is_listening = bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
    except OSError:  # pragma: no cover - not every system knows it
        is_listening = sock.type == socket.SOCK_STREAM
    if sock.type != socket.SOCK_STREAM or not is_listening:
        sock.close()
        raise WSInvalidOptionError(
            f"{what} is not a stream socket that listens: write ListenStream= and Accept=no into"
            " the socket unit"
        )
    return sock


class ServiceManager:
    """Who has started this process and set ``NOTIFY_SOCKET``; else every call does nothing.

    The variable is removed from the environment, so that nobody else speaks for this process.
    """

    def __init__(self, logger: Logger, environ: Optional[MutableMapping[str, str]] = None) -> None:
        variables = os.environ if environ is None else environ
        self._logger = logger
        self._address = variables.pop("NOTIFY_SOCKET", None) or None
        interval = variables.pop("WATCHDOG_USEC", "")
        is_ours = variables.pop("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        self._watchdog = int(interval) / 1e6 if is_ours and interval.isdigit() else 0.0
        self._timer: Optional[asyncio.TimerHandle] = None
        self._sock: Optional[socket.socket] = None
        if self._address is not None and hasattr(socket, "AF_UNIX"):
            # Opened now: a process that is out of descriptors still says how it is.
            self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._sock.settimeout(_PATIENCE)

    @property
    def is_there(self) -> bool:
        """Whether somebody listens."""
        return self._address is not None

    def ready(self, status: str = "") -> None:
        """The service has started, or goes on after :meth:`reloading`."""
        self._notify("READY=1", *_status(status))

    def reloading(self) -> None:
        """The service reads its configuration anew; :meth:`ready` ends that."""
        # "Type=notify-reload" wants the time: CLOCK_MONOTONIC, in microseconds.
        self._notify("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self, status: str = "") -> None:
        """The service has begun to end."""
        self._notify("STOPPING=1", *_status(status))

    def start_watchdog(self, loop: asyncio.AbstractEventLoop) -> None:
        """Say twice per ``WatchdogSec=`` that the loop runs, if the service manager wants that."""
        if self._address is not None and self._watchdog > 0:
            self._notify("WATCHDOG=1")
            self._timer = loop.call_later(self._watchdog / 2, self.start_watchdog, loop)

    def stop_watchdog(self) -> None:
        """Say no more about the loop."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def close(self) -> None:
        """Say no more at all."""
        self.stop_watchdog()
        self._address = None
        if self._sock is not None:
            self._sock.close()
            self._sock = None

    def _notify(self, *lines: str) -> None:
        address = self._address
        if address is None or self._sock is None:
            return
        if address.startswith("@"):  # an abstract socket
            address = "\0" + address[1:]
        try:
            self._sock.sendto("\n".join(lines).encode(), address)
        except OSError as error:
            # Nothing depends on it here; the service manager has its own timeout.
            self._logger.warning("the service manager was not told %s: %s", lines[0], error)


def _status(text: str) -> List[str]:
    return [f"STATUS={text}"] if text else []
