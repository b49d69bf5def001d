"""``SignalControl``: a process that is told by signals when to end."""

from __future__ import annotations

import asyncio
import signal
from math import inf
from types import FrameType
from typing import Any, Callable, Dict, Optional

from picows_server.logs import Logger
from picows_server.running.forked_children import ForkHook, give_up_signals
from picows_server.running.process import Commands, Control
from picows_server.running.service_manager import ServiceManager
from picows_server.server import WSServer

__all__ = ["ProcessSignals", "SignalControl"]

# SIGBREAK is Windows' Ctrl-Break, the only one that reaches another process group there.
_ENDING = ("SIGINT", "SIGTERM", "SIGBREAK")
# Those that somebody types, and waits.
_TYPED = ("SIGINT", "SIGBREAK")

# Seconds within which one of these that comes again is the same one: timeout(1) sends it to the
# process and to its group, and a terminal's Ctrl-C comes once more from a program in front of this
# one that passes signals on. Nobody means to abort so soon.
_SAME = 0.25


class ProcessSignals:
    """Handlers of signals in the loop of the main thread; :meth:`close` puts back those before.

    Forked children have those before, too.

    ``handlers``: functions without arguments, by the name of the signal. A signal that the platform
    does not have is left out. One that ends a process, and is sent twice at once, counts once.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, handlers: Dict[str, Callable[[], object]]
    ) -> None:
        self._loop = loop
        self._previous: Dict[int, Any] = {}
        self._has_handler: Dict[int, bool] = {}
        for name, handler in handlers.items():
            number = getattr(signal, name, None)
            if number is not None:
                self._previous[number] = signal.getsignal(number)
                self._has_handler[number] = self._set(
                    number, _without_repetition(loop, handler) if name in _ENDING else handler
                )
        self._forks = ForkHook(lambda: give_up_signals(self._previous), self._previous)

    def _set(self, number: int, handler: Callable[[], object]) -> bool:
        try:
            self._loop.add_signal_handler(number, handler)
        except NotImplementedError:  # Windows
            loop = self._loop

            def in_loop(_: int, __: Optional[FrameType]) -> None:
                loop.call_soon_threadsafe(handler)

            signal.signal(number, in_loop)
            return False
        return True

    def close(self) -> None:
        """Put back the handlers from before."""
        self._forks.close()
        for number, previous in self._previous.items():
            if self._has_handler[number]:
                self._loop.remove_signal_handler(number)
            # None: a handler that was not set by Python cannot be put back by it.
            if previous is not None:
                signal.signal(number, previous)
        self._previous.clear()


def _without_repetition(
    loop: asyncio.AbstractEventLoop, handler: Callable[[], object]
) -> Callable[[], None]:
    counted = -inf

    def received() -> None:
        nonlocal counted
        now = loop.time()
        if now - counted >= _SAME:
            counted = now
            handler()

    return received


def _die_of(number: int) -> None:
    """End the process: a task that ignores its cancellation would keep it for ever."""
    signal.signal(number, signal.SIG_DFL)
    signal.raise_signal(number)


class SignalControl(Control):
    """The signals of the process, and its service manager.

    SIGTERM and SIGINT drain; a second one aborts, with the exit status 128 + its number; a third
    one ends the process, whatever a task of the application does. There is no ``grace`` for SIGINT
    without a connection. SIGHUP looks at the certificates. Windows has
    SIGINT and SIGBREAK only, which are alike.
    """

    def __init__(self, service_manager: ServiceManager, logger: Logger) -> None:
        self._manager = service_manager
        self._logger = logger
        self._signals: Optional[ProcessSignals] = None
        self._has_ended = False
        self._has_aborted = False
        self._server: Optional[WSServer] = None

    def bind(self, commands: Commands) -> None:
        """From now on signals are for the server."""
        self._commands = commands
        loop = asyncio.get_running_loop()
        handlers: Dict[str, Callable[[], object]] = {"SIGHUP": self._reload}
        for name in _ENDING:
            handlers[name] = self._ending(name)
        self._signals = ProcessSignals(loop, handlers)

    def started(self, server: WSServer) -> None:
        """Tell the service manager."""
        self._server = server
        self._manager.ready(self._status)
        self._manager.start_watchdog(asyncio.get_running_loop())

    def draining(self) -> None:
        """Tell the service manager."""
        self._manager.stopping("draining")

    def stopped(self) -> None:
        """Put back the handlers from before, and say no more to the service manager."""
        self._manager.close()
        self._server = None
        if self._signals is not None:
            self._signals.close()
            self._signals = None

    @property
    def _status(self) -> str:
        return "" if self._server is None else f"serving {', '.join(self._server.places)}"

    def _ending(self, name: str) -> Callable[[], None]:
        def received() -> None:
            number = getattr(signal, name)
            if self._has_aborted:
                self._logger.warning("%s once more: the process ends without its tasks", name)
                _die_of(number)
            elif self._has_ended:
                self._has_aborted = True
                self._logger.warning("%s again: aborting; another one kills", name)
                self._commands.abort(128 + number)
            else:
                self._has_ended = True
                self._logger.info("%s: ending; another one aborts", name)
                is_idle = self._server is not None and not self._server.connections
                self._commands.drain(0.0 if is_idle and name in _TYPED else None)

        return received

    def _reload(self) -> None:
        self._logger.info("SIGHUP: looking at the certificates")
        is_ready = self._server is not None and not self._has_ended
        if is_ready:
            self._manager.reloading()
        self._commands.reload_certificates()
        if is_ready:
            self._manager.ready(self._status)
