"""What systemd passes to a service, and what it is told: sockets, READY, STOPPING, the watchdog.

The protocols are those of sd_listen_fds(3) and sd_notify(3), which other service managers speak,
too. Nothing of this does anything where the environment does not ask for it.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from typing import Any, List, Mapping, MutableMapping, Optional, Tuple

from picows_codec import WSInvalidOptionError
from picows_codec.socket_address import format_address
from picows_server.listen import given_sockets
from picows_server.logs import Logger

__all__ = ["ServiceManager", "inherited_sockets", "sockets_instead_of"]

_FIRST_DESCRIPTOR = 3  # SD_LISTEN_FDS_START

# Seconds for which a message waits for room in the service manager's queue, which is rarely full.
_PATIENCE = 1.0

# Of a number in the environment: more than a count of descriptors has, or microseconds.
_MOST_DIGITS = 20


def inherited_sockets(
    environ: Optional[MutableMapping[str, str]] = None,
) -> Optional[List[Tuple[str, socket.socket]]]:
    """Take over the listening sockets of socket activation, with their names; None without any.

    ``LISTEN_FDS``, ``LISTEN_PID`` and ``LISTEN_FDNAMES`` are removed from the environment, and the
    sockets are not inherited by processes that this one starts. What is meant for another process
    is left alone.

    Raises :class:`WSInvalidOptionError` for a ``LISTEN_FDS`` that is no number, or counts what is
    no stream socket that listens.
    """
    variables = os.environ if environ is None else environ
    if variables.get("LISTEN_PID", "") != str(os.getpid()) or not variables.get("LISTEN_FDS"):
        return None
    count = _number_in(
        variables, "LISTEN_FDS", "it is how many sockets there are, from descriptor 3 on"
    )
    names = variables.get("LISTEN_FDNAMES", "").split(":")
    for name in ("LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"):
        variables.pop(name, None)
    if not count:
        return None
    found: List[Tuple[str, socket.socket]] = []
    try:
        while len(found) < count:
            name = (names.pop(0) if names else "") or "unknown"
            found.append((name, _listening_socket(count, name, _FIRST_DESCRIPTOR + len(found))))
    except BaseException:
        for _, sock in found:
            sock.close()
        raise
    return found


def sockets_instead_of(
    options: Mapping[str, Any], url: str, logger: Logger
) -> Optional[List[socket.socket]]:
    """Return the sockets of the service manager, to be used instead of the address, or None.

    ``options`` are those of ``ws_create_server``. Raises :class:`WSInvalidOptionError` if they have
    sockets, too, which are closed then.
    """
    inherited = inherited_sockets()
    if inherited is None:
        return None
    sockets = [sock for _, sock in inherited]
    given = options.get("sock")
    if given is not None:
        for sock in sockets:
            sock.close()
        with given_sockets(given):
            raise WSInvalidOptionError(
                f"LISTEN_FDS={len(sockets)} and sock (--fd) exclude each other: the service manager"
                " has passed listening sockets, which are found without an option. Leave out sock,"
                " or the socket unit"
            )
    unix_path = options.get("unix_path")
    logger.info(
        "listening sockets of the service manager: %s, instead of %s",
        ", ".join(f"{format_address(sock.getsockname())} ({name})" for name, sock in inherited),
        url if unix_path is None else f"unix_path {unix_path!r}",
    )
    return sockets


def _number_in(variables: Mapping[str, str], name: str, meaning: str) -> int:
    text = variables[name]
    # isdigit() alone also takes other scripts' digits, and int() would take signs and spaces.
    if not text.isascii() or not text.isdigit() or len(text) > _MOST_DIGITS:
        raise WSInvalidOptionError(
            f"the environment has {name}={text!r}, which is no number: {meaning}. A service manager"
            " sets it; without one, unset it"
        )
    return int(text)


def _listening_socket(count: int, name: str, descriptor: int) -> socket.socket:
    what = f"the descriptor {descriptor} of LISTEN_FDS={count} ({name})"
    try:
        sock = socket.socket(fileno=descriptor)
        sock.set_inheritable(False)
    except OSError as error:
        raise WSInvalidOptionError(
            f"{what} is no socket: {error.strerror}. A service manager opens it; without one, unset"
            " LISTEN_FDS and LISTEN_PID"
        ) from None
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


def _watchdog_interval(variables: MutableMapping[str, str]) -> float:
    """Take ``WATCHDOG_USEC`` out of the environment, in seconds; 0 without one for us."""
    is_ours = variables.pop("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
    found = {"WATCHDOG_USEC": variables.pop("WATCHDOG_USEC", "")}
    if not is_ours or not found["WATCHDOG_USEC"]:
        return 0.0
    return _number_in(found, "WATCHDOG_USEC", "it is WatchdogSec= in microseconds") / 1e6


class ServiceManager:
    """Who has started this process and set ``NOTIFY_SOCKET``; else every call does nothing.

    The variable is removed from the environment, so that nobody else speaks for this process.
    """

    def __init__(self, logger: Logger, environ: Optional[MutableMapping[str, str]] = None) -> None:
        variables = os.environ if environ is None else environ
        self._logger = logger
        self._address = variables.pop("NOTIFY_SOCKET", None) or None
        self._watchdog = _watchdog_interval(variables)
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
